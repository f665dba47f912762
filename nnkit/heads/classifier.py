"""Head that scores classes."""

from typing import Literal

from torch import Tensor, nn

from nnkit.layers.checks import check_choice, check_positive


class Classifier(nn.Module):
    """One linear layer from features to a score for each class.

    Args:
        dim_in: Width of the features.
        num_classes: Classes to choose from.
        activation: None gives logits, what cross-entropy wants; "sigmoid" squashes each score to (0, 1) by
            itself, for a squared error on one-hot targets.

    Raises:
        ValueError: If a number is below 1 or the activation is unknown.
    """

    def __init__(
        self, dim_in: int, num_classes: int, *, activation: Literal["sigmoid"] | None = None
    ) -> None:
        super().__init__()
        check_positive("dim_in", dim_in)
        check_positive("num_classes", num_classes)
        if activation is not None:
            check_choice("activation", activation, ("sigmoid",))
        self.activation = activation
        self.linear = nn.Linear(dim_in, num_classes)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (batch, dim_in) to scores (batch, num_classes)."""
        scores: Tensor = self.linear(features)
        return scores if self.activation is None else scores.sigmoid()

    def probabilities(self, outputs: Tensor) -> Tensor:
        """Turn what `forward` returned, (batch, num_classes), into probabilities of the classes."""
        if self.activation is None:
            return outputs.softmax(-1)
        return outputs / outputs.sum(-1, keepdim=True)
