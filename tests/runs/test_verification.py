"""`nnkit resume RUN --verify` tells an exact run from one that is not, and names what differs."""

import json

import pytest

import nnkit
from nnkit.runs.verification import Kill, plan

QUICK = ["data=iris", "trainer.num_threads=1", "trainer.max_epochs=1", "logger=[]", "data.val_fraction=0.2"]

LAYERS = '''
import itertools
import torch
from torch import nn

class Noisy(nn.Module):
    """Draws from a generator that no seed reaches."""

    def __init__(self, *, dim_in: int, hidden: int = 8) -> None:
        super().__init__()
        self.first = nn.Linear(dim_in, hidden)
        self.noise = Noise()
        self.dim_out = hidden

    def forward(self, x):
        return self.noise(self.first(x))

class Noise(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator()
        self.generator.seed()

    def forward(self, x):
        return x + torch.rand(x.shape, generator=self.generator) if self.training else x

class Forgetful(nn.Module):
    """Counts its calls in a variable that no checkpoint holds: repeatable, but not after a kill."""

    def __init__(self, *, dim_in: int, hidden: int = 8) -> None:
        super().__init__()
        self.first = nn.Linear(dim_in, hidden)
        self.warm = WarmUp()
        self.dim_out = hidden

    def forward(self, x):
        return self.warm(self.first(x))

class WarmUp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.calls = itertools.count(1)

    def forward(self, x):
        return x * min(next(self.calls) / 10, 1.0) if self.training else x
'''
MODEL = """# A model of the user's own.
_target_: mine.{name}
embeds:
  table:
    _target_: nnkit.embeds.flat.Flat
    shape: ["${{data.num_features}}"]
"""


@pytest.fixture
def own_model(tmp_path, monkeypatch):
    """Write a package and an option file of the user's own."""
    (tmp_path / "mine.py").write_text(LAYERS)
    (tmp_path / "conf" / "model").mkdir(parents=True)
    monkeypatch.setenv("NNKIT_TRUST", "mine")

    def write(name):
        (tmp_path / "conf" / "model" / "own.yaml").write_text(MODEL.format(name=name))

    return write


def test_an_exact_run_is_called_exact_and_is_not_touched(cli):
    everything = ["model=mlp", "model.dropout=0.2", "trainer.accumulate_grad_batches=2", "scheduler=plateau"]
    run = nnkit.train([*QUICK, *everything, "callbacks=[checkpoint,early_stopping,ema]", "name=good"]).run
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    code, out, err = cli("resume", "good", "--verify", "--steps", "12")
    assert code == 0, err
    assert "good: exact" in out
    assert before == {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}


def test_a_layer_that_draws_by_itself_is_named(cli, own_model):
    own_model("Noisy")
    nnkit.train([*QUICK, "model=own", "name=noisy", "callbacks=[checkpoint]"])
    code, out, _ = cli("resume", "noisy", "--verify", "--steps", "6")
    assert code == 1
    assert "noisy: not exact" in out
    assert "network.body.noise (Noise) is the first that differs" in out
    assert "no resume of it can be exact" in out


def test_a_state_that_no_checkpoint_holds_is_named(cli, own_model):
    own_model("Forgetful")
    nnkit.train([*QUICK, "model=own", "name=forgetful", "callbacks=[checkpoint]"])
    code, out, _ = cli("resume", "forgetful", "--verify", "--steps", "6")
    assert code == 1
    assert "network.body.warm (WarmUp) is the first that differs" in out
    # Undisturbed it repeats itself: only the killed one differs.
    assert "no resume of it can be exact" not in out


def test_a_run_without_checkpoints_is_refused(cli):
    nnkit.train([*QUICK, "model=mlp", "name=none", "callbacks=[]"])
    code, _, err = cli("resume", "none", "--verify")
    assert code == 2
    assert "keeps no checkpoints" in err


def test_a_training_that_fails_is_said(cli):
    run = nnkit.train([*QUICK, "model=mlp", "name=broken", "callbacks=[checkpoint]"]).run
    learnt = json.loads((run.path / "preprocessing.json").read_text())
    (run.path / "preprocessing.json").write_text(json.dumps({**learnt, "fingerprint": "0" * 64}))
    code, _, err = cli("resume", "broken", "--verify")
    assert code == 1
    assert "has changed since this run was prepared" in err


@pytest.mark.parametrize("words", [["trainer.max_epochs=9"], ["--allow", "seed"], ["--steps", "3"]])
def test_what_makes_no_sense_beside_verify_is_refused(cli, words):
    code, _, err = cli("resume", "any", "--verify", *words)
    assert code == 2
    assert "--verify" in err or "--steps" in err


@pytest.mark.parametrize(("steps", "epoch"), [(4, 2), (16, 5), (50, 16)])
def test_kills_fall_inside_an_epoch_and_on_the_last_step_of_another(steps, epoch):
    kills = plan(steps, epoch)
    assert all(0 < kill.step < steps for kill in kills)
    assert Kill(epoch // 2, True) in kills
    assert any(kill.step % epoch == 0 and not kill.saved for kill in kills) or steps <= 2 * epoch
