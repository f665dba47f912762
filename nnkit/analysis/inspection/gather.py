"""Everything that `nnkit inspect` shows of a run: the network, its weights and units, and inputs on their way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from nnkit.analysis.inspection import diagrams, health, norms, pictures, views
from nnkit.analysis.inspection.extremes import extremes, parsed
from nnkit.analysis.inspection.parts import Inspection
from nnkit.analysis.inspection.projector import points_of
from nnkit.analysis.inspection.recorded import Recorded
from nnkit.analysis.pages import charts
from nnkit.analysis.pages.parts import PageTable, Section
from nnkit.analysis.pages.samples import described, picture_of
from nnkit.analysis.shapes import walk
from nnkit.errors import NnkitError, UserError
from nnkit.tasks.drawing import first_kernels

if TYPE_CHECKING:
    from nnkit.batches import Batch
    from nnkit.data.base import DataModule
    from nnkit.data.splits import Split
    from nnkit.tasks.base import Task

# Inputs that are shown, and validation samples that units are watched over.
MOST_INPUTS, WATCHED = 4, 4096
# Of large networks as many as take so many multiply-adds, which is seconds, and at least so many samples.
_MULTIPLY_ADDS, _LEAST = 20_000_000_000, 64
# Layers that do nothing in a trained network.
_SILENT = ("Identity", "Dropout")


@dataclass(frozen=True)
class Inspected:
    """A trained run to be seen.

    Attributes:
        title: What the user calls it.
        task: Its task, in evaluation mode.
        data: Its data module.
        facts: What is known of it, by name.
        norms: What it has recorded of its gradients, (layer, step); None: nothing.
    """

    title: str
    task: Task
    data: DataModule
    facts: dict[str, str]
    norms: Recorded | None = None


def inspect(
    run: Inspected,
    items: Sequence[str] = (),
    *,
    gradients: bool = False,
    units: Sequence[str] = (),
    other: Inspected | None = None,
    vectors: bool = False,
) -> Inspection:
    """See a network from inside.

    Args:
        run: The run.
        items: Inputs, as `nnkit predict` takes them; the first four are shown. None at all: the first sample of the
            validation part.
        gradients: Whether the gradients of the loss of a validation batch are shown as well.
        units: Units to find the samples of that make them fire most and least, such as "C3:5".
        other: A second run, whose answers and layers for the same inputs are shown beside.
        vectors: Whether the vectors of tokens and of validation samples are wanted, for TensorBoard's projector.

    Raises:
        UserError: If no input can be read, a unit does not exist, or something asked for needs validation samples that
            cannot be had.
    """
    asked = [(text, *parsed(run.task.network, text)) for text in units]
    named, left_out = _samples(run, items)
    held = _Validation(run)
    if not named:
        sample = held.first()
        named = [(f"{run.title}: first {held.part} sample", sample)]
    found = Inspection(run.title, run.facts)
    each = _network(found, run, named[0][1])
    _weights(found, run, held, gradients)
    _activity(found, run, held, each)
    for text, layer, unit in asked:
        found.sections.append(_unit(run, held, text, layer, unit))
    for number, one in enumerate(named, 1):
        _input(found, run, one, f"input {number}", other)
    if vectors:
        found.points += points_of(run.task, run.data, held.batches())
        if not found.points:
            raise UserError(
                f"--projector: there are no vectors: {held.problem or 'the network has none of tokens'}"
            )
    if left_out:
        found.sections[-1].texts.append(
            f"{left_out} more inputs are left out: {MOST_INPUTS} are shown at a time."
        )
    return found


class _Validation:
    """The samples of the validation part; of small data that have none, those of the test or the training part."""

    def __init__(self, run: Inspected) -> None:
        self._run, self.problem, self.part = run, "", "validation"

    def batches(self) -> Iterable[Batch]:
        """Return them; none where they cannot be had, `problem` tells why."""
        data = self._run.data
        parts: dict[Split, str] = {"val": "validation", "test": "test", "train": "training"}
        try:
            for split, part in parts.items():
                if len(samples := data.split(split)):
                    self.part = part
                    return data.in_order(samples)
            self.problem = "the data have no samples"
        except NnkitError as error:
            self.problem = str(error).splitlines()[0]
        return ()

    def needed(self, what: str) -> Iterable[Batch]:
        """Return them; a UserError if they cannot be had."""
        found = self.batches()
        if self.problem:
            raise UserError(f"{what} needs samples of the run's data: {self.problem}")
        return found

    def first(self) -> Batch:
        """Return the first sample."""
        batch = next(iter(self.needed("nnkit inspect without an input")))
        return self._run.task.first_sample(batch)


def _samples(run: Inspected, items: Sequence[str]) -> tuple[list[tuple[str, Batch]], int]:
    """Return the first inputs as batches of one with their names, and how many more there are."""
    found: list[tuple[str, Batch]] = []
    problems: list[str] = []
    left_out = 0
    size = 1 if run.task.one_by_one else MOST_INPUTS
    for read in run.data.read_batches(items, size) if items else ():
        problems += [f"{read.names[place]}: {reason}" for place, reason in read.problems.items()]
        if read.batch is None:
            continue
        names, _ = read.readable()
        for place, name in enumerate(names):
            if len(found) == MOST_INPUTS:
                left_out += 1
                continue
            alone: Any = type(read.batch)(*(part[place : place + 1] for part in read.batch))
            sample = run.task.first_sample(alone)
            known = read.labelled is not None and bool(read.labelled[place])
            found.append((str(name), sample if known else run.task.without_truth(sample)))
    if problems:
        raise UserError("\n".join(problems[:MOST_INPUTS]))
    if items and not found:
        raise UserError("there is nothing to inspect: what was named, or standard input, is empty")
    return found, left_out


def _network(found: Inspection, run: Inspected, sample: Batch) -> float:
    """Show the layers, and return the multiply-adds for each number of an input."""
    section = Section("The network", "network")
    with torch.no_grad():
        sample = run.task.completed(sample, run.data)
    layers = walk(run.task.network, *sample.network_inputs())
    rows = diagrams.grouped(
        [
            diagrams.LayerRow(
                health.short(layer.name),
                layer.kind,
                layer.output[1:],
                layer.trainable + layer.frozen,
                layer.multiply_adds,
            )
            for layer in layers
            if layer.kind not in _SILENT
        ]
    )
    section.figures["layers"] = diagrams.network(rows, f"layers of {run.title}")
    total = sum(layer.trainable + layer.frozen for layer in layers)
    adds = sum(layer.multiply_adds for layer in layers)
    section.texts.append(f"{total:,} parameters; {adds:,} multiply-adds for one sample.")
    found.sections.append(section)
    return adds / max(1, sample.inputs[0].numel())


def _weights(found: Inspection, run: Inspected, held: _Validation, gradients: bool) -> None:
    section = Section("Weights", "weights")
    weights = health.weights_of(run.task.network)
    section.figures["weights"] = charts.distributions(_largest(weights), "weights of each layer", "weight")
    for name, values in weights.items():
        found.arrays[f"weights/{name}"] = Recorded(name, values, ("weight",))
    shape = _picture_shape(run)
    kernels = first_kernels(run.task.network, torch.Size(shape))
    if kernels is not None:
        found.arrays["weights/kernels"] = Recorded("kernels", kernels, ("kernel", "channel", "row", "column"))
        noun = "unit" if kernels.shape[1:] == tuple(shape) else "kernel"
        mean = ", mean of the channels" if kernels.shape[1] > 1 else ""
        title = f"weights of the {noun}s of the first layer{mean}"
        section.figures["kernels"] = pictures.maps(kernels.mean(1), title, noun)
    norms.add(found, section, run.norms)
    if gradients:
        batch = next(iter(held.needed("--gradients")))
        slopes = health.gradients_of(run.task, batch)
        for name, values in slopes.items():
            found.arrays[f"gradients/{name}"] = Recorded(name, values, ("weight",))
        section.figures["gradients"] = charts.distributions(
            _largest(slopes), f"gradients of the loss of {len(batch.indices)} {held.part} samples", "gradient"
        )
        section.tables.append(
            PageTable(
                "size of weights and gradients",
                ["layer", "weights, root mean square", "gradients, root mean square"],
                [[name, _size(weights[name]), _size(slopes[name])] for name in slopes],
            )
        )
    found.sections.append(section)


def _size(values: Any) -> str:
    return f"{float(np.sqrt(np.square(values.astype(np.float64)).mean())):.3g}"


def _largest(parts: dict[str, Any], most: int = 40) -> dict[str, Any]:
    """Return the arrays of a network with few layers, or as many of the largest."""
    chosen = set(sorted(parts, key=lambda name: -parts[name].size)[:most])
    return {name: values for name, values in parts.items() if name in chosen}


def _picture_shape(run: Inspected) -> tuple[int, ...]:
    """Return channels, height and width of a picture of the data; nothing where they are none."""
    facts = run.data.facts()
    shape = tuple(int(facts.get(name) or 0) for name in ("in_channels", "height", "width"))
    return shape if all(shape) else ()


def _activity(found: Inspection, run: Inspected, held: _Validation, each: float) -> None:
    section = Section("Units", "units")
    watched: list[int] = []
    samples = iter(held.batches())
    beginning = [*islice(samples, 1)]
    spent = max((each * batch.inputs[0].numel() for batch in beginning), default=1) or 1
    most = max(_LEAST, min(WATCHED, int(_MULTIPLY_ADDS / spent)))
    batches = health.first(chain(beginning, samples), most, watched)
    rows = health.summary(health.activity(run.task.network, batches))
    if not rows:
        section.texts.append(
            f"Units were not watched: {held.problem}."
            if held.problem
            else "The network has no activation to watch."
        )
    else:
        section.figures["units"] = charts.health(rows, f"dead and saturated units over the {held.part} part")
        near, mostly = f"{health.NEAR:.0%}", f"{health.MOSTLY:.0%}"
        section.texts += [
            f"Over the first {sum(watched):,} {held.part} samples. A unit is dead where it always puts out the same.",
            f"It is saturated where {mostly} of its outputs lie within {near} of its activation's range from a bound.",
        ]
        headers = ["layer", "units", "dead", "saturated"]
        section.tables.append(
            PageTable("units", headers, [[name, *map(str, counts)] for name, *counts in rows])
        )
    found.sections.append(section)


def _unit(run: Inspected, held: _Validation, text: str, layer: str, unit: int) -> Section:
    most, least = extremes(run.task, islice(held.needed("--unit"), 1000), layer, unit)
    section = Section(f"Unit {text}", f"unit {text}")
    for title, fired in (("most", most), ("least", least)):
        rows = [
            [
                f"{one.value:.4g}",
                ", ".join(str(place + 1) for place in one.place) or "-",
                described(one.sample, run.data),
            ]
            for one in fired
        ]
        headers = ["puts out", "where", "sample"]
        section.tables.append(PageTable(f"{held.part} samples for which {text} fires {title}", headers, rows))
        images = [picture_of(one.sample, run.data) for one in fired]
        if all(image is not None for image in images):
            captions = [(f"{one.value:.3g}", "") for one in fired]
            section.figures[f"fires {title}"] = _strip(
                images, captions, f"samples for which {text} fires {title}"
            )
    return section


def _strip(images: Sequence[Any], captions: Sequence[tuple[str, str]], title: str) -> Any:
    from nnkit.analysis.pages import look

    with look.style():
        figure, axes = look.panels(title, 1, len(images), 115 * len(images), 170)
        for one, image, (caption, _) in zip(axes, images, captions, strict=True):
            one.imshow(image)
            one.set(xticks=[], yticks=[], xlabel=caption)
    return figure


def _input(
    found: Inspection, run: Inspected, named: tuple[str, Batch], name: str, other: Inspected | None
) -> None:
    title, sample = named
    one = views.view(run.task, run.data, sample, title, name)
    found.sections.append(one.section)
    found.outcomes[name] = one.seen.outcome
    found.arrays |= {f"{name}/{key}": value for key, value in one.arrays.items()}
    if other is None:
        return
    try:
        beside = views.view(
            other.task, other.data, sample, f"{title}, by {other.title}", f"{name} of the other run"
        )
    except (RuntimeError, ValueError, IndexError) as error:
        raise UserError(
            f"--compare {other.title}: it does not read what {run.title} reads: {str(error).splitlines()[0]}"
        ) from error
    section = beside.section
    found.sections.append(section)
    found.outcomes[section.name] = beside.seen.outcome
    found.arrays |= {f"{section.name}/{key}": value for key, value in beside.arrays.items()}
    rows = [
        [which.title, views.says(seen.outcome), views.true(seen.outcome)]
        for which, seen in ((run, one.seen), (other, beside.seen))
    ]
    one.section.tables.insert(0, PageTable("both runs", ["run", "says", "true"], rows))
