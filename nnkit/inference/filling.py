"""What a run of BERT's pre-training says of a text: which tokens are hidden in it, and whether another follows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from nnkit.batches import IGNORED, Sentences
from nnkit.data.tokenizers import MARKS, Marked
from nnkit.errors import UserError
from nnkit.tasks.masked_lm import MaskedLM

if TYPE_CHECKING:
    from nnkit.data.base import DataModule
    from nnkit.tasks.base import Task

# Number of a token and its probability.
Candidate = tuple[int, float]


@dataclass(frozen=True)
class Filled:
    """A text in which hidden tokens were found.

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
    """Find what is hidden in a text, and judge whether another one follows it, as `nnkit generate` does.

    Args:
        task: A trained task, in evaluation mode.
        data: The data module it was trained on, with its preprocessing.
        prompt: A text; [MASK] hides a token.
        following: What may follow it; None: nothing is said of that.
        top_k: Tokens to rank, at most; at least 1.
        run: How the user calls the run, for sentences.

    Raises:
        UserError: If the run's task is another one, nothing is asked, the texts are too long, or the network has
            diverged.
    """
    if not isinstance(task, MaskedLM):
        raise UserError(
            f"{run} was not trained to find hidden words: its task is {type(task).__name__}\n"
            "    nnkit train data=pydocs_pairs trains a run that is"
        )
    pairs: Any = data
    tokenizer: Marked = pairs.tokenizer
    mark = MARKS[tokenizer.hidden]
    if following is None and mark not in prompt:
        raise UserError(
            f"{run} finds hidden words and does not write on, as it reads in both directions: write {mark} in the "
            f'prompt, such as --prompt "The {mark} statement"\n    --next "..." asks whether a sentence follows the '
            "prompt\n    nnkit train data=pydocs trains a language model, which writes on"
        )
    batch = pairs.written(prompt, following)
    found, labels = hidden_tokens(task, batch, tokenizer, top_k)
    texts = [prompt] if following is None else [prompt, following]
    best = iter([row[0][0] for row in found])
    return Filled(
        " ".join(_filled_in(text.split(mark), best, tokenizer) for text in texts),
        tuple(
            tuple((tokenizer.token_text(token), share) for token, share in candidates) for candidates in found
        ),
        None if following is None else labels[pairs.is_next],
    )


def hidden_tokens(
    task: MaskedLM, batch: Sentences, tokenizer: Marked, top_k: int
) -> tuple[list[list[Candidate]], list[float]]:
    """Rank the tokens that may be hidden in a batch of one, marks and the unknown token left out.

    Args:
        task: A trained task, in evaluation mode.
        batch: What is read; its target says where something is hidden.
        tokenizer: That of the run.
        top_k: Tokens to rank, at most.

    Returns:
        For each hidden token candidates, the best first, and the probabilities of the pair's labels 0 and 1.

    Raises:
        UserError: If the network's scores are not finite.
    """
    inputs, mask, segments, target = (part.to(task.device) for part in batch[:4])
    with torch.inference_mode():
        logits, labels = task(inputs, mask, segments, target != IGNORED)
    logits, labels = logits.double().cpu(), labels.double().cpu()
    if not (torch.isfinite(logits).all() and torch.isfinite(labels).all()):
        raise UserError("the network's scores are not finite: it has diverged in training")
    banned = [*range(len(MARKS)), *([] if tokenizer.unknown is None else [tokenizer.unknown])]
    logits[:, banned] = -torch.inf
    most = min(top_k, tokenizer.vocab_size - len(banned))
    ranked = logits.softmax(-1).topk(most, dim=-1)
    rows = zip(ranked.indices.tolist(), ranked.values.tolist(), strict=True)
    shares: list[float] = labels.softmax(-1)[0].tolist()
    return [list(zip(*row, strict=True)) for row in rows], shares


def best_together(found: Sequence[Sequence[Candidate]], top_k: int) -> list[tuple[list[int], float]]:
    """Return the most probable choices of a token for each place, the places taken as independent.

    Args:
        found: Candidates of each place, the best first, at least `top_k` or all there are.
        top_k: Choices, at most.

    Returns:
        Choices and their probabilities, the best first.
    """
    choices: list[tuple[list[int], float]] = [([], 1.0)]
    for candidates in found:
        longer = [
            ([*chosen, token], share * other) for chosen, share in choices for token, other in candidates
        ]
        # A choice among the best has among the best what it begins with.
        choices = sorted(longer, key=lambda choice: -choice[1])[:top_k]
    return choices


def _filled_in(parts: Sequence[str], tokens: Iterator[int], tokenizer: Marked) -> str:
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
