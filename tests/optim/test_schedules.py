"""Learning-rate schedules."""

import math

import pytest
import torch
from torch import nn

from nnkit.optim.schedules import Noam, WarmupCosine


def optimizer(lr):
    module = nn.Linear(2, 2)
    return torch.optim.SGD([{"params": [module.weight]}, {"params": [module.bias], "lr": lr / 10}], lr=lr)


def rates(scheduler, steps):
    seen = []
    for _ in range(steps):
        seen.append([group["lr"] for group in scheduler.optimizer.param_groups])
        scheduler.optimizer.step()
        scheduler.step()
    return seen


def test_noam_is_equation_3_when_lr_is_the_papers_peak():
    dim, warmup = 512, 40
    scheduler = Noam(optimizer((dim * warmup) ** -0.5), warmup_steps=warmup)
    expected = [dim**-0.5 * min(s**-0.5, s * warmup**-1.5) for s in range(1, 201)]
    assert [rate for rate, _ in rates(scheduler, 200)] == pytest.approx(expected)


def test_noam_peaks_at_the_optimizers_lr():
    seen = [rate for rate, _ in rates(Noam(optimizer(0.3), warmup_steps=7), 50)]
    assert max(seen) == seen[6] == pytest.approx(0.3)


def test_warmup_cosine_climbs_then_falls_and_stays():
    scheduler = WarmupCosine(optimizer(1.0), total_steps=100, warmup=0.2, min_factor=0.1)
    seen = [rate for rate, _ in rates(scheduler, 120)]
    assert seen[:20] == pytest.approx([(s + 1) / 21 for s in range(20)])
    assert seen[20] == pytest.approx(1.0)
    assert seen[60] == pytest.approx((1.0 + 0.1) / 2)
    assert seen[40] == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi / 4)) / 2)
    assert seen[100:] == pytest.approx([0.1] * 20)


def test_warmup_cosine_without_warmup_is_torchs_cosine():
    mine = WarmupCosine(optimizer(0.5), total_steps=30, warmup=0.0, min_factor=0.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer(0.5), T_max=30)
    assert rates(mine, 30) == [pytest.approx(pair, abs=1e-12) for pair in rates(theirs, 30)]


@pytest.mark.parametrize(
    "make",
    [lambda o: Noam(o, warmup_steps=5), lambda o: WarmupCosine(o, total_steps=20, warmup=0.3)],
    ids=["noam", "warmup_cosine"],
)
def test_resumes_exactly_and_keeps_the_ratio_of_groups(make):
    whole = rates(make(optimizer(0.2)), 20)
    first = make(optimizer(0.2))
    begun = rates(first, 8)
    second = make(optimizer(0.2))
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    second.load_state_dict(first.state_dict())
    assert begun + rates(second, 12) == whole
    assert all(bias == pytest.approx(weight / 10) for weight, bias in whole)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"total_steps": 0}, "total_steps must be at least 1, not 0"),
        ({"total_steps": 9, "warmup": 1.0}, r"warmup must lie in \[0, 1\), not 1.0"),
        ({"total_steps": 9, "min_factor": 2.0}, r"min_factor must lie in \[0, 1\], not 2.0"),
    ],
)
def test_warmup_cosine_refuses_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        WarmupCosine(optimizer(0.1), **arguments)


def test_noam_refuses_no_warmup():
    with pytest.raises(ValueError, match="warmup_steps must be at least 1, not 0"):
        Noam(optimizer(0.1), warmup_steps=0)
