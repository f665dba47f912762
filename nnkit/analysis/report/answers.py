"""Sections on what a network answers: its metrics with intervals, classes, calibration, mistakes, values, texts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nnkit.analysis.pages.charts import LineSeries, lines
from nnkit.analysis.pages.parts import PageTable, Section, Thumb
from nnkit.analysis.pages.samples import described, picture_of
from nnkit.analysis.report import figures, statistics
from nnkit.analysis.report.samples import Seen, sample_at, spread
from nnkit.analysis.report.statistics import Interval
from nnkit.ui.report import number

if TYPE_CHECKING:
    from nnkit.data.base import DataModule
    from nnkit.tasks.base import Task

# Mistakes, outputs and forecasts that are shown.
_MISTAKES, _OUTPUTS, _FORECASTS = 16, 3, 3
# Classes whose scores are listed.
_LISTED = 200
# From which probability on a label is chosen.
_CHOSEN = 0.5


def names_of_outputs(data: DataModule, count: int) -> list[str]:
    """Return the names of predicted values."""
    target = data.preprocessing.get("target") or {}
    names = target.get("names") or ([target["name"]] if "name" in target and count == 1 else [])
    return list(names) if len(names) == count else [f"target {place}" for place in range(1, count + 1)]


def class_names(task: Task, count: int) -> list[str]:
    """Return the names of classes or labels."""
    names = getattr(task, "class_names", None)
    return list(names) if names is not None and len(names) == count else [*map(str, range(count))]


def intervals_of(task: Task, seen: Seen) -> dict[str, Interval]:
    """Return the metrics of the samples seen with their intervals, those that the task reports."""
    if not seen.indices:
        return {}
    if not seen.is_measured:
        review = seen.review
        found = statistics.intervals(statistics.each_once(review.sums, review.metrics))
        return {name: one for name, one in found.items() if name in task.better}
    truth, predictions = seen.truth, seen.predictions
    if task.measures == "classes":
        counts = statistics.confusion(truth, predictions.argmax(1), predictions.shape[1])
        totals = statistics.of_classes(counts)
    elif task.measures == "labels":
        totals = statistics.of_labels(truth, predictions >= _CHOSEN)
    else:
        steps = len(truth) // len(seen.indices)
        # Windows that follow each other share most of their steps: as many as a horizon has are drawn together.
        totals = statistics.of_values(truth, predictions, steps * steps)
    found = statistics.intervals(totals)
    return {name: one for name, one in found.items() if name in task.better}


def results(task: Task, seen: Seen, metrics: Mapping[str, float], found: Mapping[str, Interval]) -> Section:
    """Show all metrics with the intervals of those that have one.

    Args:
        task: The task.
        seen: The samples that the intervals are of.
        metrics: What the run ended with, by names such as "test/accuracy".
        found: Metrics of the samples seen.
    """
    section = Section("Results", "results")
    split = {"test": "test", "val": "val", "train": "train"}[seen.split]
    names = dict.fromkeys([*metrics, *(f"{split}/{name}" for name in found)])
    rows = []
    for name in names:
        part, _, plain = name.partition("/")
        interval = found.get(plain) if part == split else None
        value = metrics.get(name, interval.value if interval is not None else math.nan)
        better = {"max": "higher", "min": "lower"}.get(task.better.get(plain, ""), "")
        rows.append([name, number(value), _ends(interval), better])
    section.tables.append(
        PageTable("metrics", ["metric", "value", "95 % interval", "better"], rows, frozenset({1, 2}))
    )
    if any(not math.isnan(one.low) for one in found.values()):
        section.texts.append(
            f"The intervals are of {seen.described}: {statistics.REPLICATES:,} times as many samples are drawn from "
            "them with replacement, and 95 % of the metrics computed of these lie between the two ends. They tell "
            "how much another sample of the same kind may change the metric; not what another seed would do."
        )
    if seen.problem:
        section.texts.append(f"Single samples are not shown: {seen.problem}.")
    return section


def _ends(interval: Interval | None) -> str:
    if interval is None or math.isnan(interval.low):
        return ""
    return f"{number(interval.low)} to {number(interval.high)}"


def answers(task: Task, data: DataModule, seen: Seen) -> list[Section]:
    """Return the sections on single answers that the task's kind has."""
    if not seen.indices:
        return []
    if not seen.is_measured:
        return _texts(seen)
    if task.measures == "classes":
        return _classes(task, data, seen)
    if task.measures == "labels":
        return _labels(task, data, seen)
    return _values(data, seen)


def _classes(task: Task, data: DataModule, seen: Seen) -> list[Section]:
    shares, truth = seen.predictions, seen.truth
    said, confidence = shares.argmax(1), shares.max(1)
    names = class_names(task, shares.shape[1])
    counts = statistics.confusion(truth, said, len(names))
    classes = Section("Classes", "classes")
    most = int(counts.sum(1).argmax())
    share = counts.sum(1)[most] / max(1, counts.sum())
    classes.texts.append(
        f"Of {seen.described}. Always to say {names[most]}, the most frequent class, would be right for {share:.1%}."
    )
    classes.tables.append(_scores(names, counts.diagonal(), counts.sum(1), counts.sum(0)))
    classes.figures["confusion"] = figures.confusion(counts, names, "how often each class is taken for each")
    right = said == truth
    calibrated = _calibration(statistics.calibration(confidence, right), "answers that are right")
    return [classes, calibrated, _mistakes(data, seen, said, confidence, names)]


def _labels(task: Task, data: DataModule, seen: Seen) -> list[Section]:
    shares, truth = seen.predictions, seen.truth > 0
    chosen = shares >= _CHOSEN
    names = class_names(task, shares.shape[1])
    labels = Section("Labels", "labels", [f"Of {seen.described}."])
    labels.tables.append(_scores(names, (truth & chosen).sum(0), truth.sum(0), chosen.sum(0)))
    # Of each decision, the probability of what was decided.
    certain = np.where(chosen, shares, 1 - shares)
    calibrated = _calibration(
        statistics.calibration(certain.ravel(), (chosen == truth).ravel()), "decisions that are right"
    )
    mistakes = _Wrong(data, seen)
    wrong = np.where(chosen == truth, 0.0, certain).max(1)
    for place in np.argsort(-wrong, kind="stable")[:_MISTAKES].tolist():
        if wrong[place] > 0:
            said = f"{_listed(names, chosen[place])}, {wrong[place]:.1%}"
            mistakes.show(place, said, _listed(names, truth[place]))
    return [labels, calibrated, mistakes.section(int((wrong > 0).sum()))]


def _listed(names: Sequence[str], there: NDArray[np.bool_]) -> str:
    return ", ".join(name for name, one in zip(names, there, strict=True) if one) or "none"


def _scores(
    names: Sequence[str], right: NDArray[Any], true: NDArray[Any], predicted: NDArray[Any]
) -> PageTable:
    found = statistics.class_scores(right, true, predicted)
    rows = [
        [name, *(_share(values[place]) for values in found[:3]), f"{found.support[place]:,}"]
        for place, name in enumerate(names)
    ]
    if len(rows) > _LISTED:
        worst = np.argsort(np.nan_to_num(found.f1, nan=2.0), kind="stable")[:_LISTED]
        rows = [rows[place] for place in worst]
    title = (
        "each class" if len(names) <= _LISTED else f"the {_LISTED} of {len(names)} classes with the lowest F1"
    )
    headers = ["class", "precision", "recall", "F1", "samples"]
    return PageTable(title, headers, rows, frozenset({1, 2, 3, 4}))


def _share(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _calibration(found: statistics.Calibration, vertical: str) -> Section:
    mean = float(np.nansum(found.confidence * found.counts) / found.counts.sum())
    accuracy = float(np.nansum(found.accuracy * found.counts) / found.counts.sum())
    way = "too certain" if mean > accuracy else "too cautious"
    section = Section("Calibration", "calibration")
    section.texts.append(
        f"Expected calibration error {found.error:.2%}: so far do the probability of an answer and the share of right "
        f"answers lie apart, on average over {statistics.BINS} bins of equal width. On average the network is {way}: "
        f"it gives its answers {mean:.1%}, and {accuracy:.1%} of them are right."
    )
    section.figures["reliability"] = figures.reliability(found, "how often a probability is right", vertical)
    return section


def _mistakes(
    data: DataModule, seen: Seen, said: NDArray[Any], confidence: NDArray[Any], names: Sequence[str]
) -> Section:
    found, truth = _Wrong(data, seen), seen.truth
    wrong = np.flatnonzero(said != truth)
    for place in wrong[np.argsort(-confidence[wrong], kind="stable")][:_MISTAKES].tolist():
        own = seen.predictions[place, truth[place]]
        found.show(
            place, f"{names[said[place]]}, {confidence[place]:.1%}", f"{names[truth[place]]}, {own:.1%}"
        )
    return found.section(len(wrong))


@dataclass
class _Wrong:
    """Samples that were answered wrongly, as pictures or as rows of a table.

    Attributes:
        data: The data module.
        seen: The samples.
    """

    data: DataModule
    seen: Seen
    rows: list[list[str]] = field(default_factory=list)
    thumbs: list[Thumb] = field(default_factory=list)

    def show(self, place: int, says: str, true: str) -> None:
        """Add one of the samples seen."""
        index = self.seen.indices[place]
        sample = sample_at(self.data, self.seen.split, index)
        image = picture_of(sample, self.data)
        if image is not None:
            self.thumbs.append(Thumb(image, [f"says {says}", f"true {true}", f"sample {index + 1}"]))
            return
        text = described(sample, self.data)
        self.rows.append([text if text.startswith("sample ") else f"{index + 1}: {text}", says, true])

    def section(self, wrong: int) -> Section:
        """Return what was shown, of so many wrong answers."""
        section = Section("Most certain mistakes", "mistakes", thumbs=self.thumbs)
        shown, total = len(self.rows) + len(self.thumbs), len(self.seen.indices)
        section.texts.append(
            f"{wrong:,} of {total:,} answers are wrong. The {shown} that the network is most certain of:"
            if shown
            else f"None of {total:,} answers is wrong."
        )
        if self.rows:
            section.tables.append(PageTable("wrong answers", ["sample", "says", "true"], self.rows))
        return section


def _values(data: DataModule, seen: Seen) -> list[Section]:
    truth, predicted = seen.truth.astype(np.float64), seen.predictions
    names = names_of_outputs(data, truth.shape[1])
    steps = len(truth) // len(seen.indices)
    if steps > 1 or "channels" in data.preprocessing:
        return [_forecasts(data, seen, names, steps)]
    section = Section("Residuals", "residuals", [f"Predicted minus true values of {seen.described}."])
    for place, name in enumerate(names[:_OUTPUTS]):
        columns = truth[:, place], predicted[:, place]
        section.figures[f"predicted over true {name}"] = figures.predicted_over_true(*columns, name)
        section.figures[f"residuals of {name}"] = figures.residuals(*columns, name)
    scale = truth.std(0)
    error = (abs(predicted - truth) / np.where(scale > 0, scale, 1)).max(1)
    mistakes = Section("Largest errors", "mistakes")
    rows = []
    for place in np.argsort(-error, kind="stable")[:_MISTAKES].tolist():
        text = described(sample_at(data, seen.split, seen.indices[place]), data)
        rows.append([text, _numbers(names, predicted[place]), _numbers(names, truth[place])])
    mistakes.tables.append(PageTable("samples that are predicted worst", ["sample", "says", "true"], rows))
    return [section, mistakes]


def _numbers(names: Sequence[str], values: NDArray[Any]) -> str:
    if len(values) == 1:
        return f"{values[0]:.5g}"
    return ", ".join(f"{name} {value:.5g}" for name, value in zip(names, values.tolist(), strict=True))


def _forecasts(data: DataModule, seen: Seen, names: Sequence[str], steps: int) -> Section:
    shape = (len(seen.indices), steps, len(names))
    truth, predicted = seen.truth.astype(np.float64).reshape(shape), seen.predictions.reshape(shape)
    section = Section("Forecasts", "forecasts", [f"Windows spread evenly over {seen.described}."])
    scale = {part["name"]: part for part in data.preprocessing.get("channels", ())}
    channels = data.input_names()
    for place in spread(len(seen.indices), _FORECASTS):
        sample = sample_at(data, seen.split, seen.indices[place])
        for column, name in enumerate(names[:1]):
            ahead = range(1, steps + 1)
            parts = [
                LineSeries("forecast", ahead, predicted[place, :, column]),
                LineSeries("what came", ahead, truth[place, :, column]),
            ]
            if name in scale and name in channels:
                window = sample.inputs[0, :, channels.index(name)].double().numpy()
                known = window * scale[name]["std"] + scale[name]["mean"]
                parts.insert(0, LineSeries("window", range(1 - len(known), 1), known))
            title = f"{name}, window {seen.indices[place] + 1}"
            section.figures[title] = lines(parts, title, "step, the last known one 0", name, split=0.5)
    if steps > 1:
        error = abs(predicted - truth).mean((0, 2))
        section.figures["horizon"] = figures.over_horizon(error, "mean absolute error")
    return section


def _texts(seen: Seen) -> list[Section]:
    review = seen.review
    found = []
    if review.samples:
        section = Section(
            "Samples", "samples", [f"The first of {seen.described}, and what is written from them."]
        )
        section.tables.append(PageTable("what is written", review.sample_headers, review.samples[:_MISTAKES]))
        found.append(section)
    if review.mistakes:
        section = Section("Most certain mistakes", "mistakes")
        section.texts.append(f"Of {seen.described}, the wrong tokens that the network is most certain of:")
        section.tables.append(
            PageTable(
                "wrong tokens", review.mistake_headers, [one.cells for one in review.mistakes[:_MISTAKES]]
            )
        )
        found.append(section)
    return found
