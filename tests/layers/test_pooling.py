"""Max pooling by halves is torch's, forward, backward and twice backward."""

import pytest
import torch
from torch.nn import functional

from nnkit.layers import pooling
from nnkit.layers.pooling import MaxPool2x2


def drawn(*shape, layout=torch.channels_last):
    numbers = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    return numbers.contiguous(memory_format=layout).requires_grad_()


@pytest.fixture
def halves(monkeypatch):
    """Counts the uses of the quick way, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    uses = []
    quick = pooling._Halves.apply
    monkeypatch.setattr(pooling._Halves, "apply", lambda maps: uses.append(maps.shape) or quick(maps))
    yield uses
    torch.set_num_threads(threads)


def test_values_gradients_and_layout_are_torchs(halves):
    maps = drawn(3, 6, 8, 10)
    ours, theirs = MaxPool2x2()(maps), functional.max_pool2d(maps, 2)
    assert halves == [maps.shape]
    assert torch.equal(ours, theirs)
    assert ours.stride() == theirs.stride()
    weights = torch.randn(ours.shape, generator=torch.Generator().manual_seed(1))
    (mine,), (other,) = (torch.autograd.grad(one, maps, weights, retain_graph=True) for one in (ours, theirs))
    assert torch.equal(mine, other)
    assert mine.stride() == other.stride()


def test_a_gradient_of_a_square_of_equal_numbers_goes_to_one_of_them(halves):
    maps = torch.zeros(1, 6, 4, 4).contiguous(memory_format=torch.channels_last).requires_grad_()
    MaxPool2x2()(maps).sum().backward()
    expected = torch.zeros(1, 6, 4, 4)
    expected[:, :, ::2, ::2] = 1
    assert halves
    assert torch.equal(maps.grad, expected)


def test_neighbouring_floats_and_the_smallest_are_distinguished(halves):
    tiny = torch.tensor([0.0, 1e-45, -1e-45, 0.0]).view(1, 1, 2, 2).expand(1, 6, 2, 2)
    maps = tiny.contiguous(memory_format=torch.channels_last).requires_grad_()
    MaxPool2x2()(maps).sum().backward()
    assert halves
    assert torch.equal(maps.grad[0, 0], torch.tensor([[0.0, 1.0], [0.0, 0.0]]))


def test_what_is_not_a_number_stays_so(halves):
    maps = drawn(1, 6, 2, 2).detach()
    maps[0, 2, 1, 0] = torch.nan
    pooled = MaxPool2x2()(maps.requires_grad_())
    assert halves
    assert pooled.isnan().flatten().tolist() == [False, False, True, False, False, False]


def test_the_gradient_has_a_gradient(halves):
    maps = drawn(2, 6, 4, 4)
    found = []
    for pool in (MaxPool2x2(), torch.nn.MaxPool2d(2)):
        (first,) = torch.autograd.grad(pool(maps**2).pow(3).sum(), maps, create_graph=True)
        found += torch.autograd.grad(first.sum(), maps)
    assert halves
    torch.testing.assert_close(*found)


def test_several_threads_take_torchs_kernel(halves):
    maps = drawn(2, 6, 4, 4)
    torch.set_num_threads(2)
    assert torch.equal(MaxPool2x2()(maps), functional.max_pool2d(maps, 2))
    assert not halves


@pytest.mark.parametrize(
    "maps",
    [
        drawn(2, 16, 4, 4),
        drawn(2, 6, 4, 4, layout=torch.contiguous_format),
        drawn(2, 6, 5, 4),
        drawn(2, 6, 4, 4).detach(),
        drawn(2, 6, 4, 4).detach().bfloat16().requires_grad_(),
    ],
    ids=["many channels", "another layout", "odd", "no gradient", "half precision"],
)
def test_elsewhere_it_is_torchs_kernel(maps, halves):
    assert torch.equal(MaxPool2x2()(maps), functional.max_pool2d(maps, 2))
    assert not halves
