"""One key of a config that is right is changed, added or deleted: `check` refuses it, or it trains.

A part of the mutations runs in the suite (`test_one_key.py`). All of them, in the order of a seed, to be stopped and
started again at will:

    python tests/one_key_fuzz.py --mutations 5000 --jobs 2 --into FOLDER
"""

import argparse
import contextlib
import gc
import io
import json
import os
import re
import resource
import shlex
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import omegaconf.base
import samples
import torch
from lightning.fabric.utilities import registry
from lightning.pytorch import Callback
from test_every_pair import TYPED, own_vocabularies

import nnkit.analysis.timing
import nnkit.cli.verbs.check
import nnkit.cli.verbs.train
import nnkit.network
import nnkit.runs.fit
import nnkit.runs.preflight
import nnkit.runs.session
import nnkit.runs.training
from nnkit import cli
from nnkit import config as configs
from nnkit.config import catalog
from nnkit.config.keys import all_keys
from nnkit.data.datasets import documentation
from nnkit.factory.nodes import nodes_of, signature, target_of

# Seconds of one mutation on a processor and on the wall, bytes it may claim beyond what the process had, and the
# training steps it may take.
LIMIT, WALL = 60, 600
MEMORY = 4 << 30
STEPS = 2
# A model for each kind of data.
FEW = {
    "cnn": "pictures",
    "mlp": "table",
    "gpt": "text",
    "lstm": "texts",
    "transformer": "pairs",
    "bert_tiny": "sentences",
    "gru": "series",
}
# A number, a text, a list or a mapping where another belongs, out of every range, or referring to nothing.
VALUES = (
    *(
        "nan",
        "inf",
        "-inf",
        "-1",
        "0",
        "1",
        "2",
        "3",
        "0.5",
        "-0.5",
        "1.5",
        "1e-300",
        "1e300",
        "1000000000000",
    ),
    *(
        "9223372036854775808",
        "true",
        "false",
        "null",
        "???",
        "''",
        "' '",
        "abc",
        "größe",
        "用户编号",
        "../x",
        "/",
    ),
    *(
        "~nosuchuser",
        "torch.nn.Linear",
        "[]",
        "[1]",
        "[0.5,abc]",
        "[[]]",
        "[用户,编号]",
        "[nan]",
        "{}",
        "{a:1}",
    ),
    *(
        "{用户:1}",
        "{_target_:torch.nn.Linear}",
        "${oc.env:NOPE}",
        "${nothing}",
        "${seed}",
        "${data}",
        "${",
        "'a b'",
    ),
)
# What may end a training that `check` has let pass: it diverges, or the machine is too small for it.
EXCUSES = {"diverged": r"not finite|\bnan\b|NaN", "did not fit": r"memory|bytes left|too little"}
GOOD = ("refused", "trained", "checked", "diverged", "did not fit")

_SMALL = [
    f"trainer.max_steps={STEPS}",
    "trainer.num_threads=1",
    "trainer.accelerator=cpu",
    "trainer.limit_val_batches=1",
    "trainer.limit_test_batches=1",
]


class Mutation(NamedTuple):
    """One changed config.

    Attributes:
        number: Its place in the order of the seed.
        base: Words of the config that is right.
        word: The word that changes one key.
    """

    number: int
    base: tuple[str, ...]
    word: str

    def line(self) -> str:
        """Return the words as they are typed after the verb."""
        return shlex.join([*self.base, self.word])


class Verdict(NamedTuple):
    """What came of a mutation.

    Attributes:
        kind: One of `GOOD`, or how it fell.
        said: The last of what was written to standard error.
        seconds: How long it took.
    """

    kind: str
    said: str
    seconds: float


class _EnoughError(BaseException):
    """The training has shown that it runs."""


class _Enough(Callback):
    def __init__(self) -> None:
        self.steps = 0

    def on_train_batch_end(self, *_: Any) -> None:
        self.steps += 1
        if self.steps > 4 * STEPS:
            raise _EnoughError


def prepare(folder: Path) -> None:
    """Let the datasets of Python's documentation be made of a few modules, and keep the cache in a folder.

    Args:
        folder: Where files of the datasets and the cache stand.
    """
    os.environ["NNKIT_CACHE"] = str(folder / "cache")
    library = samples.library(folder / "library")
    documentation.library_folder = lambda: library
    # A minute of compiling shows nothing.
    nnkit.network.Network.compile = lambda network: None
    # These take longer than what is looked at, and every process would ask them the same.
    registry.entry_points = cache(registry.entry_points)
    omegaconf.base.parse = cache(omegaconf.base.parse)
    os.fsync = lambda descriptor: None
    # One step is measured where `nnkit check` takes a second and more.
    nnkit.analysis.timing.measure_pace = partial(nnkit.analysis.timing.measure_pace, budget=0)


def bases(folder: Path) -> list[tuple[str, ...]]:
    """Return the configs that are changed: every experiment, and each model with each kind of data it takes.

    Args:
        folder: Where the files of the datasets stand.
    """
    known = folder / "bases.json"
    if known.is_file():
        return [tuple(words) for words in json.loads(known.read_text())]
    found = [_experiment(name, folder) for name in catalog.options("experiment")]
    for model in catalog.options("model"):
        for kind in samples.KINDS:
            words = _pairing(model, kind, folder)
            composed, problems = configs.examine(words)
            if not problems and not nnkit.runs.preflight.problems(composed):
                found.append(words)
    known.write_text(json.dumps(found))
    return found


def few_bases(folder: Path) -> list[tuple[str, ...]]:
    """Return a config for each kind of data, as `bases`."""
    pairings = [_pairing(model, kind, folder) for model, kind in FEW.items()]
    return [_experiment("lenet5_1998_mnist", folder), *pairings]


def _pairing(model: str, kind: str, folder: Path) -> tuple[str, ...]:
    words = _in(folder / f"kind-{kind}", partial(samples.words, kind))
    short = ["data.max_length=24"] if kind in ("texts", "pairs") else []
    return (f"model={model}", *words, *short, *samples.small(model), *_SMALL)


def _experiment(name: str, folder: Path) -> tuple[str, ...]:
    chosen = configs.examine([f"experiment={name}"])[0].choices
    data, model = chosen["data"], chosen["model"]
    words = _in(folder / f"data-{data}", TYPED.get(data, lambda: []))
    # The experiment says which dataset it is.
    words = [word for word in words if not word.startswith("data=")]
    if data == "dates":
        words += ["data.num_pairs=500"]
    if data in ("langid", "cmudict", "dates", "pydocs_topics"):
        words += ["data.max_length=40"]
    return (
        f"experiment={name}",
        *words,
        *samples.small(model),
        *own_vocabularies(model, data),
        *_SMALL,
        # The texts are shorter than the steps between two validations.
        "trainer.check_val_every_n_epoch=1",
        "trainer.val_check_interval=1.0",
    )


def _in(folder: Path, write: Any) -> list[str]:
    """Return the words of a dataset whose files are written into a folder, their paths made absolute."""
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.chdir(folder), contextlib.suppress(FileExistsError):
        words = write()
        file = folder / "words.json"
        file.write_text(
            json.dumps([re.sub(r"(data\.(?:path|root))=", rf"\1={folder}/", word) for word in words])
        )
    return list(json.loads((folder / "words.json").read_text()))


def warm_up(chosen: list[tuple[str, ...]], folder: Path) -> None:
    """Import what the configs name and train one of them, so that processes forked from this one need not.

    Args:
        chosen: Words of the configs.
        folder: Where a run may be written.
    """
    for base in chosen:
        composed = configs.examine(base)[0]
        for key, group, content in nodes_of(composed.config):
            target_of(content, key, group)
    with contextlib.chdir(tempfile.mkdtemp(dir=folder)), contextlib.redirect_stdout(io.StringIO()):
        cli.main(["train", *chosen[0]])
    gc.collect()
    gc.freeze()


def mutate(number: int, base: tuple[str, ...], seed: int) -> Mutation:
    """Draw one key of a base and what becomes of it.

    Args:
        number: Place in the order of the seed.
        base: Words of the config that is right.
        seed: Seed of the order.
    """
    random = Random(f"{seed} {number}")
    keys, others = _keys(base)
    way = random.random()
    if way < 0.65:
        word = f"{random.choice(keys)}={_value(random)}"
    elif way < 0.8:
        word = f"~{random.choice(keys)}"
    else:
        word = f"+{_new_key(random, keys, others)}={_value(random)}"
    return Mutation(number, base, word)


def _value(random: Random) -> str:
    return (
        random.choice(VALUES)
        if random.random() < 0.9
        else str(random.choice([1, -1]) * 10 ** random.randint(0, 20))
    )


@cache
def _keys(base: tuple[str, ...]) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Return the keys of a base, and the arguments that the class of each node takes and its file does not list."""
    config = configs.examine(base)[0].config
    others = []
    for key, group, content in nodes_of(config):
        target = target_of(content, key, group)
        taken = signature(target)[0] if isinstance(target, type) else {}
        others.append((key, [name for name in taken if name not in content]))
    return [key for key in all_keys(config) if not key.startswith("fit")], others


def _new_key(random: Random, keys: list[str], others: list[tuple[str, list[str]]]) -> str:
    """Draw a key that is not there: an argument of a class that its file does not list, or a name of nothing."""
    key, names = random.choice(others)
    if names and random.random() < 0.7:
        return f"{key}.{random.choice(names)}"
    above = random.choice([key, *(other for other in keys if "." in other)])
    return f"{above}.{random.choice(['x', '用户', '0', 'größe', '_x'])}"


def first_of_each_key(chosen: list[tuple[str, ...]], count: int, seed: int) -> list[int]:
    """Return the places of the mutations that are the first of their key, all new keys of one node counted as one.

    Args:
        chosen: Words of the configs.
        count: Mutations that are looked through.
        seed: Seed of their order.
    """
    found: dict[str, int] = {}
    for number in range(count):
        key = mutate(number, chosen[number % len(chosen)], seed).word.partition("=")[0]
        found.setdefault(key.rpartition(".")[0] if key[0] == "+" else key.lstrip("~"), number)
    return [*found.values()]


def judge(mutation: Mutation) -> Verdict:
    """Run `check`, and the training where it passes, in a process of their own, and return what came of it."""
    start, place = time.monotonic(), tempfile.mkdtemp()
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(reading)
        os._exit(_child(mutation, place, writing))
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read().decode(errors="replace")
    status = os.waitpid(process, 0)[1]
    shutil.rmtree(place, ignore_errors=True)
    kind, _, text = said.partition("\1")
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        kind = "hung" if number in (signal.SIGALRM, signal.SIGXCPU) else f"killed by {number}"
        text = ""
    return Verdict(kind, text.strip()[-1500:], round(time.monotonic() - start, 2))


def _child(mutation: Mutation, place: str, pipe: int) -> int:
    gc.disable()
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(WALL)
    resource.setrlimit(resource.RLIMIT_CPU, (LIMIT, LIMIT + 5))
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    claimed = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (claimed, claimed))
    os.chdir(place)
    log = Path(f"{place}.log")
    with log.open("w+", encoding="utf-8", errors="backslashreplace") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
        sys.stdout = sys.stderr = output
        kind = _judge(mutation, output)
        output.flush()
        text = log.read_text(encoding="utf-8", errors="replace")
    log.unlink()
    os.write(pipe, f"{kind}\1{text[-1500:]}".encode())
    return 0


def _judge(mutation: Mutation, output: Any) -> str:
    """Return the kind of the verdict; what is said goes to the output."""
    words = [*mutation.base, mutation.word]
    code = _run("check", words)
    if isinstance(code, str):
        return f"{code} in check"
    written = sorted(path.name for path in Path.cwd().iterdir())
    if code == 2 or written:
        return f"check wrote {written}" if written else "refused"
    # Each further process imports everything anew: tests/distributed trains in several.
    if code == 0 and re.fullmatch(r"trainer\.devices=.*", mutation.word):
        return "checked"
    output.seek(0)
    output.truncate()
    # It has just been asked of the same words.
    nnkit.runs.preflight.problems = lambda composition: []
    trained = _run("train", words)
    output.flush()
    if isinstance(trained, str):
        return f"{trained} in train"
    text = Path(output.name).read_text(encoding="utf-8", errors="replace")
    if code == 1:
        return "did not fit" if trained in (0, 1) else f"check ended with 1 and train with {trained}"
    if trained == 0:
        return "trained"
    excuses = [kind for kind, words in EXCUSES.items() if re.search(words, text)]
    return excuses[0] if trained == 1 and excuses else f"check ended with 0 and train with {trained}"


def _run(verb: str, words: list[str]) -> int | str:
    try:
        return cli.main([verb, *words])
    except SystemExit as leaving:
        return int(leaving.code or 0)
    except _EnoughError:
        return 0
    except BaseException:
        traceback.print_exc(limit=-12)
        return "traceback"


def with_enough() -> None:
    """Let every training of this process end after a few steps, whatever its config says of its length."""
    train = nnkit.runs.training.train
    nnkit.runs.training.train = lambda composition, problems=(), extra=(): train(
        composition, problems, extra=[_Enough(), *extra]
    )


def main() -> int:
    """Run the mutations that are not done yet, and print what came of all of them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mutations", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument(
        "--into", type=Path, required=True, metavar="FOLDER", help="verdicts and files of the datasets"
    )
    parser.add_argument(
        "--few", action="store_true", help="change each key once, in a config of each kind of data"
    )
    parser.add_argument("--again", action="store_true", help="run again those that fell")
    given = parser.parse_args()
    folder = given.into.absolute()
    prepare(folder)
    with_enough()
    torch.set_num_threads(1)
    verdicts = folder / "verdicts.jsonl"
    done = _done(verdicts)
    with configs.loading_once():
        chosen = few_bases(folder) if given.few else bases(folder)
        numbers = range(given.mutations)
        wanted = [
            number
            for number in (first_of_each_key(chosen, len(numbers), given.seed) if given.few else numbers)
            if number not in done or (given.again and done[number]["kind"] not in GOOD)
        ]
        warm_up(chosen, folder)
        children = [
            _worker(chosen, wanted[job :: given.jobs], given.seed, verdicts) for job in range(given.jobs)
        ]
        for child in children:
            os.waitpid(child, 0)
    return _report({number: one for number, one in _done(verdicts).items() if number < given.mutations})


def _worker(chosen: list[tuple[str, ...]], numbers: list[int], seed: int, verdicts: Path) -> int:
    process = os.fork()
    if process:
        return process
    for number in numbers:
        mutation = mutate(number, chosen[number % len(chosen)], seed)
        verdict = judge(mutation)
        row = {"number": number, "kind": verdict.kind, "line": mutation.line(), "seconds": verdict.seconds}
        if verdict.kind != "trained":
            row["said"] = verdict.said
        with verdicts.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    os._exit(0)


def _done(verdicts: Path) -> dict[int, dict[str, Any]]:
    rows = verdicts.read_text(encoding="utf-8").splitlines() if verdicts.is_file() else []
    return {row["number"]: row for row in map(json.loads, rows)}


def _report(done: dict[int, dict[str, Any]]) -> int:
    counts = Counter(row["kind"] for row in done.values())
    for kind, count in sorted(counts.items(), key=lambda pair: (pair[0] not in GOOD, -pair[1])):
        sys.stdout.write(f"{count:6,}  {kind}\n")
    sys.stdout.write(f"{len(done):6,}  in all\n")
    fallen = [row for row in done.values() if row["kind"] not in GOOD]
    for row in fallen:
        last = row.get("said", "").strip().splitlines()
        sys.stdout.write(
            f"\n{row['number']} {row['kind']}: {last[-1] if last else ''}\n    nnkit check {row['line']}\n"
        )
    return 1 if fallen else 0


if __name__ == "__main__":
    sys.exit(main())
