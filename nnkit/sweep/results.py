"""What a sweep ends with: the table of its settings, who won, and what went wrong."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nnkit.files import atomic
from nnkit.sweep.directory import Definition, Sweep
from nnkit.sweep.plan import way_on
from nnkit.sweep.statistics import Summary, Verdict, best_first, summarize, verdict
from nnkit.sweep.status import LOGS
from nnkit.sweep.tabular import Column, compact, interval, plain_cell, short_names, show_columns, to_csv
from nnkit.sweep.trials import DONE, FAILED, FOLD, OVER, PRUNED, REPEATED, SEED, Entry, count_states, values
from nnkit.ui.report import number, shorten, show, table

RESULTS_CSV = "results.csv"
RESULTS_JSON = "results.json"
# Rows that are printed; the files have all.
_MOST_ROWS = 50
# A mean over nothing, for a metric that a setting does not have.
_NOTHING = Summary(0, float("nan"), None, None)


@dataclass(frozen=True)
class Setting:
    """Trials that differ in their seed, or in the fold of the data that they are tested on, alone.

    Attributes:
        choice: What it sets, by key: ``{"model": "mlp", "optimizer.lr": "0.001"}``.
        entries: Its trials, in the order in which they were planned.
    """

    choice: Mapping[str, str]
    entries: Sequence[Entry]

    @property
    def label(self) -> str:
        """What it is called in a sentence."""
        return " ".join(f"{key}={compact(value)}" for key, value in self.choice.items()) or "this setting"

    @property
    def counted(self) -> list[Entry]:
        """The trials whose metrics count: those that trained to their end, or else those that were pruned."""
        done = [entry for entry in self.entries if entry.outcome.state == DONE]
        return done or [entry for entry in self.entries if entry.outcome.state == PRUNED]

    @property
    def pruned(self) -> bool:
        """Whether no trial of it trained to its end, because all were pruned."""
        return bool(self.counted) and self.counted[0].outcome.state == PRUNED

    @property
    def seeds(self) -> int:
        """Number of trials whose metrics count."""
        return len(self.counted)

    @property
    def states(self) -> list[str]:
        """How its trials stand."""
        return [entry.outcome.state for entry in self.entries]

    def values(self, metric: str) -> list[float]:
        """Return the values of a metric, one a trial that has it."""
        found = (entry.outcome.metrics.get(metric) for entry in self.counted)
        return [value for value in found if value is not None]

    def summary(self, metric: str) -> Summary | None:
        """Return a metric over seeds and folds; None where no trial has it."""
        found = self.values(metric)
        return summarize(found, metric) if found else None


@dataclass(frozen=True)
class Results:
    """What a sweep has come to.

    Attributes:
        sweep: Its directory.
        definition: What was asked for.
        settings: Its settings, the best first.
        failed: The trials that failed.
        unfinished: How many were begun or planned and have not ended.
        verdict: Who won.
    """

    sweep: Sweep
    definition: Definition
    settings: Sequence[Setting]
    failed: Sequence[Entry]
    unfinished: int
    verdict: Verdict

    @property
    def all_done(self) -> bool:
        """Whether no trial failed."""
        return not self.failed

    @property
    def keys(self) -> list[str]:
        """The keys in which settings differ."""
        return list(dict.fromkeys(key for setting in self.settings for key in setting.choice))

    @property
    def counted(self) -> str:
        """What a setting is a mean over."""
        words = [
            word for setting in self.settings for entry in setting.entries for word in values(entry.trial)
        ]
        return "seeds" if FOLD not in words else "runs" if SEED in words else "folds"

    @property
    def metrics(self) -> list[str]:
        """The metrics: the monitored one, its counterpart on the test split, then the others."""
        monitor = self.definition.monitor
        found = [
            name for one in self.settings for entry in one.counted for name in sorted(entry.outcome.metrics)
        ]
        known = dict.fromkeys([f"test/{monitor.partition('/')[2]}", *found])
        return [monitor, *(name for name in known if name in found and name != monitor)]

    @property
    def best(self) -> Entry | None:
        """The best trial of the best setting; None if no trial has a value of the monitored metric."""
        monitor, sign = self.definition.monitor, -1 if self.definition.mode == "max" else 1
        for setting in self.settings:
            scored = [entry for entry in setting.counted if monitor in entry.outcome.metrics]
            if scored:
                return min(scored, key=lambda entry: sign * entry.outcome.metrics[monitor])
        return None


def read_results(sweep: Sweep) -> Results:
    """Gather what the trials of a sweep have come to.

    Raises:
        UserError: If what the sweep was asked for cannot be read.
    """
    definition = sweep.definition()
    entries = list(sweep.settled().values())
    groups: dict[tuple[str, ...], list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.trial.setting, []).append(entry)
    settings = [
        Setting({key: value for key, value in values(group[0].trial).items() if key not in REPEATED}, group)
        for group in groups.values()
    ]
    monitor = definition.monitor
    # By position, as labels are for reading: two long numbers may look the same in them.
    means = {str(place): one.summary(monitor) or _NOTHING for place, one in enumerate(settings)}
    ranked = [settings[int(place)] for place in best_first(means, definition.mode)]
    # What was pruned has no final value, and was no better at the time.
    compared = {name: [] if one.pruned else one.values(monitor) for name, one in _named(ranked).items()}
    if any(compared.values()) or not ranked:
        told = verdict(compared, definition.mode)
    else:
        ended = any(entry.outcome.metrics for entry in entries)
        way = "; data.val_fraction=0.2 holds a validation split out" if ended else ""
        told = Verdict(f"cannot tell: no trial ended with {monitor}{way}")
    failed = [entry for entry in entries if entry.outcome.state in FAILED]
    unfinished = sum(entry.outcome.state not in OVER for entry in entries)
    return Results(sweep, definition, ranked, failed, unfinished, told)


def _named(settings: Sequence[Setting]) -> dict[str, Setting]:
    """Return settings by what they are called; in full where two long numbers look the same."""
    labels = Counter(one.label for one in settings)
    return {
        one.label if labels[one.label] == 1 else " ".join(one.entries[0].trial.setting): one
        for one in settings
    }


def write_results(sweep: Sweep) -> Results:
    """Write results.csv and results.json; they hold no time, so that a resumed sweep ends with the same bytes.

    Raises:
        UserError: If what the sweep was asked for cannot be read.
        EnvironmentFault: If they cannot be written.
    """
    results = read_results(sweep)
    atomic.write_atomic(sweep.path / RESULTS_CSV, to_csv(_file_columns(results)).encode())
    atomic.write_json(sweep.path / RESULTS_JSON, _as_json(results))
    return results


def _file_columns(results: Results) -> list[Column]:
    settings = results.settings
    return [
        *(Column(key, [one.choice.get(key) for one in settings]) for key in results.keys),
        Column(results.counted, [one.seeds for one in settings]),
        *(Column(name, [one.summary(name) or _NOTHING for one in settings]) for name in results.metrics),
        Column("trials", [count_states(one.states) for one in settings]),
    ]


def _as_json(results: Results) -> dict[str, Any]:
    return {
        "monitor": results.definition.monitor,
        "mode": results.definition.mode,
        "verdict": results.verdict.sentence,
        "winner": results.verdict.winner,
        "settings": [
            {
                "setting": dict(one.choice),
                "seeds": one.seeds,
                "pruned": one.pruned,
                "metrics": {
                    name: {**plain_cell(summary), "values": [plain_cell(value) for value in one.values(name)]}
                    for name in results.metrics
                    if (summary := one.summary(name)) is not None
                },
                "trials": {entry.trial.name: entry.outcome.state for entry in one.entries},
            }
            for one in results.settings
        ],
        "failed": [
            {"trial": entry.trial.name, "state": entry.outcome.state, "reason": entry.outcome.reason}
            for entry in results.failed
        ],
    }


def show_results(sweep: Sweep) -> Results:
    """Print the table of settings, the trials that failed, the verdict, and what to type next.

    Raises:
        UserError: If what the sweep was asked for cannot be read.
    """
    results = read_results(sweep)
    if results.settings:
        _show_settings(results)
    if results.failed:
        _show_failed(results)
    show(sentence(results), "", *_next(results))
    return results


def _show_settings(results: Results) -> None:
    better = "higher" if results.definition.mode == "max" else "lower"
    count = len(results.settings)
    noun = "setting" if count == 1 else "settings"
    title = f"{results.sweep.path.name}: {count} {noun}, {better} {results.definition.monitor} first"
    left_out = show_columns(shown_columns(results), title)
    more = [f"{count - _MOST_ROWS} more settings"] if count > _MOST_ROWS else []
    if more or left_out:
        show(f"also in {RESULTS_CSV}: {', '.join([*more, *left_out])}")


def _show_failed(results: Results) -> None:
    shown = results.failed[:_MOST_ROWS]
    rows = [(entry.trial.name, entry.outcome.reason or entry.outcome.state) for entry in shown]
    show(table(("failed", "what happened"), rows))
    more = len(results.failed) - len(shown)
    logs = f"what they printed: {shorten(results.sweep.path / LOGS)}/TRIAL.log"
    show(f"and {more} more, in {RESULTS_JSON}; {logs}" if more else logs)


def shown_columns(results: Results) -> list[Column]:
    """Return the table of settings as columns for a reader."""
    settings, (monitor, *others) = results.settings[:_MOST_ROWS], results.metrics
    names = short_names(results.keys)
    chosen = [
        Column(names[key], [compact(one.choice.get(key, "-")) for one in settings]) for key in results.keys
    ]
    summaries = [one.summary(monitor) for one in settings]
    columns = [
        *(chosen or [Column("setting", [one.label for one in settings])]),
        Column(results.counted, [one.seeds for one in settings]),
        Column(monitor, summaries),
    ]
    if any(summary is not None and summary.count > 1 for summary in summaries):
        columns.append(Column("95 % interval", [interval(summary) for summary in summaries], only_shown=True))
    trouble = [Counter(state for state in one.states if state != DONE) for one in settings]
    if any(trouble):
        said = [", ".join(f"{count} {state}" for state, count in one.items()) or DONE for one in trouble]
        columns.append(Column("trials", said))
    for name in others:
        means = [one.summary(name) for one in settings]
        cells = [None if summary is None else number(summary.mean) for summary in means]
        columns.append(Column(name, cells, optional=True))
    return columns


def sentence(results: Results) -> str:
    """Return the verdict, and how much of the sweep is missing from it."""
    missing = []
    if results.failed:
        missing.append(f"{len(results.failed)} failed")
    if results.unfinished:
        missing.append(f"{results.unfinished} not ended")
    total = sum(len(one.entries) for one in results.settings)
    after = f" (of {total} trials: {', '.join(missing)})" if missing else ""
    return f"{results.verdict.sentence}{after}"


def _next(results: Results) -> list[str]:
    where, go_on = shlex.quote(shorten(results.sweep.path)), way_on(results.sweep.path, results.definition)
    lines = []
    if results.unfinished:
        lines.append(go_on)
    if results.failed:
        lines.append(f"{go_on} --retry-failed")
    lines.append(f"nnkit compare {where}")
    if results.best is not None:
        lines.append(f"nnkit test {shlex.quote(shorten(results.sweep.run_of(results.best.trial).path))}")
    return [f"    {line}" for line in lines]
