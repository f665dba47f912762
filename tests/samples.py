"""A small dataset of each kind that every model of that kind can be trained on in a moment."""

import shutil
import sysconfig
from pathlib import Path

from PIL import Image
from torch.utils.data import Dataset

import nnkit
from nnkit.config import catalog

# What a dataset of the user's cannot do without, the file need not exist.
NEEDED = {
    "arrays": ["data.path=arrays.npz"],
    "csv": ["data.path=rows.csv"],
    # A class of a module that the test trusts.
    "dataset": ["data.dataset._target_=samples.Pairs"],
    "table": ["data.path=rows.csv"],
    "image_folder": ["data.root=pictures"],
    "text_file": ["data.path=text.txt"],
    "texts": ["data.path=texts.csv"],
    "text_csv": ["data.path=texts.csv"],
    "jsonl": ["data.path=texts.jsonl"],
    "series": ["data.path=series.csv"],
    "series_csv": ["data.path=series.csv"],
    "text_pairs": ["data.path=pairs.tsv"],
    "multi30k": ["data.root=captions"],
    "text_pairs_file": ["data.path=documents.txt"],
}

# Earlier names of datasets.
ALIASES = {"series_csv", "csv", "text_csv"}


class Pairs(Dataset[tuple[float, int]]):
    """Numbers and whether they are odd."""

    def __len__(self) -> int:
        return 40

    def __getitem__(self, number: int) -> tuple[float, int]:
        return float(number), number % 2


# Modules that the documentation datasets are made of here, one at least of each chapter.
_LIBRARY = (
    *("textwrap", "heapq", "statistics", "csv", "getopt", "queue"),
    *("base64", "uuid", "timeit", "contextlib", "tokenize", "calendar"),
    # One large and some small, so that parts of the split are held out.
    *("_pydecimal", "colorsys", "fractions", "operator", "numbers", "random"),
)
_WORDS = ("the", "cat", "saw", "a", "dog", "and", "went", "home")


def words(kind: str) -> list[str]:
    """Return what is typed for a dataset, its file written into the working directory where it needs one.

    Args:
        kind: pictures, table, text (one long one, for language models), texts (labelled ones), pairs, sentences
            or series.
    """
    return _KINDS[kind]()


def library(folder: Path) -> Path:
    """Return a folder that stands for Python's library in datasets of its documentation; the whole takes a minute.

    Args:
        folder: Where it is; it is filled if it does not exist.
    """
    if not folder.is_dir():
        (folder / "pydoc_data").mkdir(parents=True)
        topics = {
            name: f"The word {name} is a statement. It does one thing." for name in ("if", "for", "try")
        }
        (folder / "pydoc_data" / "topics.py").write_text(f"topics = {topics!r}\n")
        for module in _LIBRARY:
            shutil.copy(Path(sysconfig.get_path("stdlib"), f"{module}.py"), folder)
    return folder


def small(model: str) -> list[str]:
    """Return what makes a model so small that it is trained in a moment, whatever its size."""
    sizes = {"dim": 16, "num_heads": 2, "num_kv_heads": 1, "num_layers": 1}
    given = catalog.read("model", model)
    if "depths" in given:
        sizes = {"depths": "[1,1]", "channels": "[8,8]"}
    elif "num_heads" not in given:
        # Recurrent ones are compared over their layers as they are.
        sizes = {"dim": 32}
    return [f"model.{name}={size}" for name, size in sizes.items() if name in given]


def item(kind: str) -> str:
    """Return what `nnkit predict` is given for a run on such data, its file written into the working directory."""
    if kind == "pictures":
        Image.new("L", (8, 8), 128).save("picture.png")
        return "picture.png"
    if kind == "series":
        Path("series.csv").write_text("\n".join(["value", *(str(0.9 + 0.01 * step) for step in range(20))]))
        return "series.csv"
    if kind == "sentences":
        return "the [MASK] saw a dog"
    if kind in ("text", "texts", "pairs"):
        return "the cat saw a dog"
    tables = Path(nnkit.__file__).parent / "data" / "datasets" / "files"
    return str(tables / f"{'diabetes' if kind == 'diabetes' else 'iris'}.csv")


def _text() -> list[str]:
    lines = [" ".join(_WORDS[(number * step) % 8] for step in range(1, 8)) for number in range(1, 30)]
    Path("text.txt").write_text("\n".join(lines), encoding="utf-8")
    return ["data=text_file", "data.path=text.txt", "data.block_size=12", "data.batch_size=16"]


def _texts() -> list[str]:
    rows = ["text,label"]
    for number in range(80):
        label = ("long", "short", "odd")[number % 3]
        text = " ".join(_WORDS[(number + step) % 8] for step in range(2 + 3 * (number % 3)))
        rows.append(f"{text},{label}")
    Path("texts.csv").write_text("\n".join(rows), encoding="utf-8")
    return ["data=text_csv", "data.path=texts.csv", "data.batch_size=16"]


def _pairs() -> list[str]:
    rows = []
    for number in range(80):
        words = [_WORDS[(number * step) % 8] for step in range(1, 2 + number % 5)]
        rows.append(f"{' '.join(words)} {number}\t{' '.join(reversed(words))}")
    Path("pairs.tsv").write_text("\n".join(rows), encoding="utf-8")
    # One vocabulary, as a model that shares its vectors needs it.
    return ["data=text_pairs", "data.path=pairs.tsv", "data.joint=true", "data.batch_size=16"]


def _sentences() -> list[str]:
    documents = []
    for number in range(40):
        lines = [" ".join(_WORDS[(number + line * step) % 8] for step in range(1, 6)) for line in range(6)]
        documents.append("\n".join(f"{line}." for line in lines))
    Path("documents.txt").write_text("\n\n".join(documents), encoding="utf-8")
    return ["data=text_pairs_file", "data.path=documents.txt", "data.max_length=24", "data.batch_size=16"]


_KINDS = {
    "pictures": lambda: ["data=digits", "data.subset=0.25", "data.batch_size=64"],
    "table": lambda: ["data=iris", "data.val_fraction=0.2", "data.batch_size=16"],
    "text": _text,
    "texts": _texts,
    "pairs": _pairs,
    "sentences": _sentences,
    "series": lambda: [
        "data=mackey_glass", "data.num_steps=200", "data.window=8", "data.horizon=2", "data.batch_size=32",
    ],
}  # fmt: skip
KINDS = tuple(_KINDS)
