"""Translation: answers that are more or less like the reference."""

from collections.abc import Sequence
from itertools import chain
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from nnkit.distributed import collectives
from nnkit.tasks.review import Sums
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

    def sums_of(self, answer: Tokens, references: Sequence[Tokens], data: Vocabulary) -> list[float]:
        """Return matches and numbers of the n-grams of an answer, its length, and that of the nearest reference."""
        from sacrebleu.metrics.bleu import BLEU

        texts = [data.decode_target(text) for text in references]
        # The effective order, which single texts are scored with, leaves the counts as they are.
        found = BLEU(force=True, effective_order=True).sentence_score(data.decode_target(answer), texts)
        return [*found.counts, *found.totals, found.sys_len, found.ref_len]

    @staticmethod
    def metrics_of(sums: Sums) -> dict[str, Sums]:
        """Return BLEU of what `sums_of` returns, added up."""
        from sacrebleu.metrics.bleu import BLEU

        def bleu(counts: Sums) -> float:
            whole = [int(count) for count in counts]
            return float(BLEU.compute_bleu(whole[:4], whole[4:8], whole[8], whole[9], "exp").score)

        return {"bleu": np.apply_along_axis(bleu, -1, sums)}

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
