"""`nnkit runs`: what each run directory says."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from nnkit.files.layout import CONFIG, METRICS
from nnkit.runs.run import Run

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def make(tmp_path):
    def make_run(name, minutes=0, config="monitor: val/loss\n", **fields):
        run = Run.create(tmp_path / "outputs", "m-d", name)
        (run.path / CONFIG).write_text(config)
        start = START + timedelta(minutes=minutes)
        run.update(start=start.isoformat(), seed=3, choices={"model": "mlp", "data": "iris"}, **fields)
        return run

    return make_run


def done(seconds):
    return {"status": "done", "end": (START + timedelta(seconds=seconds)).isoformat()}


def table(cli, *words):
    return [line.split("\t") for line in cli("runs", *words)[1].splitlines()]


def test_a_line_a_run_oldest_first(cli, make):
    make("later", minutes=5, status="failed", error="it broke")
    metrics = {"test/loss": 0.5, "test/accuracy": 0.98765, "test/f1": 0.9, "val/accuracy": 0.97}
    make("first", **done(12.34), metrics=metrics)
    first, later = table(cli)
    local = f"{START.astimezone():%Y-%m-%d %H:%M}"
    assert first == ["first", "done", local, "12.3 s", "3", "test/accuracy 0.9877 val/accuracy 0.97"]
    assert later[:2] == ["later", "failed"]


@pytest.mark.parametrize(
    ("seconds", "shown"), [(59.9, "59.9 s"), (60, "0:01:00"), (3723, "1:02:03"), (90000, "25:00:00")]
)
def test_durations(cli, make, seconds, shown):
    make("run", **done(seconds))
    assert table(cli)[0][3] == shown


def test_a_resumed_run_is_timed_from_its_last_start(cli, make):
    resumed = [(START + timedelta(hours=30)).isoformat(), (START + timedelta(hours=40)).isoformat()]
    end = (START + timedelta(hours=40, seconds=5)).isoformat()
    make("run", status="done", resumed=resumed, end=end)
    assert table(cli)[0][3] == "5.0 s"


def test_without_a_validation_score_the_first_metrics_that_are_no_loss(cli, make):
    make("run", **done(1), metrics={"test/loss": 1.0, "test/mae": 2.0, "test/r2": 0.25})
    assert table(cli)[0][5] == "test/mae 2 test/r2 0.25"


def test_a_run_that_goes_on_shows_its_latest_validation(cli, make):
    run = make(
        "run", config="monitor: ${task.monitor}\ntask: {monitor: val/f1}\n", status="running", end=None
    )
    rows = [
        {"step": s, "split": "val", "val/loss": 1 / s, "val/accuracy": s / 100, "val/f1": s / 50}
        for s in (10, 20)
    ]
    rows.append({"step": 25, "split": "train", "train/loss": 0.1})
    (run.path / METRICS).write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 30, "spl')
    with run.locked():
        status, seconds, metrics = (table(cli)[0][column] for column in (1, 3, 5))
    assert (status, metrics) == ("running", "val/f1 0.4")
    # Started in 2026 and never ended: the clock runs.
    assert seconds != ""
    assert table(cli)[0][1] == "killed"


@pytest.mark.parametrize("config", ["a: [", "monitor: 3", "- 1", "", "x: " + "[" * 500])
def test_a_damaged_run_is_listed_all_the_same(cli, make, config):
    run = make("run", config=config, status="stopped")
    (run.path / METRICS).write_text('{"split": "val", "val/a": 1.0, "val/b": 2.0}\n')
    assert table(cli)[0][:2] == ["run", "stopped"]
    (run.path / "run.json").write_text("garbage")
    assert table(cli)[0][:2] == ["run", "unknown"]


def test_json_has_all_of_it(cli, make):
    make("run", **done(2), metrics={"test/accuracy": 0.5, "val/loss": 0.1}, step=40)
    (found,) = json.loads(cli("runs", "--json")[1])
    assert found["metrics"] == {"test/accuracy": 0.5, "val/loss": 0.1}
    assert (found["name"], found["status"], found["seconds"], found["step"]) == ("run", "done", 2.0, 40)
    assert (found["model"], found["data"], found["seed"]) == ("mlp", "iris", 3)


def test_no_runs_at_all(cli):
    code, out, err = cli("runs")
    assert (code, out) == (0, "")
    assert "nnkit train" in err
    assert cli("runs", "--json", "--output-dir", "elsewhere")[1] == "[]\n"


def test_another_directory(cli, make, tmp_path):
    run = make("run", **done(1))
    run.path.parent.rename(tmp_path / "moved")
    assert table(cli) == []
    assert table(cli, "--output-dir", "moved")[0][0] == "run"
