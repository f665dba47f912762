"""Whether a sweep is ours to run, or that of a launcher or sweeper of Hydra's ecosystem."""

import re
from collections.abc import Sequence


def is_foreign(words: Sequence[str]) -> bool:
    """Return whether a launcher or sweeper of Hydra's ecosystem was chosen instead of ours."""
    return any(re.match(r"\+?hydra/(launcher|sweeper)=", word) for word in words)
