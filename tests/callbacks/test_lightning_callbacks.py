"""Lightning's own callbacks work by YAML and keep a resume exact, or are refused with what to use instead."""

import re
from pathlib import Path

import pytest
from exactness import assert_same_end, cut
from lightning.pytorch import callbacks

from nnkit import config as configs
from nnkit.checkpoint.store import CheckpointStore
from nnkit.runs import preflight
from nnkit.runs.run import Run

WORDS = ["data=iris", "model=mlp", "model.hidden=[4]", "trainer.max_epochs=3", "trainer.num_threads=1"]
WORDS += [
    "trainer.log_every_n_steps=2",
    "callbacks=[checkpoint]",
    "data.val_fraction=0.2",
    "logger=[tensorboard]",
]
TABLE = Path(__file__).resolve().parents[2] / "docs/callbacks.md"
ROWS = re.findall(
    r"^\| (\w+) \| (works|refused) \| (.*) \|$", TABLE.read_text(encoding="utf-8"), re.MULTILINE
)
WORKING = [name for name, verdict, _ in ROWS if verdict == "works"]
REFUSED = [(name, answer) for name, verdict, answer in ROWS if verdict == "refused"]
# What a callback needs, or what makes it do something here.
ARGUMENTS = {
    "DeviceStatsMonitor": {"cpu_stats": True},
    "EarlyStopping": {"monitor": "val/loss", "patience": 5},
    "EMAWeightAveraging": {"decay": 0.9},
    "LearningRateMonitor": {"logging_interval": "step", "log_momentum": True},
    "RichModelSummary": {"max_depth": 2},
    "Timer": {"duration": "00:01:00:00"},
    "SpikeDetection": {"exclude_batches_path": "skip.json"},
    "StochasticWeightAveraging": {"swa_lrs": 0.01},
    "OnExceptionCheckpoint": {"dirpath": "x"},
    "GradientAccumulationScheduler": {"scheduling": {1: 2}},
}


def node(name):
    return {"_target_": f"lightning.pytorch.callbacks.{name}", **ARGUMENTS.get(name, {})}


def word(name):
    inside = ", ".join(f"{key}: {str(value).replace(chr(39), '')}" for key, value in node(name).items())
    return f"+callbacks.x={{{inside}}}".replace("00:01:00:00", "'00:01:00:00'")


def test_every_callback_of_lightning_has_a_row():
    assert [name for name, _, _ in ROWS] == sorted(callbacks.__all__, key=str.lower)


@pytest.mark.parametrize("name", WORKING)
def test_a_callback_that_works_keeps_a_resume_exact(cli, name):
    if name == "DeviceStatsMonitor":
        pytest.importorskip("psutil", reason="needs nnkit[psutil]")
    code, out, err = cli("train", *WORDS, word(name), "name=whole")
    assert code == 0, err
    whole = Run(Path("outputs/whole"))
    middle = CheckpointStore(whole.checkpoints).manifests()[1]
    cut(whole, middle, "outputs/killed")
    code, _, err = cli("resume", "killed")
    assert code == 0, err
    resumed = Run(Path("outputs/killed"))
    if name != "Timer":
        assert_same_end(whole, resumed)
    else:
        # What it saves is the time that has passed.
        lines = [(run.path / "metrics.jsonl").read_text() for run in (whole, resumed)]
        assert lines[0] == lines[1]
    assert name != "RichModelSummary" or "Trainable params" in out


@pytest.mark.parametrize(("name", "answer"), REFUSED)
def test_the_others_are_refused_with_what_to_use_instead(name, answer):
    named = re.findall(r"`([^`]*)`", answer)[:1] or [answer.split(":")[0]]
    said = "\n".join(map(str, preflight.problems(configs.compose([*WORDS, word(name)]))))
    assert f"not {name}" in said
    assert named[0].removeprefix("+") in said


def test_one_in_a_file_of_the_user_s_is_refused_by_every_verb(cli):
    name, folder = REFUSED[0][0], Path("conf/callbacks")
    folder.mkdir(parents=True)
    lines = "".join(f"  {key}: {value}\n" for key, value in node(name).items())
    (folder / "mine.yaml").write_text(f"x:\n{lines}")
    for verb in ("check", "train"):
        code, out, err = cli(verb, *WORDS, "+callbacks=mine")
        assert code == 2, (out, err)
        assert f"not {name}" in err
    assert not Path("outputs").exists()


@pytest.mark.parametrize("name", ["LearningRateMonitor", "DeviceStatsMonitor"])
def test_one_that_logs_needs_a_logger(cli, name):
    for verb in ("check", "train"):
        code, _, err = cli(verb, *WORDS[:-1], word(name), "logger=[]")
        assert code == 2
        assert f"callbacks.x: {name} needs a logger" in err
    assert not Path("outputs").exists()


def test_a_timer_ends_a_training(cli, records):
    words = [
        word("Timer").replace("00:01:00:00", "00:00:00:02"),
        "trainer.max_epochs=-1",
        "scheduler=constant",
    ]
    code, _, err = cli("train", *WORDS, *words, "trainer.max_steps=1000000", "name=timed")
    assert code == 0, err
    assert {row["split"] for row in records(Path("outputs/timed/metrics.jsonl"))} >= {"train", "val", "test"}


def test_learning_rates_are_those_of_the_schedule(cli, records):
    words = ["trainer.log_every_n_steps=1" if "log_every" in one else one for one in WORDS]
    code, _, err = cli("train", *words, word("LearningRateMonitor"), "name=rates")
    assert code == 0, err
    logged = {row["step"]: row["metrics"] for row in records(Path("outputs/rates/points.jsonl"))}
    recorded = [row for row in records(Path("outputs/rates/metrics.jsonl")) if row["split"] == "train"]
    assert recorded
    shared = [row for row in recorded if row["step"] in logged]
    assert shared
    for row in shared:
        assert row["lr"] in logged[row["step"]].values()
