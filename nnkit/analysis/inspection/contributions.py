"""What each pixel, column, step or token of one input adds to what the network says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nnkit.analysis.inspection import pictures
from nnkit.analysis.inspection.attribution import (
    complete_gradients,
    occluded_picture,
    occlusion,
    score_of,
    score_of_embedded,
)
from nnkit.analysis.inspection.recorded import Recorded, as_array
from nnkit.analysis.pages import charts
from nnkit.tasks.drawing import visible

if TYPE_CHECKING:
    from nnkit.analysis.inspection.attribution import Attributed
    from nnkit.analysis.inspection.parts import InputView
    from nnkit.tasks.base import Task
    from nnkit.tasks.outcome import NamedScores


def _explained(outcome: NamedScores) -> str:
    row, column = outcome.best
    where = f" {outcome.rows[row]}" if outcome.rows[row] else ""
    return f"{outcome.columns[column]}{where}"


def picture(one: InputView, task: Task, data: Any, inputs: Tensor) -> None:
    """Show which pixels speak for the answer."""
    section, outcome = one.section, one.seen.outcome
    learnt = data.preprocessing
    image = visible(inputs[0].float().cpu().numpy(), learnt)
    section.figures["input"] = pictures.picture(image, "input")
    score = score_of(task, one.seen.sample, data, *outcome.best)
    baseline = torch.zeros_like(inputs)
    mean, std = learnt.get("mean"), learnt.get("std")
    if mean is not None and std is not None and len(mean) == inputs.shape[1]:
        baseline -= torch.tensor([m / s for m, s in zip(mean, std, strict=True)], dtype=inputs.dtype).view(
            1, -1, 1, 1
        )
    gradients = complete_gradients(score, inputs, baseline)
    found = {
        "integrated gradients": gradients.values.sum(0),
        "occlusion": occluded_picture(score, inputs, baseline),
    }
    arrays = {name: as_array(values) for name, values in found.items()}
    for name, values in arrays.items():
        one.arrays[name] = Recorded(name, values, ("row", "column"))
    section.figures["saliency"] = pictures.saliency(
        image, list(arrays.items()), f"which pixels speak for {_explained(outcome)}"
    )
    section.texts.append(
        "Saliency: blue pixels speak for the answer, orange ones against it. Integrated gradients compare the picture "
        "with a black one and add up to the change of the score; occlusion is what is lost where a square is black. "
        + _balance(gradients)
    )


def row(one: InputView, task: Task, data: Any) -> None:
    """Show what each column of a row of a table adds."""
    outcome, sample = one.seen.outcome, one.seen.sample
    score, embedded = score_of_embedded(task, sample, data, *outcome.best)
    names = column_names(task, data, embedded.shape[1])
    given, mask, *others = (*sample.network_inputs(), None, None)
    assert given is not None and mask is None
    none = [torch.zeros_like(part) for part in (given, *others) if part is not None]
    with torch.no_grad():
        baseline = task.network.embed(*none)
    gradients = complete_gradients(score, embedded, baseline)
    added = gradients.values
    columns = list(dict.fromkeys(names))
    regions = [torch.tensor([name == column for name in names]) for column in columns]
    totals = as_array(torch.stack([added[region].sum() for region in regions]))
    lost = as_array(occlusion(score, embedded, baseline, regions))
    target = _explained(outcome)
    for name, values, unit in (
        ("integrated gradients", totals, "added to the score"),
        ("occlusion", lost, "lost where the column is average"),
    ):
        one.arrays[name] = Recorded(name, values, ("column",), {"column": columns})
        one.section.figures[name] = charts.bars(
            columns, values, f"what each column adds to {target}: {name}", unit
        )
    one.section.texts.append(
        "Integrated gradients compare the row with one of averages. " + _balance(gradients)
    )


def column_names(task: Task, data: Any, width: int) -> list[str]:
    """Return the column of each number that the body reads of a row."""
    names: list[str] = data.input_names()
    widths: Sequence[int] = getattr(task.network.embed, "widths", ())
    plain = names[: len(names) - len(widths)]
    rich = [name for name, size in zip(names[len(plain) :], widths, strict=True) for _ in range(size)]
    found = [*plain, *rich]
    return found if len(found) == width else [str(number) for number in range(1, width + 1)]


def series(one: InputView, task: Task, data: Any, inputs: Tensor) -> None:
    """Show the window, the forecast, and what each step of the window adds."""
    outcome = one.seen.outcome
    score = score_of(task, one.seen.sample, data, *outcome.best)
    gradients = complete_gradients(score, inputs, torch.zeros_like(inputs))
    added = gradients.values  # (time, channels)
    names = data.input_names() or [str(number) for number in range(1, inputs.shape[-1] + 1)]
    one.arrays["integrated gradients"] = Recorded(
        "integrated gradients", as_array(added), ("step", "channel"), {"channel": names}
    )
    past = [str(step) for step in range(1 - len(added), 1)]
    one.section.figures["contributions"] = charts.steps(
        past,
        as_array(added.sum(-1)),
        f"what each step adds to {_explained(outcome)}",
        "added to the forecast",
    )
    if len(names) > 1:
        one.section.figures["channels"] = charts.bars(
            names,
            as_array(added.sum(0)),
            f"what each channel adds to {_explained(outcome)}",
            "added to the forecast",
        )
    one.section.texts.append("Integrated gradients compare the window with the mean. " + _balance(gradients))
    if outcome.probabilities is None and len(outcome.rows) and "channels" in data.preprocessing:
        _forecast(one, data, inputs, names)


def _forecast(one: InputView, data: Any, inputs: Tensor, names: Sequence[str]) -> None:
    outcome, scale = one.seen.outcome, {part["name"]: part for part in data.preprocessing["channels"]}
    for column, target in enumerate(outcome.columns[:3]):
        ahead = as_array(outcome.scores[0, :, column])
        parts = [charts.LineSeries("forecast", range(1, len(ahead) + 1), ahead)]
        if target in scale:
            known = as_array(inputs[0, :, list(names).index(target)])
            known = known * scale[target]["std"] + scale[target]["mean"]
            parts.insert(0, charts.LineSeries("window", range(1 - len(known), 1), known))
        one.section.figures[f"forecast of {target}"] = charts.lines(
            parts, f"forecast of {target}", "step, the last known one 0", target, split=0.5
        )


def tokens(one: InputView, task: Task, data: Any, inputs: Tensor) -> None:
    """Show what each token adds to the class of a text, to the next token, or to the first masked one."""
    outcome = one.seen.outcome
    score, embedded = score_of_embedded(task, one.seen.sample, data, *outcome.best)
    gradients = complete_gradients(score, embedded, torch.zeros_like(embedded), outcome.scores.numel())
    added = as_array(gradients.values.sum(-1))
    names = data.token_texts(inputs[0].tolist())
    one.arrays["integrated gradients"] = Recorded("integrated gradients", added, ("step",), {"step": names})
    title = f"what each token adds to {_token_explained(task, outcome)}"
    one.section.figures["contributions"] = charts.steps(names, added, title, "added to the score")
    one.section.texts.append(
        "What tokens add: integrated gradients by their vectors, compared with vectors of zeros. "
        + _balance(gradients)
    )


def _token_explained(task: Task, outcome: NamedScores) -> str:
    """Return what is explained of a text: its class, or a token and where it is predicted."""
    step, column = outcome.best
    if len(outcome.rows) == 1:
        return _explained(outcome)
    what = repr(outcome.columns[column])
    return f"{what}, the next token" if task.needs_causal else f"{what} at step {step + 1}"


def _balance(found: Attributed) -> str:
    """Return the sum of attributions beside what it is to be."""
    return (
        f"They add up to {float(found.values.sum()):.4g}, and the score changes by {found.change:.4g} "
        f"({found.steps} points)."
    )
