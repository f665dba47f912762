"""The Mackey-Glass series: a delayed feedback that becomes chaotic (Mackey and Glass 1977)."""

import hashlib
from dataclasses import dataclass, replace

import numpy as np
import torch

from nnkit.data.counted_random import private_generator
from nnkit.data.series.base import WindowedSeries
from nnkit.data.series.loaded import LoadedSeries, SeriesOptions, Values
from nnkit.errors import UserError

_BETA, _GAMMA = 0.2, 0.1
# Steps of the integration in one unit of time.
_FINE = 10
_START = 1.2
# Units of time until the curve is where it stays.
_WARM_UP = 1_000
# The noise belongs to the series: runs that differ by their seed alone learn from the same one.
_NOISE_SEED = 1977
# Longer ones take hours to integrate.
_MOST = 1_000_000


@dataclass(kw_only=True, eq=False)
class MackeyGlass(WindowedSeries):
    """Values of dx/dt = 0.2 x(t - tau) / (1 + x(t - tau)^10) - 0.1 x(t), one each unit of time.

    M. C. Mackey and L. Glass, "Oscillation and chaos in physiological control systems", Science 197, 1977. The
    equation models the number of blood cells; it is chaotic from tau = 16.8 on. The first 1,000 units are left out.

    Attributes:
        num_steps: Length of the series.
        tau: The delay, a multiple of 0.1.
        noise: Standard deviation of Gaussian noise that is added; the series itself has one of about 0.23.

    Raises:
        ValueError: If an option is out of range.
    """

    num_steps: int = 10_000
    tau: float = 17.0
    noise: float = 0.0
    horizon: int = 50

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.num_steps <= _MOST:
            raise ValueError(f"num_steps must lie between 1 and {_MOST:,}, not {self.num_steps}")
        if not 0 < self.tau <= _WARM_UP or abs(self.tau * _FINE - round(self.tau * _FINE)) > 1e-6:
            raise ValueError(f"tau must be a multiple of 0.1 from 0.1 to {_WARM_UP}, not {self.tau}")
        if not 0 <= self.noise < float("inf"):
            raise ValueError(f"noise must be at least 0, not {self.noise}")

    def load(self) -> LoadedSeries:
        """Compute the series."""
        values = integrate(self.num_steps, self.tau)
        if self.noise:
            drawn = torch.randn(self.num_steps, generator=private_generator(_NOISE_SEED), dtype=torch.float64)
            values = values + self.noise * drawn.numpy()
        # Rounded: the last bits of the noise are a processor's own.
        fingerprint = hashlib.sha256(np.round(values, 9).tobytes()).hexdigest()
        title = "the Mackey-Glass series"
        self.unchanged(
            title, fingerprint, "data.num_steps, data.tau, data.noise or the integration is another"
        )
        return LoadedSeries(title, ["x"], ["x"], values[:, None], fingerprint)

    def read_file(self, item: str, *, with_targets: bool = False) -> LoadedSeries:
        """Read a table with one column of numbers, whatever its name."""
        # Only files of a user need pyarrow.
        from nnkit.data.reading.table_file import open_table
        from nnkit.data.series.file_series import read_series

        series = read_series(open_table(item), SeriesOptions())
        if len(series.names) != 1:
            raise UserError(
                f"{item} has {len(series.names)} columns of numbers, the model reads one: "
                f"{', '.join(series.names[:5])}"
            )
        return replace(series, names=["x"], targets=["x"], inputs=["x"])


def integrate(num_steps: int, tau: float, warm_up: int = _WARM_UP) -> Values:
    """Integrate the equation from x = 1.2 (and 1.2 before) by the fourth-order Runge-Kutta method.

    The delayed value in the middle of a step comes from the cubic that has values and slopes of both ends. Python's
    own numbers give the same bits everywhere, which a chaotic series needs.

    Args:
        num_steps: Values to return, one each unit of time.
        tau: The delay, a multiple of the step of 0.1.
        warm_up: Units of time that are left out at the beginning.
    """
    step, delay = 1 / _FINE, round(tau * _FINE)
    values, slopes = [_START], list[float]()
    for now in range((warm_up + num_steps - 1) * _FINE):
        past = now - delay
        first = values[past] if past > 0 else _START
        last = values[past + 1] if past >= 0 else _START
        x = values[now]
        k1 = _slope(x, first)
        slopes.append(k1)
        middle = (first + last) / 2
        if past >= 0:
            middle += step / 8 * (slopes[past] - slopes[past + 1])
        k2 = _slope(x + step / 2 * k1, middle)
        k3 = _slope(x + step / 2 * k2, middle)
        k4 = _slope(x + step * k3, last)
        values.append(x + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4))
    return np.array(values[warm_up * _FINE :: _FINE])


def _slope(x: float, delayed: float) -> float:
    fifth = delayed * delayed * delayed * delayed * delayed
    return _BETA * delayed / (1 + fifth * fifth) - _GAMMA * x
