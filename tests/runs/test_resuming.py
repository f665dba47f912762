"""What may be changed when a run is resumed, what is refused and why, and runs that resume themselves."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from words import replace

import nnkit
from nnkit.checkpoint.store import CheckpointStore
from nnkit.errors import ConfigError, UserError
from nnkit.runs.resuming import resume
from nnkit.runs.run import Run

SMALL = [
    "data=iris",
    "model=mlp",
    "model.hidden=[8]",
    "model.dropout=0.1",
    "data.val_fraction=0.2",
    "trainer.max_epochs=3",
    "trainer.num_threads=1",
    "logger=[]",
    "callbacks=[checkpoint,nan_guard]",
    "name=mine",
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Return a finished run, made once."""
    return nnkit.train([*SMALL, f"output_dir={tmp_path_factory.mktemp('finished')}"]).run


@pytest.fixture
def run(finished, tmp_path):
    """Return a copy of it that was interrupted after its second epoch."""
    made = Run(shutil.copytree(finished.path, tmp_path / "outputs" / "mine"))
    interrupt(made)
    return made


def interrupt(run):
    """Take a finished run back to the checkpoint before its last."""
    store = CheckpointStore(run.checkpoints)
    store.remove(store.manifests()[0])
    run.update(status="stopped")


def refused(words, allowed=()):
    before = {path: path.read_bytes() for path in Path("outputs").rglob("*") if path.is_file()}
    with pytest.raises(ConfigError) as error:
        resume("mine", words=words, allowed=allowed, show=False)
    assert before == {path: path.read_bytes() for path in Path("outputs").rglob("*") if path.is_file()}
    return str(error.value)


@pytest.mark.parametrize(
    "word",
    [
        "callbacks.checkpoint.every_n_steps=2",
        "callbacks.checkpoint.keep_last=5",
        "callbacks.nan_guard.policy=skip",
        "~callbacks.nan_guard",
        "trainer.log_every_n_steps=3",
        "trainer.accelerator=cpu",
        "trainer.devices=auto",
        "data.num_workers=1",
        "auto_resume=true",
    ],
)
def test_what_leaves_the_arithmetic_alone_is_taken_recorded_and_kept(finished, run, word):
    resume("mine", words=[word], show=False)
    states = [CheckpointStore(one.checkpoints).load("last")[1] for one in (finished, run)]
    for name, tensor in states[0]["state_dict"].items():
        assert torch.equal(tensor, states[1]["state_dict"][name]) or name in ("window", "epoch_totals")
    (note,) = run.record()["resumed"]
    assert len(note["changes"]) >= 1
    assert note["step"] > 0
    # Test and the next resume see the config with the change.
    interrupt(run)
    resume("mine", show=False)


def test_all_that_is_refused_is_said_at_once_and_nothing_is_written(run):
    said = refused(
        [
            "optimizer.lr=1e-4",
            "data.batch_size=4",
            "seed=7",
            "name=other",
            "model=cnn",
            "trainer.max_epoch=9",
            "oops",
        ]
    )
    for text in (
        "optimizer.lr: 0.003 -> 0.0001 changes the arithmetic",
        "--allow optimizer.lr",
        "data.batch_size:",
        "seed: 0 -> 7",
        "name: a run keeps its directory",
        "model: a run keeps its model",
        "init_from=RUN",
        "did you mean trainer.max_epochs=9?",
        "'oops' is not of the form key=value",
    ):
        assert text in said


def test_a_change_that_is_allowed_by_name_is_made_and_remembered(run):
    resume("mine", words=["optimizer.weight_decay=0.5"], allowed=["optimizer.weight_decay"], show=False)
    (note,) = run.record()["resumed"]
    assert note["allowed"] == ["optimizer.weight_decay"]
    # The older checkpoints were trained otherwise, and that is no contradiction now.
    interrupt(run)
    resume("mine", show=False)


def test_allowing_what_does_not_change_is_a_mistake(run):
    assert "--allow optimizer.lr: nothing changes there" in refused([], ["optimizer.lr"])


def test_a_value_out_of_range_is_refused(run):
    assert "keep_last must be at least 1" in refused(["callbacks.checkpoint.keep_last=0"])


def test_more_epochs_are_refused_where_the_schedule_has_a_length():
    run = nnkit.train(SMALL).run
    said = refused(["trainer.max_epochs=9"])
    assert "the schedule of the learning rate was laid out over the length" in said
    assert "init_from=RUN" in said
    with pytest.raises(UserError, match=f"train it longer with: nnkit train ... init_from={run.path}"):
        resume("mine")


@pytest.mark.parametrize("scheduler", ["constant", "plateau"])
def test_more_epochs_are_fine_where_it_has_none(scheduler):
    run = nnkit.train([*SMALL, f"scheduler={scheduler}"]).run
    resume("mine", words=["trainer.max_epochs=5"], show=False)
    assert run.record()["step"] == 5 * run.record()["resumed"][0]["step"] / 3
    with pytest.raises(UserError, match="train it longer with: nnkit resume"):
        resume("mine")


def test_a_run_that_stopped_early_goes_on_only_if_told_to():
    early = ["callbacks=[checkpoint,early_stopping]", "callbacks.early_stopping.patience=0"]
    still = ["optimizer=sgd", "optimizer.lr=0", "scheduler=constant", "trainer.max_epochs=8"]
    run = nnkit.train(replace(SMALL, *early, *still)).run
    first = run.record()["step"]
    run.update(status="running")
    # Killed between its last checkpoint and the test: it had been stopped, and stays so.
    resume("mine", show=False)
    assert run.record()["step"] == first
    resume("mine", words=["callbacks.early_stopping.patience=2"], show=False)
    assert run.record()["step"] > first


def test_init_from_is_taken_again_where_no_checkpoint_was_reached():
    nnkit.train([*SMALL, "name=first"])
    whole = nnkit.train([*SMALL, "init_from=first", "name=whole"]).run
    run = nnkit.train([*SMALL, "init_from=first"]).run
    shutil.rmtree(run.checkpoints)
    run.update(status="running")
    resume("mine", show=False)
    states = [CheckpointStore(one.checkpoints).load("last")[1]["state_dict"] for one in (whole, run)]
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())


AUTO = [*SMALL, "auto_resume=true"]


def test_auto_resume_starts_continues_and_leaves_alone_what_is_done(cli):
    code, _, err = cli("train", *AUTO)
    assert code == 0, err
    run = Run(Path("outputs/mine"))
    lines = (run.path / "metrics.jsonl").read_text()
    interrupt(run)
    code, out, err = cli("train", *AUTO)
    assert code == 0, err
    assert "going on from" in out
    assert (run.path / "metrics.jsonl").read_text() == lines
    code, out, err = cli("train", *AUTO)
    assert code == 0, err
    assert "is done" in out
    assert len(run.record()["resumed"]) == 1


def test_auto_resume_refuses_another_config(cli, run):
    code, _, err = cli("train", *AUTO, "optimizer.lr=1e-2", "data.batch_size=8")
    assert code == 2
    assert "optimizer.lr: 0.003 in the run, 0.01 in the command" in err
    assert "data.batch_size" in err
    assert run.record()["status"] == "stopped"


def test_auto_resume_without_a_name_is_a_mistake(cli):
    code, _, err = cli("train", "data=iris", "auto_resume=true")
    assert code == 2
    assert "auto_resume: needs a name" in err
    assert not Path("outputs").exists()


@pytest.mark.parametrize(
    ("left", "extra"),
    [
        ([], []),
        ([".lock"], ["auto_resume=true"]),
        ([".lock", "preprocessing.json", "run.json", "config.yaml.tmp"], []),
        ([".lock", "preprocessing.json", "run.json", "config.yaml.tmp"], ["auto_resume=true"]),
    ],
)
def test_a_start_that_was_killed_leaves_no_name_taken(cli, left, extra):
    Path("outputs/mine").mkdir(parents=True)
    for name in left:
        (Path("outputs/mine") / name).write_text("{}")
    code, _, err = cli("train", *SMALL, *extra)
    assert code == 0, err
    assert not list(Path("outputs/mine").glob("*.tmp"))


def test_a_directory_with_other_things_in_it_is_not_taken(cli):
    Path("outputs/mine").mkdir(parents=True)
    Path("outputs/mine/thesis.tex").write_text("mine")
    code, _, err = cli("train", *SMALL)
    assert code == 2
    assert "exists already" in err


def test_other_versions_are_said(run, cli):
    run.update(versions={**run.record()["versions"], "torch": "1.0"})
    code, out, _ = cli("resume", "mine")
    assert code == 0
    assert "torch 1.0 ->" in out


def test_a_lost_record_does_not_keep_a_run_from_resuming(run):
    (run.path / "run.json").unlink()
    resume("mine", show=False)
    assert run.status() == "done"
    assert json.loads((run.path / "run.json").read_text())["metrics"]


def test_a_disk_without_room_for_a_checkpoint_is_said_before_anything_is_written(cli, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 100))
    code, _, err = cli("train", *SMALL)
    assert code == 1
    assert "has 100 bytes left, and two checkpoints of this network need about" in err
    assert not Path("outputs").exists()


def test_other_vector_instructions_are_recorded_and_said(run, caplog):
    """torch sums in another order with them: the bits differ although every setting is equal."""
    here = torch.backends.cpu.get_cpu_capability()
    assert run.record()["cpu_capability"] == here
    run.update(cpu_capability="another")
    caplog.set_level("INFO", "nnkit")
    resume("mine", show=False)
    assert f"trained with the instructions another until now, here torch uses {here}" in caplog.text
    assert run.record()["cpu_capability"] == here


def test_the_same_vector_instructions_are_not_spoken_of(run, caplog):
    caplog.set_level("INFO", "nnkit")
    resume("mine", show=False)
    assert "instructions" not in caplog.text
