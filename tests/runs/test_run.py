import json
import os
import subprocess
import sys

import pytest

from nnkit.errors import EnvironmentFault, UserError
from nnkit.files.layout import CONFIG
from nnkit.runs.run import Run, all_runs, find_run, start_record


def make(output_dir, name, start="2026-01-01"):
    run = Run.create(output_dir, "m-d", name)
    (run.path / CONFIG).write_text("{}")
    run.update(**{**start_record(), "start": start})
    return run


def test_runs_of_the_same_second_get_different_directories(tmp_path):
    assert len({Run.create(tmp_path, "lenet5-mnist").path for _ in range(5)}) == 5


def test_a_name_is_taken_once(tmp_path):
    make(tmp_path, "mine")
    with pytest.raises(UserError, match="nnkit resume"):
        Run.create(tmp_path, "m-d", "mine")


def test_output_dir_that_is_a_file_is_the_users_mistake(tmp_path):
    (tmp_path / "file").write_text("")
    for output_dir in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(UserError, match=r"is a file|through a file"):
            Run.create(output_dir, "m-d")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_unwritable_output_dir_is_the_environments_fault(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(EnvironmentFault, match="cannot be created"):
        Run.create(tmp_path, "m-d")


def test_find_by_path_prefix_and_last(tmp_path):
    output_dir = tmp_path / "outputs"
    first, second = make(output_dir, "alpha-1", "2026-01-02"), make(output_dir, "alpha-2", "2026-01-01")
    assert find_run("last", output_dir).path == first.path
    assert find_run("alpha-2", output_dir).path == second.path
    assert find_run(str(first.path), output_dir).path == first.path
    with pytest.raises(UserError, match="fits 2 runs"):
        find_run("alpha", output_dir)
    with pytest.raises(UserError, match="the latest are"):
        find_run("beta", output_dir)
    with pytest.raises(UserError, match="there are no runs"):
        find_run("last", output_dir / "nowhere")


def test_a_name_that_is_a_prefix_of_another_is_found(tmp_path):
    output_dir = tmp_path / "outputs"
    make(output_dir, "run")
    make(output_dir, "run-2")
    assert find_run("run", output_dir).path == output_dir / "run"


def test_a_run_is_held_by_one_process(tmp_path):
    run = make(tmp_path, "mine")
    code = f"from pathlib import Path; from nnkit.runs.run import Run\nwith Run(Path({str(run.path)!r})).locked(): pass"
    with run.locked():
        assert run.status() == "running"
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert other.returncode != 0
    assert f"in use by process {os.getpid()}" in other.stderr
    assert run.status() == "killed"


def test_a_garbled_record_is_not_fatal(tmp_path):
    run = make(tmp_path, "mine")
    (run.path / "run.json").write_text("{")
    assert run.record() == {}
    assert run.status() == "unknown"
    assert [found.path for found in all_runs(tmp_path)] == [run.path]


def test_record_is_json(tmp_path):
    run = make(tmp_path, "mine")
    run.update(metrics={"test/accuracy": 0.5})
    assert json.loads((run.path / "run.json").read_text())["metrics"] == {"test/accuracy": 0.5}
