"""Language identification: names of languages and territories in 24 languages, from Babel's CLDR."""

import hashlib
import logging
from collections import defaultdict
from dataclasses import dataclass
from typing import NamedTuple

from nnkit.data.base import Split
from nnkit.data.splits import settled_by_names, split_by_hash
from nnkit.data.text.classes import LabelledRows
from nnkit.data.text.labelled_texts import LabelledTexts

_logger = logging.getLogger("nnkit")

# In Latin script, so that the writing does not give them away.
# fmt: off
LANGUAGES = ("en", "fr", "de", "es", "it", "pt", "nl", "sv", "da", "nb", "fi", "pl",
             "cs", "sk", "hu", "ro", "tr", "vi", "id", "et", "lv", "lt", "hr", "sl")
# fmt: on


@dataclass(kw_only=True, eq=False)
class LangID(LabelledTexts):
    """Which language a name of a language or territory is in; names that two languages share are left out.

    The split is by concept, by its hash: what Germany is called in one language is in the same part as what it is
    called in all others, so that no spelling is learnt from a test concept.
    """

    max_length: int = 64

    def load(self) -> LabelledRows:
        """Collect the names.

        Raises:
            UserError: If Babel has others than when the run was prepared.
        """
        import babel

        names = collect_names()
        lines = "\n".join("\t".join(name) for name in names)
        found = self.unchanged(
            f"the list of names of Babel {babel.__version__}",
            hashlib.sha256(lines.encode()).hexdigest(),
            "install the version of Babel that prepared it",
        )
        if self.is_new:
            _logger.info("%d names from Babel %s, each in one language only", len(names), babel.__version__)
        return LabelledRows(
            title="langid",
            columns={"text": "text", "target": "language"},
            texts=[name.text.strip() for name in names],
            labels=[name.language for name in names],
            fingerprint=found,
            split_keys={"settled": settled_by_names([split_of(name.concept) for name in names])},
        )


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


def split_of(concept: str) -> Split:
    """Return the split of a concept by its hash: a tenth of them are test concepts, as many validation concepts."""
    return split_by_hash(concept, 10)
