"""Sinusoids against the paper's formula, rotations against products of complex numbers."""

import cmath
import math

import pytest
import torch

from nnkit.layers.positions import rotate, rotations, sinusoids


@pytest.mark.parametrize("dim", [2, 7, 16])
@pytest.mark.parametrize("start", [0, 5])
def test_sinusoids_are_those_of_the_paper(start, dim):
    table = sinusoids(start, 9, dim, torch.zeros(1))
    assert table.shape == (9, dim)
    for row in range(9):
        for column in range(dim):
            # PE(pos, 2i) = sin(pos / 10000^(2i / dim)), PE(pos, 2i + 1) = cos(the same).
            angle = (start + row) / 10_000 ** (2 * (column // 2) / dim)
            expected = math.cos(angle) if column % 2 else math.sin(angle)
            assert table[row, column].item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("start", [0, 3])
def test_rotations_are_products_with_complex_numbers(start):
    dim, length = 8, 5
    vectors = torch.randn(2, 3, length, dim, generator=torch.Generator().manual_seed(0))
    turned = rotate(vectors, rotations(start, length, dim, vectors))
    for step in range(length):
        for pair in range(dim // 2):
            turn = cmath.exp(1j * (start + step) * 10_000 ** (-2 * pair / dim))
            first, second = vectors[1, 2, step, pair].item(), vectors[1, 2, step, pair + dim // 2].item()
            expected = complex(first, second) * turn
            assert turned[1, 2, step, pair].item() == pytest.approx(expected.real, abs=1e-5)
            assert turned[1, 2, step, pair + dim // 2].item() == pytest.approx(expected.imag, abs=1e-5)


def test_products_of_turned_vectors_depend_on_their_distance_only():
    vectors = torch.randn(2, 6, generator=torch.Generator().manual_seed(0))

    def product(one, other):
        places = (rotations(place, 1, 6, vectors) for place in (one, other))
        first, second = (rotate(vector[None], place) for vector, place in zip(vectors, places, strict=True))
        return (first * second).sum().item()

    assert product(7, 3) == pytest.approx(product(104, 100), abs=1e-4)
    assert product(7, 3) != pytest.approx(product(3, 7), abs=1e-2)


def test_numbers_have_the_type_of_what_they_are_for():
    like = torch.zeros(1, dtype=torch.bfloat16)
    assert sinusoids(0, 2, 4, like).dtype == torch.bfloat16
    assert all(part.dtype == torch.bfloat16 for part in rotations(0, 2, 4, like))
