"""Everything that a machine with one GPU is asked about, in at most eight minutes; docs/gpu.md says what to expect.

python benchmarks/gpu.py --output gpu.json
python benchmarks/gpu.py --small            # the same parts on a processor, tiny, to see that the script works
python benchmarks/gpu.py --only resume memory

Each part is a process of its own with a limit of its own: one that fails, hangs or spoils the device is reported with
its traceback, and the others go on. Exit status 1 if a part failed or something expected does not hold.
"""

import argparse
import json
import math
import os
import platform
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import contenders
import devices
import torch
import workloads
from contenders import loop, ours
from devices import half, matmul_rate, on_gpu, peak, precisions, step_flops
from guarded import Outcome, Part, run_parts
from measuring import ratio, spread, table, take_turns
from workloads import Materials, Size, Workload

import nnkit
from nnkit.cli import main as nnkit_main

LIMIT = 8 * 60.0
DIGITS = ["model=cnn", "data=digits", "logger=[]"]


@dataclass(frozen=True)
class Row:
    """A figure of a part.

    Attributes:
        what: What was measured.
        value: The figure.
        unit: Its unit.
        expected: What it should be; empty where nothing is expected.
        holds: Whether it is; None where nothing is expected.
    """

    what: str
    value: float
    unit: str = ""
    expected: str = ""
    holds: bool | None = None


@dataclass(frozen=True)
class Scale:
    """How large everything is.

    Attributes:
        small: Whether it is meant for a processor.
        materials: The data.
    """

    small: bool
    materials: Materials

    def families(self) -> list[Workload]:
        """Return the networks whose speed is measured."""
        make, small = self.materials, self.small
        return [
            *([self.tiny()] if small else [workloads.gpt(make, 16, 1024, Size(768, 12, 12))]),
            workloads.bert(make, 2, 16, Size(16, 1, 2))
            if small
            else workloads.bert(make, 64, 128, Size(768, 12, 12)),
            workloads.lenet5(make, 8 if small else 1024),
            workloads.resnet(make, 2) if small else workloads.resnet(make, 128, deep=True),
            workloads.lstm(make, 2, 16, 16, 1) if small else workloads.lstm(make, 128, 256, 1024, 2),
        ]

    def tiny(self) -> Workload:
        """Return a GPT that takes no time."""
        return workloads.gpt(self.materials, 2, 16, Size(16, 1, 2))

    @property
    def steps(self) -> int:
        """Steps of a round."""
        return 5 if self.small else 30


def machine(scale: Scale) -> Iterator[Row]:
    """Which device it is, and how fast its products are."""
    if on_gpu():
        found = torch.cuda.get_device_properties(0)
        yield Row(f"{found.name}, compute capability {found.major}.{found.minor}", 1, "device")
        yield Row("memory", found.total_memory / 2**30, "GiB")
        yield Row(f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}", 1, "version")
    size = 256 if scale.small else 8192
    for kind in (torch.float32, torch.bfloat16, *([torch.float16] if on_gpu() else [])):
        yield Row(
            f"products of {size}x{size}, {str(kind).partition('.')[2]}", matmul_rate(size, kind), "TFLOP/s"
        )


def precision(scale: Scale) -> Iterator[Row]:
    """A small network learns as much in every precision as on the processor."""
    words = [*DIGITS, "trainer.max_steps=40" if scale.small else "data.max_epochs=4"]
    wanted = nnkit.train([*words, "trainer.accelerator=cpu", "trainer.precision=32-true"]).metrics
    yield Row("cnn on digits, processor", wanted["test/accuracy"], "accuracy")
    for kind in precisions():
        found = nnkit.train([*words, f"trainer.precision={kind}"]).metrics["test/accuracy"]
        close = abs(found - wanted["test/accuracy"]) <= 0.03
        yield Row(f"cnn on digits, {kind}", found, "accuracy", "within 0.03 of the processor's", close)


def scaler(scale: Scale) -> Iterator[Row]:
    """An infinite gradient under 16-mixed: the step is skipped, the scale halved, and training goes on."""
    if not on_gpu():
        yield Row("no GPU: 16-mixed with its scaler was not tried", 0)
        return
    words = [*DIGITS, "trainer.max_steps=20", "trainer.precision=16-mixed"]
    result = nnkit.train([*words, "+callbacks.overflow._target_=contenders.Overflow"])
    found = contenders.Overflow.found
    yield Row(
        "weights changed by the step with an infinite gradient",
        found["changed"],
        "tensors",
        "0",
        not found["changed"],
    )
    yield Row("factor of the scale", found["factor"], "", "0.5", found["factor"] == 0.5)
    loss = result.metrics["test/loss"]
    yield Row("loss at the end", loss, "", "finite", math.isfinite(loss))


def compiled(scale: Scale) -> Iterator[Row]:
    """trainer.compile: the first and a second start, the step, and the same loss."""
    work = (
        workloads.mlp(scale.materials, 8, (8,))
        if scale.small
        else workloads.gpt(scale.materials, 16, 256, Size(384, 6, 6))
    )
    steps = 6 if scale.small else 60
    eager = ours(work, steps)
    for name in ("cold",) if scale.small else ("cold", "warm"):
        start = time.perf_counter()
        found = ours(work, steps, "trainer.compile=true")
        yield Row(f"{work.name}, whole run, compiled {name}", time.perf_counter() - start, "s")
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    yield Row("graphs, of training and evaluation", graphs, "graphs", "at most 8", graphs <= 8)
    yield Row("step, eager", eager.wall * 1e3, "ms")
    faster = found.wall / eager.wall
    yield Row("step, compiled / eager", faster, "", "at most 1.0", None if scale.small else faster <= 1.0)
    apart = abs(found.answer["test/loss"] - eager.answer["test/loss"])
    yield Row("test loss, compiled and eager apart", apart, "", "at most 0.02", apart <= 0.02)


def channels_last(scale: Scale) -> Iterator[Row]:
    """Convolutions with channels last, which nnkit always stores, beside channels first."""
    work = (
        workloads.resnet(scale.materials, 2)
        if scale.small
        else workloads.resnet(scale.materials, 128, deep=True)
    )
    found = take_turns(
        {
            "channels first": lambda: loop(work, scale.steps, precision=half()).wall,
            "channels last": lambda: loop(work, scale.steps, precision=half(), channels_last=True).wall,
            "nnkit": lambda: ours(work, scale.steps).wall,
        },
        1 if scale.small else 2,
    )
    for name, walls in found.items():
        yield Row(f"{work.name}, {name}", spread(walls).median * 1e3, "ms")
    gain = ratio(found["nnkit"], found["channels first"]).median
    yield Row("nnkit / channels first", gain, "", "at most 1.0", None if scale.small else gain <= 1.0)


def transfers(scale: Scale) -> Iterator[Row]:
    """Batches on their way to the device: from ordinary and from page-locked memory, and their share of a step."""
    block = torch.empty((2 if scale.small else 256) * 2**20, dtype=torch.uint8)
    kinds = {"ordinary": block, **({"page-locked": block.pin_memory()} if on_gpu() else {})}
    for name, memory in kinds.items():
        seconds = []
        for _ in range(5):
            start = devices.clocks()[0]
            memory.to(devices.device(), copy=True)
            seconds.append(devices.clocks()[0] - start)
        yield Row(f"to the device from {name} memory", len(block) / min(seconds) / 1e9, "GB/s")
    work = workloads.lenet5(scale.materials, 8 if scale.small else 1024)
    for name in kinds:
        step = loop(work, scale.steps, precision=half(), pinned=name == "page-locked")
        yield Row(f"{work.name}, textbook loop, {name} memory", step.wall * 1e3, "ms")
    steps = scale.steps
    with torch.profiler.profile(activities=[*torch.profiler.supported_activities()]) as profile:
        step = ours(work, steps)
    copies = sum(one.device_time_total for one in profile.key_averages() if "Memcpy HtoD" in one.key)
    yield Row(f"{work.name}, nnkit under the profiler", step.wall * 1e3, "ms")
    yield Row("copies to the device in all, by step", copies / steps / 1e3, "ms")


def memory(scale: Scale) -> Iterator[Row]:
    """Peaks beside the textbook loop, what checkpointed activations save, and whether anything is left behind."""
    work, judged = scale.families()[0], not scale.small
    theirs = peak(lambda: loop(work, scale.steps, precision=half()))
    yield Row(f"{work.name}, textbook loop", theirs, "MiB")
    mine = peak(lambda: ours(work, scale.steps))
    yield Row(
        f"{work.name}, nnkit",
        mine,
        "MiB",
        "at most 1.1 of the loop",
        mine <= 1.1 * theirs if judged else None,
    )
    before = torch.cuda.memory_allocated() if on_gpu() else 0
    longer = peak(lambda: ours(work, 2 * scale.steps)) / mine
    yield Row(
        "peak of twice as many steps",
        longer,
        "of the first",
        "at most 1.02",
        longer <= 1.02 if judged else None,
    )
    left = ((torch.cuda.memory_allocated() if on_gpu() else 0) - before) / 2**20
    yield Row("left on the device by a second run", left, "MiB", "at most 1", left <= 1)
    saved = peak(lambda: ours(work, scale.steps, "trainer.activation_checkpointing=true")) / mine
    yield Row(
        "peak with activation checkpointing", saved, "of the first", "below 1", saved < 1 if judged else None
    )


def resume(scale: Scale) -> Iterator[Row]:
    """`nnkit resume --verify`: a run repeated from a checkpoint in its middle ends with the same bits."""
    cnn = [*DIGITS, "trainer.max_steps=30" if scale.small else "data.max_epochs=3"]
    tiny = [*scale.tiny().words, "trainer.max_steps=30", "logger=[]", "trainer.limit_val_batches=2"]
    cases = [("cnn", cnn, "auto", True), ("GPT", tiny, "auto", False)]
    if not scale.small:
        cases += [("GPT", tiny, "auto", True), ("cnn", cnn, "auto", False), ("cnn", cnn, "16-mixed", True)]
    for number, (name, words, kind, deterministic) in enumerate(cases):
        extra = [f"trainer.deterministic={str(deterministic).lower()}", f"trainer.precision={kind}"]
        nnkit.train([*words, *extra, f"name=resume-{number}", "callbacks.checkpoint.every_n_steps=10"])
        equal = not nnkit_main(["resume", f"outputs/resume-{number}", "--verify"])
        what = f"{name}, {' '.join(extra)}"
        # Kernels that are not deterministic may differ where nothing was interrupted.
        yield Row(what, float(equal), "equal", *(["1", equal] if deterministic else []))


def throughput(scale: Scale) -> Iterator[Row]:
    """Steps of each family beside a textbook loop in the same precision, and the share of the device that is used."""
    rate = matmul_rate(256 if scale.small else 8192, half()) * 1e12
    name = torch.cuda.get_device_name() if on_gpu() else ""
    sheet = next((value * 1e12 for key, value in devices.DATA_SHEETS.items() if key in name.split()), None)
    for work in scale.families():
        found = take_turns(
            {
                "loop": partial(loop, work, scale.steps, precision=half()),
                "nnkit": partial(ours, work, scale.steps),
            },
            1 if scale.small else 2,
        )
        mine, theirs = ([cost.wall for cost in found[key]] for key in ("nnkit", "loop"))
        step, flops = spread(mine).median, step_flops(work)
        yield Row(f"{work.name}, textbook loop", spread(theirs).median * 1e3, "ms")
        yield Row(f"{work.name}, nnkit", step * 1e3, "ms")
        faster = ratio(mine, theirs).median
        yield Row(
            f"{work.name}, nnkit / loop", faster, "", "at most 1.0", None if scale.small else faster <= 1.0
        )
        unit = "tokens/s" if work.tokens > 1 else "samples/s"
        yield Row(f"{work.name}, nnkit", work.batch * work.tokens / step, unit)
        yield Row(f"{work.name}, nnkit", flops / step / rate, "of measured products")
        if sheet:
            yield Row(f"{work.name}, nnkit", flops / step / sheet, "MFU, of the data sheet")


def errors(scale: Scale) -> Iterator[Row]:
    """Every family takes some steps in every precision."""
    make = scale.materials
    every = [workloads.mlp(make, 8), workloads.vit(make, 2), workloads.llama(make, 2, 16)]
    if not scale.small:
        every += Scale(True, make).families()
    for kind in precisions()[-1:] if scale.small else precisions():
        for work in every:
            yield guarded(work, kind)


def guarded(work: Workload, kind: str) -> Row:
    """Return whether a network trains, with the traceback of what stopped it."""
    what = f"{work.name}, {kind}"
    try:
        loss = ours(work, contenders.WARM + 1, f"trainer.precision={kind}").answer["test/loss"]
    except Exception:
        return Row(f"{what}: {traceback.format_exc()}", 1, "errors", "0", False)
    return Row(what, float(not math.isfinite(loss)), "errors", "0", math.isfinite(loss))


# Each part and the seconds it may take on a GPU.
PARTS: dict[str, tuple[Callable[[Scale], Iterator[Row]], float]] = {
    "machine": (machine, 15),
    "precision": (precision, 40),
    "scaler": (scaler, 15),
    "resume": (resume, 90),
    "throughput": (throughput, 90),
    "memory": (memory, 45),
    "transfers": (transfers, 20),
    "channels_last": (channels_last, 30),
    "compiled": (compiled, 55),
    "errors": (errors, 60),
}
# Times these where everything is small, on a processor that may do other work.
PATIENCE = 10


def report(outcome: Outcome) -> str:
    """Return a part's table, and what ended it."""
    rows = [
        [
            row.what.partition("\n")[0],
            f"{row.value:,.4g}",
            row.unit,
            row.expected,
            {None: "", True: "yes", False: "NO"}[row.holds],
        ]
        for row in (Row(**fields) for fields in outcome.rows)
    ]
    lines = [f"\n## {outcome.name}, {outcome.seconds:.0f} s\n"]
    lines += [table(["", "measured", "unit", "expected", "holds"], rows)]
    lines += [row["what"] for row in outcome.rows if "\n" in row["what"]]
    return "\n".join([*lines, *filter(None, [outcome.error])])


def measure(small: bool, only: list[str], folder: Path) -> list[Outcome]:
    """Run the parts and print each as it ends."""
    # Copies of this process have no threads of its own: none may be started here, and the device not be touched.
    torch.set_num_threads(1)
    os.environ["NNKIT_CACHE"] = str(folder / "cache")
    scale, chosen = Scale(small, Materials(folder, 40 if small else 10_000)), {}
    patience = PATIENCE if small else 1
    for name in only or PARTS:
        function, limit = PARTS[name]
        chosen[name] = Part(partial(_begin, function, scale), limit * patience)
    outcomes = []
    for outcome in run_parts(chosen, folder, LIMIT * patience):
        print(report(outcome), flush=True)
        outcomes.append(outcome)
    return outcomes


def _begin(function: Callable[[Scale], Iterator[Row]], scale: Scale) -> Iterator[Row]:
    if on_gpu():
        torch.set_num_threads(max(1, (os.cpu_count() or 2) - 1))
    return function(scale)


def main() -> int:
    """Print the parts and the verdict, and write the JSON file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="tiny sizes, for a processor")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=[], help="these parts alone")
    parser.add_argument("--output", type=Path, default=Path("gpu.json"), help="JSON file of all figures")
    given = parser.parse_args()
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        outcomes = measure(given.small, given.only, Path(folder))
    bad = [outcome.name for outcome in outcomes if not outcome.is_good]
    seconds = time.monotonic() - start
    versions = {"python": platform.python_version(), "torch": torch.__version__, "nnkit": nnkit.__version__}
    found = {"small": given.small, "seconds": seconds, "versions": versions, "bad": bad}
    found["parts"] = [asdict(outcome) for outcome in outcomes]
    given.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    verdict = f"not as expected: {', '.join(bad)}" if bad else "all as expected"
    print(f"\n{len(outcomes)} parts in {seconds:.0f} s, {verdict}; figures in {given.output}")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
