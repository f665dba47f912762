"""Preparing text for language models: each tokenizer for the first time, and with all in the cache.

Each preparation is a process of its own; peak memory is that of the whole process, torch included, and the tokens as
they are mapped, a byte or two each, which the system may take back at any time.

python benchmarks/text_preparation.py --megabytes 3000   # a long text once, beside the part "text" of the page
"""

import argparse
import random
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from lines import Group, Limit, Line, Setting
from measuring import Cost, program, table

_IMPORTS = "from nnkit.data.text.long_text import TextFile"
_PREPARE = """
data = TextFile(path=sys.argv[1], tokenizer=sys.argv[2])
data.setup_data()
for name in ("train", "val", "test"):
    data.split(name)
"""
_PLAIN = "open(sys.argv[1], encoding='utf-8').read()"


def write_text(path: Path, num_bytes: int) -> None:
    """Write lines of words of a Zipf-like frequency: 50,000 different ones, some of them not ASCII."""
    dice = random.Random(0)
    letters = "etaoinshrdlucmfwypvbgkjqxzäöéß"
    words = ["".join(dice.choices(letters, k=dice.randint(2, 10))) for _ in range(50_000)]
    weights = [1 / rank for rank in range(1, len(words) + 1)]
    blocks = []
    for _ in range(10):
        chosen = dice.choices(words, weights, k=100_000)
        lines = [" ".join(chosen[start : start + 12]) for start in range(0, len(chosen), 12)]
        blocks.append(("\n".join(lines) + "\n").encode())
    with path.open("wb") as file:
        while file.tell() < num_bytes:
            file.write(dice.choice(blocks))


def prepare(path: Path, kind: str, cache: Path | None) -> Cost:
    """Prepare a text in a process of its own, with this cache or an empty one."""
    with tempfile.TemporaryDirectory() as empty:
        environment = {"NNKIT_CACHE": str(cache or empty)}
        return program(_PREPARE, str(path), kind, imports=_IMPORTS, environment=environment)


def measure(setting: Setting) -> Iterator[Line]:
    """Yield each tokenizer's first and second start, beside reading the file as one string."""
    sizes = {"characters": setting.size(300_000_000, 200_000), "bpe": setting.size(20_000_000, 100_000)}
    for kinds in (("characters", "bytes"), ("bpe",)):
        path = setting.folder / f"{kinds[0]}.txt"
        write_text(path, sizes[kinds[0]])
        size = path.stat().st_size / 1e6
        cases = {f"{size:,.0f} MB read as a string": partial(program, _PLAIN, str(path))}
        limits = {}
        for kind in kinds:
            cache = setting.folder / kind
            prepare(path, kind, cache)
            cases[f"{kind}, first start"] = partial(prepare, path, kind, None)
            cases[f"{kind}, second start"] = partial(prepare, path, kind, cache)
            if kind != "bpe":
                limits[f"{kind}, first start"] = (Limit(size / 100, "cpu"), Limit(1024, "peak"))
        yield from Group(cases, limits, count=size, unit="MB").measure(setting)


def main() -> int:
    """Prepare one text of some size with each tokenizer that learns no pieces."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--megabytes", type=int, default=3000, help="size of the text")
    size = parser.parse_args().megabytes
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "text.txt"
        write_text(path, size * 10**6)
        for kind in ("characters", "bytes"):
            cost = prepare(path, kind, None)
            speeds = [f"{path.stat().st_size / 1e6 / seconds:,.0f} MB/s" for seconds in (cost.wall, cost.cpu)]
            rows.append([f"{kind}, {size:,} MB", *speeds, f"{cost.peak:,.0f} MiB"])
    print(table(["", "on the clock", "of the processor", "peak"], rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
