"""What every layer does with an input, small enough to be sent while a user draws or types."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from nnkit.analysis.inspection.attribution import integrated_gradients, score_of, score_of_embedded
from nnkit.analysis.inspection.capture import Capture, capture
from nnkit.analysis.inspection.contributions import column_names
from nnkit.analysis.inspection.recorded import Recorded, as_array
from nnkit.analysis.inspection.views import says, weights_between
from nnkit.serve.refusal import Refusal
from nnkit.tasks.drawing import visible

if TYPE_CHECKING:
    from nnkit.batches import Batch
    from nnkit.serve.served import Served
    from nnkit.tasks.outcome import NamedScores

# Numbers of an answer, and of one layer: maps, and their side.
_MOST, _MAPS, _SIDE = 1_000_000, 64, 64
# Connections between two layers, columns and rows of an outcome, steps of the integral.
_LINKS, _COLUMNS, _ROWS, _STEPS = 48, 64, 512, 32
_LEVELS = 127


def packed(values: NDArray[Any]) -> dict[str, Any]:
    """Return numbers as bytes from -127 to 127 in base64, with the number that 127 stands for."""
    finite = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    strongest = float(np.abs(finite).max(initial=0.0)) or 1.0
    levels = np.round(finite / strongest * _LEVELS).astype(np.int8)
    return {
        "shape": list(values.shape),
        "strongest": strongest,
        "levels": base64.b64encode(levels.tobytes()).decode(),
    }


def layers(served: Served, values: Any, contributions: bool) -> dict[str, Any]:
    """Return what the network does with the first input of a request.

    Args:
        served: The run.
        values: The inputs, in the run's form.
        contributions: Whether what each part of the input adds to the answer is computed as well, which takes some
            dozens of passes through the network.

    Raises:
        Refusal: If it cannot be read.
    """
    name, sample, notes = served.sample(values)
    try:
        seen = capture(served.task, sample, served.data)
    except (RuntimeError, ValueError, IndexError) as error:
        raise Refusal(422, f"the network does not read it: {str(error).splitlines()[0]}") from error
    found: dict[str, Any] = {
        "item": name,
        "notes": notes,
        "says": says(seen.outcome),
        "outcome": _outcome(seen.outcome),
        "input": _input(served, seen.sample),
        "layers": _arrays(_shown(one) for one in seen.layers),
        "attention": _arrays(seen.attention),
        "gates": _arrays(seen.gates),
        "links": _links(served, seen),
        "lens": [
            {"layer": layer, "says": _best(outcome)}
            for layer, outcome in seen.lens.items()
            if len(seen.lens) > 1
        ],
    }
    if contributions:
        found["contributions"] = _contributions(served, seen)
    return found


def _arrays(found: Iterable[Recorded]) -> list[dict[str, Any]]:
    """Return arrays by name as far as there is room, the last ones first where there is not."""
    kept, room = list[dict[str, Any]](), _MOST
    for one in reversed([*found]):
        if one.values.size > room:
            continue
        room -= one.values.size
        labels = {axis: list(names) for axis, names in one.labels.items()}
        kept.insert(0, {"name": one.name, "axes": list(one.axes), "labels": labels, **packed(one.values)})
    return kept


def _shown(layer: Recorded) -> Recorded:
    """Return a layer with as many maps, and as many rows and columns of each, as can be seen."""
    if layer.axes != ("map", "row", "column"):
        return layer
    step = max(1, -(-max(layer.shape[1:]) // _SIDE))
    return Recorded(layer.name, layer.values[:_MAPS, ::step, ::step], layer.axes)


def _best(outcome: NamedScores) -> list[Any]:
    """Return the best column of the row that is asked about, and its probability or value."""
    row, column = outcome.best
    values = outcome.scores if outcome.probabilities is None else outcome.probabilities
    return [outcome.columns[column], round(float(values[0, row, column]), 6)]


def _outcome(outcome: NamedScores) -> dict[str, Any]:
    """Return what the network says: of the rows asked about the best columns, and the best column of every row."""
    values = (outcome.scores if outcome.probabilities is None else outcome.probabilities)[0].float()
    if not torch.isfinite(values).all():
        raise Refusal(
            422, "the network's scores are not finite: it has diverged, or the input is out of range"
        )
    focus = list(outcome.focus)[:_ROWS]
    count = min(_COLUMNS, values.shape[1])
    best = values[focus].topk(count, dim=-1) if outcome.probabilities is not None else None
    places = [[*range(count)]] * len(focus) if best is None else best.indices.tolist()
    return {
        "noun": outcome.noun,
        "probabilities": outcome.probabilities is not None,
        "rows": list(outcome.rows)[:_ROWS],
        "focus": focus,
        "written": outcome.written,
        "columns": list(outcome.columns) if len(outcome.columns) <= _COLUMNS else None,
        "best": [
            [[outcome.columns[place], round(float(values[row, place]), 6)] for place in some]
            for row, some in zip(focus, places, strict=True)
        ],
    }


def _input(served: Served, sample: Batch) -> dict[str, Any]:
    """Return what the network gets: the pixels of a picture, tokens, or numbers with their names."""
    inputs = sample.network_inputs()[0]
    assert inputs is not None
    if inputs.ndim == 4:
        pixels = visible(inputs[0].float().cpu().numpy(), served.data.preprocessing)
        return {
            "kind": "picture",
            "shape": list(pixels.shape),
            "pixels": base64.b64encode(pixels.tobytes()).decode(),
        }
    if not inputs.is_floating_point():
        return {"kind": "tokens", "tokens": served.data.token_texts(inputs[0].tolist())}
    return {"kind": "numbers", "names": served.data.input_names(), **packed(as_array(inputs[0]))}


def _links(served: Served, seen: Capture) -> list[dict[str, Any]]:
    """Return the connections that carry most between layers of units, and into the scores.

    A connection carries its weight times what its unit puts out.
    """
    outcome = seen.outcome
    parts: list[tuple[str, NDArray[Any], Sequence[str]]] = [
        (layer.name, layer.values, ()) for layer in seen.layers if layer.axes == ("unit",)
    ]
    if seen.embedded.axes == ("unit",):
        parts.insert(0, ("input", seen.embedded.values, ()))
    parts.append(("score", as_array(outcome.scores[0, outcome.best[0]]), ()))
    matrices = [*weights_between(served.task.network, parts)]
    return [*_carried(parts, matrices)]


def _carried(
    parts: Sequence[tuple[str, NDArray[Any], Sequence[str]]], matrices: Sequence[NDArray[Any] | None]
) -> Iterator[dict[str, Any]]:
    for (before, outputs, _), (after, _, _), matrix in zip(parts[:-1], parts[1:], matrices[1:], strict=True):
        if matrix is None:
            continue
        carried = matrix * outputs
        order = np.argsort(-np.abs(carried), axis=None)[:_LINKS]
        to, start = np.unravel_index(order, carried.shape)
        strongest = float(np.abs(carried).max(initial=0.0)) or 1.0
        shares = np.round(carried[to, start] / strongest, 3)
        ends = zip(start.tolist(), to.tolist(), shares.tolist(), strict=True)
        yield {"from": before, "to": after, "ends": [[*one] for one in ends]}


def _contributions(served: Served, seen: Capture) -> dict[str, Any] | None:
    """Return what each pixel, token, column or step adds to the best answer, by integrated gradients."""
    task, data, outcome, sample = served.task, served.data, seen.outcome, seen.sample
    inputs, mask, *others = (*sample.network_inputs(), None, None)
    assert inputs is not None
    if outcome.written is not None or (len(outcome.rows) > 1 and not inputs.is_floating_point()):
        return None
    about = {"target": _best(outcome)[0], "noun": outcome.noun}
    if inputs.is_floating_point() and inputs.ndim > 2:
        baseline = _black(inputs, data.preprocessing) if inputs.ndim == 4 else torch.zeros_like(inputs)
        added = integrated_gradients(score_of(task, sample, data, *outcome.best), inputs, baseline, _STEPS)
        return {**about, **packed(as_array(added.sum(0 if inputs.ndim == 4 else -1)))}
    score, embedded = score_of_embedded(task, sample, data, *outcome.best)
    if not inputs.is_floating_point():
        added = integrated_gradients(score, embedded, torch.zeros_like(embedded), _STEPS).sum(-1)
        names = data.token_texts(inputs[0].tolist())
        return {**about, "names": names, **packed(as_array(added))}
    none = [torch.zeros_like(part) for part in (inputs, mask, *others) if part is not None]
    with torch.no_grad():
        baseline = task.network.embed(*none)
    added = integrated_gradients(score, embedded, baseline, _STEPS)
    names = column_names(task, data, embedded.shape[1])
    totals = {name: 0.0 for name in names}
    for name, value in zip(names, added.tolist(), strict=True):
        totals[name] += value
    return {**about, "names": list(totals), **packed(np.array([*totals.values()]))}


def _black(inputs: torch.Tensor, learnt: Mapping[str, Any]) -> torch.Tensor:
    """Return a black picture as the network gets it; grey of the mean where no normalisation is known."""
    mean, std = learnt.get("mean"), learnt.get("std")
    if mean is None or std is None or len(mean) != inputs.shape[1]:
        return torch.zeros_like(inputs)
    levels = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], dtype=inputs.dtype)
    return levels.view(1, -1, 1, 1).expand_as(inputs)
