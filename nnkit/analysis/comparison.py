"""Runs side by side: what differs in their configs, and what they came to. Nothing of a run is executed or resolved."""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from types import NoneType
from typing import Any

from nnkit.config.migration import follow
from nnkit.runs.run import Run, all_runs, describe
from nnkit.sweep.directory import Sweep, find_run_near, find_sweep
from nnkit.sweep.statistics import Summary, summarize
from nnkit.sweep.trials import DONE, OVER, PRUNED, REPEATED, SEED, Entry, count_states, values
from nnkit.ui.report import shorten

# Metrics that are better the larger they are, for runs of earlier releases, whose record does not say; others: smaller.
_HIGHER = frozenset(
    {"accuracy", "f1", "r2", "bleu", "chrf", "token_accuracy", "exact_match", "masked_accuracy"}
    | {"next_sentence_accuracy", "micro_f1"}
)
# What has no one value over several seeds.
_FOLLOWS_SEED = f"${{{SEED}}}"
# What YAML and JSON both have.
_PLAIN = frozenset({bool, int, float, str, list, NoneType})
# What the data say of themselves.
FACTS = frozenset(
    {"num_features", "cardinalities", "num_classes", "num_outputs", "num_channels", "in_channels"}
)
FACTS |= {"height", "width", "vocab_size", "source_vocab_size"}
# Which run it is, where it is logged, how it is shown, and what an option says of itself.
_IDLE = re.compile(
    r"""(name|output_dir|auto_resume|report|fit|logger)(\..*)?
      | callbacks\.(progress|throughput|pictures|samples|attention)(\..*)?
      | trainer\.(log_every_n_steps|profiler)
      | .*\.(kind|takes|fits|targets|tasks)""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Row:
    """One run, or several that differ in seed and fold alone.

    Attributes:
        name: What it is called.
        runs: The run directories.
        states: How they stand, one word each.
        settings: Their config by dotted key, and the option of each group; references as text.
        meant: What those of the settings come to that are references to others.
        groups: Those keys of the settings that name an option, such as "model".
        typed: Keys that were typed on the command line, in that order.
        metrics: The values of each metric, one a run that counts.
        monitor: The metric that says which is better; None if nothing says it.
        better: "max" or "min" for each metric whose direction the record has, without its split.
        source: The sweep's name; empty for a run that belongs to none that was asked for.
        steps: Optimizer steps of each run, where known.
        seeds: How many runs the metrics are of.
        known: Whether the whole config could be read.
    """

    name: str
    runs: tuple[Run, ...]
    states: tuple[str, ...]
    settings: Mapping[str, Any]
    groups: frozenset[str] = frozenset()
    typed: tuple[str, ...] = ()
    metrics: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    monitor: str | None = None
    better: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    steps: tuple[int, ...] = ()
    seeds: int = 1
    known: bool = True
    meant: Mapping[str, Any] = field(default_factory=dict)

    @property
    def status(self) -> str:
        """How the runs stand: "done", or "2 done, 1 killed"."""
        return count_states(self.states)

    @property
    def mode(self) -> str:
        """Which way the monitored metric is better, "max" or "min"."""
        return self.direction(self.monitor or "")

    def direction(self, metric: str) -> str:
        """Return "max" if more of a metric is better, or else "min"."""
        name = metric.rpartition("/")[2]
        return self.better.get(name) or ("max" if name in _HIGHER else "min")

    def summary(self, metric: str) -> Summary | None:
        """Return a metric over the runs; None where none has it."""
        found = self.metrics.get(metric)
        return summarize(found, metric) if found else None

    def value(self, key: str) -> Any:
        """Return what stands under a key: of a metric the mean; None where there is nothing."""
        if (summary := self.summary(key)) is not None:
            return summary.mean
        own = {"run": self.name, "status": self.status, "steps": max(self.steps, default=None)}
        return self.setting(key) if key in self.settings else own.get(key)

    def setting(self, key: str) -> Any:
        """Return what a key of the config comes to; None if there is none."""
        return self.meant.get(key, self.settings.get(key))


# Keys that every row has, beside those of its config and its metrics.
OWN_KEYS = ("run", "status", "steps")


def gather(specs: Sequence[str], output_dir: Path) -> tuple[list[Row], list[Sweep]]:
    """Return the runs that were asked for, each once, and the sweeps among what was asked for.

    Args:
        specs: Run directories, prefixes of them, sweeps or their names; none: all runs.
        output_dir: Where they are looked for.

    Raises:
        UserError: If one of them is nothing of this kind.
    """
    if not specs:
        # A directory that a link leads to as well is found twice.
        places = {_place(run.path): run for run in all_runs(output_dir)}
        return [_read(run, output_dir) for run in places.values()], []
    rows: dict[Path, Row] = {}
    sweeps = []
    for spec in specs:
        sweep = find_sweep(spec, output_dir)
        if sweep is None:
            run = find_run_near(spec, output_dir)
            rows.setdefault(run.path.resolve(), _read(run, output_dir))
            continue
        sweeps.append(sweep)
        rows.update((row.runs[0].path.resolve(), row) for row in _trials(sweep))
    return list(rows.values()), sweeps


def _place(path: Path) -> Hashable:
    """Return what is the same for all paths of a directory, in a tenth of the time that following them takes."""
    try:
        found = path.stat()
    except OSError:
        # Deleted meanwhile.
        return path
    return found.st_dev, found.st_ino


def _read(run: Run, output_dir: Path) -> Row:
    name = str(run.path.relative_to(output_dir)) if run.path.is_relative_to(output_dir) else shorten(run.path)
    record = run.record()
    facts = describe(run, run.path.parent, record)
    config = {
        # A YAML file may hold a date, which no JSON can.
        key: value if type(value) in _PLAIN else str(value)
        for key, value in run.settings().items()
    }
    choices = run.choices(record)
    settings = {**choices, **config}
    overrides = record.get("overrides")
    words = [str(word) for word in overrides] if isinstance(overrides, list) else []
    monitor = facts["monitor"]
    return Row(
        name,
        (run,),
        (str(facts["status"]),),
        {key: value for key, value in settings.items() if not _is_idle(key)},
        frozenset(choices),
        tuple(dict.fromkeys(word.partition("=")[0].lstrip("+~") for word in words)),
        {metric: (value,) for metric, value in facts["metrics"].items()},
        monitor,
        facts["better"],
        steps=(facts["step"],) if isinstance(facts["step"], int) else (),
        known=bool(config),
        meant={
            key: follow(config, value)
            for key, value in config.items()
            if isinstance(value, str) and "${" in value
        },
    )


@lru_cache(maxsize=4096)
def _is_idle(key: str) -> bool:
    group, _, name = key.partition(".")
    return bool(_IDLE.fullmatch(key)) or (group == "data" and name in FACTS)


def _trials(sweep: Sweep) -> Iterator[Row]:
    """Yield the trials of a sweep; one without a run directory has what its words say, and its siblings' config."""
    definition = sweep.definition()
    rows = []
    for entry in sweep.settled().values():
        row = _read(sweep.run_of(entry.trial), sweep.path)
        metrics = row.metrics or {name: (value,) for name, value in entry.outcome.metrics.items()}
        settings = row.settings if row.known else _typed(entry)
        state = _state(entry, row)
        row = replace(row, states=(state,), metrics=metrics, settings=settings, source=sweep.path.name)
        better = {**row.better, definition.monitor.rpartition("/")[2]: definition.mode}
        rows.append((entry, replace(row, monitor=definition.monitor, better=better)))
    siblings = {entry.trial.setting: row for entry, row in rows if row.known}
    for entry, row in rows:
        sibling = siblings.get(entry.trial.setting)
        if row.known or sibling is None:
            yield row
        else:
            yield replace(
                row,
                settings={**sibling.settings, **{key: _typed(entry).get(key) for key in REPEATED}},
                typed=sibling.typed,
                known=True,
                meant={
                    key: value
                    for key, value in sibling.meant.items()
                    if sibling.settings.get(key) != _FOLLOWS_SEED
                },
            )


def _state(entry: Entry, row: Row) -> str:
    state = entry.outcome.state
    return state if state in OVER or not row.known else row.states[0]


def _typed(entry: Entry) -> dict[str, Any]:
    """Return the values of a trial's words, numbers as numbers."""
    found: dict[str, Any] = dict(values(entry.trial))
    for key, word in found.items():
        with suppress(ValueError):
            found[key] = int(word) if word.lstrip("-").isdecimal() else float(word)
    return found


def merge_seeds(rows: Sequence[Row]) -> list[Row]:
    """Return rows with those merged that differ in seed and fold alone.

    The metrics of a merged row are those of the runs that are done; if none is, those of the pruned, or else of all.
    """
    groups: dict[tuple[str, Hashable], list[Row]] = {}
    for row in rows:
        settings = {key: value for key, value in row.settings.items() if key not in REPEATED}
        groups.setdefault((row.source, _canonical(settings)), []).append(row)
    return [_merged(group) for group in groups.values()]


def _merged(group: Sequence[Row]) -> Row:
    first = group[0]
    counted = list(group)
    for state in (DONE, PRUNED):
        if chosen := [row for row in group if state in row.states]:
            counted = chosen
            break
    names = dict.fromkeys(name for row in counted for name in row.metrics)
    return replace(
        first,
        # What follows the seed has no one value.
        meant={
            key: value
            for key, value in first.meant.items()
            if all(row.meant.get(key) == value for row in group)
        },
        name=first.name if len(group) == 1 else f"{first.name} +{len(group) - 1}",
        runs=tuple(run for row in group for run in row.runs),
        states=tuple(state for row in group for state in row.states),
        settings={key: value for key, value in first.settings.items() if key not in REPEATED},
        metrics={
            name: tuple(value for row in counted for value in row.metrics.get(name, ())) for name in names
        },
        steps=tuple(step for row in group for step in row.steps),
        seeds=len(counted),
    )


def differing(rows: Sequence[Row]) -> tuple[list[str], list[str]]:
    """Return the keys whose values differ: those to show, and those that only follow from the options typed.

    What was typed comes first and what only repeats a setting last. What nobody typed and no option explains, such as a
    default that was changed in between, is shown as well.
    """
    whole = [row for row in rows if row.known] or list(rows)
    keys = dict.fromkeys(key for row in whole for key in row.settings)
    # A reference and the value that it comes to are the same.
    found = [
        key
        for key in keys
        if not _is_one([row.settings.get(key) for row in whole])
        and len({_canonical(row.setting(key)) for row in whole}) > 1
    ]
    typed = [key for key in dict.fromkeys(key for row in rows for key in row.typed) if key in found]
    groups = {group for row in whole for group in row.groups}
    options = [key for key in typed if key in groups]
    follow = [key for key in found if key not in typed and options and _follows(key, options, whole)]
    shown = [*typed, *(key for key in found if key not in typed and key not in follow)]
    # What an option says of itself comes after what it has changed elsewhere; its class is no news.
    inside = [key for key in follow if key.partition(".")[0] in options]
    elsewhere = [key for key in follow if key not in inside]
    others = [*elsewhere, *(key for key in inside if not key.endswith("_target_") and ".embeds." not in key)]
    return sorted(shown, key=lambda key: key in REPEATED), others


def _follows(key: str, options: Sequence[str], rows: Sequence[Row]) -> bool:
    """Return whether runs that chose the same options have the same value."""
    pairs = {
        (_canonical([row.settings.get(one) for one in options]), _canonical(row.settings.get(key)))
        for row in rows
    }
    return len(pairs) == len({chosen for chosen, _ in pairs})


def _is_one(values: Sequence[Any]) -> bool:
    """Return whether all values are the same; most are one object, of parts of configs that were parsed once."""
    first = values[0]
    return all(value is first for value in values) or len(set(map(_canonical, values))) == 1


def _canonical(value: Any) -> Hashable:
    """Return what two values have in common if and only if they are the same as JSON."""
    if type(value) in (str, int, bool, NoneType):
        return type(value), value
    return json.dumps(value, sort_keys=True, default=str)


def metric_names(rows: Sequence[Row]) -> list[str]:
    """Return the metrics of runs: the monitored ones, their counterparts on the test part, then the others."""
    known = dict.fromkeys(name for row in rows for name in row.metrics)
    monitors = dict.fromkeys(row.monitor for row in rows if row.monitor)
    first = [name for one in monitors for name in (one, f"test/{one.partition('/')[2]}")]
    others = sorted(known, key=lambda name: name.partition("/")[0] != "test")
    return [name for name in dict.fromkeys([*first, *others]) if name in known]
