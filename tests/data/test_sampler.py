import pytest
import torch

from nnkit.data.sampler import BatchSampler


def order(sampler):
    return torch.cat([draw.indices for draw in sampler])


def test_each_sample_once_an_epoch_in_an_order_of_its_own():
    sampler = BatchSampler(103, 10, seed=1)
    orders = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        orders.append(order(sampler))
        assert sorted(orders[-1].tolist()) == list(range(103))
    assert not torch.equal(orders[0], orders[1])
    assert len(sampler) == len(list(sampler)) == 11


def test_order_depends_on_seed_and_epoch_alone():
    torch.manual_seed(1)
    first = BatchSampler(50, 7, seed=3)
    first.set_epoch(4)
    expected = order(first)
    torch.manual_seed(2)
    second = BatchSampler(50, 7, seed=3)
    list(second)
    second.set_epoch(4)
    assert torch.equal(order(second), expected)


def test_the_global_generator_is_not_touched():
    before = torch.get_rng_state()
    list(BatchSampler(50, 7, seed=3))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("skipped", [0, 1, 5, 11])
def test_skip_leaves_out_batches_of_the_next_pass_only(skipped):
    sampler = BatchSampler(103, 10, seed=1)
    whole = [draw.indices.tolist() for draw in sampler]
    sampler.skip(skipped)
    assert [draw.indices.tolist() for draw in sampler] == whole[skipped:]
    assert [draw.indices.tolist() for draw in sampler] == whole


def test_the_epoch_is_read_when_the_first_batch_is_drawn():
    # Lightning makes the iterator of a resumed run before it sets the epoch.
    sampler = BatchSampler(20, 5, seed=1)
    iterator = iter(sampler)
    sampler.set_epoch(3)
    assert next(iterator).epoch == 3


def shares(world_size, **options):
    samplers = [BatchSampler(**options, rank=rank, world_size=world_size) for rank in range(world_size)]
    return samplers, [list(sampler) for sampler in samplers]


@pytest.mark.parametrize("size", [96, 97, 101])
@pytest.mark.parametrize("world_size", [2, 3, 5])
def test_processes_share_the_batches_that_one_would_have(size, world_size):
    whole = [set(draw.indices.tolist()) for draw in BatchSampler(size, 8, seed=1)]
    samplers, parts = shares(world_size, num_samples=size, batch_size=8, seed=1)
    assert {len(sampler) for sampler in samplers} == {len(part) for part in parts} == {len(whole)}
    for batch, draws in zip(whole, zip(*parts, strict=True), strict=True):
        own = [draw.indices.tolist() for draw in draws if not draw.is_placeholder]
        assert sorted(row for rows in own for row in rows) == sorted(batch)
        assert max(map(len, own)) - min(map(len, own)) <= 1
        # Every process takes every step.
        assert all(len(draw.indices) == 1 for draw in draws if draw.is_placeholder)
        assert len(own) == min(len(batch), world_size)


@pytest.mark.parametrize("limit", [None, 3, 0.5])
@pytest.mark.parametrize("size", [96, 97, 3])
def test_processes_evaluate_each_sample_once(size, limit):
    samplers, parts = shares(5, num_samples=size, batch_size=8)
    for sampler in samplers:
        sampler.limit = limit
    parts = [list(sampler) for sampler in samplers]
    assert [len(sampler) for sampler in samplers] == [len(part) for part in parts]
    seen = [row for part in parts for draw in part for row in draw.indices.tolist()]
    batches = -(-size // 8)
    taken = {None: batches, 3: min(3, batches), 0.5: int(batches * 0.5)}[limit]
    assert sorted(seen) == list(range(min(size, taken * 8)))


def test_without_a_seed_the_order_is_kept_and_no_epoch_is_given():
    draws = list(BatchSampler(10, 4))
    assert torch.cat([draw.indices for draw in draws]).tolist() == list(range(10))
    assert {draw.epoch for draw in draws} == {None}
