"""Looks through samples before training, for what would end it or spoil it later."""

import time
from collections.abc import Iterable

from nnkit.batches import Batch, listed, not_finite
from nnkit.errors import UserError


def inspect(
    part: str, size: int, batches: Iterable[Batch], num_classes: int | None = None, seconds: float = 1.0
) -> None:
    """Refuse samples that cannot be learnt from; where they are many, the first ones must do.

    Args:
        part: What the samples are for, such as "training".
        size: Samples in all.
        batches: Batches of them, in order.
        num_classes: Number of classes that targets number, None where targets are something else.
        seconds: Time after which the rest is left to the guards of the training loop.

    Raises:
        UserError: If numbers are not finite or a class is out of range; says how many, and which.
    """
    bad: dict[str, list[int]] = {}
    outside: dict[int, int] = {}
    seen, end = 0, time.monotonic() + seconds
    for batch in batches:
        seen += len(batch.indices)
        for name, mask in not_finite(batch).items():
            bad.setdefault(name, []).extend(batch.indices[mask].tolist())
        if num_classes is not None and not batch.target.is_floating_point():
            wrong = (
                ((batch.target < 0) | (batch.target >= num_classes)).reshape(len(batch.indices), -1).any(1)
            )
            outside.update(zip(batch.indices[wrong].tolist(), batch.target[wrong].tolist(), strict=True))
        if time.monotonic() > end:
            break
    of = f"of {size:,}" if seen == size else f"of the first {seen:,} of {size:,}"
    said = [
        f"{len(samples):,} {of} have {name} that are NaN or infinite: samples {listed(samples)}"
        for name, samples in bad.items()
    ]
    if outside:
        said.append(
            f"{len(outside):,} {of} have a class outside 0 to {(num_classes or 0) - 1}, such as "
            f"{next(iter(outside.values()))}: samples {listed(list(outside))}"
        )
    if said:
        raise UserError(f"the {part} samples cannot be used\n    " + "\n    ".join(said))
