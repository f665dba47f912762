"""Samples of text in TensorBoard: read back from the event file, and no bit of the run moved."""

import json
import warnings
from pathlib import Path

import pytest
import torch

import nnkit
from nnkit.callbacks.tensorboard import TextSamples
from nnkit.checkpoint.store import CheckpointStore
from nnkit.config.changes import is_harmless
from nnkit.errors import UserError

TEXT = "the cat sees a dog and the dog sees the cat\n" * 40
WORDS = [
    "model.dim=16",
    "model.dropout=0.2",
    "data.block_size=16",
    "trainer.max_epochs=3",
    "trainer.num_threads=1",
]


def train(*words, data="text_file", callbacks="checkpoint,samples", logger="tensorboard"):
    Path("text.txt").write_text(TEXT, encoding="utf-8")
    chosen = (
        ["data=text_file", "data.path=text.txt", *WORDS]
        if data == "text_file"
        else ["data=iris", "data.val_fraction=0.2"]
    )
    return nnkit.train([*chosen, f"callbacks=[{callbacks}]", f"logger=[{logger}]", *words])


def samples(run):
    """Return (step, text) of every sample."""
    with warnings.catch_warnings():
        # TensorBoard's own imports warn of what they use.
        warnings.simplefilter("ignore")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(run.path / "tensorboard"), size_guidance={"tensors": 0})
        events.Reload()
    if "val/sample/text_summary" not in events.Tags()["tensors"]:
        return []
    found = events.Tensors("val/sample/text_summary")
    return [(event.step, event.tensor_proto.string_val[0].decode()) for event in found]


def test_samples_are_those_of_the_seed_and_the_epoch_and_the_run_is_the_same_without_them():
    result = train("seed=5", "callbacks.samples.prompt=the", "callbacks.samples.length=30")
    without = train("seed=5", callbacks="checkpoint")
    found = samples(result.run)
    assert found[-1][0] == CheckpointStore(result.run.checkpoints).load("last")[1]["global_step"]
    assert found[0][0] == found[-1][0] // 3
    assert all(line.startswith("    ") for _, text in found for line in text.split("\n"))
    last = "\n".join(line[4:] for line in found[-1][1].split("\n"))
    assert last.startswith("the")
    assert len(last) == 33
    states = [CheckpointStore(one.run.checkpoints).load("last")[1]["state_dict"] for one in (result, without)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    logs = [(one.run.path / "metrics.jsonl").read_text() for one in (result, without)]
    assert [json.loads(line) for line in logs[0].splitlines()] == [
        json.loads(line) for line in logs[1].splitlines()
    ]
    assert (
        samples(train("seed=5", "callbacks.samples.prompt=the", "callbacks.samples.length=30").run)[0]
        == found[0]
    )


def test_a_default_sample_begins_after_a_line_break():
    found = samples(train("trainer.max_epochs=1").run)
    assert len(found) == 1
    assert len(found[0][1].replace("    ", "")) > 100


def test_other_tasks_and_runs_without_tensorboard_have_none():
    assert samples(train("trainer.max_epochs=1", data="iris").run) == []
    result = train("trainer.max_epochs=1", logger="")
    assert not (result.run.path / "tensorboard").exists()


def test_epochs_between_two_samples():
    found = samples(train("callbacks.samples.every_n_epochs=2", "trainer.max_epochs=2").run)
    # The first epoch, and the last one in any case.
    assert [step for step, _ in found] == [found[-1][0] // 2, found[-1][0]]


def test_a_prompt_outside_the_vocabulary_ends_the_run_before_its_first_epoch():
    with pytest.raises(UserError, match="lacks: 'Q'"):
        train("callbacks.samples.prompt=Q", "name=bad")
    assert "val" not in Path("outputs/bad/metrics.jsonl").read_text()


@pytest.mark.parametrize("wrong", [{"length": 0}, {"every_n_epochs": 0}, {"temperature": -1.0}])
def test_what_cannot_be_is_refused(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"{name} must"):
        TextSamples(**wrong)


def test_samples_may_be_changed_when_a_run_goes_on():
    assert is_harmless("callbacks.samples.length")
