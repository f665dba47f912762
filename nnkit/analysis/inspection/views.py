"""Figures and tables of one input, which is an image, a sequence, a row or a series by the shape of its tensor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nnkit.analysis.inspection import attending, contributions, diagrams, embeddings, pictures, sequences
from nnkit.analysis.inspection.capture import Capture, capture
from nnkit.analysis.inspection.parts import InputView
from nnkit.analysis.inspection.recorded import Recorded, as_array
from nnkit.analysis.pages import charts
from nnkit.analysis.pages.parts import PageTable, Section
from nnkit.errors import UserError

if TYPE_CHECKING:
    from nnkit.batches import Batch
    from nnkit.tasks.base import Task
    from nnkit.tasks.outcome import NamedScores

# Rows of a table of steps, ranked columns of each, and cells of recurrent layers that are drawn.
_MOST_ROWS, _RANKED, _MOST_CELLS = 60, 3, 6


def view(task: Task, data: Any, sample: Batch, title: str, name: str, *, briefly: bool = False) -> InputView:
    """Show what a network does with a sample.

    Args:
        task: A trained task, in evaluation mode.
        data: The data module of the run.
        sample: A batch of one, without padding.
        title: What the user calls the sample.
        name: Short and unique.
        briefly: Whether only what explains the answer is shown: no maps, units, gates and neighbours of tokens.

    Raises:
        UserError: If the network has diverged.
    """
    seen = capture(task, sample, data)
    if not torch.isfinite(seen.outcome.scores).all():
        raise UserError("the network's scores are not finite: it has diverged in training")
    section = Section(title, name)
    one = InputView(section, seen, seen.arrays)
    _outcome(section, seen)
    inputs = seen.sample.network_inputs()[0]
    assert inputs is not None
    if inputs.ndim == 4:
        contributions.picture(one, task, data, inputs)
    elif inputs.is_floating_point() and inputs.ndim == 3:
        contributions.series(one, task, data, inputs)
    elif inputs.is_floating_point():
        contributions.row(one, task, data)
    elif seen.outcome.written is None:
        contributions.tokens(one, task, data, inputs)
    if briefly:
        _explanation(section, seen)
        return one
    _layers(one, task, data, inputs)
    attending.add(one, task.network, data.preprocessing)
    for weights in seen.attention:
        layer = weights.name.removesuffix(" weights")
        title = "attention" if layer == "attention" else f"attention: {layer}"
        section.figures[weights.name] = sequences.attention(weights, title, seen.outcome.focus[0])
    _gates(section, seen.gates)
    _lens(section, seen)
    if not inputs.is_floating_point():
        embeddings.add(section, task, data, seen.sample)
    return one


def _explanation(section: Section, seen: Capture) -> None:
    """Leave the figures that explain the answer; of sequences that are written or scored token by token, add some."""
    _lens(section, seen)
    last = seen.attention[-1:] if seen.outcome.noun == "token" else []
    for weights in last:
        if max(weights.shape[1:]) <= sequences.MOST_STEPS:
            section.figures["attention"] = sequences.attention(weights, f"attention: {weights.name}")
    unwanted = ("input", "probabilities", "values", "occlusion", "channels")
    section.figures = {name: figure for name, figure in section.figures.items() if name not in unwanted}
    section.tables = []


def says(outcome: NamedScores) -> str:
    """Return what a network says, in a few words."""
    if outcome.written is not None:
        return outcome.written or "nothing"
    row, column = outcome.best
    if outcome.probabilities is None:
        several = [
            f"{name} {value:.4g}"
            for name, value in zip(outcome.columns, outcome.scores[0, row].tolist(), strict=True)
        ]
        return ", ".join(several[:4])
    share = float(outcome.probabilities[0, row, column])
    return f"{outcome.columns[column]} ({share:.1%})"


def true(outcome: NamedScores) -> str:
    """Return the true column of the first row that is asked about, or the true text; empty where it is not known."""
    if outcome.written is not None:
        return outcome.expected
    known = bool(outcome.truth) and 0 <= outcome.truth[0] < len(outcome.columns)
    return outcome.columns[outcome.truth[0]] if known else ""


def _outcome(section: Section, seen: Capture) -> None:
    outcome = seen.outcome
    where = (
        f" at step {outcome.focus[0] + 1}, {outcome.rows[outcome.focus[0]]!r}"
        if len(outcome.rows) > 1
        else ""
    )
    known = true(outcome)
    right = f"; the true {outcome.noun} is {known}" if known else ""
    if outcome.probabilities is None and len(outcome.rows) > 1:
        section.texts.append(f"The network forecasts {len(outcome.rows)} steps; the first: {says(outcome)}.")
        return
    if outcome.written is not None:
        expected = f"; the true text is {known!r}" if known else ""
        section.texts.append(
            f"The network writes {says(outcome)!r}{expected}. Figures are of the text that it writes."
        )
    else:
        section.texts.append(f"The network says {says(outcome)}{where}{right}.")
    row = outcome.focus[0]
    if outcome.probabilities is None:
        values = as_array(outcome.scores[0, row])
        section.figures["values"] = charts.bars(outcome.columns, values, "what the network says", "value")
        return
    shares = as_array(outcome.probabilities[0, row])
    marked = [place for place in outcome.truth[:1] if place >= 0]
    section.figures["probabilities"] = charts.bars(
        outcome.columns, shares, f"probability of each {outcome.noun}{where}", "probability", marked
    )
    if len(outcome.rows) > 1:
        section.tables.append(_by_step(outcome))


def _by_step(outcome: NamedScores) -> PageTable:
    """Return for each step the most probable tokens, and the true one with its probability."""
    assert outcome.probabilities is not None
    shares = outcome.probabilities[0]
    best = shares.topk(min(_RANKED, shares.shape[1]), dim=-1)
    truth = dict(zip(outcome.focus, outcome.truth, strict=False))
    rows = []
    for step in range(len(outcome.rows))[-_MOST_ROWS:]:
        ranked = zip(best.indices[step].tolist(), best.values[step].tolist(), strict=True)
        known = truth.get(step, -1)
        rows.append(
            [
                str(step + 1),
                outcome.rows[step],
                *(f"{outcome.columns[token]} {share:.1%}" for token, share in ranked),
                f"{outcome.columns[known]} {float(shares[step, known]):.1%}" if known >= 0 else "",
            ]
        )
    left_out = f", the last {_MOST_ROWS} steps" if len(outcome.rows) > _MOST_ROWS else ""
    headers = ["step", "token", "most probable", *["or"] * (best.indices.shape[1] - 1), "true"]
    return PageTable(f"what the network says at each step{left_out}", headers, rows)


def _layers(one: InputView, task: Task, data: Any, inputs: Tensor) -> None:
    """Show maps as pictures, and vectors as columns of units with the strongest connections between them."""
    section, seen = one.section, one.seen
    for layer in seen.layers:
        if layer.axes == ("map", "row", "column"):
            section.figures[layer.name] = pictures.maps(layer.values, f"{layer.name}: what its maps put out")
    vectors = [layer for layer in seen.layers if layer.axes == ("unit",)]
    if not vectors and not (inputs.is_floating_point() and inputs.ndim == 2):
        return
    outcome = seen.outcome
    parts: list[tuple[str, NDArray[Any], Sequence[str]]] = []
    if seen.embedded.axes == ("unit",):
        names = [] if inputs.ndim == 4 else contributions.column_names(task, data, seen.embedded.shape[0])
        parts.append(("input", seen.embedded.values, names))
    parts += [(layer.name, layer.values, ()) for layer in vectors]
    parts.append(("score", as_array(outcome.scores[0, outcome.best[0]]), outcome.columns))
    section.figures["activations"] = diagrams.columns(
        [
            diagrams.Units(name, values, labels, weights)
            for (name, values, labels), weights in zip(
                parts, weights_between(task.network, parts), strict=True
            )
        ],
        "what fires: units of each layer, and the connections that carry most",
    )


def weights_between(
    network: nn.Module, parts: Sequence[tuple[str, NDArray[Any], Sequence[str]]]
) -> Iterator[NDArray[Any] | None]:
    """Yield the matrix that leads to each column, found by its shape in the order of the layers, None without one."""
    left = [module.weight for module in network.modules() if isinstance(module, nn.Linear)]
    before = 0
    for _, values, _ in parts:
        wanted = (len(values), before)
        place = next((place for place, matrix in enumerate(left) if tuple(matrix.shape) == wanted), None)
        yield None if place is None else as_array(left[place])
        if place is not None:
            del left[: place + 1]
        before = len(values)


def _gates(section: Section, gates: Sequence[Recorded]) -> None:
    cells: dict[str, list[Recorded]] = {}
    kinds = (
        "input gate",
        "forget gate",
        "output gate",
        "reset gate",
        "update gate",
        "candidate",
        "cell",
        "hidden",
    )
    for gate in gates:
        kind = next(kind for kind in kinds if gate.name.endswith(kind))
        cells.setdefault(gate.name.removesuffix(kind).strip(), []).append(gate)
    for number, (name, parts) in enumerate(cells.items()):
        if number < _MOST_CELLS:
            title = name or "recurrent layer"
            section.figures[f"gates of {title}"] = sequences.gates(parts, name)
    if cells:
        section.texts.append(
            "Gates and states of recurrent layers are computed by a written-out cell: torch's own hides them. A "
            "forget gate near 1 keeps what the cell holds, an input gate near 1 writes to it."
        )


def _lens(section: Section, seen: Capture) -> None:
    if len(seen.lens) < 2:
        return
    layers, outcome = list(seen.lens), seen.outcome
    title = "what the head would say after each layer"
    if len(outcome.rows) > 1 and outcome.probabilities is not None:
        found = [one.probabilities[0].max(-1) for one in seen.lens.values() if one.probabilities is not None]
        texts = [[outcome.columns[token] for token in best.indices.tolist()] for best in found]
        shares = np.stack([as_array(best.values) for best in found])
        section.figures["logit lens"] = sequences.lens(layers, shares, texts, outcome.rows, title)
        return
    row = outcome.best[0]
    values = torch.stack(
        [
            (one.scores if one.probabilities is None else one.probabilities)[0, row]
            for one in seen.lens.values()
        ]
    )
    best = values[-1].topk(min(5, values.shape[1])).indices.tolist()
    parts = [
        charts.LineSeries(outcome.columns[column], range(1, len(layers) + 1), as_array(values[:, column]))
        for column in best
    ]
    unit = "value" if outcome.probabilities is None else "probability"
    section.figures["logit lens"] = charts.lines(parts, title, "layer", unit)
