"""`nnkit inspect RUN [INPUT...]`: a trained network from inside, as one HTML page."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from nnkit.cli.parser import Given
from nnkit.cli.verbs import OUTPUT_DIR, RUN, Argument, Option, Verb
from nnkit.errors import UserError
from nnkit.machine.collection import uncollected
from nnkit.ui.report import shorten, show, table
from nnkit.ui.terminal import as_text

if TYPE_CHECKING:
    from nnkit.analysis.inspection.parts import Inspection

PAGE = "inspection.html"
# Arrays whose sizes are listed on the terminal.
_LISTED = 24
VERB = Verb(
    "inspect",
    (RUN, Argument("items", "INPUT", "picture, table or text, as for predict", required=False, many=True)),
    (
        Option("--out --output", f"write the page there (default: {PAGE} in the run)", "FILE.html", Path),
        Option("--pictures", "write every figure there as SVG and PNG", "DIR", Path),
        Option("--projector", "vectors of tokens and samples there, for TensorBoard", "DIR", Path),
        Option("--gradients", "gradients of the loss of a validation batch as well"),
        Option(
            "--unit", "samples that make a unit fire most and least, such as C3:5", "LAYER:INDEX", many=True
        ),
        Option("--compare", "answers and layers of a second run for the same inputs", "RUN2"),
        OUTPUT_DIR,
    ),
    (
        "The page shows layers, shapes and multiply-adds, weights, dead and saturated units, and for each input what "
        "every layer does with it: maps and saliency of images, units and connections, attention, gates, the answer "
        "after each layer, what each column or step adds. It needs no network and runs no script.",
        "Without an input, the first sample of the validation part is shown; of several inputs the first four are.",
    ),
    (
        ("nnkit inspect last", "one validation sample"),
        ("nnkit inspect last seven.png --unit C3:5 --gradients", ""),
        ('nnkit inspect last "the [MASK] statement" --pictures figures', ""),
    ),
)


def run(given: Given) -> int:
    """Write the page, and print what was seen."""
    _check_places(given)
    with uncollected():
        from nnkit.analysis.inspection.gather import inspect
        from nnkit.analysis.inspection.opening import opened
        from nnkit.analysis.inspection.projector import projector_files
        from nnkit.analysis.pages.page import files, page
        from nnkit.files import atomic

        found_run, inspected = opened(given.run, given.output_dir)
        other = opened(given.compare, given.output_dir)[1] if given.compare else None
    found = inspect(
        inspected,
        given.items,
        gradients=given.gradients,
        units=given.unit,
        other=other,
        vectors=given.projector is not None,
    )
    path = given.output or found_run.path / PAGE
    atomic.write_atomic(path, page(found).encode())
    if given.pictures is not None:
        given.pictures.mkdir(exist_ok=True)
        for name, content in files(found):
            atomic.write_atomic(given.pictures / name, content)
    if given.projector is not None:
        given.projector.mkdir(exist_ok=True)
        for name, content in projector_files(found.points):
            atomic.write_atomic(given.projector / name, content)
    _print(found)
    sys.stdout.write(f"page: {as_text(shorten(path))}\n")
    if given.pictures is not None:
        sys.stdout.write(
            f"figures: {as_text(shorten(given.pictures))}, {len(found.figures)} as SVG and PNG\n"
        )
    if given.projector is not None:
        counts = ", ".join(f"{len(part.rows):,} {part.name}" for part in found.points)
        place = as_text(shorten(given.projector))
        sys.stdout.write(f"projector: {place}, {counts}; nnkit board {place} shows them\n")
    return 0


def _check_places(given: Given) -> None:
    """Refuse places that cannot be written to before anything is read."""
    for option, path in (("out", given.output), ("pictures", given.pictures), ("projector", given.projector)):
        if path is None:
            continue
        if not path.parent.is_dir():
            raise UserError(f"--{option} {path}: there is no directory {path.parent}")
        if option == "out" and path.is_dir():
            raise UserError(f"--out {path} is a directory, a file is needed: --out {path / PAGE}")
        if option != "out" and path.exists() and not path.is_dir():
            raise UserError(f"--{option} {path} is a file, a directory is needed")


def _print(found: Inspection) -> None:
    from nnkit.analysis.inspection.views import says, true

    titles = {section.name: section.title for section in found.sections}
    show(
        table(
            ["input", "the network says", "true"],
            [[titles[name], says(outcome), true(outcome)] for name, outcome in found.outcomes.items()],
        )
    )
    first = next(iter(found.outcomes))
    arrays = [(name, one) for name, one in found.arrays.items() if name.startswith(f"{first}/")]
    rows = [
        [
            name.removeprefix(f"{first}/"),
            " x ".join(map(str, one.shape)),
            ", ".join(one.axes),
            f"{one.values.mean():.3g}",
            f"{one.values.std():.3g}",
        ]
        for name, one in arrays[:_LISTED]
    ]
    more = f", {len(arrays) - _LISTED} more on the page" if len(arrays) > _LISTED else ""
    show(table(["seen" + more, "shape", "axes", "mean", "std"], rows))
