"""The linear classifier."""

import pytest
import torch

from nnkit.heads.classifier import Classifier


def test_logits_are_a_matrix_product_and_probabilities_their_softmax():
    head = Classifier(4, 3)
    features = torch.randn(5, 4)
    logits = head(features)
    torch.testing.assert_close(logits, features @ head.linear.weight.T + head.linear.bias)
    probabilities = head.probabilities(logits)
    torch.testing.assert_close(probabilities, logits.exp() / logits.exp().sum(1, keepdim=True))


def test_sigmoid_outputs_become_probabilities_that_sum_to_one_and_keep_their_order():
    head = Classifier(4, 3, activation="sigmoid")
    features = torch.randn(5, 4)
    outputs = head(features)
    torch.testing.assert_close(outputs, 1 / (1 + (-head.linear(features)).exp()))
    probabilities = head.probabilities(outputs)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(5))
    assert torch.equal(probabilities.argsort(1), outputs.argsort(1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dim_in": 0}, "dim_in must be at least 1, not 0"),
        ({"num_classes": 0}, "num_classes must be at least 1, not 0"),
        ({"activation": "tanh"}, "activation must be one of sigmoid, not 'tanh'"),
    ],
)
def test_refuses_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        Classifier(**{"dim_in": 4, "num_classes": 3, **arguments})
