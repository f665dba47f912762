"""`nnkit export RUN --format FORMAT`: a trained network for other programs."""

from __future__ import annotations

import sys
from pathlib import Path

from nnkit.cli.parser import Given
from nnkit.cli.verbs import OUTPUT_DIR, RUN, Option, Verb
from nnkit.errors import UserError
from nnkit.ui.report import shorten
from nnkit.ui.terminal import printable

_FORMATS = ("onnx", "torch", "safetensors", "huggingface")
VERB = Verb(
    "export",
    (RUN,),
    (
        Option("--format", "what to write", "|".join(_FORMATS), choices=_FORMATS),
        Option("--out", "the file or directory; as the run is called", "PATH", Path),
        Option("--merge", "fold LoRA's matrices into the weights"),
        OUTPUT_DIR,
    ),
    (
        "onnx: a network that onnxruntime and others run; `nnkit predict FILE.onnx ITEM...` works as with the run. "
        "torch: a program of torch.export (.pt2). safetensors: the weights alone. Beside each of these, FILE.json has "
        "the preprocessing, the class names and the config. huggingface: a directory that transformers reads.",
        "What was made is run beside the run's network on samples of the test split, and the largest difference is "
        "printed. Above 1e-4 nothing is written, and the exit code is 1.",
    ),
)


def run(given: Given) -> int:
    """Write the run in another format."""
    if given.format is None:
        raise UserError(f"what should be written?\n    --format {'|'.join(_FORMATS)}")
    from nnkit.runs.run import find_run

    found = find_run(given.run, given.output_dir)
    from nnkit.export.writing import export_run

    made = export_run(found, given.format, given.out, merged=given.merge)
    sys.stdout.write(f"{shorten(made.path)}\n")
    for name, fact in made.facts.items():
        sys.stdout.write(f"    {name}: {printable(fact)}\n")
    for note in made.notes:
        sys.stdout.write(f"    {printable(note)}\n")
    return 0
