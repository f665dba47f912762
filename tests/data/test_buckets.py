import numpy as np
import pytest
import torch

from nnkit.data.sampler import LengthSampler, padding_share


@pytest.fixture
def lengths():
    """Lengths as reviews have them: log-normal, cut at 256."""
    drawn = np.random.default_rng(1).lognormal(4.0, 0.8, 6000)
    return torch.from_numpy(np.clip(drawn, 1, 256).astype(np.int64))


def dealt(sampler):
    return [draw.indices.tolist() for draw in sampler]


CUTS = [{"batch_size": 64}, {"batch_size": 64, "max_tokens": 4096}]


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("seed", [None, 1])
def test_each_sample_once_an_epoch_with_little_padding_in_as_many_batches(lengths, cut, seed):
    sampler = LengthSampler(lengths, **cut, seed=seed)
    for epoch in range(4):
        sampler.set_epoch(epoch)
        batches = dealt(sampler)
        assert len(batches) == len(sampler)
        assert sorted(row for rows in batches for row in rows) == list(range(6000))
        padded = sum(len(rows) * max(lengths[rows].tolist()) for rows in batches)
        waste = 1 - int(lengths.sum()) / padded
        assert waste < 0.1
        assert padding_share([lengths], [torch.tensor(rows) for rows in batches]) == pytest.approx(waste)


def test_batches_have_the_size_asked_for(lengths):
    sizes = sorted(map(len, LengthSampler(lengths, 64, seed=1).deal()))
    assert sizes == [6000 % 64] + [64] * (6000 // 64)


@pytest.mark.parametrize("seed", [None, 1])
def test_no_batch_exceeds_the_budget_and_most_use_it(lengths, seed):
    sampler = LengthSampler(lengths, 64, max_tokens=4096, seed=seed)
    used = []
    for epoch in range(10):
        sampler.set_epoch(epoch)
        used += [len(rows) * max(lengths[rows].tolist()) for rows in dealt(sampler)]
    assert max(used) <= 4096
    assert np.mean(used) > 0.9 * 4096


def test_a_sample_longer_than_the_budget_is_a_batch_by_itself():
    batches = dealt(LengthSampler(torch.tensor([3, 90, 2, 80, 4]), 64, max_tokens=10))
    assert batches == [[2, 0], [4], [3], [1]]


def test_batches_depend_on_seed_and_epoch_alone(lengths):
    def epoch(seed, number):
        sampler = LengthSampler(lengths, 64, seed=seed)
        sampler.set_epoch(number)
        return dealt(sampler)

    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = epoch(3, 4)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert epoch(3, 4) == first
    assert epoch(3, 5) != first
    assert epoch(4, 4) != first
    # Not only the order of the batches is new, but who is with whom.
    assert not set(map(frozenset, first)) & set(map(frozenset, epoch(3, 5)))


def test_long_and_short_batches_are_mixed(lengths):
    means = [lengths[rows].float().mean().item() for rows in dealt(LengthSampler(lengths, 64, seed=1))]
    assert abs(np.corrcoef(means, range(len(means)))[0, 1]) < 0.3


def test_without_a_seed_samples_are_sorted_by_length():
    draws = list(LengthSampler(torch.tensor([5, 1, 5, 3, 1]), 2))
    assert [draw.indices.tolist() for draw in draws] == [[1, 4], [3, 0], [2]]
    assert {draw.epoch for draw in draws} == {None}


@pytest.mark.parametrize("skipped", [0, 1, 50, 94])
def test_skip_leaves_out_batches_of_the_next_pass_only(lengths, skipped):
    sampler = LengthSampler(lengths, 64, seed=1)
    whole = dealt(sampler)
    sampler.skip(skipped)
    assert dealt(sampler) == whole[skipped:]
    assert dealt(sampler) == whole


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("size", [6000, 65, 1])
@pytest.mark.parametrize("seed", [1, None])
def test_processes_share_the_batches_that_one_would_have(lengths, cut, size, seed):
    lengths = lengths[:size]
    whole = [sorted(draw.indices.tolist()) for draw in LengthSampler(lengths, **cut, seed=seed)]
    samplers = [LengthSampler(lengths, **cut, seed=seed, rank=rank, world_size=3) for rank in range(3)]
    parts = [list(sampler) for sampler in samplers]
    assert [len(part) for part in parts] == [len(sampler) for sampler in samplers]
    if seed is None:
        seen = [row for part in parts for draw in part for row in draw.indices.tolist()]
        assert sorted(seen) == list(range(size))
        return
    for batch, draws in zip(whole, zip(*parts, strict=True), strict=True):
        assert (
            sorted(row for draw in draws if not draw.is_placeholder for row in draw.indices.tolist()) == batch
        )


def test_nothing_to_deal():
    sampler = LengthSampler(torch.empty(0, dtype=torch.int64), 64, seed=1)
    assert len(sampler) == 0
    assert list(sampler) == []
