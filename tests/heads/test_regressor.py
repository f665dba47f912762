"""The linear regressor."""

import pytest
import torch

from nnkit.heads.regressor import Regressor


def test_values_are_a_matrix_product():
    head = Regressor(4, 2)
    features = torch.randn(5, 4)
    torch.testing.assert_close(head(features), features @ head.linear.weight.T + head.linear.bias)


def test_refuses_no_outputs():
    with pytest.raises(ValueError, match="num_outputs must be at least 1, not 0"):
        Regressor(4, 0)
