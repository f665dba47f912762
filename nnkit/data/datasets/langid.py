"""Language identification: names of languages and territories in 24 languages, from Babel's CLDR."""

import logging

from nnkit.data.datasets.cldr_names import babel_version, collect_names, names_fingerprint, part_of
from nnkit.data.text.labelled_texts import Labelled, LabelledTexts
from nnkit.data.tokenizing import TokenizerKind
from nnkit.errors import UserError

_logger = logging.getLogger("nnkit")


class LangID(LabelledTexts):
    """Which language a name of a language or territory is in; names that two languages share are left out.

    The split is by concept, by its hash: what Germany is called in one language is in the same part as what it is
    called in all others, so that no spelling is learnt from a test concept.

    Args:
        tokenizer: As in `LabelledTexts`, like the rest.
        max_vocab: As in `LabelledTexts`.
        max_length: As in `LabelledTexts`.
        markers: As in `LabelledTexts`.
        batch_size: As in `LabelledTexts`.
        max_tokens: As in `LabelledTexts`.
        eval_batch_size: As in `LabelledTexts`.
        num_workers: As in `LabelledTexts`.
        seed: As in `LabelledTexts`.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        *,
        tokenizer: TokenizerKind = "characters",
        max_vocab: int | None = None,
        max_length: int = 64,
        markers: bool = False,
        batch_size: int = 64,
        max_tokens: int | None = None,
        eval_batch_size: int | None = None,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(
            tokenizer=tokenizer,
            max_vocab=max_vocab,
            max_length=max_length,
            markers=markers,
            batch_size=batch_size,
            max_tokens=max_tokens,
            eval_batch_size=eval_batch_size,
            num_workers=num_workers,
            seed=seed,
        )

    def load(self, expected: str | None) -> Labelled:
        """Collect the names.

        Raises:
            UserError: If Babel has others than when the run was prepared.
        """
        names = collect_names()
        found = names_fingerprint(names)
        if expected is None:
            _logger.info("%d names from Babel %s, each in one language only", len(names), babel_version())
        elif found != expected:
            raise UserError(
                f"the names of Babel {babel_version()} are not those this run was prepared with: their SHA-256 was "
                f"{expected[:12]}, now it is {found[:12]}; install the version of Babel that prepared it"
            )
        return Labelled(
            title="langid",
            columns={"text": "text", "target": "language"},
            texts=[name.text.strip() for name in names],
            labels=[name.language for name in names],
            fingerprint=found,
            splits=[part_of(name.concept) for name in names],
        )
