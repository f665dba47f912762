"""The sets that ship with nnkit by default settings beside scikit-learn's linear models, on the same rows.

python benchmarks/tables.py --seeds 10
python benchmarks/tables.py --sets iris --overrides model.hidden=[32] data.max_epochs=200

Accuracy for classes (LogisticRegression), R2 for real values (Ridge). scikit-learn sees training and
validation rows with features standardised; nnkit chooses by the validation rows if there are any. An error is
the standard error over the split seeds, that of the difference the one over the pairs.
"""

import argparse
import gzip
import math
import statistics
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import nnkit
from nnkit.data.base import DataModule, Split
from nnkit.data.sampler import Draw

SHIPPED = ("iris", "wine", "breast_cancer", "diabetes", "digits")
# The same through a user's own files: a CSV, and a folder of PNGs for each class.
OWN = ("csv", "image_folder")
SETS = (*SHIPPED, *OWN)
TABLES = Path(nnkit.__file__).parent / "data" / "datasets" / "files"


def own_files(folder: Path) -> dict[str, list[str]]:
    """Write wine as a CSV and the digits as PNGs, and return the overrides that name them."""
    opener = gzip.open if (TABLES / "wine.csv.gz").exists() else open
    with opener(next(TABLES.glob("wine.csv*")), "rt", encoding="utf-8") as source:
        (folder / "wine.csv").write_text(source.read(), encoding="utf-8")
    digits = load_digits()
    for number, (pixels, target) in enumerate(zip(digits.images, digits.target, strict=True)):
        path = folder / "pictures" / str(target) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels * 255 / 16).astype(np.uint8)).save(path)
    size = ["data.height=8", "data.width=8", "data.in_channels=1"]
    return {
        "csv": ["data=csv", f"data.path={folder / 'wine.csv'}"],
        "image_folder": ["data=image_folder", f"data.root={folder / 'pictures'}", *size],
    }


def rows(data: DataModule, *splits: Split) -> tuple[np.ndarray, np.ndarray]:
    """Return features (rows, features) and targets (rows,) of whole splits."""
    batches = [
        samples[Draw(None, torch.arange(len(samples)))] for samples in map(data.split, splits) if len(samples)
    ]
    inputs = torch.cat([batch.inputs.flatten(1) for batch in batches])
    target = torch.cat([batch.target.reshape(-1) for batch in batches])
    return inputs.numpy(), target.numpy()


def linear_score(data: DataModule, metric: str) -> float:
    """Return the test score of scikit-learn's linear model."""
    model = LogisticRegression(max_iter=10_000) if metric == "accuracy" else Ridge()
    pipeline = make_pipeline(StandardScaler(), model).fit(*rows(data, "train", "val"))
    return float(pipeline.score(*rows(data, "test")))


def both_scores(seed: int, overrides: list[str]) -> tuple[float, float, str]:
    """Return the test scores of nnkit and of scikit-learn on one split, and the name of the metric."""
    with tempfile.TemporaryDirectory() as folder:
        result = nnkit.train(
            [
                *(f"data.split_seed={seed}", f"seed={seed}", f"output_dir={folder}"),
                *("callbacks=[checkpoint]", "logger=[]", "trainer.num_threads=1"),
                *overrides,
            ]
        )
    metric = "accuracy" if "test/accuracy" in result.metrics else "r2"
    return result.metrics[f"test/{metric}"], linear_score(result.session.data, metric), metric


def mean_and_error(values: list[float]) -> tuple[float, float]:
    """Return the mean and its standard error."""
    return statistics.mean(values), statistics.stdev(values) / math.sqrt(len(values))


def main() -> None:
    """Print one line of a markdown table for each set."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=10, help="number of splits, at least 2")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    parser.add_argument("--overrides", nargs="*", default=[])
    options = parser.parse_args()
    folder = tempfile.TemporaryDirectory()
    own = own_files(Path(folder.name)) if set(options.sets) & set(OWN) else {}
    print("| data | metric | nnkit | scikit-learn | difference | within one error |")
    print("|---|---|---|---|---|---|")
    for name in options.sets:
        seeds = range(options.first_seed, options.first_seed + options.seeds)
        words = [*own.get(name, [f"data={name}"]), *options.overrides]
        scores = [both_scores(seed, words) for seed in seeds]
        ours, error = mean_and_error([score for score, _, _ in scores])
        theirs, their_error = mean_and_error([score for _, score, _ in scores])
        gap, gap_error = mean_and_error([score - other for score, other, _ in scores])
        verdict = "yes" if gap >= -gap_error else "no"
        print(
            f"| {name} | {scores[0][2]} | {ours:.4f} ± {error:.4f} | {theirs:.4f} ± {their_error:.4f} "
            f"| {gap:+.4f} ± {gap_error:.4f} | {verdict} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
