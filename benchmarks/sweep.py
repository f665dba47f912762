"""A sweep of 16 short trials on two cores: our launcher against Hydra's own and joblib's, alternating in one run.

python benchmarks/sweep.py --rounds 5
python benchmarks/sweep.py --trivial 1000

Trials are LeNet-5 on a quarter of MNIST for two epochs, eight seeds at two learning rates. Ours and joblib's run two at
once with one thread each, Hydra's basic launcher one after the other with two threads. Times are those of whole
commands, from starting Python to the prompt, each in a fresh output directory. The ceiling is measured in every round:
two trainings at once with one thread each against one with two threads, in plain processes that have imported
everything and have trained a little before the clock starts.

Starting a trial: seconds from asking for it to its first training step, the first trial left out, and the same for
nnkit.train in a process that has trained before, which also composes, loads the data and builds the network.
Our own cost is what a trivial trial of a sweep, one at a time, takes beyond nnkit.train in such a process.
With --trivial a sweep of so many trivial trials is run, and the memory of its two lasting processes is read from the
system (Linux).
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import nnkit

JOBS = 2
TRIVIAL = ["data=iris", "model=mlp_small", "trainer.max_steps=1", "logger=[]", "callbacks=[]"]
TRIVIAL += ["trainer.num_threads=1", "report=false"]
# Warms up, says so, waits for a line, trains and prints the seconds: what a launcher without any cost would do.
PLAIN = """
import sys, time, nnkit
words = sys.argv[1:]
nnkit.train([*words, "trainer.max_steps=5", "trainer.limit_val_batches=1", "trainer.limit_test_batches=1"], show=False)
print("ready", flush=True)
sys.stdin.readline()
start = time.perf_counter()
nnkit.train(words, show=False)
print(time.perf_counter() - start, flush=True)
"""


def trial_words(fraction: float, epochs: int) -> list[str]:
    """Return the words of a short trial."""
    return [
        *("model=lenet5", "data=mnist", f"trainer.max_epochs={epochs}"),
        f"trainer.limit_train_batches={fraction}",
    ]


def command_seconds(directory: str, *words: str) -> float:
    """Return the wall time of a sweep that must end well."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "nnkit", "train", "-m", f"output_dir={directory}", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return time.perf_counter() - start


def plain_seconds(words: list[str], processes: int, threads: int) -> float:
    """Return the seconds until so many plain processes, let go at once, have all trained."""
    with tempfile.TemporaryDirectory() as directory:
        own = [*words, f"trainer.num_threads={threads}", f"output_dir={directory}"]
        running = [
            subprocess.Popen(
                [sys.executable, "-c", PLAIN, *own, f"seed={number}"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            for number in range(processes)
        ]
        for one in running:
            while _line(one) != "ready":
                pass
        for one in running:
            assert one.stdin is not None
            one.stdin.write("go\n")
            one.stdin.flush()
        seconds = [_last_number(one) for one in running]
        for one in running:
            one.communicate()
    return max(seconds)


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise SystemExit("a plain training has failed")
    return line.strip()


def _last_number(process: subprocess.Popen[str]) -> float:
    while True:
        try:
            return float(_line(process))
        except ValueError:
            continue


def compare(arguments: argparse.Namespace) -> None:
    """Print the launchers side by side."""
    words = trial_words(arguments.fraction, arguments.epochs)
    seeds = max(1, arguments.trials // 2)
    axes = ["optimizer.lr=1e-3,3e-3", f"seed={','.join(map(str, range(1, seeds + 1)))}"]
    if seeds == 1:
        axes = ["optimizer.lr=1e-3,3e-3", "seed=1"]
    launchers = {
        "ours": ["trainer.num_threads=1", f"hydra.launcher.n_jobs={JOBS}"],
        "basic": ["trainer.num_threads=2", "hydra/launcher=basic"],
        "joblib": ["trainer.num_threads=1", "hydra/launcher=joblib", f"hydra.launcher.n_jobs={JOBS}"],
    }
    times: dict[str, list[float]] = {name: [] for name in launchers}
    ceilings = []
    for number in range(arguments.rounds):
        # Another order in each round, so that a drift of the machine favours none.
        names = [*launchers][number % 3 :] + [*launchers][: number % 3]
        for name in names:
            with tempfile.TemporaryDirectory() as directory:
                times[name].append(command_seconds(directory, *words, *axes, *launchers[name]))
        one, two = plain_seconds(words, 1, 2), plain_seconds(words, JOBS, 1)
        ceilings.append(JOBS * one / two)
        shown = ", ".join(f"{name} {times[name][-1]:.1f} s" for name in launchers)
        print(f"round {number + 1}: {shown}; alone {one:.2f} s, two at once {two:.2f} s", flush=True)
    faster = [basic / ours for basic, ours in zip(times["basic"], times["ours"], strict=True)]
    print("\n| | median | rounds |\n|---|---|---|")
    for name, seconds in times.items():
        row(f"{2 * seeds} trials, {name} (s)", seconds, 1)
    row("basic / ours", faster)
    row("joblib / ours", [other / ours for other, ours in zip(times["joblib"], times["ours"], strict=True)])
    row("ceiling: two at once / one with two threads", ceilings)
    row(
        "share of the ceiling reached (goal 0.9)",
        [a / b for a, b in zip(faster, ceilings, strict=True)],
    )


def row(name: str, values: list[float], digits: int = 2) -> None:
    """Print a line of the table."""
    low, middle, high = min(values), statistics.median(values), max(values)
    print(f"| {name} | {middle:.{digits}f} | {low:.{digits}f} to {high:.{digits}f} |", flush=True)


def starts(count: int) -> None:
    """Print what starting a trial costs, by the pool that sweeps use and by nnkit.train."""
    from nnkit import config as configs
    from nnkit.sweep.directory import Definition, Request
    from nnkit.sweep.pool import Pool
    from nnkit.sweep.trials import Outcome, Trial

    seconds, whole = [], []
    asked = Definition(tuple(TRIVIAL), (), False, "val/loss", "min", 1)
    with tempfile.TemporaryDirectory() as directory, configs.loading_once(), Pool([None]) as pool:
        for number in range(count + 1):
            trial = Trial(f"trial{number}", ())
            start, first = time.perf_counter(), None
            pool.start(Request(Path(directory), trial, asked))
            while not pool.is_idle:
                for _, said in pool.wait(10):
                    if isinstance(said, Outcome):
                        assert said.state == "done", said
                    elif first is None:
                        first = time.perf_counter() - start
            assert first is not None
            seconds.append(first)
            whole.append(time.perf_counter() - start)
    here = [warm(number) for number in range(count + 1)]
    row("start of a trial to its first step (s, goal below 0.2)", seconds[1:], 3)
    row("the same in a process that has trained before (s)", [first for first, _ in here[1:]], 3)
    row("a whole trivial trial by itself (s)", whole[1:], 3)
    row("nnkit.train in a process that has trained before (s)", [total for _, total in here[1:]], 3)
    print(f"the first trial of all, with the server's imports: {seconds[0]:.1f} s to its first step")
    own_cost(count, statistics.median(total for _, total in here[1:]))


def warm(seed: int) -> tuple[float, float]:
    """Return the seconds to the first step, and to the end, of a trivial training in this process."""
    first = []
    with tempfile.TemporaryDirectory() as directory:
        start = time.perf_counter()
        with _first_step(lambda: first.append(time.perf_counter() - start)):
            nnkit.train([*TRIVIAL, f"seed={seed}", f"output_dir={directory}"], show=False)
        return first[0], time.perf_counter() - start


class _first_step:  # noqa: N801
    """Calls a function when training starts, once."""

    def __init__(self, call: Callable[[], None]) -> None:
        from nnkit.callbacks.signals import StopSignal

        self.kind, self.call, self.before = StopSignal, call, StopSignal.on_train_start

    def __enter__(self) -> None:
        before, call = self.before, self.call

        def on_train_start(callback: object, *arguments: object) -> None:
            call()
            before(callback, *arguments)  # type: ignore[arg-type]

        self.kind.on_train_start = on_train_start  # type: ignore[assignment,method-assign]

    def __exit__(self, *error: object) -> None:
        self.kind.on_train_start = self.before  # type: ignore[method-assign]


def trivial(count: int) -> None:
    """Print the memory of a sweep's lasting processes over many trivial trials, and what a trial costs."""
    here = [warm(number)[1] for number in range(11)][1:]
    with tempfile.TemporaryDirectory() as directory:
        words = [*TRIVIAL, f"seed={','.join(map(str, range(count)))}", f"hydra.launcher.n_jobs={JOBS}"]
        command = [sys.executable, "-m", "nnkit", "train", "-m", *words, "name=trivial"]
        log = Path(directory) / "out.txt"
        with log.open("w") as out:
            process = subprocess.Popen(
                [*command, f"output_dir={directory}"], stdout=out, stderr=subprocess.STDOUT
            )
            samples = _watch(process, Path(directory) / "sweeps" / "trivial" / "trials.jsonl", count)
        if process.wait():
            raise SystemExit(log.read_text()[-3000:])
        each = _seconds_each(Path(directory) / "sweeps" / "trivial" / "trials.jsonl")
    print("\n| trials ended | the sweep's process (MB) | the server that trials are forked from (MB) |")
    print("|---|---|---|")
    for ended, parent, server in samples:
        print(f"| {ended} | {parent:.1f} | {server:.1f} |")
    print(f"\na trivial trial of the sweep, {JOBS} at once, takes a slot for {each * JOBS * 1e3:.0f} ms")
    print(f"nnkit.train alone in a process that has trained before: {statistics.median(here) * 1e3:.0f} ms")


def own_cost(count: int, alone: float) -> None:
    """Print what a trivial trial of a sweep takes, one at a time, beyond nnkit.train by itself."""
    with tempfile.TemporaryDirectory() as directory:
        seeds = f"seed={','.join(map(str, range(count + 1)))}"
        command_seconds(directory, *TRIVIAL, seeds, "hydra.launcher.n_jobs=1", "name=own")
        each = _seconds_each(Path(directory) / "sweeps" / "own" / "trials.jsonl")
    print(
        f"a trivial trial of a sweep, one at a time: {each * 1e3:.0f} ms; nnkit.train: {alone * 1e3:.0f} ms"
    )
    print(f"our own cost of a trial on top: {(each - alone) * 1e3:.0f} ms (goal: at most 60)")


def _watch(process: subprocess.Popen[bytes], status: Path, count: int) -> list[tuple[int, float, float]]:
    """Return the memory when each tenth of the trials has ended."""
    samples: list[tuple[int, float, float]] = []
    while process.poll() is None:
        time.sleep(0.05)
        ended = status.read_text().count('"state": "done"') if status.exists() else 0
        if ended >= count * (len(samples) + 1) / 10 and len(samples) < 10:
            children = [int(word) for word in _children(process.pid)]
            server = max((_megabytes(child) for child in children), default=0.0)
            memory = _megabytes(process.pid)
            if memory:
                samples.append((ended, memory, server))
    return samples


def _children(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []


def _megabytes(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:")), 0.0)


def _seconds_each(status: Path) -> float:
    """Return the seconds between ends of trials, from the first to the last."""
    lines = [json.loads(line) for line in status.read_text().splitlines()]
    ends = [datetime.fromisoformat(line["time"]) for line in lines if line["state"] == "done"]
    return (ends[-1] - ends[0]).total_seconds() / (len(ends) - 1)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=16, help="an even number")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--fraction", type=float, default=0.25, help="of the training pictures in an epoch")
    parser.add_argument("--starts", type=int, default=20, help="trivial trials that are started one by one")
    parser.add_argument("--trivial", type=int, default=0, help="only this: a sweep of so many trivial trials")
    arguments = parser.parse_args()
    if arguments.trivial:
        trivial(arguments.trivial)
        return
    compare(arguments)
    starts(arguments.starts)


if __name__ == "__main__":
    main()
