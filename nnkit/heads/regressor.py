"""Head that predicts real values."""

from torch import Tensor, nn

from nnkit.layers.checks import check_positive


class Regressor(nn.Module):
    """One linear layer from features to real values.

    Args:
        dim_in: Width of the features.
        num_outputs: Values to predict.

    Raises:
        ValueError: If a number is below 1.
    """

    def __init__(self, dim_in: int, num_outputs: int) -> None:
        super().__init__()
        check_positive("dim_in", dim_in)
        check_positive("num_outputs", num_outputs)
        self.linear = nn.Linear(dim_in, num_outputs)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (batch, dim_in) to values (batch, num_outputs)."""
        values: Tensor = self.linear(features)
        return values
