"""Hooks of a training step that do nothing cost nothing, and those that do something are called."""

import inspect

import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from lightning.pytorch.trainer.connectors.logger_connector import _LoggerConnector
from torch.optim import SGD

import nnkit
from nnkit.data.base import DataModule
from nnkit.runs.hooks import without_empty_hooks
from nnkit.runs.profiling import make_profiler
from nnkit.runs.training import train


class Counting(Callback):
    def __init__(self):
        self.batches = self.own = self.epochs = 0
        self.on_after_backward = self.count

    def count(self, trainer, pl_module):
        self.own += 1

    def on_train_batch_end(self, *arguments):
        self.batches += 1

    def on_train_epoch_end(self, *arguments):
        self.epochs += 1


def test_what_a_callback_defines_is_called_and_the_rest_passed_over():
    counting = Counting()
    words = ["data=digits", "model=mlp", "trainer.max_steps=3", "trainer.num_threads=1", "logger=[]"]
    train(nnkit.compose(words), show=False, extra=[counting])
    assert (counting.batches, counting.own, counting.epochs) == (3, 3, 1)
    assert counting.on_before_backward is None


def test_a_hook_of_a_base_class_of_the_user_stays():
    class Derived(Counting):
        pass

    derived = Derived()
    without_empty_hooks(derived)
    assert callable(derived.on_train_batch_end)
    assert derived.on_train_batch_start is None


def test_without_a_profiler_no_context_is_made():
    silent = make_profiler(None)
    assert silent.profile("one") is silent.profile("another")


def short(*words):
    fixed = ["data=digits", "model=mlp", "trainer.max_steps=3", "trainer.num_threads=1", "logger=[]"]
    return train(nnkit.compose([*fixed, *words]), show=False, extra=[])


def test_lightning_still_has_what_is_replaced():
    parameters = inspect.signature(_TrainingEpochLoop._build_kwargs).parameters
    assert [*parameters] == ["self", "kwargs", "batch", "batch_idx"]
    assert [*inspect.signature(_LoggerConnector.on_batch_end).parameters] == ["self"]
    for name, parameters in {
        "_on_before_batch_transfer": ["batch", "dataloader_idx"],
        "_apply_batch_transfer_handler": ["batch", "device", "dataloader_idx"],
    }.items():
        assert [*inspect.signature(getattr(LightningModule, name)).parameters] == ["self", *parameters]


def test_what_a_callback_logs_in_a_step_is_kept():
    class Logging(Callback):
        seen = ()

        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            self.log("steps", float(batch_idx), on_step=True, on_epoch=True, batch_size=1)

        def on_train_epoch_end(self, trainer, pl_module):
            self.seen = {name: float(value) for name, value in trainer.callback_metrics.items()}

    logging = Logging()
    words = ["data=digits", "model=mlp", "trainer.max_steps=3", "trainer.num_threads=1", "logger=[]"]
    train(nnkit.compose(words), show=False, extra=[logging])
    assert (logging.seen["steps_step"], logging.seen["steps_epoch"]) == (2.0, 1.0)


def test_data_that_change_a_batch_on_its_way_to_the_device_do(monkeypatch):
    untouched = short().metrics
    changed = []

    def on_after_batch_transfer(self, batch, dataloader_idx):
        changed.append(batch.inputs.shape)
        return batch._replace(inputs=torch.zeros_like(batch.inputs))

    monkeypatch.setattr(DataModule, "on_after_batch_transfer", on_after_batch_transfer)
    metrics = short().metrics
    assert len(changed) > 3
    assert metrics["test/loss"] != untouched["test/loss"]


def test_an_optimizer_of_the_user_forgets_gradients_in_its_own_way(monkeypatch):
    calls = []

    def zero_grad(self, set_to_none=True):
        calls.append(set_to_none)
        super(SGD, self).zero_grad(set_to_none)

    monkeypatch.setattr(SGD, "zero_grad", zero_grad, raising=False)
    ours = short("optimizer=sgd").metrics
    assert calls == [True] * 3
    monkeypatch.undo()
    assert short("optimizer=sgd").metrics == ours
