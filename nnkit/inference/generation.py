"""Text from a language model: a prompt in, text out as it is made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from nnkit.data.counted_random import private_generator
from nnkit.data.tokenizing import quoted
from nnkit.decoding.sampling import Sampling, Step, generate
from nnkit.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nnkit.data.base import DataModule
    from nnkit.network import Network
    from nnkit.tasks.base import Task

# What an unfinished character is decoded to.
_UNFINISHED = "\ufffd"
# Tokens of a prompt that decide how the first one after it is written.
_OVERLAP = 16


class TextTokenizer(Protocol):
    """What generation asks of a tokenizer; see `nnkit.data.tokenizing`."""

    vocab_size: int
    unknown: int | None

    def encode(self, text: str) -> NDArray[Any]:
        """Return the tokens of a text."""

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens."""

    def out_of_vocabulary(self, text: str) -> list[str]:
        """Return what of a text the vocabulary lacks."""


def language_model(task: Task, data: DataModule, run: str) -> tuple[Network, TextTokenizer]:
    """Return the network and the tokenizer of a run that can write text.

    Raises:
        UserError: If its task is another one.
    """
    tokenizer: TextTokenizer | None = getattr(data, "learnt_tokenizer", None)
    if task.writes != "on" or tokenizer is None:
        raise UserError(
            f"{run} is no language model: its task is {type(task).__name__}, its data {type(data).__name__}\n"
            f"    nnkit predict {run} ITEM... applies it\n"
            "    nnkit train data=text_file data.path=FILE trains a language model"
        )
    return task.network, tokenizer


def encode_prompt(tokenizer: TextTokenizer, prompt: str) -> list[int]:
    """Return the tokens of a prompt; an empty one is begun with a line break.

    Raises:
        UserError: If it holds what the vocabulary lacks, or it is empty and the vocabulary has no line break.
    """
    try:
        prompt.encode()
    except UnicodeEncodeError as error:
        raise UserError("the prompt is not UTF-8 text") from error
    lacking = tokenizer.out_of_vocabulary(prompt)
    if lacking:
        raise UserError(
            f"the prompt holds what the vocabulary lacks: {quoted(lacking)}; leave it out, or use what the "
            "training text holds"
        )
    tokens: list[int] = tokenizer.encode(prompt).tolist() if prompt else []
    tokens = tokens or line_break(tokenizer)
    if not tokens:
        raise UserError(
            "the prompt is empty, and the vocabulary has no line break to begin with: give a word with --prompt"
        )
    return tokens


def line_break(tokenizer: TextTokenizer) -> list[int]:
    """Return the tokens of a line break, none if the vocabulary lacks it."""
    tokens: list[int] = [] if tokenizer.out_of_vocabulary("\n") else tokenizer.encode("\n").tolist()
    return tokens


def continuations(
    network: Network,
    tokenizer: TextTokenizer,
    prompt: Sequence[int],
    *,
    length: int,
    sampling: Sampling,
    seeds: Sequence[int],
    num_samples: int = 1,
    stop: Sequence[str] = (),
    watch: Callable[[Tensor, Tensor], None] | None = None,
) -> Iterator[list[str]]:
    """Write on from a prompt; equal arguments give equal texts, and the global generator is left alone.

    Args:
        network: A language model in evaluation mode.
        tokenizer: That of the text it was trained on.
        prompt: Tokens to begin with, at least one.
        length: Tokens to write.
        sampling: How they are drawn; the unknown token never is.
        seeds: Numbers that decide the draw.
        num_samples: Texts that are written side by side.
        stop: A text ends before the first of these.
        watch: Called for each token with the network's scores of all tokens, (num_samples, vocab_size), and those that
            were drawn, (num_samples,).

    Yields:
        What is new in each text, often nothing: half a character waits for its end, and what may become a `stop` for
        the next token. All that was yielded for a text, put together, is the text.

    Raises:
        UserError: If the model cannot read that long a prompt, or has diverged.
        ValueError: If a number is below 1.
    """
    for name, value in (("length", length), ("num_samples", num_samples)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, not {value}")
    most = network.max_len
    if most is not None and len(prompt) > most:
        raise UserError(
            f"the prompt has {len(prompt):,} tokens, and the model reads at most {most:,}: shorten it"
        )
    device = next(network.parameters()).device
    begin = torch.tensor([list(prompt)] * num_samples, dtype=torch.int64, device=device)
    banned = () if tokenizer.unknown is None else (tokenizer.unknown,)
    writers = [TextWriter(tokenizer, prompt, stop) for _ in range(num_samples)]
    step = _Watched(network.step)
    try:
        chance = private_generator(*seeds)
        for drawn in generate(step, begin, length, sampling, chance, banned=banned, max_len=most):
            if watch is not None:
                watch(step.scores, drawn)
            yield [writer.add(token) for writer, token in zip(writers, drawn.tolist(), strict=True)]
            if all(writer.ended for writer in writers):
                return
    except ValueError as error:
        raise UserError(str(error)) from error
    yield [writer.finish() for writer in writers]


def whole(pieces: Iterable[list[str]], num_samples: int) -> list[str]:
    """Return the whole texts that `continuations` yields in pieces."""
    texts: list[list[str]] = [[] for _ in range(num_samples)]
    for new in pieces:
        for text, piece in zip(texts, new, strict=True):
            text.append(piece)
    return ["".join(text) for text in texts]


class _Watched:
    """Reads on as a network does, and keeps what it said last."""

    scores: Tensor

    def __init__(self, step: Step) -> None:
        self._step = step

    def __call__(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        self.scores, state = self._step(tokens, state)
        return self.scores, state


class TextWriter:
    """Turns tokens of one text into text that can be shown, and ends it before a stop.

    Decoded are the tokens since the last but one time that something could be shown: how a token is written depends on
    the ones right before it (a blank between words), and a whole text anew for each token would take its square.
    """

    def __init__(self, tokenizer: TextTokenizer, prompt: Sequence[int], stop: Sequence[str]) -> None:
        self.ended = False
        self._tokenizer = tokenizer
        self._stop = [text for text in stop if text]
        self._recent = list(prompt[-_OVERLAP:])
        self._num_shown = len(self._recent)
        self._held = ""

    def add(self, token: int) -> str:
        """Return what can be shown after one more token."""
        if self.ended:
            return ""
        self._recent.append(token)
        text = self._new_text()
        return "" if text.endswith(_UNFINISHED) else self._show(text)

    def finish(self) -> str:
        """Return what is left when no more tokens come; a character without its end is left out."""
        if self.ended:
            return ""
        shown = self._show(self._new_text().rstrip(_UNFINISHED))
        rest = "" if self.ended else self._held
        self.ended = True
        return shown + rest

    def _new_text(self) -> str:
        known = self._tokenizer.decode(self._recent[: self._num_shown])
        return self._tokenizer.decode(self._recent)[len(known) :]

    def _show(self, text: str) -> str:
        if text:
            self._recent = self._recent[self._num_shown :]
            self._num_shown = len(self._recent)
        held = self._held + text
        places = [place for place in (held.find(stop) for stop in self._stop) if place >= 0]
        if places:
            self.ended = True
            return held[: min(places)]
        kept = max((_overlap(held, stop) for stop in self._stop), default=0)
        self._held = held[len(held) - kept :]
        return held[: len(held) - kept]


def _overlap(text: str, stop: str) -> int:
    """Return how many characters at the end of a text may be the beginning of a stop."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if stop.startswith(text[-size:])), 0)
