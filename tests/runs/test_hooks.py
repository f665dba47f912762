"""Hooks of a training step that do nothing cost nothing, and those that do something are called."""

import inspect
from functools import partial

import pytest
import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.loops.optimization.automatic import _AutomaticOptimization
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from lightning.pytorch.trainer.connectors.logger_connector import _LoggerConnector
from torch.optim import SGD

import nnkit
from nnkit.data.base import DataModule
from nnkit.errors import UserError
from nnkit.runs.hooks import _EACH_STEP, _Steps, without_empty_hooks
from nnkit.runs.profiling import make_profiler
from nnkit.runs.training import train
from nnkit.tasks.classification import Classification


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
    for name in ("_should_accumulate", "_should_check_val_epoch"):
        assert [*inspect.signature(getattr(_TrainingEpochLoop, name)).parameters] == ["self"]
    parameters = inspect.signature(_AutomaticOptimization.run).parameters
    assert [*parameters] == ["self", "optimizer", "batch_idx", "kwargs"]
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


class Noting(Callback):
    """Notes each hook of a step with the name that `log` would find, the loss and the progress of the loop."""

    def __init__(self):
        self.notes = []
        for name in _EACH_STEP:
            setattr(self, name, partial(self.note, name))

    def note(self, name, trainer, pl_module, *arguments):
        values = [
            {key: float(value) for key, value in one.items()}
            if isinstance(one, dict)
            else float(one.detach())
            if isinstance(one, torch.Tensor)
            else type(one).__name__
            for one in arguments
        ]
        progress = trainer.fit_loop.epoch_loop.automatic_optimization.optim_progress.state_dict()
        state = (torch.is_grad_enabled(), torch.is_autocast_enabled("cpu"), pl_module._current_fx_name)
        self.notes.append((name, values, state, progress))


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("trainer.precision=bf16-mixed", "trainer.gradient_clip_val=0.1"),
        ("trainer.accumulate_grad_batches=2",),
        ("optimizer=sgd", "scheduler=plateau", "trainer.val_check_interval=2"),
    ],
)
def test_a_step_is_that_of_lightning(words, monkeypatch):
    """With a profiler Lightning takes the steps itself."""
    steps = {"ours": 0}
    gradients = _Steps._gradients

    def counted(self, *arguments):
        steps["ours"] += 1
        return gradients(self, *arguments)

    monkeypatch.setattr(_Steps, "_gradients", counted)
    fixed = ["data=digits", "model=mlp", "model.dropout=0.2", "trainer.max_steps=5", "trainer.num_threads=1"]
    ended = []
    for more in ((), ("trainer.profiler=simple",)):
        noting = Noting()
        result = train(nnkit.compose([*fixed, "logger=[]", *words, *more]), show=False, extra=[noting])
        weights = [one.detach().clone() for one in result.session.task.network.parameters()]
        ended.append((noting.notes, weights, result.metrics))
    assert steps["ours"] == (0 if "trainer.accumulate_grad_batches=2" in words else 5)
    (ours, our_weights, metrics), (theirs, their_weights, their_metrics) = ended
    assert ours == theirs
    assert len(ours) >= 25
    assert all(torch.equal(one, other) for one, other in zip(our_weights, their_weights, strict=True))
    assert metrics == their_metrics


def test_an_optimizer_may_compute_a_step_several_times(monkeypatch):
    step = SGD.step

    def twice(self, closure):
        with torch.enable_grad():
            closure()
        return step(self, closure)

    monkeypatch.setattr(SGD, "step", twice)
    assert short("optimizer=sgd").metrics == short("optimizer=sgd", "trainer.profiler=simple").metrics


def test_an_optimizer_that_computes_no_gradients_is_refused(monkeypatch):
    monkeypatch.setattr(SGD, "step", lambda self, closure=None: None)
    with pytest.raises(
        UserError, match=r"SGD\.step does not call its closure.*\n.*begin with: loss = closure\(\)"
    ):
        short("optimizer=sgd")


def test_a_closure_is_given_by_its_name(monkeypatch):
    step = SGD.step
    monkeypatch.setattr(SGD, "step", lambda self, scale=1.0, closure=None: step(self, closure))
    ours = short("optimizer=sgd").metrics
    monkeypatch.undo()
    assert ours == short("optimizer=sgd").metrics


@pytest.mark.parametrize("name", ["backward", "optimizer_step", "training_step"])
@pytest.mark.parametrize("where", ["task", "strategy"])
def test_a_function_put_in_the_place_of_a_method_is_called(name, where):
    calls = []

    class Putting(Callback):
        def on_fit_start(self, trainer, pl_module):
            holder = pl_module if where == "task" else trainer.strategy
            before = getattr(holder, name)
            holder.__dict__[name] = lambda *arguments, **more: (
                calls.append(name) or before(*arguments, **more)
            )

    words = ["data=digits", "model=mlp", "trainer.max_steps=3", "trainer.num_threads=1", "logger=[]"]
    train(nnkit.compose(words), show=False, extra=[Putting()])
    assert calls == [name] * 3


def test_a_callback_that_comes_later_is_called():
    late = Counting()

    class Adding(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            if batch_idx == 0:
                trainer.callbacks.append(late)

    words = ["data=digits", "model=mlp", "trainer.max_steps=3", "trainer.num_threads=1", "logger=[]"]
    train(nnkit.compose(words), show=False, extra=[Adding()])
    assert late.own == 2


@pytest.mark.parametrize("name", ["training_step", "backward", "optimizer_step"])
def test_a_task_of_the_user_computes_a_step_in_its_own_way(monkeypatch, name):
    calls = []
    before = getattr(Classification, name)

    def own(self, *arguments, **more):
        calls.append(name)
        return before(self, *arguments, **more)

    monkeypatch.setattr(Classification, name, own)
    short()
    assert calls == [name] * 3
