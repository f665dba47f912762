"""Names of languages and territories in 24 languages, from Unicode's CLDR as Babel ships it."""

import hashlib
from collections import defaultdict
from typing import NamedTuple

from nnkit.data.base import Split

# In Latin script, so that the writing does not give them away.
# fmt: off
LANGUAGES = ("en", "fr", "de", "es", "it", "pt", "nl", "sv", "da", "nb", "fi", "pl",
             "cs", "sk", "hu", "ro", "tr", "vi", "id", "et", "lv", "lt", "hr", "sl")
# fmt: on


class Name(NamedTuple):
    """A name that one of the languages has, and no other.

    Attributes:
        text: The name.
        language: English name of the language.
        concept: What is named: its kind and its code, such as "territoriesDE".
    """

    text: str
    language: str
    concept: str


def collect_names() -> list[Name]:
    """Return all names that occur in one language only, sorted; a name of two concepts counts for the first."""
    # Babel takes a tenth of a second to import.
    from babel import Locale

    languages_of = defaultdict[str, set[str]](set)
    concept_of: dict[str, str] = {}
    for code in LANGUAGES:
        locale = Locale.parse(code)
        language = str(locale.english_name)
        for kind in ("languages", "territories"):
            for key, name in sorted(getattr(locale, kind).items()):
                languages_of[name].add(language)
                concept_of.setdefault(name, f"{kind}{key}")
    return sorted(
        Name(text, next(iter(languages)), concept_of[text])
        for text, languages in languages_of.items()
        if len(languages) == 1
    )


def part_of(concept: str) -> Split:
    """Deal a concept out: the last digit of its hash sends a tenth to the test and one to the validation part."""
    digit = int(hashlib.sha256(concept.encode()).hexdigest(), 16) % 10
    return "test" if digit == 0 else "val" if digit == 1 else "train"


def names_fingerprint(names: list[Name]) -> str:
    """Return the SHA-256 of the names in hexadecimal."""
    return hashlib.sha256("\n".join("\t".join(name) for name in names).encode()).hexdigest()


def babel_version() -> str:
    """Return the version of Babel, which says which CLDR it ships."""
    import babel

    return babel.__version__
