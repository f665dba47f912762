"""What a language model writes on from many prompts, those of like length side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from nnkit.data.counted_random import private_generator
from nnkit.decoding.sampling import Sampling
from nnkit.decoding.side_by_side import generate_side_by_side
from nnkit.errors import UserError
from nnkit.inference.generation import TextWriter

if TYPE_CHECKING:
    from torch import Tensor

    from nnkit.inference.generation import TextTokenizer
    from nnkit.network import Network

# Texts that are written side by side, and as often as many prompts are read ahead to be sorted.
_TOGETHER, _AHEAD = 64, 16


def continuations_of_many(
    network: Network,
    tokenizer: TextTokenizer,
    prompts: Iterable[Sequence[int]],
    *,
    length: int,
    sampling: Sampling,
    seeds: Sequence[int],
    num_samples: int = 1,
    stop: Sequence[str] = (),
) -> Iterator[list[str]]:
    """Write on from each prompt what `continuations` writes from it alone, up to rounding.

    Args:
        network: As for `continuations`, like what follows.
        tokenizer: As there.
        prompts: Tokens of each prompt; some of them are read ahead.
        length: As there.
        sampling: As there.
        seeds: As there, the same for each prompt.
        num_samples: Texts for each prompt.
        stop: As there.

    Yields:
        The texts of each prompt, in order.

    Raises:
        UserError: If the model cannot read that long a prompt, or has diverged.
    """
    together = max(_TOGETHER // num_samples, 1)
    iterator = iter(prompts)
    while ahead := list(islice(iterator, together * _AHEAD)):
        found: dict[int, list[str]] = {}
        order = sorted(range(len(ahead)), key=lambda place: len(ahead[place]))
        for begin in range(0, len(order), together):
            places = order[begin : begin + together]
            some = [ahead[place] for place in places]
            writers = [TextWriter(tokenizer, prompt, stop) for prompt in some for _ in range(num_samples)]
            drawn = generate_side_by_side(
                network.step,
                some,
                length,
                sampling,
                [private_generator(*seeds) for _ in some],
                num_samples=num_samples,
                banned=() if tokenizer.unknown is None else (tokenizer.unknown,),
                max_len=network.max_len,
                device=next(network.parameters()).device,
            )
            texts = _written(drawn, writers)
            found |= {
                place: texts[number * num_samples :][:num_samples] for number, place in enumerate(places)
            }
        yield from (found[place] for place in range(len(ahead)))


def _written(drawn: Iterable[tuple[Tensor, Tensor]], writers: Sequence[TextWriter]) -> list[str]:
    """Return the text of each writer from the tokens of all."""
    texts: list[list[str]] = [[] for _ in writers]
    try:
        for tokens, is_drawn in drawn:
            rows = is_drawn.nonzero().squeeze(1).tolist()
            for row, token in zip(rows, tokens[is_drawn].tolist(), strict=True):
                texts[row].append(writers[row].add(token))
            if all(writer.ended for writer in writers):
                break
    except ValueError as error:
        raise UserError(str(error)) from error
    return ["".join([*text, writer.finish()]) for text, writer in zip(texts, writers, strict=True)]
