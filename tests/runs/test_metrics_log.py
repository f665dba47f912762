"""Logs of many lines are read one at a time: counted by the doctor, thinned out in a chart, cut back on resuming."""

import json
import os
import tracemalloc

import pytest

from nnkit.analysis import charts, log
from nnkit.analysis.log import read_log
from nnkit.callbacks.record import Record
from nnkit.files.layout import METRICS
from nnkit.runs.metrics_log import log_lines

LINES = 60_000


@pytest.fixture
def long(tmp_path):
    rows = [
        {"step": step, "epoch": 0, "split": "train", "train/loss": 1 / (step + 1), "lr": 0.001}
        if step % 1000
        else {"step": step, "split": "val", "val/loss": 2 / (step + 1)}
        for step in range(LINES)
    ]
    (tmp_path / METRICS).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path / METRICS


def test_lines_are_those_of_the_file(long):
    assert b"".join(log_lines(long)) == long.read_bytes()
    assert sum(1 for _ in log_lines(long)) == LINES


def test_little_of_a_log_is_in_memory(long):
    tracemalloc.start()
    assert sum(1 for _ in log_lines(long)) == LINES
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000 < long.stat().st_size


def test_a_line_without_end_is_cut(tmp_path):
    (tmp_path / METRICS).write_bytes(b"[" * 3_000_000)
    assert [len(line) for line in log_lines(tmp_path / METRICS)] == [1_000_000] * 3


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names")
def test_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / METRICS)
    with pytest.raises(ValueError, match="file"):
        next(log_lines(tmp_path / METRICS))


def test_a_chart_has_every_validation_and_some_of_many_steps(long, monkeypatch):
    monkeypatch.setattr(log, "_READ_WHOLE", long.stat().st_size // 3)
    rows = read_log(long.parent)
    losses = charts.curves_of(rows, "loss")
    assert list(losses["val"]) == list(range(0, LINES, 1000))
    # A third of the file is drawn whole: of more, one line of four.
    assert list(losses["train"]) == [step for step in range(0, LINES, 4) if step % 1000]
    assert losses["train"][4] == 1 / 5


def test_a_short_log_is_drawn_whole(long, monkeypatch):
    monkeypatch.setattr(log, "_READ_WHOLE", long.stat().st_size + 1)
    losses = charts.curves_of(read_log(long.parent), "loss")
    assert len(losses["train"]) == LINES - LINES // 1000


@pytest.mark.parametrize("num_lines", [0, 1, 30_000, LINES])
def test_a_log_is_cut_back_to_the_lines_of_a_checkpoint(long, num_lines):
    whole = long.read_bytes()
    record = Record(long.parent)
    record.cut_back(num_lines)
    assert record.num_lines == num_lines
    assert long.read_bytes() == b"".join(whole.splitlines(keepends=True)[:num_lines])


def test_lines_that_are_lost_are_spoken_of(long, caplog):
    record = Record(long.parent)
    record.cut_back(LINES + 5)
    assert record.num_lines == LINES
    assert f"has {LINES} lines, the checkpoint counts {LINES + 5}" in caplog.text
    record = Record(long.parent / "none")
    (long.parent / "none").mkdir()
    record.cut_back(0)
    assert (long.parent / "none" / METRICS).read_bytes() == b""
