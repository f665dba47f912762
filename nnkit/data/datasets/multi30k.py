"""Multi30k: 31,014 captions of pictures in English and German, translated by people."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from nnkit.data.base import Split
from nnkit.data.cache import sha256_of
from nnkit.data.download.sources import fingerprint, present
from nnkit.data.pairs.pair_data import PairData
from nnkit.data.pairs.parallel import read_parallel
from nnkit.data.pairs.samples import PairedTexts
from nnkit.data.splits import settled_by_names
from nnkit.data.tokenizing import TokenizerKind
from nnkit.errors import UserError
from nnkit.files.paths import expand

Language = Literal["en", "de"]

# Names of the files of each part, without their language, as published and as other archives have them.
_NAMES: dict[Split, tuple[str, ...]] = {
    "train": ("train",),
    "val": ("val",),
    "test": ("test_2016_flickr", "test2016", "test"),
}


@dataclass(kw_only=True, eq=False)
class Multi30k(PairData):
    """29,000 pairs to train on, 1,014 to validate on, 1,000 to test on (test_2016_flickr), as published.

    Elliott, Frank, Sima'an and Specia, "Multi30K: multilingual English-German image descriptions", 2016. The files
    train.en.gz, train.de.gz, val.en.gz and so on are those of the folder data/task1/raw of the repository
    multi30k/dataset on GitHub; they are not fetched, as nothing would vouch for them.

    Attributes:
        root: Folder with the six files, plain or .gz.
        source: Language that is read: en or de.
        target: Language that is written.

    Raises:
        ValueError: If no folder is given or an option is out of range.
    """

    root: str | None = None
    source: Language = "en"
    target: Language = "de"
    source_tokenizer: TokenizerKind = "bpe"
    target_tokenizer: TokenizerKind = "bpe"
    max_vocab: int | None = 8_000
    joint: bool = True
    max_length: int = 96

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.root:
            raise ValueError(
                "root must name the folder with train.en, train.de, val.en, val.de, test_2016_flickr.en and "
                "test_2016_flickr.de, plain or .gz, of data/task1/raw of github.com/multi30k/dataset: "
                "data.root=FOLDER"
            )
        for name, language in (("source", self.source), ("target", self.target)):
            if language not in get_args(Language):
                raise ValueError(f"{name} must be en or de, not {language!r}")
        if self.source == self.target:
            raise ValueError(f"source and target must be different languages, not both {self.source}")

    def load(self) -> PairedTexts:
        """Read the three parts.

        Raises:
            UserError: If files are missing, cannot be read, or have changed.
        """
        paths = _locate(expand(str(self.root)), (self.source, self.target))
        hashes = fingerprint(sha256_of(path) for sides in paths.values() for path in sides)
        found = self.unchanged(f"the text in {self.root}", hashes)
        read = {split: read_parallel(*sides, report=self.is_new) for split, sides in paths.items()}
        return PairedTexts(
            title=f"Multi30k, {self.source} to {self.target}",
            sources=[text for sides in read.values() for text in sides.sources],
            targets=[(text,) for sides in read.values() for text in sides.targets],
            fingerprint=found,
            split_keys={
                "settled": settled_by_names([part for part, sides in read.items() for _ in sides.sources])
            },
        )


def _locate(root: Path, languages: tuple[Language, Language]) -> dict[Split, tuple[Path, Path]]:
    if not root.is_dir():
        raise UserError(f"data.root: there is no folder {root}")
    paths: dict[Split, tuple[Path, Path]] = {}
    missing = []
    for part, names in _NAMES.items():
        found = [[path for name in names for path in present(root, f"{name}.{end}")] for end in languages]
        missing += [f"{names[0]}.{end}" for end, files in zip(languages, found, strict=True) if not files]
        if all(found):
            paths[part] = found[0][0], found[1][0]
    if missing:
        raise UserError(
            f"data.root: {root} lacks {', '.join(missing)} (each may also end in .gz); they are in data/task1/raw of "
            "github.com/multi30k/dataset"
        )
    return paths
