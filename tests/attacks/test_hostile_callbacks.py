"""Callbacks and loggers of a config from elsewhere write below the run, and talk to nobody."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

LIGHTNING = "lightning.pytorch"
PRECIOUS = '{"kept": "for years"}'


@pytest.fixture
def outside(tmp_path):
    """A folder of the user's with a file in it; returns a function that tells whether anything there has changed."""
    folder = tmp_path / "precious"
    folder.mkdir()
    (folder / "skip.json").write_text(PRECIOUS)
    (folder / "metrics.csv").write_text(PRECIOUS)

    def untouched():
        found = {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}
        return found == {"skip.json": PRECIOUS, "metrics.csv": PRECIOUS} and len(list(folder.iterdir())) == 2

    return untouched


def add(run, group, **nodes):
    """Write nodes into the config of a run, as somebody does who hands it on."""
    path = run.path / "config.yaml"
    config = yaml.safe_load(path.read_text())
    config[group] = {**(config.get(group) or {}), **nodes}
    path.write_text(yaml.safe_dump(config))


def callback(name, /, **arguments):
    return {"_target_": f"{LIGHTNING}.callbacks.{name}", **arguments}


def logger(name, /, **arguments):
    return {"_target_": f"{LIGHTNING}.loggers.{name}", **arguments}


CALLBACKS = {
    "SpikeDetection": callback(
        "SpikeDetection", exclude_batches_path="precious/skip.json", warmup=1, rtol=0.0
    ),
    "SpikeDetection by its module": callback(
        "spike.SpikeDetection", exclude_batches_path="precious/skip.json", rtol=0.0
    ),
    "ModelCheckpoint": callback("ModelCheckpoint", dirpath="precious", every_n_train_steps=1),
    "OnExceptionCheckpoint": callback("OnExceptionCheckpoint", dirpath="precious"),
    "BasePredictionWriter": callback("BasePredictionWriter"),
    "the record of every run": {"_target_": "nnkit.callbacks.record.Record", "directory": "precious"},
}
LOGGERS = {
    "sub_dir": logger("TensorBoardLogger", sub_dir="../../../precious"),
    "log_dir": logger("TensorBoardLogger", log_dir="precious"),
    "filename_suffix": logger("TensorBoardLogger", filename_suffix="/../../../../precious/x"),
    "csv save_dir": logger("CSVLogger", save_dir="precious"),
    "csv name": logger("CSVLogger", save_dir=".", name="precious", version=""),
    "csv version": logger("CSVLogger", save_dir=".", version="../precious"),
    "wandb dir": logger("WandbLogger", dir="precious", save_dir=None, offline=True),
    "wandb save_dir": logger("WandbLogger", save_dir="precious", offline=True),
    "wandb settings": logger("WandbLogger", settings={"base_url": "http://127.0.0.1:9"}),
    "wandb online": logger("WandbLogger", offline=False),
    "wandb entity": logger("WandbLogger", entity="somebody"),
    "mlflow database": logger("MLFlowLogger", tracking_uri="sqlite:///precious/mlflow.db"),
    "mlflow server": logger("MLFlowLogger", tracking_uri="http://127.0.0.1:9"),
    "mlflow artifacts": logger("MLFlowLogger", artifact_location="precious"),
    "mlflow run": logger("MLFlowLogger", run_id="0123456789abcdef0123456789abcdef"),
    "Comet": logger("CometLogger", online=False, offline_directory="precious"),
    "LitLogger": logger("LitLogger", root_dir="precious"),
    "a guard": {"_target_": "nnkit.loggers.guard.Guarded", "key": "x", "make": None},
}
TRAINER = {
    "default_root_dir": "precious",
    "logger": True,
    "callbacks": ["x"],
    "plugins": ["x"],
    "profiler": {"_target_": f"{LIGHTNING}.profilers.SimpleProfiler", "dirpath": "precious", "filename": "x"},
}


@pytest.mark.parametrize("name", CALLBACKS)
def test_a_callback_writes_nothing_elsewhere(hostile, refuses, outside, name):
    # Without a checkpoint the run starts again, and no config inside one contradicts the forged file.
    shutil.rmtree(hostile.checkpoints)
    add(hostile, "callbacks", spike=CALLBACKS[name])
    refuses(("resume", "run"), "callbacks.spike", codes=(2,))
    assert outside()


@pytest.mark.parametrize("name", LOGGERS)
def test_a_logger_writes_nothing_elsewhere_and_talks_to_nobody(hostile, refuses, outside, name):
    add(hostile, "logger", shown=LOGGERS[name])
    refuses(("resume", "run"), "logger.shown", codes=(2,))
    assert outside()


@pytest.mark.parametrize("name", TRAINER)
def test_the_trainer_has_no_place_of_its_own(hostile, refuses, outside, name):
    add(hostile, "trainer", **{name: TRAINER[name]})
    refuses(("resume", "run"), f"trainer.{name}", codes=(2,))
    assert outside()


@pytest.mark.parametrize("name", ["tensorboard", "csv", "wandb", "mlflow", "metrics.jsonl", "points.jsonl"])
def test_a_link_in_the_run_is_not_followed(hostile, refuses, outside, name):
    add(hostile, "logger", one=logger("TensorBoardLogger"), two=logger("CSVLogger"))
    target = Path("precious").absolute() / ("skip.json" if name.endswith(".jsonl") else "")
    (hostile.path / name).unlink(missing_ok=True)
    (hostile.path / name).symlink_to(target)
    refuses(("resume", "run"), "is a link that leads out of the run", codes=(2,))
    assert outside()


@pytest.mark.parametrize("name", ["metrics.csv", "hparams.yaml"])
def test_a_link_in_a_folder_of_the_run_is_not_followed(hostile, refuses, outside, name):
    add(hostile, "logger", two=logger("CSVLogger"))
    (hostile.path / "csv").mkdir()
    (hostile.path / "csv" / name).symlink_to(Path("precious/new.yaml").absolute())
    refuses(("resume", "run"), "is a link that leads out of the run", codes=(2,))
    assert outside()


def test_a_link_that_stays_inside_the_run_is_no_attack(hostile, cli):
    (hostile.path / "newest").symlink_to(hostile.path / "checkpoints")
    code, _, err = cli("resume", "run")
    assert code == 0, err


def test_an_option_file_in_the_working_directory_is_fenced_too(cli, outside):
    folder = Path("conf/callbacks")
    folder.mkdir(parents=True)
    (folder / "x.yaml").write_text(yaml.safe_dump({"x": CALLBACKS["SpikeDetection"]}))
    code, _, err = cli("train", "data=iris", "model=mlp", "+callbacks=x", "name=new")
    assert code == 2
    assert "callbacks.nan_guard.policy=skip" in err
    assert not Path("outputs").exists()
    assert outside()


def test_a_server_is_named_by_the_environment_and_by_no_config(monkeypatch):
    from lightning.pytorch import loggers

    from nnkit.loggers import placed

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    run = Path("outputs/run").absolute()
    assert placed(loggers.MLFlowLogger, run)["tracking_uri"] == f"sqlite:///{run}/mlflow.db"
    assert placed(loggers.WandbLogger, run)["mode"] == "offline"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_MODE", "online")
    assert placed(loggers.MLFlowLogger, run) == {"tracking_uri": "http://127.0.0.1:9"}
    assert placed(loggers.WandbLogger, run)["mode"] == "online"


def test_points_that_are_no_points_do_not_stop_a_resume(hostile, cli, records):
    add(hostile, "logger", two=logger("CSVLogger"))
    lines = [
        json.dumps({"step": 1, "metrics": {"a": 1.0}}),
        "{",
        "[" * 10_000,
        '{"step": "x", "metrics": {}}',
        "7",
    ]
    (hostile.path / "points.jsonl").write_text("\n".join([*lines, '{"step": 1, "metrics": [1]}']) + "\n")
    code, _, err = cli("resume", "run")
    assert code == 0, err
    assert records(hostile.path / "points.jsonl") == [{"step": 1, "metrics": {"a": 1.0}}]
