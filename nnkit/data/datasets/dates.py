"""Dates: as people write them in 32 places, from Unicode's CLDR as Babel ships it, to be written as ISO 8601."""

import functools
import hashlib
import logging
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import product
from typing import TYPE_CHECKING, Final, Literal

import torch

from nnkit.data.base import Split
from nnkit.data.counted_random import private_generator
from nnkit.data.pairs.pair_data import PairData
from nnkit.data.pairs.samples import PairedTexts
from nnkit.data.splits import settled_by_names, split_by_hash

if TYPE_CHECKING:
    from babel import Locale
    from babel.dates import DateTimePattern

_logger = logging.getLogger("nnkit")

_MOST = 1_000_000

# fmt: off
LOCALES = ("en_US", "en_GB", "fr", "de", "es", "it", "pt", "nl", "sv", "da", "nb", "fi", "pl", "cs", "sk", "hu",
           "ro", "tr", "vi", "id", "et", "lv", "lt", "hr", "sl", "ru", "uk", "bg", "el", "ja", "zh", "ko")
# fmt: on

# A hundred years, so that two digits of a year say which one it is.
FIRST_DAY = date(1950, 1, 1)
NUM_DAYS = (date(2050, 1, 1) - FIRST_DAY).days

_STYLES: Final[tuple[Literal["full", "long", "medium", "short"], ...]] = ("full", "long", "medium", "short")
_SKELETONS = ("yMd", "yMEd", "yMMMd", "yMMMEd", "yMMMMd", "yMMMMEd")
_DRAWN_AT_ONCE = 1 << 14
# Blanks of other widths, which nobody types.
_BLANKS = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u2009": " "})


@dataclass(kw_only=True, eq=False)
class Dates(PairData):
    """Dates of 1950 to 2049 such as "de Freitag, 9. März 2007", whose answer is 2007-03-09; from Babel's CLDR.

    The source begins with the place, as 3/9/07 is another day elsewhere; formats that leave two answers are not
    used. The split is by day, by its hash: what is tested are days never seen in training.

    Attributes:
        num_pairs: Pairs of all splits together; nine tenths are trained on.
        data_seed: Seed of days, places and formats.

    Raises:
        ValueError: If an option is out of range.
    """

    num_pairs: int = 100_000
    data_seed: int = 0
    max_length: int = 48

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 100 <= self.num_pairs <= _MOST:
            raise ValueError(f"num_pairs must lie between 100 and {_MOST:,}, not {self.num_pairs}")

    def load(self) -> PairedTexts:
        """Write the dates.

        Raises:
            UserError: If they are others than when the run was prepared.
        """
        import babel

        dates = write_dates(self.num_pairs, self.data_seed)
        answers = [day.isoformat() for _, day in dates]
        lines = (f"{text}\t{answer}" for (text, _), answer in zip(dates, answers, strict=True))
        found = self.unchanged(
            f"what Babel {babel.__version__} writes with data.num_pairs={self.num_pairs} and "
            f"data.data_seed={self.data_seed}",
            hashlib.sha256("\n".join(lines).encode()).hexdigest(),
            "install the version of Babel that prepared it",
        )
        if self.is_new:
            _logger.info("%d dates written by Babel %s", len(dates), babel.__version__)
        return PairedTexts(
            title="dates",
            sources=[text for text, _ in dates],
            targets=[(answer,) for answer in answers],
            fingerprint=found,
            split_keys={"settled": settled_by_names([split_of(day) for _, day in dates])},
        )


def formats(code: str) -> "list[DateTimePattern]":
    """Return the different ways in which dates are written in a place; none of them leaves two answers.

    Args:
        code: One of `LOCALES`.
    """
    # Babel takes a tenth of a second to import.
    from babel import Locale
    from babel.dates import get_date_format

    locale = Locale.parse(code)
    found = [get_date_format(style, locale) for style in _STYLES]
    found += [locale.datetime_skeletons[name] for name in _SKELETONS if name in locale.datetime_skeletons]
    different = {pattern.pattern: pattern for pattern in found}
    return with_one_answer(locale, list(different.values()))


def with_one_answer(locale: "Locale", patterns: "list[DateTimePattern]") -> "list[DateTimePattern]":
    """Leave out a format in which a date reads like another one in a format before it, or in itself."""
    # Day, month and year of two digits each: these take each other's place in all ways.
    probes = [date(2000 + year, month, day) for year, month, day in product((10, 11, 12), repeat=3)]
    probes += [date(2010, month, 10) for month in range(1, 13)]
    days: dict[str, date] = {}
    kept = []
    for pattern in patterns:
        written = [(_written(pattern, day, locale), day) for day in probes]
        meant = dict(written)
        if all(days.get(text, day) == day == meant[text] for text, day in written):
            days |= meant
            kept.append(pattern)
    return kept


def _written(pattern: "DateTimePattern", day: date, locale: "Locale") -> str:
    return pattern.apply(day, locale).translate(_BLANKS).strip()


def write_dates(num_dates: int, seed: int) -> list[tuple[str, date]]:
    """Draw days, places and formats, each as likely as the others of its kind; no text comes twice.

    Args:
        num_dates: How many.
        seed: Equal seeds give equal dates, as long as Babel writes them the same way.

    Returns:
        Of each the code of the place, a blank and the date as it is written there; and the date.
    """
    from babel import Locale

    generator = private_generator(seed)
    places = [(code, Locale.parse(code), formats(code)) for code in LOCALES]
    days: dict[str, date] = {}
    while len(days) < num_dates:
        drawn = torch.randint(1 << 31, (_DRAWN_AT_ONCE, 3), generator=generator).tolist()
        for number, place, form in drawn:
            code, locale, patterns = places[place % len(places)]
            day = FIRST_DAY + timedelta(number % NUM_DAYS)
            days[f"{code} {_written(patterns[form % len(patterns)], day, locale)}"] = day
            if len(days) == num_dates:
                break
    return list(days.items())


@functools.cache
def split_of(day: date) -> Split:
    """Return the split of a day by its hash: a twentieth of them are test days, as many validation days."""
    return split_by_hash(day.isoformat(), 20)
