"""Writing on from many prompts at once, each as if it were alone."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from nnkit.decoding.sampling import Sampling, Step, shares_of


@torch.inference_mode()
def generate_side_by_side(
    step: Step,
    prompts: Sequence[Sequence[int]],
    length: int,
    sampling: Sampling,
    generators: Sequence[torch.Generator],
    *,
    num_samples: int = 1,
    banned: Sequence[int] = (),
    max_len: int | None = None,
    device: torch.device | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Continue texts that begin with prompts of any lengths, token by token.

    All texts are read from their first token on, so that no network needs to know of padding: where the shortest prompt
    has ended, its first token is drawn, while the next token of a longer one is that of the prompt. Prompts of like
    length cost least. Each text is what `generate` makes of its prompt alone, with an equal generator, up to rounding.

    Args:
        step: Reads on in each text; see `Step`.
        prompts: Tokens of each, at least one.
        length: Tokens to draw for each.
        sampling: How they are drawn.
        generators: Where the chance of each prompt comes from, on the CPU.
        num_samples: Texts for each prompt.
        banned: Tokens that never come.
        max_len: Tokens that the network reads at most; None: no limit.
        device: That of the network.

    Yields:
        The next token of each text, (prompts * num_samples,) int64, those of a prompt one after the other, and whether
        it was drawn for the text, bool: what is left of a prompt, and what follows the last token, was not. On the CPU.

    Raises:
        ValueError: If the network's scores are not finite, or a prompt has more tokens than it can read.
    """
    longest = max(map(len, prompts))
    if max_len is not None and longest > max_len:
        raise ValueError(f"a prompt has {longest:,} tokens, more than can be read, {max_len:,}")
    rows = [list(prompt) for prompt in prompts for _ in range(num_samples)]
    ends = torch.tensor([len(row) for row in rows])
    given = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    place = int(ends.min())
    state: Any = None
    known = tokens = given[:, :place]
    num_read, never = 0, torch.tensor(list(banned), dtype=torch.int64)
    while place < longest + length:
        if max_len is not None and num_read + tokens.shape[1] > max_len:
            tokens = known = known[:, -max(max_len // 2, 1) :]
            state, num_read = None, 0
        logits, state = step(tokens.to(device), state)
        num_read += tokens.shape[1]
        logits = logits.to("cpu", torch.float32).index_fill(-1, never, -math.inf)
        is_drawn = (ends <= place) & (place < ends + length)
        following = given[:, place].clone() if place < longest else torch.zeros_like(ends)
        if is_drawn.any():
            following[is_drawn] = _drawn(logits, is_drawn, sampling, generators, num_samples)
        yield following, is_drawn
        tokens = following.unsqueeze(-1)
        if max_len is not None:
            known = torch.cat([known, tokens], dim=1)
        place += 1


def _drawn(
    logits: Tensor,
    wanted: Tensor,
    sampling: Sampling,
    generators: Sequence[torch.Generator],
    num_samples: int,
) -> Tensor:
    """Draw a token for each row that is wanted, (rows,) bool, all of a prompt or none."""
    shares = shares_of(logits[wanted], sampling)
    if sampling.temperature == 0:
        return shares.argmax(-1)
    chosen = [generator for generator, has in zip(generators, wanted[::num_samples], strict=True) if has]
    groups = zip(torch.split(shares, num_samples), chosen, strict=True)
    return torch.cat([torch.multinomial(group, 1, generator=chance) for group, chance in groups]).squeeze(-1)
