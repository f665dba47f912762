"""Translation: answers that are more or less like the reference."""

from itertools import chain
from typing import Any, ClassVar

import torch
from torch import Tensor

from nnkit.distributed import collectives
from nnkit.tasks.writing import Tokens, Vocabulary, Writing


class Translation(Writing):
    """One text written from another, where many texts would do: translations, summaries.

    Beside loss and token accuracy it logs ``bleu`` (Papineni et al. 2002) and ``chrf`` (Popović 2015) of all answers,
    from 0 to 100, as sacrebleu computes them with its defaults (Post 2018, "A call for clarity in reporting BLEU
    scores"). Both compare texts: tokens are put together first, those of the references too, so that a word which the
    vocabulary lacks is missed by every answer.

    Args:
        arguments: As for `Writing`.
    """

    metrics: ClassVar[dict[str, str]] = {"loss": "min", "token_accuracy": "max", "bleu": "max", "chrf": "max"}

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._answers: list[str] = []
        self._references: list[list[str]] = []

    def add_answers(self, answers: list[Tokens], references: list[list[Tokens]], data: Vocabulary) -> None:
        """Add answers to the metrics, each with the texts that count as right."""
        self._answers += map(data.decode_target, answers)
        self._references += [[data.decode_target(text) for text in several] for several in references]

    def results(self) -> dict[str, Tensor]:
        """Return all metrics; those of answers are not a number if none was written."""
        answers, references = self._all_texts()
        self._answers, self._references = [], []
        return super().results() | {
            name: torch.tensor(value) for name, value in _scores(answers, references).items()
        }

    def _all_texts(self) -> tuple[list[str], list[list[str]]]:
        """Return answers and references of all processes that train together."""
        parts = collectives.gathered_by_all((self._answers, self._references))
        answers, references = zip(*parts, strict=True)
        return list(chain(*answers)), list(chain(*references))


def _scores(answers: list[str], references: list[list[str]]) -> dict[str, float]:
    if not answers:
        return {"bleu": float("nan"), "chrf": float("nan")}
    # Only here: the import takes a while, and most runs translate nothing.
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    most = max(map(len, references))
    # A list for the first reference of each answer, one for the second, and so on; None where there is none.
    columns: list[list[Any]] = [
        [texts[place] if place < len(texts) else None for texts in references] for place in range(most)
    ]
    # Forced, or it warns of texts that look like tokens, as those of small sets often do.
    metrics = {"bleu": BLEU(force=True), "chrf": CHRF()}
    return {name: float(metric.corpus_score(answers, columns).score) for name, metric in metrics.items()}
