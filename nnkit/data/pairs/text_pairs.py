"""Pairs of texts of the user's: a file with two columns, or two parallel files."""

from pathlib import Path

from nnkit.data.download.sources import fingerprint
from nnkit.data.pairs.base import PairData
from nnkit.data.pairs.encoded_pairs import PairedTexts
from nnkit.data.pairs.pair_files import read_columns, read_parallel
from nnkit.data.reading.user_files import find_file, unchanged
from nnkit.data.tokenizing import TokenizerKind
from nnkit.errors import UserError


class TextPairs(PairData):
    """Lines with a source, a tab and its target, or two files of which the same lines belong together; plain or .gz.

    The pairs are split at random; those with the same source are in the same part.

    Args:
        path: The file with both columns, or that of the sources.
        target_path: The file of the targets; default: they are in the second column of `path`.
        source_tokenizer: As in `PairData`, like the rest.
        target_tokenizer: As in `PairData`.
        max_vocab: As in `PairData`.
        joint: As in `PairData`.
        max_length: As in `PairData`.
        val_fraction: As in `PairData`.
        test_fraction: As in `PairData`.
        split_seed: As in `PairData`.
        batch_size: As in `PairData`.
        max_tokens: As in `PairData`.
        buckets: As in `PairData`.
        eval_batch_size: As in `PairData`.
        num_workers: As in `PairData`.
        seed: As in `PairData`.

    Raises:
        ValueError: If no path is given or an argument is out of range.
    """

    def __init__(
        self,
        *,
        path: str | None = None,
        target_path: str | None = None,
        source_tokenizer: TokenizerKind = "characters",
        target_tokenizer: TokenizerKind = "characters",
        max_vocab: int | None = None,
        joint: bool = False,
        max_length: int = 128,
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        split_seed: int = 0,
        batch_size: int = 64,
        max_tokens: int | None = None,
        buckets: bool = True,
        eval_batch_size: int | None = None,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(
            source_tokenizer=source_tokenizer,
            target_tokenizer=target_tokenizer,
            max_vocab=max_vocab,
            joint=joint,
            max_length=max_length,
            val_fraction=val_fraction,
            test_fraction=test_fraction,
            split_seed=split_seed,
            batch_size=batch_size,
            max_tokens=max_tokens,
            buckets=buckets,
            eval_batch_size=eval_batch_size,
            num_workers=num_workers,
            seed=seed,
        )
        if not path:
            raise ValueError(
                "path must name a file with a source, a tab and its target on each line: data.path=FILE.tsv"
            )
        self.path = path
        self.target_path = target_path

    def load(self, expected: str | None) -> PairedTexts:
        """Read the pairs.

        Raises:
            UserError: If a file cannot be read or has changed.
        """
        paths = [find_file(path) for path in (self.path, self.target_path) if path is not None]
        title = " and ".join(map(str, paths))
        found = _fingerprint(paths)
        if expected not in (None, found):
            raise UserError(
                f"{title} {'have' if len(paths) > 1 else 'has'} changed since this run was prepared: the SHA-256 was "
                f"{str(expected)[:12]}, now it is {found[:12]}"
            )
        say = expected is None
        sides = read_columns(paths[0], say) if len(paths) == 1 else read_parallel(paths[0], paths[1], say)
        if not sides.sources:
            raise UserError(f"{title}: there is no line with a source and a target")
        return PairedTexts(title, sides.sources, [(text,) for text in sides.targets], found)


def _fingerprint(paths: list[Path]) -> str:
    hashes = [unchanged(path, None) for path in paths]
    return fingerprint(hashes) if len(hashes) > 1 else hashes[0]
