"""How the cost of a step grows with batch, length and width, and that of a start with the rows of a table."""

from collections.abc import Callable, Iterator
from functools import partial

import workloads
from contenders import enough, loop, ours
from lines import Group, Line, Setting
from reading import readers, write_csv
from workloads import Size, Workload

_CURVES: dict[str, tuple[Callable[..., Workload], tuple[int, ...]]] = {
    "LeNet-5, samples in a batch": (workloads.lenet5, (4, 40, 400)),
    "GPT, tokens of a sample": (lambda make, at: workloads.gpt(make, 4, at), (16, 160, 1600)),
    "GPT, width": (lambda make, at: workloads.gpt(make, 4, 64, Size(at, 4, 4)), (16, 160, 640)),
}


def steps(setting: Setting) -> Iterator[Line]:
    """Yield a step of the loop and of nnkit at each size; at quick, at the smallest alone."""
    for what, (make, sizes) in _CURVES.items():
        for at in sizes[:1] if setting.quick else sizes:
            work = make(setting.materials, at)
            number = enough(work, setting)
            cases = {"textbook loop": partial(loop, work, number), "nnkit": partial(ours, work, number)}
            yield from Group(cases, series=what, at=at, noise=False).measure(setting)


def rows(setting: Setting) -> Iterator[Line]:
    """Yield the first and the second start on tables of more and more rows, beside pandas and pyarrow."""
    for at in (200, 2_000) if setting.quick else (20_000, 200_000, 2_000_000):
        path = setting.folder / f"{at}.csv"
        write_csv(path, at)
        group = readers(path, setting.folder / f"cache-{at}")
        yield from Group(group.cases, series="rows of a table", at=at, noise=False).measure(setting)
