"""Twelve tables out of installed packages, with nothing typed but file and target: what nnkit decides, and test scores.

pip install scikit-learn statsmodels vega_datasets matplotlib
python benchmarks/package_tables.py --seeds 3
python benchmarks/package_tables.py --tables cars stocks --seeds 1 --overrides trainer.max_epochs=20

Prints the table of docs/data.md: the decisions, and the scores on the same test rows of nnkit, of scikit-learn's
linear model (LogisticRegression, Ridge; on the features that nnkit makes) and of the most frequent class or the mean of
the other rows. Accuracy for classes, R2 for real values; means over the split seeds. No package but scikit-learn
is imported; a table whose package is missing is named and left out. What nnkit warns of goes to standard error.
"""

import argparse
import logging
import statistics
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tables import linear_score, rows

import nnkit
from nnkit.data.base import DataModule


class PackageTable(NamedTuple):
    """A file of a package, and what to type beside its path."""

    package: str
    file: str
    words: tuple[str, ...]


REGRESSION = "task=regression"
TABLES = {
    "wine": PackageTable("sklearn", "datasets/data/wine_data.csv", ("data.target=column_14",)),
    "breast_cancer": PackageTable("sklearn", "datasets/data/breast_cancer.csv", ("data.target=column_31",)),
    "anes96": PackageTable("statsmodels", "datasets/anes96/anes96.csv", ("data.target=vote",)),
    "fair": PackageTable("statsmodels", "datasets/fair/fair.csv", ("data.target=affairs", REGRESSION)),
    "modechoice": PackageTable("statsmodels", "datasets/modechoice/modechoice.csv", ("data.target=choice",)),
    "spector": PackageTable("statsmodels", "datasets/spector/spector.csv", ("data.target=GRADE",)),
    "statecrime": PackageTable(
        "statsmodels", "datasets/statecrime/statecrime.csv", ("data.target=murder", REGRESSION)
    ),
    "seattle-weather": PackageTable("vega_datasets", "_data/seattle-weather.csv", ("data.target=weather",)),
    "cars": PackageTable("vega_datasets", "_data/cars.json", ("data.target=Origin",)),
    "stocks": PackageTable("vega_datasets", "_data/stocks.csv", ("data.target=price", REGRESSION)),
    "airports": PackageTable("vega_datasets", "_data/airports.csv", ("data.target=state",)),
    "msft": PackageTable("matplotlib", "mpl-data/sample_data/msft.csv", ("data.target=Close", REGRESSION)),
}
KINDS = {"number": "numbers", "category": "categories", "rich": "categories with vectors", "date": "dates"}
_LISTED = 9


class Outcome(NamedTuple):
    """What one split has given."""

    data: DataModule
    metric: str
    ours: float
    linear: float
    trivial: float


def find(table: PackageTable) -> Path | None:
    """Return where the file of a package is; None without the package. Nothing of it is imported."""
    spec = find_spec(table.package)
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / table.file


def trivial_score(data: DataModule, metric: str) -> float:
    """Return the test score of the most frequent class, or of the mean, of the training and validation rows."""
    _, known = rows(data, "train", "val")
    _, target = rows(data, "test")
    if metric == "accuracy":
        return float((target == np.bincount(known).argmax()).mean())
    return 1 - float(((target - known.mean()) ** 2).sum() / ((target - target.mean()) ** 2).sum())


def outcome(path: Path, words: list[str], seed: int) -> Outcome:
    """Train on one split and score all three on its test rows."""
    with tempfile.TemporaryDirectory() as folder:
        result = nnkit.train(
            [
                *("data=table", f"data.path={path}", *words),
                *(f"data.split_seed={seed}", f"seed={seed}", f"output_dir={folder}"),
                *("callbacks=[checkpoint]", "logger=[]", "trainer.num_threads=1"),
            ]
        )
    data = result.session.data
    metric = "accuracy" if "test/accuracy" in result.metrics else "r2"
    ours = result.metrics[f"test/{metric}"]
    return Outcome(data, metric, ours, linear_score(data, metric), trivial_score(data, metric))


def decisions(data: DataModule) -> Iterator[str]:
    """Yield what a run has decided of its columns, kind by kind."""
    columns = data.preprocessing["columns"]
    for kind, specs in groupby(sorted(columns, key=lambda spec: list(KINDS).index(spec["kind"])), _kind):
        names = [_named(spec) for spec in specs]
        shown = ", ".join(names) if len(names) <= _LISTED else f"{names[0]} to {names[-1]} ({len(names)})"
        yield f"{KINDS[kind]}: {shown}"
    for name, reason in data.preprocessing["dropped"].items():
        yield f"left out: `{name}`, {reason.removesuffix(' (data.drop=[] keeps it)')}"
    if "class_names" in data.preprocessing:
        names = data.preprocessing["class_names"]
        yield f"classes: {', '.join(names) if len(names) <= _LISTED else len(names)}"


def _kind(spec: dict[str, Any]) -> str:
    return str(spec["kind"])


def _named(spec: dict[str, Any]) -> str:
    """Return the name of a column with what becomes of it beyond its kind."""
    details: list[str] = list(spec.get("parts", ()))
    if "categories" in spec:
        details.append(str(len(spec["categories"])))
    if spec.get("indicator") or spec.get("missing"):
        details.append("missing ones marked")
    return f"`{spec['name']}`" + (f" ({', '.join(details)})" if details else "")


def main() -> None:
    """Print one line of a markdown table for each file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3, help="number of splits")
    parser.add_argument("--tables", nargs="+", choices=list(TABLES), default=list(TABLES))
    parser.add_argument("--overrides", nargs="*", default=[])
    options = parser.parse_args()
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    print(
        "| file and target | rows: train, val, test | what becomes of its columns | nnkit | linear model | trivial |"
    )
    print("|---|---|---|---|---|---|")
    for name in options.tables:
        table = TABLES[name]
        path = find(table)
        if path is None:
            print(f"{table.package} is not installed: {name} is left out", file=sys.stderr)
            continue
        words = [*table.words, *options.overrides]
        outcomes = [outcome(path, words, seed) for seed in range(options.seeds)]
        first = outcomes[0]
        counts = ", ".join(f"{count:,}" for count in first.data.preprocessing["counts"].values())
        means = [
            statistics.mean(getattr(each, who) for each in outcomes) for who in ("ours", "linear", "trivial")
        ]
        print(
            f"| `{path.name}` `{' '.join(words)}` | {counts} | {'; '.join(decisions(first.data))} "
            f"| {first.metric} {' | '.join(f'{mean:.3f}' for mean in means)} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
