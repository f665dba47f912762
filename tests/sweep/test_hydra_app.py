"""Hydra's own flags keep working, behind our validation."""

from pathlib import Path

import pytest

QUICK = ["data=iris", "trainer.max_steps=2", "logger=[]", "callbacks=[checkpoint]"]


def test_a_mistake_in_the_last_value_stops_a_sweep_before_it_starts(cli):
    code, _, err = cli("train", "-m", *QUICK, "model=mlp,mpl", "seed=1,abc", "optimizer.lr=-1")
    assert code == 2
    assert "did you mean model=mlp?" in err
    assert "seed: must be a whole number" in err
    assert "optimizer.lr" in err
    assert not list(Path().iterdir())


@pytest.mark.parametrize("flags", [["--cfg", "job"], ["-c", "job"], ["--cfg=job"]])
def test_the_config_is_printed_with_its_interpolations_or_resolved(cli, flags):
    code, out, _ = cli("train", *QUICK, *flags)
    assert code == 0
    assert "max_epochs: ${data.max_epochs}" in out or "max_epochs: -1" in out
    assert "max_lr: ${optimizer.lr}" in out
    code, out, _ = cli("train", *QUICK, *flags, "--resolve", "optimizer.lr=0.25")
    assert code == 0
    assert "max_lr: 0.25" in out
    assert not Path("outputs").exists()


def test_hydras_own_node_and_help_are_served(cli):
    code, out, _ = cli("train", "--cfg", "hydra")
    assert code == 0
    assert "launcher" in out
    code, out, _ = cli("train", "--info", "searchpath")
    assert code == 0
    assert "search path" in out


def test_flags_that_do_not_exist_are_answered(cli):
    code, _, err = cli("train", "--lr", "1e-3")
    assert code == 2
    assert "optimizer.lr=1e-3" in err
    code, _, err = cli("train", "--cfg")
    assert code == 2
    assert "needs a value" in err
