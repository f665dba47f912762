"""Axes of a sweep as Optuna's parameters, and what was drawn as words of Hydra's grammar."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from nnkit.sweep.space import Axis


def parameter(axis: Axis) -> str:
    """Return the name of an axis in the study: its key."""
    return axis.key.lstrip("+")


def distribution(axis: Axis) -> BaseDistribution:
    """Return what is drawn along an axis."""
    if axis.choices is None:
        if axis.integer:
            return IntDistribution(int(axis.low), int(axis.high), log=axis.log)
        return FloatDistribution(axis.low, axis.high, log=axis.log)
    if axis.step is None:
        # In an order of their own: shuffle(...) brings them in another one each time it is read.
        return CategoricalDistribution(sorted(axis.choices))
    if axis.integer:
        return IntDistribution(int(axis.low), int(axis.high), step=int(axis.step))
    # The upper end as a decimal number: 0.1 + 0.1 + 0.1 is a little more than 0.3, and no multiple of the step.
    high = Decimal(repr(axis.low)) + (len(axis.choices) - 1) * Decimal(repr(axis.step))
    return FloatDistribution(axis.low, float(high), step=axis.step)


def text(axis: Axis, value: Any) -> str:
    """Return what was drawn as a text of Hydra's grammar, which reads it back exactly."""
    if axis.choices is None:
        return repr(int(value)) if axis.integer else repr(float(value))
    if axis.step is None:
        return str(value)
    return sorted(axis.choices, key=float)[round((float(value) - axis.low) / axis.step)]
