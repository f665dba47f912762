"""Every random stream keeps its values: a run of an earlier release resumes with the numbers it would have drawn."""

import numpy as np
import pytest
import torch

from nnkit.data.counted_random import coarse_uniform, private_generator, uniform
from nnkit.data.pictures.augment import Augment
from nnkit.data.sampler import BatchSampler, Draw, LengthSampler
from nnkit.data.splitting import split_rows
from nnkit.data.text.samples import TrainingWindows

SAMPLES = np.array([0, 5])
PLACES = np.array([0, 1, 2**40])


@pytest.mark.parametrize(
    ("numbers", "drawn"),
    [
        ((0,), [2135392491, 1857819720, 550290313]),
        ((1,), [1497707067, 904132543, 360982613]),
        ((-1, 2), [1384370665, 1680794327, 526028420]),
        ((7, 3, 11), [1695334449, 2034385881, 168323425]),
        ((2**64 + 5,), [1005037801, 1839282140, 330254600]),
    ],
)
def test_private_generators(numbers, drawn):
    assert torch.randint(2**31, (3,), generator=private_generator(*numbers)).tolist() == drawn


@pytest.mark.parametrize(
    ("seed", "epoch", "first", "second"),
    [
        (0, -1, [0.8193382636014529, 0.25327641452985683, 0.6520409123250243], 0.6856314990377015),
        (1, 0, [0.8847898165349132, 0.4031673789960992, 0.2201062512935199], 0.796436822322113),
        (-3, 7, [0.044275937336532345, 0.784984987743171, 0.5024035870309748], 0.8133408980310777),
        (2**70, 1, [0.8164140271575341, 0.932741934718129, 0.27214193810268417], 0.0986010518018482),
    ],
)
def test_numbers_by_sample_and_place(seed, epoch, first, second):
    drawn = uniform(seed, epoch, SAMPLES, PLACES)
    assert drawn[0].tolist() == first
    assert drawn[1, 0] == second
    assert uniform(seed, epoch, SAMPLES[1:], PLACES[:1]) == second


@pytest.mark.parametrize(
    ("options", "pixels"),
    [
        ({"shift": 2}, [21, 20, 1, 3, 3, 3]),
        ({"crop": 2}, [0, 15, 27, 2, 22, 2]),
        ({"flip": True}, [14, 15, 14, 14, 15, 15]),
        ({"shift": 1, "crop": 1, "flip": True}, [14, 14, 14, 3, 14, 2]),
    ],
)
def test_augmentation(options, pixels):
    images = torch.arange(36, dtype=torch.uint8).view(1, 1, 6, 6).repeat(6, 1, 1, 1)
    changed = Augment(**options)(images, 3, 4, torch.tensor([0, 1, 2, 3, 2**33, 5]))
    assert changed[:, 0, 2, 2].tolist() == pixels


def test_order_batches_windows_and_splits():
    for sampler, order in (
        (BatchSampler(9, 4, seed=1), [8, 7, 4, 3, 1, 5, 2, 6, 0]),
        (LengthSampler(torch.tensor([5, 100, 6, 101, 99, 7]), 2, seed=1), [0, 2, 4, 1, 5, 3]),
    ):
        sampler.set_epoch(2)
        assert torch.cat([draw.indices for draw in sampler]).tolist() == order
    windows = TrainingWindows(np.arange(50, dtype=np.uint16), 5, "random", 4, 1.0)
    begins = windows[Draw(3, torch.arange(9))].inputs[:, 0]
    assert begins.tolist() == [30, 34, 24, 26, 19, 6, 22, 44, 3]
    plain, stratified = split_rows(12, 0.25, 0.25, 3), split_rows(12, 0.25, 0.25, 3, torch.arange(12) % 3)
    assert (plain["val"].tolist(), plain["test"].tolist()) == ([1, 2, 9], [3, 5, 8])
    assert (stratified["val"].tolist(), stratified["test"].tolist()) == ([4, 8, 9], [1, 3, 5])


def test_coarse_numbers_are_even_and_uncorrelated():
    drawn = coarse_uniform(0, 0, np.arange(4096))
    bits = (drawn * 2**16).astype(np.int64)
    matrix = np.concatenate([(bits >> place) & 1 for place in range(16)]).astype(float)
    # 128 means and 8,128 correlations of 4,096 coin flips: five standard deviations.
    assert np.abs(matrix.mean(axis=1) - 0.5).max() < 5 * 0.5 / 64
    correlation = np.corrcoef(matrix) - np.eye(128)
    assert np.abs(correlation).max() < 5 / 64
    assert (drawn != coarse_uniform(0, 1, np.arange(4096))).mean() > 0.999


def test_private_generators_of_near_seeds_differ():
    drawn = {
        torch.randint(2**31, (1,), generator=private_generator(a, b)).item()
        for a in range(20)
        for b in range(20)
    }
    assert len(drawn) == 400
