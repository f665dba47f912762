"""Dates: as people write them in 32 places, to be written as ISO 8601."""

import hashlib
import logging

from nnkit.data.datasets.cldr_names import babel_version
from nnkit.data.datasets.date_formats import part_of, write_dates
from nnkit.data.pairs.pair_data import PairData
from nnkit.data.pairs.samples import PairedTexts
from nnkit.data.tokenizing import TokenizerKind
from nnkit.errors import UserError

_logger = logging.getLogger("nnkit")

_MOST = 1_000_000


class Dates(PairData):
    """Dates of 1950 to 2049 such as "de Freitag, 9. März 2007", whose answer is 2007-03-09; from Babel's CLDR.

    The source begins with the place, as 3/9/07 is another day elsewhere; formats that leave two answers are not
    used. The split is by day, by its hash: what is tested are days never seen in training.

    Args:
        num_pairs: Pairs of all parts together; nine tenths are trained on.
        data_seed: Seed of days, places and formats.
        source_tokenizer: As in `PairData`, like the rest.
        target_tokenizer: As in `PairData`.
        max_vocab: As in `PairData`.
        joint: As in `PairData`.
        max_length: As in `PairData`.
        batch_size: As in `PairData`.
        max_tokens: As in `PairData`.
        buckets: As in `PairData`.
        eval_batch_size: As in `PairData`.
        num_workers: As in `PairData`.
        seed: As in `PairData`.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        *,
        num_pairs: int = 100_000,
        data_seed: int = 0,
        source_tokenizer: TokenizerKind = "characters",
        target_tokenizer: TokenizerKind = "characters",
        max_vocab: int | None = None,
        joint: bool = False,
        max_length: int = 48,
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
            batch_size=batch_size,
            max_tokens=max_tokens,
            buckets=buckets,
            eval_batch_size=eval_batch_size,
            num_workers=num_workers,
            seed=seed,
        )
        if not 100 <= num_pairs <= _MOST:
            raise ValueError(f"num_pairs must lie between 100 and {_MOST:,}, not {num_pairs}")
        self.num_pairs = num_pairs
        self.data_seed = data_seed

    def load(self, expected: str | None) -> PairedTexts:
        """Write the dates.

        Raises:
            UserError: If they are others than when the run was prepared.
        """
        dates = write_dates(self.num_pairs, self.data_seed)
        answers = [day.isoformat() for _, day in dates]
        lines = (f"{text}\t{answer}" for (text, _), answer in zip(dates, answers, strict=True))
        found = hashlib.sha256("\n".join(lines).encode()).hexdigest()
        if expected is None:
            _logger.info("%d dates written by Babel %s", len(dates), babel_version())
        elif found != expected:
            raise UserError(
                f"the dates that Babel {babel_version()} writes with data.num_pairs={self.num_pairs} and "
                f"data.data_seed={self.data_seed} are not those this run was prepared with: their SHA-256 was "
                f"{expected[:12]}, now it is {found[:12]}; install the version of Babel that prepared it"
            )
        return PairedTexts(
            title="dates",
            sources=[text for text, _ in dates],
            targets=[(answer,) for answer in answers],
            fingerprint=found,
            splits=[part_of(day) for _, day in dates],
        )
