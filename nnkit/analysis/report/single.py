"""The page on one run."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nnkit.analysis.charts import curve, curves_of
from nnkit.analysis.inspection.views import view
from nnkit.analysis.log import read_log
from nnkit.analysis.pages.parts import Command, PageContent, PageTable, Section, Tile
from nnkit.analysis.report import figures
from nnkit.analysis.report.answers import answers, intervals_of, results
from nnkit.analysis.report.samples import Seen, sample_at, spread
from nnkit.decoding.sampling import Sampling
from nnkit.errors import NnkitError
from nnkit.inference.generation import continuations, line_break, whole
from nnkit.runs.fit import title_of
from nnkit.ui.report import number, shorten
from nnkit.ui.terminal import duration

if TYPE_CHECKING:
    from nnkit.analysis.report.statistics import Interval
    from nnkit.data.base import DataModule
    from nnkit.runs.run import Run
    from nnkit.tasks.base import Task

# Curves beside that of the loss, and inputs that are seen from inside.
_CURVES, _INPUTS = 3, 3
# Seconds after which no further input is looked into.
_LONG = 5.0
# Tokens of a prompt and of a text that is written on from it, of networks up to so many parameters and beyond.
_PROMPT, _WRITTEN, _WRITTEN_BY_LARGE, _LARGE = 16, 160, 48, 20_000_000
_TEXTS, _TEMPERATURE = 3, 0.8
_LARGEST = 1e300
# What a run notes of its surroundings, and what that is called here.
_SURROUNDINGS = {
    "processor": "processor",
    "gpu": "GPU",
    "cores": "cores",
    "threads": "threads",
    "processes": "processes",
    "precision": "precision",
    "python": "Python",
}


def report(run: Run, task: Task, data: DataModule, seen: Seen) -> PageContent:
    """Return the page on a run.

    Args:
        run: The run.
        task: Its task, in evaluation mode.
        data: Its data module.
        seen: What the network makes of a part of the data.
    """
    record = run.record()
    metrics = _metrics(record)
    found = intervals_of(task, seen)
    page = PageContent(title_of(run), _facts(run, record), lead=_lead(record, task), command=_command(record))
    page.tiles = [*_tiles(task, seen, metrics, found)]
    page.sections = [
        results(task, seen, metrics, found),
        _learning(run, task, record),
        *answers(task, data, seen),
        *_written(task, data, seen, record),
        *_inside(task, data, seen),
        _environment(run, record),
        _again(run, record),
    ]
    return page


def _metrics(record: Mapping[str, Any]) -> dict[str, float]:
    known = record.get("metrics")
    found = known.items() if isinstance(known, dict) else ()
    return {
        str(name): float(value)
        for name, value in found
        # A file that anyone may have written may hold numbers that no float is.
        if type(value) in (int, float) and not abs(value) > _LARGEST
    }


def _lead(record: Mapping[str, Any], task: Task) -> str:
    total = sum(parameter.numel() for parameter in task.network.parameters())
    words = [f"{total:,} parameters"]
    trained = record.get("parameters")
    if isinstance(trained, int) and trained != total:
        words.append(f"{trained:,} of them trained")
    if isinstance(record.get("step"), int):
        words.append(f"{record['step']:,} optimizer steps")
    if isinstance(record.get("seconds"), int | float):
        words.append(f"{duration(float(record['seconds']))} of training")
    words.append(f"seed {record.get('seed', 0)}")
    return ", ".join(words)


def _facts(run: Run, record: Mapping[str, Any]) -> dict[str, str]:
    choices = run.choices()
    known = {
        name: ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        for name in ("model", "data", "task", "loss", "optimizer", "scheduler", "adapter", "experiment")
        if (value := choices.get(name))
    }
    begun = record.get("init_from")
    if isinstance(begun, dict) and begun.get("directory"):
        known["started from"] = str(begun["directory"])
    return {
        **known,
        "best checkpoint": str(record.get("best") or "none"),
        "began": str(record.get("start") or "")[:16].replace("T", " "),
        "status": run.status() if record.get("status") != "running" else "done",
        "run": shorten(run.path),
    }


def _tiles(
    task: Task, seen: Seen, metrics: Mapping[str, float], found: Mapping[str, Interval]
) -> Iterator[Tile]:
    """Yield the metric that the run is judged by and two more, with their intervals."""
    monitor = task.monitor.partition("/")[2]
    names = dict.fromkeys([monitor, *task.better])
    for name in [name for name in names if name != "loss" or name == monitor][:_CURVES]:
        of = next((split for split in (seen.split, "val") if f"{split}/{name}" in metrics), None)
        interval = found.get(name)
        if of is None and interval is None:
            continue
        value = interval.value if of is None and interval is not None else metrics[f"{of}/{name}"]
        own = interval if of in (seen.split, None) else None
        note = f"{number(own.low)} to {number(own.high)}" if own is not None and np.isfinite(own.low) else ""
        yield Tile(f"{of or seen.split} {name.replace('_', ' ')}", number(value), note)
    yield Tile("parameters", _short(sum(one.numel() for one in task.network.parameters())))


def _learning(run: Run, task: Task, record: Mapping[str, Any]) -> Section:
    section = Section("Learning curves", "curves")
    log = read_log(run.path)
    best = _best_step(record)
    monitor = task.monitor.partition("/")[2]
    names = ["loss", *(name for name in dict.fromkeys([monitor, *task.better]) if name != "loss")]
    for name in names[: 1 + _CURVES]:
        if found := curves_of(log, name):
            section.figures[name] = figures.curves(found, name, best)
    if rates := curve(log, "train", "lr"):
        section.figures["learning rate"] = figures.curves({"learning rate": rates}, "learning rate", None)
    if not section.figures:
        section.texts.append("Nothing was logged.")
    return section


def _best_step(record: Mapping[str, Any]) -> int | None:
    name = str(record.get("best") or "").rpartition("-")[2]
    return int(name) if name.isdecimal() else None


def _written(task: Task, data: DataModule, seen: Seen, record: Mapping[str, Any]) -> list[Section]:
    """Let a language model write on from the beginnings of texts; no generator but private ones draws."""
    tokenizer = getattr(data, "learnt_tokenizer", None)
    if task.writes != "on" or tokenizer is None or seen.problem or not seen.indices:
        return []
    seed = known if type(known := record.get("seed")) is int else 0
    size = sum(parameter.numel() for parameter in task.network.parameters())
    length = _WRITTEN if size <= _LARGE else _WRITTEN_BY_LARGE
    section = Section("Written on", "written")
    section.texts.append(
        f"From the beginnings of {seen.part} texts, which end at the bar, drawn at a temperature of {_TEMPERATURE}."
    )
    for place in spread(len(seen.indices), _TEXTS):
        sample = sample_at(data, seen.split, seen.indices[place])
        prompt = sample.inputs[0, :_PROMPT].tolist() or line_break(tokenizer)
        try:
            pieces = continuations(
                task.network,
                tokenizer,
                prompt,
                length=length,
                sampling=Sampling(_TEMPERATURE),
                seeds=(seed, place),
            )
            text = whole(pieces, 1)[0]
        except NnkitError as error:
            section.texts.append(str(error).splitlines()[0])
            break
        section.commands.append(Command(f"{tokenizer.decode(prompt)}\u2502{text}"))
    return [section]


def _inside(task: Task, data: DataModule, seen: Seen) -> list[Section]:
    """Look into three inputs: what their answers rest on."""
    if not seen.indices:
        return []
    whole = Section("From inside", "inside")
    whole.texts.append("What the answers to three inputs rest on; nnkit inspect shows every layer.")
    found, said = [whole], set[str]()
    began = time.monotonic()
    for number_, (place, why) in enumerate(_telling(task, seen), 1):
        index = seen.indices[place]
        sample = task.first_sample(sample_at(data, seen.split, index))
        try:
            one = view(task, data, sample, f"{why}: sample {index + 1}", f"input {number_}", briefly=True)
        except NnkitError as error:
            whole.texts.append(str(error).splitlines()[0])
            break
        one.section.minor = True
        # What explains all of them is written once.
        one.section.texts = [text for text in one.section.texts if text not in said]
        said.update(one.section.texts)
        found.append(one.section)
        if time.monotonic() - began > _LONG:
            break
    return found


def _telling(task: Task, seen: Seen) -> list[tuple[int, str]]:
    """Return places of samples that tell something, each with what: of classes one right, one doubtful, one wrong."""
    if not seen.is_measured:
        return [(place, "input") for place in range(min(_INPUTS, len(seen.indices)))]
    truth, predicted = seen.truth, seen.predictions
    if task.measures == "classes":
        certain, right = predicted.max(1), predicted.argmax(1) == truth
        asked = [
            (np.where(right, certain, -1.0), "the most certain right answer"),
            (-certain, "the least certain answer"),
            (np.where(right, -1.0, certain), "the most certain mistake"),
        ]
    elif task.measures == "labels":
        wrong = ((predicted >= 0.5) != (truth > 0)).sum(1)
        asked = [(-wrong, "a sample with the fewest wrong labels"), (wrong, "a sample with the most")]
    else:
        rows = abs(predicted - truth).mean(1).reshape(len(seen.indices), -1).mean(1)
        middle = -abs(rows - np.median(rows))
        asked = [(-rows, "the smallest error"), (middle, "a middling error"), (rows, "the largest error")]
    found: dict[int, str] = {}
    for values, why in asked:
        place = int(np.argmax(values))
        if values[place] != -1.0:
            found.setdefault(place, why)
    return list(found.items())


def _environment(run: Run, record: Mapping[str, Any]) -> Section:
    versions = record.get("versions")
    rows = [[title, str(record[name])] for name, title in _SURROUNDINGS.items() if record.get(name)]
    rows += [[str(name), str(one)] for name, one in (versions if isinstance(versions, dict) else {}).items()]
    if record.get("data_fingerprint"):
        rows.append(["SHA-256 of the data, its beginning", str(record["data_fingerprint"])[:16]])
    if record.get("git"):
        rows.append(["git commit", str(record["git"])])
    section = Section("Environment", "environment")
    section.tables.append(PageTable("what it was trained with", ["", ""], rows))
    return section


def _again(run: Run, record: Mapping[str, Any]) -> Section:
    """Show the commands that train it again and go on from it."""
    section = Section("Do it again", "again")
    overrides = _words(record.get("overrides"))
    section.commands.append(Command(_command(record), "This command trains the same network again:"))
    known = _words(record.get("command"))
    if known and known[1:] != ["train", *overrides]:
        section.commands.append(Command(shlex.join(known), "It was begun by:"))
    for note in run.resumptions():
        changes = note["changes"] if isinstance(note["changes"], list) else []
        words = [f"{one.get('key')}={one.get('new')}" for one in changes if isinstance(one, dict)]
        section.commands.append(
            Command(
                shlex.join(["nnkit", "resume", shorten(run.path), *words]),
                f"At step {note['step']} it went on:",
            )
        )
    where = shorten(run.path)
    more = "\n".join(shlex.join(["nnkit", verb, where]) for verb in ("test", "inspect", "report"))
    section.commands.append(Command(more, "Test it, see it from inside, write this page:"))
    section.texts.append(
        "With the same versions, data, threads and processor the weights come out the same to the last bit; "
        f"config.yaml of {where} holds every key."
    )
    return section


def _command(record: Mapping[str, Any]) -> str:
    """Return the words that train the same again."""
    return shlex.join(["nnkit", "train", *_words(record.get("overrides"))])


def _short(count: int) -> str:
    """Return a number as a reader says it."""
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**4, "k")):
        if count >= size:
            return f"{count / (size if unit != 'k' else 1000):.3g} {unit}"
    return f"{count:,}"


def _words(value: object) -> Sequence[str]:
    return [str(word) for word in value] if isinstance(value, list) else []
