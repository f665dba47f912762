"""A sweep from its command line: parallel, isolated, resumable."""

import json
import os
import signal
import subprocess
import sys
import time
from multiprocessing import forkserver
from pathlib import Path

import pytest
from warm import Warm, command

from nnkit.files import atomic
from nnkit.runs.run import Run
from nnkit.sweep import plan
from nnkit.sweep.directory import Sweep, find_sweep
from nnkit.sweep.trials import DONE, KILLED, STARTED, Outcome, Trial

pytestmark = pytest.mark.slow

QUICK = [
    "data=iris",
    "data.val_fraction=0.2",
    "model=mlp_small",
    "trainer.max_epochs=2",
    "logger=[]",
    "callbacks=[checkpoint]",
    "trainer.num_threads=1",
    "hydra.launcher.n_jobs=2",
]
FAULTS = """
import os, signal, sys
import torch
from lightning.pytorch import Callback

class Fault(Callback):
    def __init__(self, kind: str = "none"):
        self.kind = kind

    def on_train_epoch_end(self, trainer, module):
        if self.kind == "raise":
            raise ValueError("a bug of the user's")
        if self.kind == "exit":
            sys.exit(3)
        if self.kind == "leave":
            os._exit(5)
        if self.kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.kind == "memory":
            torch.zeros(4 * 10**9)
"""


def states(name):
    return {
        entry.trial.name: entry.outcome for entry in Sweep(Path("outputs/sweeps") / name).entries().values()
    }


@pytest.fixture
def faulty(monkeypatch):
    """A package of the user's with a callback that goes wrong, and its option file."""
    Path("sweepfaults.py").write_text(FAULTS)
    Path("conf/callbacks").mkdir(parents=True)
    Path("conf/callbacks/fault.yaml").write_text("fault:\n  _target_: sweepfaults.Fault\n  kind: none\n")
    monkeypatch.setenv("NNKIT_TRUST", "sweepfaults")
    yield
    sys.modules.pop("sweepfaults", None)


def test_a_grid_ends_with_a_run_for_each_trial_and_a_table_of_settings(cli):
    code, out, err = cli("train", "-m", *QUICK, "optimizer.lr=1e-3,1e-2", "seed=1,2", "name=grid")
    assert code == 0, err
    sweep = Path("outputs/sweeps/grid")
    names = [f"optimizer.lr={lr},seed={seed}" for lr in ("0.001", "0.01") for seed in (1, 2)]
    assert sorted(path.parent.name for path in sweep.glob("*/run.json")) == names
    rows = (sweep / "results.csv").read_text().splitlines()
    assert len(rows) == 3
    assert "cannot tell" in out or "is the best" in out
    for name in names:
        record = json.loads((sweep / name / "run.json").read_text())
        assert record["status"] == "done"
        assert record["threads"] == 1
        assert f"seed={record['seed']}" in name
    code, out, _ = cli("test", sweep / names[0])
    assert code == 0
    assert "test/accuracy" in out


def test_trials_begin_with_the_weights_of_a_run_by_its_name(cli):
    assert cli("train", *QUICK[:-1], "name=first")[0] == 0
    code, _, err = cli("train", "-m", *QUICK, "init_from=first,null", "name=starts")
    assert code == 0, err
    begun, fresh = (
        json.loads(Path(f"outputs/sweeps/starts/init_from={name}/run.json").read_text())["init_from"]
        for name in ("first", "null")
    )
    assert Path(begun["run"]) == Path("outputs/first").absolute()
    assert fresh is None


def test_what_one_trial_does_ends_that_trial_alone(cli, faulty):
    kinds = "none,raise,exit,leave,kill,memory"
    words = [*QUICK, "+callbacks=fault", f"callbacks.fault.kind={kinds}", "hydra.launcher.memory_limit=3GB"]
    code, out, _ = cli("train", "-m", *words, "name=faults")
    assert code == 1
    found = {name.partition("=")[2]: outcome for name, outcome in states("faults").items()}
    assert {kind: outcome.state for kind, outcome in found.items()} == {
        "none": "done",
        "raise": "failed",
        "exit": "exited",
        "leave": "exited",
        "kill": "killed",
        "memory": "out of memory",
    }
    for text in ("a bug of the user's", "exit status 3", "exit status 5", "SIGKILL", "memory"):
        assert text in out
    log = Path("outputs/sweeps/faults/logs/callbacks.fault.kind=raise.log").read_text()
    assert "Traceback" in log

    Path("sweepfaults.py").write_text(FAULTS.replace("raise ValueError", "print"))
    code, _, _ = cli("resume", "faults")
    assert code == 1
    assert states("faults")["callbacks.fault.kind=raise"].state == "failed"
    code, _, _ = cli("resume", "faults", "--retry-failed")
    assert states("faults")["callbacks.fault.kind=raise"].state == "done"
    assert states("faults")["callbacks.fault.kind=kill"].state == "killed"


def test_new_values_are_added_to_a_finished_grid(cli):
    assert cli("train", "-m", *QUICK, "seed=1,2", "name=more")[0] == 0
    path = Path("outputs/sweeps/more")
    before = {name: (path / name / "run.json").read_bytes() for name in ("seed=1", "seed=2")}
    code, _, err = cli("train", "-m", *QUICK, "seed=2,3", "name=more")
    assert code == 0, err
    assert list(states("more")) == ["seed=1", "seed=2", "seed=3"]
    assert {name: (path / name / "run.json").read_bytes() for name in before} == before
    assert '"seeds": 3' in (path / "results.json").read_text()
    code, _, err = cli("train", "-m", *QUICK, "seed=1,2", "optimizer.lr=1", "name=more")
    assert code == 2
    assert "is another sweep" in err
    assert "optimizer.lr=1" in err


def test_a_sweep_that_has_ended_is_shown_again_without_torch(cli):
    assert cli("train", "-m", *QUICK, "seed=1,2", "name=ended")[0] == 0
    path = Path("outputs/sweeps/ended")
    shown = cli("resume", "ended")[1]
    assert "ended: 1 setting" in shown
    names = ("sweep.json", "results.json", "results.csv", "trials.jsonl")
    before = {name: (path / name).read_bytes() for name in names}
    # A kill just before the end of a trial was noted, and before the results were written.
    lines = before["trials.jsonl"].splitlines(keepends=True)
    (path / "trials.jsonl").write_bytes(b"".join(lines[:-1]))
    (path / "results.csv").unlink()
    code = "import sys; from nnkit.cli import main; code = main(['resume', 'ended'])\n"
    code += "sys.exit(code or bool({'torch', 'lightning'} & {*sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {name: (path / name).read_bytes() for name in names[:3]} == {
        name: before[name] for name in names[:3]
    }
    assert {outcome.state for outcome in states("ended").values()} == {DONE}


def test_only_trials_that_are_left_are_checked_again(cli, monkeypatch):
    assert cli("train", "-m", *QUICK, "seed=1,2,3", "name=part")[0] == 0
    checked = []
    examine = plan._examine

    def watched(words, *rest):
        checked.append(words[-1])
        return examine(words, *rest)

    monkeypatch.setattr(plan, "_examine", watched)
    assert cli("train", "-m", *QUICK, "seed=1,2,3,4", "name=part")[0] == 0
    # The first says where the sweep is.
    assert checked == ["seed=1", "seed=4"]
    checked.clear()
    code, _, err = cli("train", "-m", *QUICK, "seed=1,2,3,4,x", "name=part")
    assert (code, checked) == (2, ["seed=1", "seed=x"])
    assert "seed" in err


def wait_for(condition, process):
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.said()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def pids(name):
    found = []
    for path in Path("outputs/sweeps", name).glob("*/run.json"):
        try:
            record = json.loads(path.read_text())
        except ValueError:
            continue
        if record.get("status") == "running":
            found.append(record["pid"])
    return found


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


LONG = [*QUICK, "trainer.max_epochs=16", "callbacks.checkpoint.every_n_steps=3", "seed=1,2,3"]


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_sweep_that_is_killed_goes_on_and_ends_as_if_it_had_not_been(cli):
    assert cli("train", "-m", *LONG, "name=whole")[0] == 0
    process = Warm(command, "train", "-m", *LONG, "name=cut")
    wait_for(lambda: pids("cut"), process)
    # The sweep's process alone: its trials must notice.
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    trials, deadline = pids("cut"), time.monotonic() + 30

    def statuses_now():
        return [Run(path.parent).status() for path in Path("outputs/sweeps/cut").glob("*/run.json")]

    # A process is dead for its parent while the last of its threads still has the lock.
    while any(map(is_alive, trials)) or "running" in statuses_now():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    statuses = statuses_now()
    assert "killed" in statuses
    assert "done" not in statuses

    process = Warm(command, "resume", "cut")
    wait_for(lambda: set(pids("cut")) - set(trials), process)
    os.kill(process.pid, signal.SIGINT)
    code, said = process.wait()
    assert code == 130, said
    assert "continue with: nnkit resume outputs/sweeps/cut" in said
    assert "Traceback" not in said
    assert not any(map(is_alive, pids("cut")))

    assert cli("train", "-m", *LONG, "name=cut")[0] == 0
    for name in ("results.csv", "results.json", *(f"seed={seed}/metrics.jsonl" for seed in (1, 2, 3))):
        whole, cut = (Path("outputs/sweeps", sweep, name).read_bytes() for sweep in ("whole", "cut"))
        assert whole == cut, name


def test_a_second_sweep_of_one_name_is_refused_with_the_first_ones_process(cli):
    assert cli("train", "-m", *QUICK, "seed=1", "name=one")[0] == 0
    with Sweep(Path("outputs/sweeps/one")).locked():
        code, _, err = cli("resume", "one")
    assert code == 2
    assert f"is being run by process {os.getpid()}" in err


def test_a_disk_that_is_full_ends_the_sweep_in_order(cli, monkeypatch):
    append, left = atomic.append_lines, 4

    def fail(path, lines):
        nonlocal left
        left -= 1
        if left < 0:
            raise atomic.WriteFault(f"{path} cannot be written: No space left on device")
        append(path, lines)

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "append_lines", fail)
        code, _, err = cli("train", "-m", *QUICK, "seed=1,2,3,4", "name=full")
    assert code == 1
    assert "No space left" in err
    assert "nnkit resume outputs/sweeps/full" in err
    code, _, err = cli("resume", "full")
    assert code == 0, err
    assert {outcome.state for outcome in states("full").values()} == {"done"}


def test_a_line_torn_by_a_kill_takes_no_other_with_it(tmp_path):
    sweep, trial = Sweep(tmp_path), Trial("seed=1", ("seed=1",))
    sweep.note((trial, Outcome(STARTED)))
    with (tmp_path / "trials.jsonl").open("a") as file:
        file.write('{"trial": "seed=1", "wor')
    assert sweep.entries()["seed=1"].outcome.state == STARTED
    sweep.repair()
    sweep.note((trial, Outcome(KILLED, "killed by SIGKILL")))
    assert sweep.entries()["seed=1"].outcome == Outcome(KILLED, "killed by SIGKILL")


def test_a_broken_line_between_others_is_spoken_of(tmp_path, caplog):
    sweep, trial = Sweep(tmp_path), Trial("seed=1", ("seed=1",))
    sweep.note((trial, Outcome(STARTED)))
    sweep.repair()
    assert not caplog.records
    with (tmp_path / "trials.jsonl").open("a") as file:
        file.write('{"trial": "seed=1", "wor\n')
    sweep.note((trial, Outcome(DONE)))
    sweep.repair()
    assert "1 of 3 lines cannot be read, the first is line 2" in caplog.text
    assert sweep.entries()["seed=1"].outcome == Outcome(DONE)


def test_names_in_a_status_file_from_elsewhere_lead_nowhere(tmp_path):
    sweep = Sweep(tmp_path)
    for name in ("../out", "/etc", "..", "a/b"):
        sweep.note((Trial(name, ()), Outcome(DONE)))
    assert sweep.entries() == {}


def test_a_sweep_is_found_by_its_name_and_by_its_directory(cli):
    assert find_sweep("none") is None
    assert cli("train", "-m", *QUICK, "seed=1", "name=found")[0] == 0
    assert find_sweep("found").path == find_sweep("outputs/sweeps/found").path == Path("outputs/sweeps/found")
    code, _, err = cli("resume", "fuond")
    assert code == 2
    assert "did you mean found?" in err


def test_a_server_of_processes_that_was_killed_is_replaced(cli):
    assert cli("train", "-m", *QUICK, "seed=1", "name=before")[0] == 0
    server = forkserver._forkserver._forkserver_pid
    os.kill(server, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while is_alive(server):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    code, _, err = cli("train", "-m", *QUICK, "seed=1,2", "name=after")
    assert code == 0, err
    assert {outcome.state for outcome in states("after").values()} == {"done"}


def test_a_signal_to_the_whole_group_while_trials_start_ends_in_order():
    process = Warm(command, "train", "-m", *QUICK, "seed=1,2", "name=early")
    status = Path("outputs/sweeps/early/trials.jsonl")
    wait_for(lambda: status.exists() and '"started"' in status.read_text(), process)
    os.killpg(process.pid, signal.SIGTERM)
    code, said = process.wait()
    assert code == 143, said
    assert "continue with: nnkit resume outputs/sweeps/early" in said
    assert "Traceback" not in said
