"""How long a run takes: measured on the batches it trains on, and held against what it does."""

import random

import pytest
import samples
import torch

from nnkit.analysis import timing
from nnkit.analysis.dry_run import dry_run
from nnkit.analysis.timing import count_validations, measure_pace
from nnkit.config import compose
from nnkit.runs.session import prepare_data

TEXTS = ["data=text_csv", "data.path=texts.csv", "data.text=text", "data.target=label", "data.max_length=256"]
SMALL = ["model=lstm", "model.dim=128", "data.batch_size=16", "trainer.accelerator=cpu", "callbacks=[]"]


def prepared(words):
    composition = compose(words)
    data = prepare_data(composition.config)
    return composition, dry_run(composition.config, composition.choices), data


def write_texts(path, length, count=80):
    draw = random.Random(length)
    lines = ["".join(draw.choice("abcd") for _ in range(length)) for _ in range(count)]
    path.write_text("text,label\n" + "".join(f"{line},{'xy'[n % 2]}\n" for n, line in enumerate(lines)))


@pytest.fixture
def no_loop(monkeypatch):
    """What Lightning adds is nothing."""
    monkeypatch.setattr(timing, "_loop_step", lambda: 0.0)


def test_texts_take_the_time_of_their_own_length_not_that_of_max_length(tmp_path, monkeypatch, no_loop):
    """A step that takes a second for each token of a row."""
    monkeypatch.setattr(timing._Timer, "_step", lambda self, optimizer, batch, moves: batch.inputs.shape[1])
    for length in (5, 256):
        write_texts(tmp_path / "texts.csv", length)
        composition, found, data = prepared([*TEXTS, *SMALL])
        assert found.inputs == (16, 256)
        measured = measure_pace(composition.config, composition.choices, found, data, 0.5).batch
        assert measured == pytest.approx(length, abs=0.5)


def test_a_task_that_writes_answers_is_validated_without_a_trainer(no_loop):
    composition, found, data = prepared(
        [*samples.words("pairs"), "model=transformer", *samples.small("transformer")]
    )
    pace = measure_pace(composition.config, composition.choices, found, data, 0.5)
    assert pace.validation > 0


def test_batches_are_those_that_training_begins_with(tmp_path, monkeypatch, no_loop):
    write_texts(tmp_path / "texts.csv", 9)
    composition, found, data = prepared([*TEXTS, *SMALL])
    seen = []
    monkeypatch.setattr(timing, "_MAX_STEPS", 5)
    monkeypatch.setattr(
        timing._Timer, "_step", lambda self, optimizer, batch, moves: seen.append(batch) or 0.1
    )
    measure_pace(composition.config, composition.choices, found, data, 1e9)
    # 64 texts in four batches, then the next epoch's.
    for ours, theirs in zip(seen[:4], data.train_dataloader(), strict=True):
        assert torch.equal(ours.indices, theirs.indices)
        assert torch.equal(ours.inputs, theirs.inputs)
    assert len(seen) == 6
    assert not torch.equal(seen[4].indices, seen[0].indices)


def test_a_large_batch_is_measured_in_part_and_scaled(monkeypatch, no_loop):
    composition, found, data = prepared(["data=iris", "data.batch_size=60"])
    sizes = []

    def step(self, optimizer, batch, moves):
        sizes.append(len(batch.indices))
        return 0.5 if len(sizes) == 1 else 0.02

    # Ten times what fits into the time of a step: a tenth of the batch is measured.
    multiply_adds = sum(layer.multiply_adds for layer in found.layers)
    speed = 3 * multiply_adds / 10 / timing._SECONDS_PER_STEP
    monkeypatch.setattr(timing, "_MULTIPLY_ADDS_PER_SECOND", speed)
    monkeypatch.setattr(timing, "_MAX_STEPS", 1)
    monkeypatch.setattr(timing._Timer, "_step", step)
    assert measure_pace(composition.config, composition.choices, found, data, 1e9).batch == pytest.approx(
        0.2, abs=0.1
    )
    assert sizes == [6, 6]


def test_accumulated_batches_share_the_step_of_the_optimizer(monkeypatch, no_loop):
    composition, found, data = prepared(["data=iris", "trainer.accumulate_grad_batches=3"])
    moved = []
    monkeypatch.setattr(timing, "_MAX_STEPS", 6)
    monkeypatch.setattr(
        timing._Timer, "_step", lambda self, optimizer, batch, moves: moved.append(moves) or 0.1
    )
    measure_pace(composition.config, composition.choices, found, data, 1e9)
    assert moved == [True, False, False, True, False, False, True]


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_real_steps_are_taken_within_the_budget_and_validation_is_measured(precision, no_loop):
    words = ["data=digits", "trainer.accelerator=cpu", f"trainer.precision={precision}"]
    composition, found, data = prepared(words)
    pace = measure_pace(composition.config, composition.choices, found, data, 0.05)
    assert 0 < pace.batch < 5
    assert 0 < pace.validation < 5
    composition, found, data = prepared([*words, "data.val_fraction=0", "data.test_fraction=0.2"])
    assert measure_pace(composition.config, composition.choices, found, data, 0.05).validation == 0


def test_callbacks_take_time(monkeypatch):
    monkeypatch.setattr(timing, "_loop_step", lambda: 1.0)
    for words, least in ((["callbacks=[]"], 1.7), ([], 2.5)):
        composition, found, data = prepared(["data=iris", *words])
        pace = measure_pace(composition.config, composition.choices, found, data, 0)
        assert least <= pace.batch < least + 0.5
        assert pace.epoch == (2 if words else 17)


def test_a_step_of_lightnings_loop_is_measured_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert 1e-5 < timing._loop_step() < 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "num_batches", "count"),
    [
        (["trainer.max_epochs=4"], 10, 4),
        (["trainer.max_epochs=5", "trainer.check_val_every_n_epoch=2"], 10, 3),
        (["trainer.max_epochs=2", "trainer.val_check_interval=0.25"], 10, 8),
        (["trainer.max_epochs=2", "trainer.val_check_interval=3"], 10, 6),
        (["trainer.max_steps=25"], 10, 3),
        (
            ["trainer.max_steps=25", "trainer.val_check_interval=10", "trainer.check_val_every_n_epoch=null"],
            100,
            3,
        ),
        (["trainer.max_epochs=2", "trainer.limit_train_batches=4", "trainer.val_check_interval=2"], 10, 4),
    ],
)
def test_validations_are_counted(words, num_batches, count):
    assert count_validations(compose(["data=iris", *words]).config, num_batches) == count
