"""What a step is made of: milliseconds of torch's operators by kind, of nnkit and of the textbook loop, on one thread.

python benchmarks/profiles.py lenet5
python benchmarks/profiles.py gpt trainer.precision=bf16-mixed

The profiler makes each operator a little slower, and Python between them more: the rest is an upper bound.
"""

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import contenders
import torch
import workloads
from contenders import WARM, Stopwatch, loop, ours
from measuring import table
from torch.profiler import ProfilerActivity, profile
from workloads import Materials

# Parts of operators' names; the first kind that has one of them is an operator's kind.
KINDS = {
    "convolutions": ("convolution",),
    "pooling": ("pool2d",),
    "products of matrices": ("mm", "mv", "linear"),
    "recurrent kernels": ("lstm", "gru", "rnn"),
    "attention and softmax": ("attention", "softmax"),
    "activations": ("gelu", "tanh", "relu", "silu", "sigmoid", "threshold"),
    "normalisation": ("norm_backward", "layer_norm", "batch_norm", "rms_norm"),
    "copies and casts": ("copy", "cat", "stack", "clone", "contiguous", "index", "fill", "zero"),
    "optimizer": ("_fused_", "_foreach_add", "_foreach_mul"),
    "norm of the gradients": ("vector_norm", "_foreach_norm"),
}
OTHER, REST = "other operators", "Python, Lightning, and what the profiler adds"


def kind_of(name: str) -> str:
    """Return the kind of an event; what is no operator of torch's is time between them."""
    if not name.startswith("aten::"):
        return REST
    return next((kind for kind, parts in KINDS.items() if any(part in name for part in parts)), OTHER)


def spent(run: Callable[[], object]) -> Counter[str]:
    """Return the milliseconds of a step by kind, the first steps left out.

    Args:
        run: Takes steps that a `Stopwatch` counts.
    """
    profiler, watches = profile(activities=[ProfilerActivity.CPU]), []

    class Profiled(Stopwatch):
        def step(self) -> None:
            if self.count == WARM:
                watches.append(self)
                profiler.start()
            super().step()

        def stop(self) -> None:
            super().stop()
            if self.count == self.steps:
                profiler.stop()

    contenders.Stopwatch = Profiled  # type: ignore[misc]
    try:
        run()
    finally:
        contenders.Stopwatch = Stopwatch  # type: ignore[misc]
    found: Counter[str] = Counter()
    for event in profiler.key_averages():
        found[kind_of(event.key)] += event.self_cpu_time_total / 1e3 / (watches[0].steps - WARM)
    # The clock sees what lies between the events as well.
    found[REST] = watches[0].cost().wall * 1e3 - sum(value for kind, value in found.items() if kind != REST)
    return found


def main() -> None:
    """Print the table of a network."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "network", choices=["tiny", "mlp", "lenet5", "resnet", "lstm", "gpt", "llama", "bert"]
    )
    parser.add_argument("words", nargs="*", help="more words for nnkit")
    parser.add_argument("--steps", type=int, default=40)
    given = parser.parse_args()
    torch.set_num_threads(1)
    steps = given.steps + WARM
    with tempfile.TemporaryDirectory() as folder:
        materials = Materials(Path(folder))
        name = given.network
        work = workloads.mlp(materials, 8, (16,)) if name == "tiny" else getattr(workloads, name)(materials)
        runs = {"textbook loop": lambda: loop(work, steps), "nnkit": lambda: ours(work, steps, *given.words)}
        columns = {}
        for who, run in runs.items():
            run()
            columns[who] = spent(run)
    kinds = [
        kind for kind in (*KINDS, OTHER, REST) if any(column[kind] >= 0.01 for column in columns.values())
    ]
    rows = [[kind, *(f"{column[kind]:.2f}" for column in columns.values())] for kind in kinds]
    rows.append(["all", *(f"{sum(column.values()):.2f}" for column in columns.values())])
    print(table(["ms a step", *columns], rows))


if __name__ == "__main__":
    sys.exit(main())
