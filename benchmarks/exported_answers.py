"""What `nnkit predict` answers with an exported file, beside its answers with the run, on pictures of the test split.

nnkit train model=lenet5 data=mnist name=mnist
nnkit export mnist --format onnx
python benchmarks/exported_answers.py mnist mnist.onnx
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from PIL import Image

import nnkit


def write_pictures(run: str, folder: Path, count: int) -> None:
    """Write pictures of a run's test split as PNG files."""
    data = nnkit.load(run).data
    pictures, split = data.open(), data.split("test")
    rows = split.rows[:count]
    pixels = pictures.pixels[rows] if isinstance(pictures.pixels, torch.Tensor) else pictures.pixels(rows)
    for number, picture in enumerate(pixels.to(torch.uint8).numpy()):
        # One channel, or the channels last.
        Image.fromarray(picture.squeeze(0) if len(picture) == 1 else picture.transpose(1, 2, 0)).save(
            folder / f"{number:05}.png"
        )


def answers(trained: str, folder: Path) -> list[dict[str, Any]]:
    """Return what the command answers, with the probabilities of all classes."""
    command = [sys.executable, "-m", "nnkit", "predict", trained, str(folder), "--format", "jsonl", "--proba"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return [json.loads(line) for line in lines]


def main() -> None:
    """Print how many labels are equal, and the largest difference of the probabilities."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run")
    parser.add_argument("file")
    parser.add_argument("--pictures", type=int, default=1000)
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        write_pictures(given.run, Path(folder), given.pictures)
        pairs = [*zip(*(answers(one, Path(folder)) for one in (given.run, given.file)), strict=True)]
    equal = sum(one["label"] == other["label"] for one, other in pairs)
    apart = max(
        abs(value - other["probabilities"][name])
        for one, other in pairs
        for name, value in one["probabilities"].items()
    )
    print(
        f"{equal:,} of {len(pairs):,} labels are equal; the largest difference of a probability is {apart:.1e}"
    )


if __name__ == "__main__":
    main()
