"""The moving average of the weights against a loop, and in runs that are shorter than its horizon."""

from types import SimpleNamespace

import pytest
import torch
from exactness import assert_same_end, cut
from lightning.pytorch import LightningModule

import nnkit
from nnkit.callbacks.ema import EMA
from nnkit.checkpoint.store import CheckpointStore
from nnkit.runs import fit as fitting
from nnkit.runs.resuming import resume

SHORT = [
    "data=digits", "model=mlp", "data.subset=0.25", "data.batch_size=64", "trainer.max_epochs=2",
    "trainer.num_threads=1", "logger=[]",
    "callbacks.checkpoint.every_n_steps=1", "callbacks.checkpoint.keep_last=99", "name=whole",
]  # fmt: skip
OLD = [
    "callbacks.ema._target_=lightning.pytorch.callbacks.EMAWeightAveraging",
    "~callbacks.ema.warmup",
    "+callbacks.ema.update_starting_at_epoch=null",
]


class Weights(LightningModule):
    """Three weights."""

    def __init__(self):
        super().__init__()
        self.weights = torch.nn.Parameter(torch.zeros(3, dtype=torch.float64))


@pytest.mark.parametrize(
    ("options", "decays"),
    [
        ({}, lambda n: min(0.999, (1 + n) / (10 + n))),
        ({"decay": 0.5}, lambda n: min(0.5, (1 + n) / (10 + n))),
        ({"warmup": False}, lambda n: 0.999),
        ({"update_every_n_steps": 3}, lambda n: min(0.999, (1 + n) / (10 + n))),
        ({"update_starting_at_step": 7}, lambda n: min(0.999, (1 + n) / (10 + n))),
    ],
)
def test_the_average_is_that_of_the_loop_of_tensorflow_s_documentation(options, decays):
    module, callback = Weights(), EMA(**options)
    callback.setup(None, module, "fit")
    drawn = torch.Generator().manual_seed(0)
    average, updates = None, 0
    for step in range(40):
        with torch.no_grad():
            module.weights.copy_(torch.randn(3, generator=drawn, dtype=torch.float64))
        callback.on_train_batch_end(SimpleNamespace(global_step=step + 1), module, None, None, step)
        first = options.get("update_starting_at_step", 0)
        if step >= first and step % options.get("update_every_n_steps", 1) == 0:
            now, decay = module.weights.detach().clone(), decays(updates)
            average = now if average is None else decay * average + (1 - decay) * now
            updates += 1
    callback.on_train_end(None, module)
    torch.testing.assert_close(module.weights.detach(), average, rtol=1e-12, atol=0)


def test_whole_numbers_are_those_of_the_run():
    """Indices of a layer, or the number of batches that a normalisation has seen."""
    module, callback = Weights(), EMA()
    module.register_buffer("places", torch.arange(100))
    module.register_buffer("seen", torch.tensor([0]))
    callback.setup(None, module, "fit")
    for step in range(40):
        module.seen += 1
        callback.on_train_batch_end(SimpleNamespace(global_step=step + 1), module, None, None, step)
        average = callback._average_model.module
        assert average.places.tolist() == list(range(100))
        assert average.seen == module.seen


def test_the_last_test_is_the_one_of_the_saved_average():
    """The network has a table of which maps see which, in a buffer that no checkpoint holds."""
    words = [word for word in SHORT if "model=" not in word]
    result = nnkit.train([*words, "model=lenet5_1998", "+callbacks=ema", "trainer.max_epochs=4"])
    tested = {name: value for name, value in result.metrics.items() if name.startswith("test/")}
    assert fitting.test(str(result.run.path)) == tested


def test_a_short_run_is_not_ruined():
    words = ["data=digits", "model=mlp", "trainer.max_epochs=3", "trainer.num_threads=1", "logger=[]"]
    plain, averaged = (
        nnkit.train([*words, f"callbacks=[checkpoint{more}]"]).metrics["test/accuracy"]
        for more in ("", ",ema")
    )
    assert plain > 0.85
    assert averaged > plain - 0.03


def test_before_the_first_update_the_weights_are_those_of_the_run():
    never = ["+callbacks=ema", "callbacks.ema.update_starting_at_step=1000000", "name=never"]
    plain, averaged = nnkit.train(SHORT), nnkit.train([*SHORT, *never])
    assert plain.metrics == averaged.metrics
    states = [CheckpointStore(one.run.checkpoints).load("last")[1] for one in (plain, averaged)]
    for name, tensor in states[0]["state_dict"].items():
        assert torch.equal(tensor, states[1]["state_dict"][name])


@pytest.mark.parametrize("extra", [[], OLD], ids=["now", "as written by an earlier release"])
def test_a_run_goes_on_exactly_with_the_average_it_was_begun_with(extra):
    whole = nnkit.train([*SHORT, "+callbacks=ema", *extra]).run
    for manifest in CheckpointStore(whole.checkpoints).manifests()[1::3]:
        stopped = cut(whole, manifest, "cut")
        resume("cut", show=False)
        assert_same_end(whole, stopped)


@pytest.mark.parametrize(
    "option", ["decay=1", "decay=.nan", "decay=-0.1", "update_every_n_steps=0", "update_starting_at_step=-1"]
)
def test_numbers_out_of_range_are_refused(cli, option):
    code, _, err = cli("check", "data=digits", "model=mlp", "+callbacks=ema", f"callbacks.ema.{option}")
    assert code == 2
    assert f"callbacks.ema.{option.split('=')[0]}" in err
