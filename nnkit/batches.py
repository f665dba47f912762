"""The one contract between data and tasks: a NamedTuple for each kind of batch.

Of every kind the first dimension of each field is the batch, and `indices` says which samples of the split it holds.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from nnkit.suggest import some_of

# Sample numbers that a message names.
_LISTED = 8


class ImageBatch(NamedTuple):
    """Images with one target each.

    Attributes:
        inputs: Normalised pixels, (batch, channels, height, width), float32.
        target: Class index (batch,) int64, or real values (batch, outputs) or labels (batch, classes) float32.
        indices: Which samples of the split these are, (batch,) int64.
    """

    inputs: Tensor
    target: Tensor
    indices: Tensor

    def network_inputs(self) -> tuple[Tensor, ...]:
        """Return what a network is called with; see `Network.forward`."""
        return (self.inputs,)


class MixedBatch(NamedTuple):
    """Images that are each a mixture of two, for training (Zhang et al. 2018, "mixup").

    Attributes:
        inputs: Mixed pixels, as of `ImageBatch`.
        target: Class index of the image with the larger share, (batch,) int64.
        second: Class index of the other one, (batch,) int64; the targets in another order.
        share: The larger share, (batch,) float32, the same number throughout the batch.
        indices: As of `ImageBatch`, of the images with the larger share.
    """

    inputs: Tensor
    target: Tensor
    second: Tensor
    share: Tensor
    indices: Tensor

    def network_inputs(self) -> tuple[Tensor, ...]:
        """Return what a network is called with; see `Network.forward`."""
        return (self.inputs,)


class TableBatch(NamedTuple):
    """Rows of a table with one target each.

    Attributes:
        inputs: Standardised and one-hot encoded columns, (batch, features), float32.
        target: Class index (batch,) int64, standardised real values (batch, outputs) float32, or labels
            (batch, classes) float32, 1 for each that the row has and 0 for the others.
        indices: Which rows of the split these are, (batch,) int64.
    """

    inputs: Tensor
    target: Tensor
    indices: Tensor

    def network_inputs(self) -> tuple[Tensor, ...]:
        """Return what a network is called with; see `Network.forward`."""
        return (self.inputs,)


class CategoricalBatch(NamedTuple):
    """Rows of a table with columns of so many categories that each category has a learnt vector.

    Attributes:
        inputs: Standardised and one-hot encoded columns, (batch, features), float32.
        categories: Which category each of the other columns holds, (batch, columns) int64; 0 is one that is unknown.
        target: As of `TableBatch`.
        indices: Which rows of the split these are, (batch,) int64.
    """

    inputs: Tensor
    categories: Tensor
    target: Tensor
    indices: Tensor

    def network_inputs(self) -> tuple[Tensor | None, ...]:
        """Return what a network is called with; see `Network.forward`."""
        return self.inputs, None, self.categories


class TextBatch(NamedTuple):
    """Texts of different lengths with one target each.

    Attributes:
        inputs: Token ids, (batch, time) int64, padded on the right; the value of padding does not matter.
        mask: True where there is a token, (batch, time) bool; the first of each text is one.
        target: Class index, (batch,) int64, or labels (batch, classes) float32, 1 for each that the text has.
        indices: Which samples of the split these are, (batch,) int64.
    """

    inputs: Tensor
    mask: Tensor
    target: Tensor
    indices: Tensor

    def network_inputs(self) -> tuple[Tensor, ...]:
        """Return what a network is called with; see `Network.forward`."""
        return self.inputs, self.mask


class BlockBatch(NamedTuple):
    """Blocks of a long text, each token with the one that follows it.

    Attributes:
        inputs: Token ids, (batch, time) int64.
        target: The tokens that follow, (batch, time) int64; `IGNORED` where nothing is to be predicted.
        characters: Characters of the text that the target stands for, (batch,) float32; an average where one block
            alone cannot tell.
        indices: Which blocks of the split these are, (batch,) int64.
    """

    inputs: Tensor
    target: Tensor
    characters: Tensor
    indices: Tensor

    def network_inputs(self) -> tuple[Tensor, ...]:
        """Return what a network is called with; see `Network.forward`."""
        return (self.inputs,)


class SeriesBatch(NamedTuple):
    """Windows of a series with the values to forecast.

    Attributes:
        inputs: Standardised values, (batch, time, channels) float32, the latest last.
        target: Standardised values that follow, (batch, horizon * outputs) float32: all outputs of the first step,
            then all of the second.
        indices: Which windows of the split these are, (batch,) int64.
    """

    inputs: Tensor
    target: Tensor
    indices: Tensor

    def network_inputs(self) -> tuple[Tensor, ...]:
        """Return what a network is called with; see `Network.forward`."""
        return (self.inputs,)


class PairBatch(NamedTuple):
    """Source texts with the texts to write from them.

    Attributes:
        inputs: Token ids of the sources, (batch, source_time) int64, padded on the right.
        mask: True where there is a token of the source, (batch, source_time) bool; the first of each is one.
        prefix: What is written before each step, (batch, time) int64: the beginning mark, then the target without its
            last token.
        target: Token ids to write, (batch, time) int64, the end mark last; `IGNORED` behind it.
        references: All texts that count as right, (batch, references, longest) int64, each with its end mark;
            `IGNORED` behind it, and all over where a source has fewer. The target is the first.
        indices: Which pairs of the split these are, (batch,) int64.
    """

    inputs: Tensor
    mask: Tensor
    prefix: Tensor
    target: Tensor
    references: Tensor
    indices: Tensor

    def network_inputs(self) -> tuple[Tensor, ...]:
        """Return what a network is called with; see `Network.forward`."""
        return self.inputs, self.mask, self.prefix


class SentenceBatch(NamedTuple):
    """Pairs of sentences, some of their tokens masked.

    Attributes:
        inputs: Token ids, (batch, time) int64: class mark, first sentence, separator, second sentence, separator;
            padded on the right.
        mask: True where there is a token, (batch, time) bool.
        segments: 0 in the first sentence, 1 in the second, (batch, time) int64.
        target: The masked tokens, (batch, time) int64; `IGNORED` where nothing is masked.
        next_label: 0 where the second sentence is the one after the first in its document, 1 where it is from another
            one, (batch,) int64, as in the published models; a run that has no ``is_next`` in its preprocessing has the
            opposite order.
        indices: Which pairs of the split these are, (batch,) int64.
    """

    inputs: Tensor
    mask: Tensor
    segments: Tensor
    target: Tensor
    next_label: Tensor
    indices: Tensor

    def network_inputs(self) -> tuple[Tensor, ...]:
        """Return what a network is called with; see `Network.forward`."""
        return self.inputs, self.mask, self.segments


Batch = (
    ImageBatch
    | MixedBatch
    | TableBatch
    | CategoricalBatch
    | TextBatch
    | BlockBatch
    | SeriesBatch
    | PairBatch
    | SentenceBatch
)

# Target of a token that is not scored; torch's own default.
IGNORED = -100


def is_padded(batch: Batch) -> bool:
    """Return whether the samples of a batch differ in length."""
    return "mask" in batch._fields


def first_of(batch: Batch) -> Batch:
    """Return the first sample of a batch as a batch of one; where it has a mask, without what the mask leaves out."""
    one: Batch = type(batch)(*(part[:1] for part in batch))
    if not is_padded(one):
        return one
    length = int(one._asdict()["mask"].sum())
    return type(one)(*(part[:, :length] if part.ndim > 1 else part for part in one))


def narrowed(batch: Batch, rows: Tensor) -> Batch:
    """Return samples of a batch, (samples,) int64, at least one; without the steps that none of them needs."""
    some: Batch = type(batch)(*(part[rows] for part in batch))
    if not is_padded(some):
        return some
    mask = some._asdict()["mask"]
    length = int(mask.sum(1).max())
    # Sources and outputs of pairs have lengths of their own.
    beside = {"inputs", "mask", "segments", *(["target"] if isinstance(some, SentenceBatch) else [])}
    fields = some._asdict().items()
    return type(some)(
        *(part[:, :length] if name in beside and part.ndim > 1 else part for name, part in fields)
    )


def join(batches: Sequence[Batch]) -> Batch:
    """Put batches of one kind together; texts are padded to the longest."""
    columns: Iterable[tuple[Tensor, ...]] = zip(*batches, strict=True)
    if is_padded(batches[0]):
        fields = zip(batches[0]._fields, columns, strict=True)
        columns = (_padded(name, parts) for name, parts in fields)
    return type(batches[0])(*map(torch.cat, columns))


def _padded(name: str, parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    sizes = [max(part.shape[axis] for part in parts) for axis in range(1, parts[0].ndim)]
    # What is not scored must say so; whatever else stands behind a mask does not matter.
    fill = IGNORED if name in ("target", "references") else 0
    padded = []
    for part in parts:
        missing = [size - there for size, there in zip(sizes, part.shape[1:], strict=True)]
        # The last dimension comes first.
        frame = [width for axis in reversed(missing) for width in (0, axis)]
        padded.append(functional.pad(part, frame, value=fill) if any(missing) else part)
    return tuple(padded)


def not_finite(batch: Batch) -> dict[str, Tensor]:
    """Return which samples hold NaN or an infinite number, (batch,) bool by field; only fields that have any."""
    found = {}
    for name, value in batch._asdict().items():
        if isinstance(value, Tensor) and value.is_floating_point() and value.ndim and value.numel():
            bad = ~torch.isfinite(value.reshape(len(value), -1)).all(1)
            if bad.any():
                found[name] = bad
    return found


def listed(numbers: list[int]) -> str:
    """Return the first of these numbers as a list, and how many more there are."""
    return some_of(numbers, _LISTED)
