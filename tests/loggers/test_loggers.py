"""Each logger shows every point once, also after a resume, and the run it shows is the same to the last bit."""

import json
import os
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest
from exactness import assert_same_end, cut

import nnkit
from nnkit.checkpoint.compare import differences
from nnkit.checkpoint.store import CheckpointStore

WORDS = ["data=iris", "model=mlp", "model.hidden=[4]", "trainer.max_epochs=3", "trainer.num_threads=1"]
WORDS += ["trainer.log_every_n_steps=2", "callbacks=[checkpoint]", "data.val_fraction=0.2", "name=whole"]
MONITOR = "+callbacks.lr={_target_: lightning.pytorch.callbacks.LearningRateMonitor, logging_interval: step}"


def csv_points(run):
    lines = [line.split(",") for line in (run.path / "csv/metrics.csv").read_text().splitlines()]
    rows = [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]
    return [
        (int(row["step"]), name, float(value))
        for row in rows
        for name, value in row.items()
        if value and name != "step"
    ]


def leveldb_records(data):
    """Yield the records of a log in LevelDB's format, which W&B writes after a header of seven bytes."""
    position, parts = 7, []
    while position + 7 <= len(data):
        rest = 32_768 - position % 32_768
        if rest < 7:
            position += rest
            continue
        length, kind = int.from_bytes(data[position + 4 : position + 6], "little"), data[position + 6]
        parts.append(data[position + 7 : position + 7 + length])
        position += 7 + length
        # 1: whole, 4: the last part of one.
        if kind in (1, 4):
            yield b"".join(parts)
            parts = []


def wandb_points(run):
    from wandb.proto import wandb_internal_pb2

    (path,) = (run.path / "wandb/latest-run").glob("*.wandb")
    found = []
    for data in leveldb_records(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        items = {
            "".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item
        }
        step = items.get("trainer/global_step")
        found += [
            (step, name, value) for name, value in items.items() if not name.startswith(("_", "trainer/"))
        ]
    return found


def mlflow_points(run):
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{run.path.absolute() / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("nnkit")
    newest = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time DESC"])[0]
    return [
        (point.step, name, point.value)
        for name in newest.data.metrics
        for point in client.get_metric_history(newest.info.run_id, name)
    ]


def tensorboard_points(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run.path / "tensorboard"), purge_orphaned_data=True)
    events.Reload()
    names = [name for name in events.Tags()["scalars"] if not name.startswith("hp")]
    points = [(point.step, name, point.value) for name in names for point in events.Scalars(name)]
    # Step 0 holds what the table of hyperparameters shows.
    return [point for point in points if point[0] > 0]


READERS = {
    "csv": csv_points,
    "wandb": wandb_points,
    "mlflow": mlflow_points,
    "tensorboard": tensorboard_points,
}


def counted(points):
    return Counter((step, name, float(f"{value:.5g}")) for step, name, value in points)


def recorded(run):
    """Return the points of metrics.jsonl, under the names that loggers are given."""
    found = []
    for line in (run.path / "metrics.jsonl").read_text().splitlines():
        row = json.loads(line)
        ending = "_epoch" if row["split"] == "epoch" else ""
        found += [
            (row["step"], f"{name}{ending}", value) for name, value in row.items() if isinstance(value, float)
        ]
    return found


# MLflow uses what SQLAlchemy has deprecated.
@pytest.mark.filterwarnings("ignore:.*noload.*")
@pytest.mark.parametrize("name", READERS)
def test_a_logger_shows_each_point_once_also_after_a_resume(name, monkeypatch):
    if name in ("wandb", "mlflow"):
        pytest.importorskip(name, reason=f"needs nnkit[{name}]")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    whole = nnkit.train([*WORDS, f"logger=[{name}]", MONITOR]).run
    assert "MLFLOW_TRACKING_URI" not in os.environ
    expected = counted(READERS[name](whole))
    assert counted(recorded(whole)) <= expected
    assert any(point.startswith("lr-") for _, point, _ in expected)
    # In the middle of the run: the copy's logger holds what came after the checkpoint.
    middle = CheckpointStore(whole.checkpoints).manifests()[1]
    killed = cut(whole, middle, "outputs/killed")
    resumed = nnkit.resume("killed").run
    assert killed.path.samefile(resumed.path)
    assert counted(READERS[name](resumed)) == expected
    assert max(expected.values()) == 1
    assert_same_end(whole, resumed)


@pytest.mark.filterwarnings("ignore:.*noload.*")
def test_loggers_do_not_change_a_run(cli):
    runs, many = {}, "tensorboard,csv" + (",mlflow" if find_spec("mlflow") else "")
    for name in (many, ""):
        code, _, err = cli("train", *WORDS[:-1], f"name=with_{len(name)}", f"logger=[{name}]")
        assert code == 0, err
        assert "switched off" not in err
        runs[name] = nnkit.load(f"with_{len(name)}").run
    states = [CheckpointStore(run.checkpoints).load("last")[1] for run in runs.values()]
    for state in states:
        # The name of the directory, and which loggers there are.
        del state["nnkit"]["config"], state["nnkit"]["choices"]
    assert not list(differences(*states))
    assert not (runs[""].path / "csv").exists()
    assert counted(csv_points(runs[many])) == counted(tensorboard_points(runs[many]))


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_logger_that_is_not_installed_is_refused_before_anything_is_written(cli, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    for verb in ("check", "train"):
        code, _, err = cli(verb, *WORDS, f"logger=[{name}]")
        assert code == 2
        assert f"pip install 'nnkit[{name}]'" in err
    assert not Path("outputs").exists()
