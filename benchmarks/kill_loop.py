"""Kill training at random instants, resume, again and again: does it end as if it had never been killed?

python benchmarks/kill_loop.py --kills 200 --pairings 25
python benchmarks/kill_loop.py --kills 200 --pairings 0
python benchmarks/kill_loop.py --kills 50 --config "model=mlp data=digits data.max_epochs=8"
python benchmarks/kill_loop.py --kills 100 --pairings 0 --processes 2
python benchmarks/kill_loop.py --kills 40 --pairings 5 --words "trainer.compile=true"
python benchmarks/kill_loop.py --kills 200 --lightning

Random pairings of a model with data it takes are trained, with workers, accumulation, EMA, Muon, bfloat16 and schedules
drawn for each (`pairings.py`); with --pairings 0 the four configs that stand below. --words are set in each of them.

Every attempt is a process of its own that gets a real SIGKILL at an instant drawn evenly from what it is expected to
take; a run is resumed until it ends. A mismatch is a run whose last or best checkpoint (weights, optimizer, schedulers,
generators, counters, callbacks), metrics.jsonl or test metrics differ from those of the run that was never killed, in
one bit of one number. An unreadable state is an attempt that does not go on from what a kill has left. With
--processes 2 two processes train each run, and one of them, drawn anew for each attempt, is killed; the other must
leave by itself. With --lightning the same networks and data train on plain Lightning, as its documentation saves and
resumes; only weights are compared.
Exit status 1 if nnkit has a mismatch or an unreadable state.
"""

import argparse
import os
import secrets
import shlex
import signal
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from random import Random

from kill_loop_core import Loop, Subject, Tally
from kill_loop_lightning import LightningRun
from kill_loop_nnkit import NnkitRun
from pairings import pairings

# An odd number of batches, accumulated in pairs: validation in mid-epoch falls inside an accumulation window.
COMMON = [
    "data=digits",
    "data.batch_size=48",
    "data.augment.shift=1",
    "trainer.num_threads=1",
    "trainer.accelerator=cpu",
    "trainer.accumulate_grad_batches=2",
    "trainer.val_check_interval=0.5",
    "trainer.log_every_n_steps=4",
    "callbacks.checkpoint.every_n_steps=3",
]
CONFIGS = {
    "mlp, dropout, EMA, plateau": [
        "model=mlp",
        "model.dropout=0.2",
        "+callbacks=ema",
        "scheduler=plateau",
        "scheduler.patience=1",
        "trainer.gradient_clip_val=1.0",
        "data.max_epochs=12",
    ],
    "lenet5, dropout, one-cycle": [
        "model=lenet5",
        "model.dropout=0.2",
        "scheduler=onecycle",
        "+callbacks=early_stopping",
        "data.max_epochs=6",
    ],
    "lenet5_1998, plateau": [
        "model=lenet5_1998",
        "scheduler=plateau",
        "scheduler.patience=0",
        "data.max_epochs=4",
    ],
    "cnn, dropout, EMA, cosine": [
        "model=cnn",
        "model.dropout=0.2",
        "+callbacks=ema",
        "scheduler=cosine",
        "data.max_epochs=8",
    ],
}


def main() -> int:
    """Run the loop over all configs, print the table, and return the exit status."""
    arguments = parse()
    # A plain kill of this process ends its children and its folder, too.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    kind = LightningRun if arguments.lightning else partial(NnkitRun, processes=arguments.processes)
    print(f"seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="kill-loop-") as directory:
        # The files of random pairings are written here.
        os.chdir(directory)
        configs = with_words(choose(arguments), shlex.split(arguments.words))
        with ThreadPoolExecutor(arguments.jobs) as threads:
            jobs = []
            for number, (name, words) in enumerate(configs.items()):
                share = arguments.kills // len(configs) + (number < arguments.kills % len(configs))
                folder = Path(directory) / str(number)
                folder.mkdir()
                seed = f"{arguments.seed}-{number}"
                jobs.append(threads.submit(kill, kind(name, words), folder, share, seed, arguments.lightning))
            tallies = [job.result() for job in jobs]
    print(table(tallies))
    failed = any(tally.mismatches or tally.unreadable for tally in tallies)
    return int(failed and not arguments.lightning)


def choose(arguments: argparse.Namespace) -> dict[str, list[str]]:
    """Return what is trained, by name."""
    if arguments.config:
        return {text: shlex.split(text) for text in arguments.config}
    if arguments.lightning or not arguments.pairings:
        return {name: [*words, *COMMON] for name, words in CONFIGS.items()}
    drawn = islice(pairings(str(arguments.seed)), arguments.pairings)
    return {f"{number}. {name}": words for number, (name, words) in enumerate(drawn, 1)}


def with_words(configs: dict[str, list[str]], more: list[str]) -> dict[str, list[str]]:
    """Return the configs with more words, which replace those of the same key; the names say so."""
    keys = {word.partition("=")[0] for word in more}
    return {
        ", ".join([name, *more]): [*(word for word in words if word.partition("=")[0] not in keys), *more]
        for name, words in configs.items()
    }


def kill(subject: Subject, folder: Path, kills: int, seed: str, repeat: bool) -> Tally:
    """Kill one config's runs, a line printed for each."""
    return Loop(subject, folder, Random(seed), lambda line: print(line, flush=True)).run(kills, repeat=repeat)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--kills", type=int, default=200, help="kills over all configs")
    parser.add_argument(
        "--config", action="append", default=[], help="words of nnkit train; may be given again"
    )
    parser.add_argument("--words", default="", help="words that every config is given as well")
    parser.add_argument("--pairings", type=int, default=25, help="random pairings; 0: four fixed configs")
    parser.add_argument("--jobs", type=int, default=1, help="configs at a time")
    parser.add_argument("--processes", type=int, default=1, help="that train each run together")
    parser.add_argument("--lightning", action="store_true", help="plain Lightning instead of nnkit")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="of the instants")
    return parser.parse_args()


def table(tallies: list[Tally]) -> str:
    """Return the counts in Markdown, and where the kills fell."""
    repeats = any(tally.repeats is not None for tally in tallies)
    head = ["config", "runs", "kills", "mismatches", "unreadable states", *["repeats itself"] * repeats]
    rows = [head, ["---"] * len(head)]
    for tally in tallies:
        counts = [tally.runs, tally.kills, tally.mismatches, tally.unreadable]
        rows.append([tally.name, *map(str, counts), *[("no", "yes")[bool(tally.repeats)]] * repeats])
    places = sum((tally.places for tally in tallies), Counter())
    fell = ", ".join(f"{place} {count}" for place, count in places.most_common())
    return "\n".join(["", *(f"| {' | '.join(row)} |" for row in rows), "", f"The kills fell: {fell}"])


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
