"""The page on one sweep."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nnkit.analysis.charts import curves_of
from nnkit.analysis.log import read_log
from nnkit.analysis.pages.charts import LineSeries, bars, lines
from nnkit.analysis.pages.parts import Command, PageContent, PageTable, Section, Tile
from nnkit.analysis.report import figures
from nnkit.sweep.results import read_results, sentence, shown_columns
from nnkit.sweep.tabular import compact, short_names, texts_of
from nnkit.sweep.trials import DONE, PRUNED, SEED, count_states, values
from nnkit.ui.report import number, shorten

if TYPE_CHECKING:
    from nnkit.sweep.directory import Sweep
    from nnkit.sweep.results import Results, Setting
    from nnkit.sweep.trials import Entry

# Settings whose curves are drawn: as many as the palette has colours.
_DRAWN = 6
# Values of an axis of numbers that are compared one by one; more are compared by quarters.
_FEW, _PARTS = 6, 4
# Failed trials that are listed.
_LISTED = 50


def sweep_report(sweep: Sweep) -> PageContent:
    """Return the page on a sweep.

    Raises:
        UserError: If what the sweep was asked for cannot be read.
    """
    results = read_results(sweep)
    definition = results.definition
    entries = [entry for setting in results.settings for entry in setting.entries]
    better = "higher" if definition.mode == "max" else "lower"
    page = PageContent(
        f"sweep {sweep.path.name}",
        {
            "axes": "; ".join(definition.axes),
            "judged by": f"{definition.monitor}, {better} is better",
            "trials": count_states([entry.outcome.state for entry in entries]) or "none",
            "directory": shorten(sweep.path),
        },
        lead=sentence(results),
        command=shlex.join(["nnkit", "train", "-m", *definition.words, *definition.axes]),
    )
    page.tiles = _tiles(results)
    page.sections = [
        _settings(results),
        _axes(results),
        _curves(results),
        *_search(results),
        *_failed(results),
    ]
    page.sections.append(_best(results))
    return page


def _tiles(results: Results) -> list[Tile]:
    monitor = results.definition.monitor
    tiles = []
    if results.settings and (summary := results.settings[0].summary(monitor)) is not None:
        note = (
            ""
            if summary.low is None or summary.high is None
            else f"{number(summary.low)} to {number(summary.high)}"
        )
        tiles.append(Tile(f"best {monitor}", number(summary.mean), note))
    tiles.append(Tile("settings", str(len(results.settings))))
    tiles.append(Tile("trials", str(sum(len(one.entries) for one in results.settings))))
    if results.failed:
        tiles.append(Tile("failed", str(len(results.failed))))
    return tiles


def _settings(results: Results) -> Section:
    section = Section("Settings", "settings")
    columns = shown_columns(results)
    numeric = frozenset(range(len(results.keys) or 1, len(columns)))
    section.tables.append(
        PageTable(
            "the best first; mean over seeds, its standard deviation, and the 95 % interval of the mean",
            [column.header for column in columns],
            [*texts_of(columns)],
            numeric,
        )
    )
    if not results.settings:
        section.texts.append("No trial has been planned yet.")
    return section


def importance(scores: Sequence[float], words: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return for each axis the share of the variance of scores that its values explain by themselves (eta squared).

    That is the sum of squares between the means of its values over the sum of squares in all, as in an analysis of
    variance; what two axes do together is in none of them. More than six numbers are compared by quarters.

    Args:
        scores: One a trial.
        words: What each trial sets, by key.

    Returns:
        By axis, the most important first; nothing where all scores are equal.
    """
    found = np.array(scores, dtype=np.float64)
    whole = float(((found - found.mean()) ** 2).sum()) if len(found) else 0.0
    if whole <= 0:
        return {}
    keys = dict.fromkeys(key for one in words for key in one)
    shares = {}
    for key in keys:
        groups: dict[Any, list[float]] = {}
        for score, level in zip(scores, _levels([one.get(key) for one in words]), strict=True):
            groups.setdefault(level, []).append(score)
        if len(groups) > 1:
            between = sum(len(some) * (np.mean(some) - found.mean()) ** 2 for some in groups.values())
            shares[key] = float(between) / whole
    return dict(sorted(shares.items(), key=lambda pair: -pair[1]))


def _levels(typed: Sequence[Any]) -> list[Any]:
    """Return the values of an axis, or the quarters that they lie in."""
    try:
        numbers = np.array([float(one) for one in typed])
    except (TypeError, ValueError):
        return [*typed]
    if len(set(typed)) <= _FEW:
        return [*typed]
    ends = np.quantile(numbers, np.arange(1, _PARTS) / _PARTS)
    quarters: list[Any] = np.searchsorted(ends, numbers, side="left").tolist()
    return quarters


def _scored(results: Results) -> list[tuple[Entry, float]]:
    """Return the trials that have ended with a finite value of the monitored metric."""
    monitor = results.definition.monitor
    pairs = [
        (entry, entry.outcome.metrics.get(monitor))
        for setting in results.settings
        for entry in setting.entries
        if entry.outcome.state == DONE
    ]
    return [(entry, value) for entry, value in pairs if value is not None and math.isfinite(value)]


def _axes(results: Results) -> Section:
    section = Section("Axes", "axes")
    scored = _scored(results)
    monitor = results.definition.monitor
    words = [values(entry.trial) for entry, _ in scored]
    shares = importance([value for _, value in scored], words)
    if not shares:
        section.texts.append("How much each axis matters cannot be told: the scores do not differ.")
        return section
    section.texts.append(
        f"The share of the variance of {monitor} over {len(scored)} trials that an axis explains by itself. "
        "What axes do only together is in none of them; what a seed explains is chance."
    )
    section.figures["importance"] = bars(
        [*shares], np.array([*shares.values()]), "how much each axis matters", "share of the variance"
    )
    for key in shares:
        levels: dict[str, list[float]] = {}
        for one, (_, value) in zip(words, scored, strict=True):
            levels.setdefault(compact(str(one.get(key, "-"))), []).append(value)
        if key == SEED or len(levels) > 2 * _FEW:
            continue
        sign = -1 if results.definition.mode == "max" else 1
        ranked = sorted(levels.items(), key=lambda pair: sign * float(np.mean(pair[1])))
        rows = [[level, number(float(np.mean(some))), str(len(some))] for level, some in ranked]
        section.tables.append(PageTable(key, [key, f"mean {monitor}", "trials"], rows, frozenset({1, 2})))
    return section


def _curves(results: Results) -> Section:
    section = Section("Learning curves", "curves")
    monitor = results.definition.monitor.partition("/")[2]
    shown = results.settings[:_DRAWN]
    for metric in dict.fromkeys([monitor, "loss"]):
        parts = [part for setting in shown if (part := _mean_curve(results, setting, metric)) is not None]
        if parts:
            keys = ", ".join(short_names(results.keys).values())
            title = f"{metric} of the validation part, by {keys or 'setting'}"
            section.figures[metric] = figures.curves_of_settings(parts, title, metric)
    if not section.figures:
        section.texts.append("Nothing was logged.")
    elif len(results.settings) > _DRAWN:
        section.texts.append(f"Of the {_DRAWN} best settings, the mean over seeds.")
    else:
        section.texts.append("The mean over seeds of each setting.")
    return section


def _mean_curve(results: Results, setting: Setting, metric: str) -> LineSeries | None:
    """Return the mean over seeds of a validation metric, at the steps that all of them have."""
    runs = [results.sweep.run_of(entry.trial) for entry in setting.counted]
    found = [curves_of(read_log(run.path), metric).get("val", {}) for run in runs]
    found = [curve for curve in found if curve]
    steps = sorted(set.intersection(*map(set, found))) if found else []
    if not steps:
        return None
    means = np.array([np.mean([curve[step] for curve in found]) for step in steps])
    label = ", ".join(compact(value) for value in setting.choice.values()) or setting.label
    return LineSeries(label, steps, means)


def _search(results: Results) -> list[Section]:
    """Show how a search went on; a grid has no order."""
    if not results.definition.search:
        return []
    monitor, highest = results.definition.monitor, results.definition.mode == "max"
    order = [entry for entry in results.sweep.settled().values() if entry.outcome.state in (DONE, PRUNED)]
    ended = [
        (place, value)
        for place, entry in enumerate(order, 1)
        if (value := entry.outcome.metrics.get(monitor)) is not None and math.isfinite(value)
    ]
    if not ended:
        return []
    places, scores = [place for place, _ in ended], np.array([value for _, value in ended])
    best = np.maximum.accumulate(scores) if highest else np.minimum.accumulate(scores)
    section = Section("Search", "search")
    section.figures["history"] = lines(
        [LineSeries("trial", places, scores), LineSeries("best so far", places, best)],
        "each trial and the best so far",
        "trial",
        monitor,
    )
    return [section]


def _failed(results: Results) -> list[Section]:
    if not results.failed:
        return []
    section = Section("Failed trials", "failed")
    rows = [
        [entry.trial.name, entry.outcome.reason or entry.outcome.state] for entry in results.failed[:_LISTED]
    ]
    section.tables.append(PageTable("what happened", ["trial", "reason"], rows))
    return [section]


def _best(results: Results) -> Section:
    section = Section("The best trial", "best")
    definition, best = results.definition, results.best
    if best is None:
        section.texts.append(f"No trial has ended with {definition.monitor}.")
    else:
        words = [*definition.words, *best.trial.words]
        section.commands.append(
            Command(shlex.join(["nnkit", "train", *words]), "This command trains it again:")
        )
        where = shorten(results.sweep.run_of(best.trial).path)
        more = "\n".join(shlex.join(["nnkit", verb, where]) for verb in ("test", "report", "inspect"))
        section.commands.append(Command(more, "Test it, write its own page, see it from inside:"))
    where = shorten(results.sweep.path)
    again = "\n".join(shlex.join(["nnkit", verb, where]) for verb in ("compare", "resume", "report"))
    section.commands.append(Command(again, "Compare the trials, go on with the sweep, write this page:"))
    return section
