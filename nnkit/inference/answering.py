"""The texts that a trained task writes from one that a user gives, the best first."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from nnkit.decoding.beam import Beam
from nnkit.errors import UserError

if TYPE_CHECKING:
    from nnkit.data.base import DataModule
    from nnkit.tasks.base import Task


@dataclass(frozen=True)
class Reply:
    """A text that was written.

    Attributes:
        text: The text.
        score: Its log-probability in nats over the length penalty, the greater the better; see
            `nnkit.decoding.beam.Beam`.
    """

    text: str
    score: float


def beam_for(
    task: Task, *, size: int | None = None, num: int = 1, length_penalty: float | None = None
) -> Beam | None:
    """Return how answers are searched for, as the run was tested where nothing else is wished for.

    Args:
        task: A trained task; None is returned unless it writes texts from others.
        size: Answers kept at each step; None: as in the test, or as many as are wanted.
        num: Answers that are wanted.
        length_penalty: As in `Beam`; None: as in the test.

    Raises:
        UserError: If more answers are wanted than are kept, or a length penalty has nothing to compare.
    """
    if task.writes != "answer":
        return None
    writing: Any = task
    if size is not None and num > size:
        raise UserError(f"--nbest {num} needs a --beam of at least {num}, not {size}")
    size = max(writing.beam.size, num) if size is None else size
    if length_penalty is None:
        return Beam(size, writing.beam.length_penalty)
    if size == 1:
        raise UserError("--length-penalty compares answers, and a beam of 1 has one: give --beam 4")
    try:
        return Beam(size, length_penalty)
    except ValueError as error:
        raise UserError(f"--{str(error).replace('_', '-', 1)}") from error


def replies(
    task: Task,
    data: DataModule,
    source: str,
    *,
    run: str,
    beam: Beam | None = None,
    max_len: int | None = None,
) -> list[Reply]:
    """Write from one text, as `nnkit generate` does.

    Args:
        task: A trained task, in evaluation mode.
        data: The data module it was trained on, with its preprocessing.
        source: What is read.
        run: How the user calls the run, for sentences.
        beam: How answers are searched for; None: as the run was tested.
        max_len: Tokens of an answer at most, its end mark counted; None: somewhat more than the longest it learnt from.

    Returns:
        As many as the beam is wide, or as there are, the best first.

    Raises:
        UserError: If the run's task is another one, there is nothing to read, or the network has diverged.
        ValueError: If max_len is below 1.
    """
    if task.writes != "answer":
        raise UserError(
            f"{run} writes no text from another: its task is {type(task).__name__}\n"
            f"    nnkit predict {run} ITEM... applies it"
        )
    if max_len is not None and max_len < 1:
        raise ValueError(f"max_len must be at least 1, not {max_len}")
    writing: Any = task
    pairs: Any = data
    tokens = torch.as_tensor(pairs.encode_source(source), dtype=torch.int64, device=task.device).unsqueeze(0)
    mask = torch.ones_like(tokens, dtype=torch.bool)
    with torch.inference_mode():
        (answers,) = writing.write(tokens, mask, pairs, beam or writing.beam, max_len)
    if not math.isfinite(answers[0].score):
        raise UserError("the network's scores are not finite: it has diverged in training")
    return [Reply(pairs.decode_target(answer.tokens), answer.score) for answer in answers]
