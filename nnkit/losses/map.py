"""The discriminative loss of LeNet-5."""

import torch
from torch import Tensor, nn


class MAP(nn.Module):
    """Maximum a posteriori loss: pulls the right class near and pushes all the others away.

    Equation 9 of LeCun et al. 1998, the mean over the batch of y_d + log(exp(-j) + sum_i exp(-y_i)), where
    y_i is the penalty of class i (its squared distance) and d the right class. The exp(-j) is a rubbish
    class: penalties that already are far above j are pushed no further, which keeps the weights of an RBF
    output from collapsing.

    Args:
        j: Penalty of the rubbish class; the paper asks for a positive constant and names none.

    Raises:
        ValueError: If j is not positive.
    """

    def __init__(self, *, j: float = 1.0) -> None:
        super().__init__()
        if j <= 0:
            raise ValueError(f"j must be positive, not {j}")
        self.j = j

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Score minus the penalties (batch, classes) against class indices (batch,); returns a scalar."""
        right = prediction.gather(-1, target.unsqueeze(-1)).squeeze(-1)
        rubbish = prediction.new_full((), -self.j)
        return (torch.logaddexp(prediction.logsumexp(-1), rubbish) - right).mean()
