"""Every point of a short run resumes exactly, for every model file and for everything that has a state."""

from itertools import zip_longest

import pytest
import samples
from exactness import assert_same_end, cut

import nnkit
from nnkit import config as configs
from nnkit.checkpoint.compare import differences
from nnkit.checkpoint.store import CheckpointStore
from nnkit.config import catalog
from nnkit.errors import ConfigError
from nnkit.runs import fit as fitting
from nnkit.runs import preflight
from nnkit.runs.resuming import resume

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("a_config_is_judged_once")]

BASE = [
    "trainer.num_threads=1",
    "trainer.log_every_n_steps=2",
    "trainer.max_epochs=3",
    "trainer.limit_test_batches=1",
    "logger=[]",
    "name=whole",
    "callbacks.checkpoint.every_n_steps=1",
    "callbacks.checkpoint.keep_last=1000",
]
PICTURES = [
    "data=digits",
    "data.subset=0.25",
    "data.batch_size=64",
    "data.augment.shift=1",
    "data.augment.rotate=10",
    "data.augment.cutout=2",
    "data.augment.mixup=0.4",
]
MLP = [*PICTURES, "model=mlp", "model.hidden=[16]", "model.dropout=0.2"]
CALLBACKS = "callbacks=[checkpoint,nan_guard,throughput,ema]"

# What moves the points at which a run may be saved, or has a state of its own, which some points show.
STATES = ("plateau", "rate by epochs", "clipping and bf16", "nothing held out")
FEATURES = {
    "plain": ["callbacks=[checkpoint]"],
    "accumulation": [CALLBACKS, "trainer.accumulate_grad_batches=2"],
    "validation in mid-epoch": [CALLBACKS, "trainer.val_check_interval=0.34"],
    "validation inside an accumulation window": [
        CALLBACKS, "trainer.val_check_interval=3", "trainer.accumulate_grad_batches=2",
    ],
    "validation inside a window, no steps saved": [
        CALLBACKS, "trainer.val_check_interval=3", "trainer.accumulate_grad_batches=2",
        "callbacks.checkpoint.every_n_steps=1000",
    ],
    "validation in every second epoch": [CALLBACKS, "trainer.check_val_every_n_epoch=2"],
    "plateau": [CALLBACKS, "scheduler=plateau", "scheduler.patience=0", "optimizer=sgd", "optimizer.lr=1.0"],
    "rate by epochs": [CALLBACKS, "scheduler=step"],
    "early stopping": [
        "callbacks=[checkpoint,early_stopping]", "callbacks.early_stopping.patience=0",
        "optimizer=sgd", "optimizer.lr=0", "scheduler=constant", "trainer.max_epochs=3",
    ],
    "max_steps": ["callbacks=[checkpoint]", "trainer.max_epochs=-1", "trainer.max_steps=8"],
    "clipping and bf16": [CALLBACKS, "trainer.precision=bf16-mixed", "trainer.gradient_clip_val=0.1"],
    "nothing held out": [CALLBACKS, "data.val_fraction=0.0"],
    "every second epoch saved": [
        "callbacks=[checkpoint]", "callbacks.checkpoint.every_n_steps=3", "callbacks.checkpoint.every_n_epochs=2",
    ],
    "worker processes": ["callbacks=[checkpoint]", "data.num_workers=1", "callbacks.checkpoint.every_n_steps=4"],
}  # fmt: skip
OPTIMIZERS = [name for name in catalog.options("optimizer") if not name.startswith("sgd_")]
SCHEDULERS = catalog.options("scheduler")


def resume_from_every_point(words, monkeypatch, at_least=4, chosen=list):
    """Train once, then resume from each checkpoint of that run, or from those chosen."""
    whole = nnkit.train(words).run
    points = CheckpointStore(whole.checkpoints).manifests()
    assert len(points) >= at_least
    # The test at the end is the same for all, and not what is looked at.
    monkeypatch.setattr(fitting, "evaluate", lambda session, directory, callbacks: _test_metrics(whole))
    for manifest in chosen(points):
        stopped = cut(whole, manifest, "cut")
        resume("cut", show=False)
        assert_same_end(whole, stopped, f"{' '.join(words)}, from {manifest.name}")


def one_of_each_sort(points):
    """Choose a point inside either of two epochs, and the end of the first."""
    middle = len(points) // 2
    assert points[middle].batch * 2 == points[0].batch
    return points[middle // 2], points[middle], points[-2]


def inside_the_first_epoch(points):
    """Choose the point with the most still to come: a state is saved the same way at all, and FEATURES try all."""
    (first,) = (point for point in points if point.step == 4)
    return [first]


def inside_the_last_epoch(points):
    """Choose a point inside the second of two epochs: what was drawn for it and all that has been learnt is needed."""
    assert points[0].batch < points[1].batch * 2 < points[0].batch * 2
    return [points[1]]


def _test_metrics(run):
    return {name: value for name, value in run.record()["metrics"].items() if name.startswith("test/")}


@pytest.mark.parametrize("feature", FEATURES)
def test_every_point_resumes_exactly(feature, monkeypatch):
    # Two epochs have points of every sort.
    words = [*MLP, *BASE, "trainer.max_epochs=2", *FEATURES[feature]]
    chosen = one_of_each_sort if feature in STATES else list
    resume_from_every_point(words, monkeypatch, at_least=3, chosen=chosen)


@pytest.mark.parametrize(("optimizer", "scheduler"), [*zip_longest(OPTIMIZERS, SCHEDULERS)])
def test_every_optimizer_and_schedule_resumes_exactly(optimizer, scheduler, monkeypatch):
    """Each has a state of its own, and both are saved by Lightning in one way."""
    words = [
        *MLP,
        *BASE,
        f"optimizer={optimizer or 'adamw'}",
        f"scheduler={scheduler or 'cosine'}",
        "callbacks=[checkpoint]",
        "callbacks.checkpoint.every_n_steps=4",
        "trainer.max_epochs=2",
    ]
    resume_from_every_point(words, monkeypatch, at_least=3, chosen=inside_the_first_epoch)


def sound(words):
    try:
        composition = configs.compose(words)
    except ConfigError:
        return None
    return None if preflight.problems(composition) else composition


# A preset in another size has nothing that the model it is a preset of has not.
SIZES = {
    "bert_base",
    "bert_tiny",
    "gpt2",
    "tinyllama",
    "transformer_base",
    "mlp_small",
    "vit_tiny",
    "vit_small",
    "resnet32",
    "resnet34",
    "resnet56",
}
# What a model does not take is refused; test_configs.py says with which words.
TAKEN = [
    (model, kind)
    for model in catalog.options("model")
    if model not in SIZES
    for taken in [catalog.kinds_of_model(model)]
    for kind in samples.KINDS
    if {"text": "tokens", "texts": "tokens"}.get(kind, kind) in taken
]


@pytest.mark.parametrize(("model", "kind"), TAKEN)
def test_every_model_resumes_exactly_with_everything_on(model, kind, monkeypatch):
    chosen = PICTURES if kind == "pictures" else samples.words(kind)
    everything = [CALLBACKS, "trainer.accumulate_grad_batches=2", "trainer.val_check_interval=0.5"]
    words = [f"model={model}", *chosen, *samples.small(model), *BASE, *everything, "trainer.max_epochs=2"]
    composition = sound(words)
    if composition is None:
        # One that looks ahead is refused where the next token is predicted; test_configs.py says which.
        assert kind == "text"
        pytest.skip(f"{model} does not take {kind}")
    if "dropout" in composition.config.model:
        words.append("model.dropout=0.2")
    # What a model keeps is saved and restored by one piece of code; every point is tried with the smallest.
    every = (model, kind) == ("mlp", "pictures")
    resume_from_every_point(words, monkeypatch, chosen=list if every else inside_the_last_epoch)


def test_a_longer_run_with_a_constant_rate_is_the_one_that_was_longer_from_the_start():
    words = [*MLP, *BASE, "callbacks=[checkpoint]", "scheduler=constant"]
    whole = nnkit.train([*words, "trainer.max_epochs=4"]).run
    short = nnkit.train([*words, "trainer.max_epochs=2", "name=short"]).run
    resume("short", words=["trainer.max_epochs=4"], show=False)
    assert_same_end(whole, short)
    assert short.resumptions()[-1]["changes"] == [{"key": "trainer.max_epochs", "old": 2, "new": 4}]


def test_more_steps_go_on_in_the_middle_of_the_epoch():
    words = [*MLP, *BASE, "callbacks=[checkpoint]", "scheduler=constant", "trainer.max_epochs=-1"]
    whole = nnkit.train([*words, "trainer.max_steps=13"]).run
    short = nnkit.train([*words, "trainer.max_steps=9", "name=short"]).run
    resume("short", words=["trainer.max_steps=13"], show=False)
    assert_same_weights(whole, short)


def assert_same_weights(expected, found):
    """Compare what further training starts from; the counters know that the shorter run had an end of its own."""
    states = [CheckpointStore(run.checkpoints).load("last")[1] for run in (expected, found)]
    for name in ("state_dict", "optimizer_states", "global_step"):
        assert not list(differences(states[0][name], states[1][name]))
