"""Predictions of a run of BERT's pre-training: the masked tokens of a text, and whether another text follows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnkit.data.tokenizing import BertTokenizer
from nnkit.errors import UserError

if TYPE_CHECKING:
    from nnkit.data.base import DataModule
    from nnkit.tasks.base import Task


@dataclass(frozen=True)
class Filled:
    """A text in which masked tokens were found.

    Attributes:
        text: The text, the most probable token in the place of each [MASK].
        candidates: For each [MASK] the most probable tokens and their probabilities, the best first; ## marks a part
            that continues a word.
        follows: Probability that the second text follows the first; None if there is one text.
    """

    text: str
    candidates: tuple[tuple[tuple[str, float], ...], ...]
    follows: float | None


def fill(
    task: Task, data: DataModule, prompt: str, following: str | None = None, *, top_k: int = 5, run: str
) -> Filled:
    """Find the masked tokens of a text, and judge whether another one follows it, as `nnkit generate` does.

    Args:
        task: A trained task, in evaluation mode.
        data: The data module it was trained on, with its preprocessing.
        prompt: A text; [MASK] is a masked token.
        following: What may follow it; None: that is not asked.
        top_k: Tokens to rank, at most; at least 1.
        run: How the user calls the run, for sentences.

    Raises:
        UserError: If the run's task is another one, nothing is asked, the texts are too long, or the network has
            diverged.
    """
    if task.writes != "masked":
        raise UserError(
            f"{run} was not trained to find masked words: its task is {type(task).__name__}\n"
            "    nnkit train data=pydocs_pairs trains a run that is"
        )
    masked: Any = task
    pairs: Any = data
    tokenizer: BertTokenizer = pairs.learnt_tokenizer
    mark = tokenizer.special[tokenizer.mask_id]
    if following is None and mark not in prompt:
        raise UserError(
            f"{run} finds masked words and does not write on, as it reads in both directions: write {mark} in the "
            f'prompt, such as --prompt "The {mark} statement"\n    --next "..." asks whether a sentence follows the '
            "prompt\n    nnkit train data=pydocs trains a language model, which writes on"
        )
    batch = pairs.masked(prompt, following)
    found, labels = masked.masked_tokens(batch, tokenizer, top_k)
    texts = [prompt] if following is None else [prompt, following]
    best = iter([row[0][0] for row in found])
    return Filled(
        " ".join(_filled_in(text.split(mark), best, tokenizer) for text in texts),
        tuple(
            tuple((tokenizer.token_text(token), share) for token, share in candidates) for candidates in found
        ),
        None if following is None else labels[pairs.is_next],
    )


def _filled_in(parts: Sequence[str], tokens: Iterator[int], tokenizer: BertTokenizer) -> str:
    """Put a token between any two parts of a text."""
    text = parts[0]
    for part in parts[1:]:
        token = next(tokens)
        shown = tokenizer.token_text(token)
        if shown.startswith("##") and len(shown) > 2:
            text = text.rstrip() + shown[2:] + part
        else:
            piece = tokenizer.decode([token])
            # A token of bpe may bring the blank before a word that the user has typed already.
            text += (piece.removeprefix(" ") if text.endswith(" ") else piece) + part
    return text
