"""Drawing tokens one after the other from what a network says may come next."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

# Scores of what may come after some tokens, and the state to go on from: `Network.step`.
Step = Callable[[Tensor, Any], tuple[Tensor, Any]]


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn.

    Attributes:
        temperature: The logits are divided by it: below 1 likely tokens become likelier still; 0 takes the most
            probable one.
        top_k: Tokens to draw from, the most probable ones; None: all.
        top_p: Draw from the smallest set of most probable tokens whose probability reaches this; None: from all.
            Applied after `top_k`. Holtzman et al. 2020, "The curious case of neural text degeneration".

    Raises:
        ValueError: If a value is out of range.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf:
            raise ValueError(f"temperature must be 0 or a positive number, not {self.temperature}")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k must be at least 1, not {self.top_k}")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must lie above 0 and be at most 1, not {self.top_p}")


def filter_logits(logits: Tensor, sampling: Sampling) -> Tensor:
    """Divide by the temperature and rule out what is not drawn from.

    Args:
        logits: Scores, (batch, vocab_size).
        sampling: With a temperature above 0.

    Returns:
        Logits (batch, vocab_size) float64, minus infinity where a token cannot come.
    """
    # Seen from the largest one, or a low temperature would make several of them infinite.
    logits = logits.double()
    logits = (logits - logits.amax(-1, keepdim=True)) / sampling.temperature
    # All of the probability is all tokens; the last ones would be lost to rounding.
    top_p = None if sampling.top_p == 1 else sampling.top_p
    if sampling.top_k is None and top_p is None:
        return logits
    # Stable, so that of equally probable tokens the ones of lower number stay.
    ordered, order = logits.sort(dim=-1, descending=True, stable=True)
    if sampling.top_k is not None:
        ordered[:, sampling.top_k :] = -math.inf
    if top_p is not None:
        shares = ordered.softmax(-1)
        before = shares.cumsum(-1) - shares
        ordered = ordered.masked_fill(before >= top_p, -math.inf)
    return torch.empty_like(ordered).scatter_(-1, order, ordered)


def sample(logits: Tensor, sampling: Sampling, generator: torch.Generator) -> Tensor:
    """Draw a token for each row.

    Args:
        logits: Scores, (batch, vocab_size), on the device of the generator.
        sampling: How it is drawn.
        generator: Where the chance comes from; not touched at temperature 0.

    Returns:
        Token numbers, (batch,) int64.

    Raises:
        ValueError: If the logits hold NaN or an infinite number, or all are minus infinity.
    """
    shares = shares_of(logits, sampling)
    if sampling.temperature == 0:
        return shares.argmax(-1)
    return torch.multinomial(shares, 1, generator=generator).squeeze(-1)


def shares_of(logits: Tensor, sampling: Sampling) -> Tensor:
    """Return the probabilities that tokens are drawn with, (batch, vocab_size); at temperature 0 the logits.

    Raises:
        ValueError: If the logits hold NaN or an infinite number, or all are minus infinity.
    """
    if not torch.isfinite(logits.amax(-1)).all():
        raise ValueError("the network's scores are not finite: it has diverged in training")
    return logits if sampling.temperature == 0 else filter_logits(logits, sampling).softmax(-1)


@torch.inference_mode()
def generate(
    step: Step,
    prompt: Tensor,
    length: int,
    sampling: Sampling,
    generator: torch.Generator,
    *,
    banned: Sequence[int] = (),
    max_len: int | None = None,
) -> Iterator[Tensor]:
    """Continue texts token by token.

    Drawing is done on the generator's device, so that a seed means the same wherever the network lies. Where the
    network has read all it can, it begins anew with the latter half of that: each token is read about twice, so that
    the cost stays in proportion to the length.

    Args:
        step: Reads on in each text; see `Step`.
        prompt: What the texts begin with, (batch, time) int64, at least one token, on the network's device.
        length: Tokens to draw.
        sampling: How they are drawn.
        generator: Where the chance comes from.
        banned: Tokens that never come.
        max_len: Tokens that the network reads at most; None: no limit.

    Yields:
        The next token of each text, (batch,) int64, on the generator's device.

    Raises:
        ValueError: If the network's scores are not finite, or the prompt has more tokens than it can read.
    """
    if max_len is not None and prompt.shape[1] > max_len:
        raise ValueError(f"the prompt has {prompt.shape[1]:,} tokens, more than can be read, {max_len:,}")
    state: Any = None
    # What the network knows of in each text; looked at only where there is a limit.
    known, num_read = prompt, 0
    tokens = prompt
    never = torch.tensor(list(banned), dtype=torch.int64)
    for _ in range(length):
        if max_len is not None and num_read + tokens.shape[1] > max_len:
            tokens = known = known[:, -max(max_len // 2, 1) :]
            state, num_read = None, 0
        logits, state = step(tokens, state)
        num_read += tokens.shape[1]
        logits = logits.to(generator.device, torch.float32)
        if len(never):
            logits = logits.index_fill(-1, never.to(logits.device), -math.inf)
        drawn = sample(logits, sampling, generator)
        yield drawn
        tokens = drawn.to(prompt.device).unsqueeze(-1)
        if max_len is not None:
            known = torch.cat([known, tokens], dim=1)
