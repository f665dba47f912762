"""Cross-entropy with class weights from a config."""

import numpy
import pytest
import torch

from nnkit.losses.cross_entropy import CrossEntropy


def test_equals_its_formula_with_weights_and_smoothing():
    logits, target = torch.randn(6, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 2, 1, 0])
    weights = [1.0, 2.0, 0.5]
    x = logits.numpy()
    log_p = x - numpy.log(numpy.exp(x).sum(1, keepdims=True))
    smooth = 0.9 * numpy.eye(3)[target] + 0.1 / 3
    expected = -(smooth * log_p * weights).sum() / numpy.array(weights)[target].sum()
    loss = CrossEntropy(label_smoothing=0.1, class_weights=weights).double()
    assert loss(logits, target).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"label_smoothing": 1.5}, r"label_smoothing must lie in \[0, 1\], not 1.5"),
        ({"class_weights": [1.0, -1.0]}, r"class_weights must not be negative .*not \[1.0, -1.0\]"),
    ],
)
def test_refuses_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        CrossEntropy(**arguments)
