"""The vectors of tokens: which lie nearest to those of a text, and where they lie by their main directions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nnkit.analysis.inspection.recorded import as_array
from nnkit.analysis.pages import charts
from nnkit.analysis.pages.parts import PageTable, Section
from nnkit.tasks.outcome import vocabulary

if TYPE_CHECKING:
    from nnkit.batches import Batch
    from nnkit.tasks.base import Task

# Tokens of a text that are shown, and neighbours of each.
_MOST, _NEAREST = 12, 4


def neighbours(vectors: Tensor, tokens: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the nearest other tokens of some, by the cosine of their angle.

    Args:
        vectors: Those of all tokens, (tokens, dim).
        tokens: Which are asked about, (asked,) int64.
        count: Neighbours of each, at most.

    Returns:
        Their numbers and their cosines, (asked, count) each, the nearest first.
    """
    whole = torch.nn.functional.normalize(vectors.float(), dim=1)
    cosines = whole[tokens] @ whole.T
    # No token is its own neighbour.
    cosines[torch.arange(len(tokens)), tokens] = -torch.inf
    best = cosines.topk(min(count, len(vectors) - 1), dim=1)
    return best.indices, best.values


def main_directions(vectors: Tensor, count: int = 2) -> tuple[Tensor, Tensor]:
    """Return the directions in which vectors differ most (principal component analysis).

    Args:
        vectors: (vectors, dim), at least two.
        count: Directions, at most dim.

    Returns:
        Where each vector lies, (vectors, count), and the share of the variance in each direction, (count,).
    """
    centred = vectors.double() - vectors.double().mean(0)
    values, directions = torch.linalg.eigh(centred.T @ centred)
    chosen = directions[:, -count:].flip(1)
    return centred @ chosen, values[-count:].flip(0) / values.sum().clamp(min=1e-300)


def add(section: Section, task: Task, data: Any, sample: Batch) -> None:
    """Add what lies near the tokens of a text, where the embed has a vector for each token."""
    vectors = getattr(task.network.embed, "token_vectors", None)
    if not isinstance(vectors, Tensor) or min(vectors.shape) < 2:
        return
    vectors = vectors.detach().cpu()
    written = getattr(sample, "prefix", None)
    ids: Tensor = (sample.inputs if written is None else written)[0].cpu()
    tokens = torch.tensor([*dict.fromkeys(ids.tolist())][:_MOST])
    names = vocabulary(data, len(vectors), target=written is not None)
    places, cosines = neighbours(vectors, tokens, _NEAREST)
    rows = [
        [names[token], *(f"{names[other]}  {cosine:.2f}" for other, cosine in zip(*pair, strict=True))]
        for token, *pair in zip(tokens.tolist(), places.tolist(), cosines.tolist(), strict=True)
    ]
    headers = ["token", "nearest", *["or"] * (places.shape[1] - 1)]
    section.tables.append(
        PageTable("nearest tokens, with the cosine of the angle of their vectors", headers, rows)
    )
    others = [place for place in dict.fromkeys(places[:, :2].flatten().tolist()) if place not in tokens]
    chosen = [*tokens.tolist(), *others]
    where, shares = main_directions(vectors)
    section.figures["tokens"] = charts.scatter(
        as_array(where[chosen]),
        [names[token] for token in chosen],
        "tokens by their vectors: of the text (blue), nearest (grey)",
        shares.tolist(),
        len(tokens),
    )
