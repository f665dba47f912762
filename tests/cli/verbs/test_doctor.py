"""`nnkit doctor` names what is damaged in a run directory, and what it says to type next works."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest

import nnkit
from nnkit.runs.doctor import _whole_lines, advice, examine

QUICK = ["data=iris", "model=mlp", "trainer.max_epochs=3", "trainer.num_threads=1", "logger=[]"]


@pytest.fixture
def run():
    return nnkit.train([*QUICK, "callbacks=[checkpoint]", "data.val_fraction=0.2", "name=mine"]).run


def test_a_sound_run_is_called_sound(cli, run):
    code, out, _ = cli("doctor", "mine")
    assert code == 0
    assert "done at step" in out
    assert out.count("valid, step") == len(list(run.checkpoints.glob("*.safetensors")))
    assert "(best)" in out
    assert "!" not in out
    assert "next: nnkit test outputs/mine" in out


def damage(run, what):
    newest = sorted(run.checkpoints.glob("*.safetensors"))[-1]
    if what == "checkpoint":
        newest.write_bytes(newest.read_bytes()[:-1])
    elif what == "manifest":
        newest.with_suffix(".json").write_text("{")
    elif what == "record":
        (run.path / "run.json").write_text("{")
    elif what == "metrics":
        lines = (run.path / "metrics.jsonl").read_text().splitlines(keepends=True)
        (run.path / "metrics.jsonl").write_text("".join(lines[:2]))
    elif what == "preprocessing":
        learnt = json.loads((run.path / "preprocessing.json").read_text())
        (run.path / "preprocessing.json").write_text(json.dumps({**learnt, "split_seed": 99}))
    elif what == "config":
        config = (run.path / "config.yaml").read_text()
        (run.path / "config.yaml").write_text(re.sub(r"\n  batch_size: \d+", "\n  batch_size: 7", config))
    elif what == "all manifests":
        for manifest in run.checkpoints.glob("step-[0-9]*[0-9].json"):
            manifest.unlink()


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("checkpoint", r"! step-\d+ +damaged .*bytes, its manifest says"),
        ("manifest", r"! step-\d+\.json +no checkpoint +it is not a manifest"),
        ("record", r"! run\.json +missing or garbled"),
        ("metrics", r"! metrics\.jsonl +2 lines +the newest checkpoint counts \d+: some are lost"),
        ("preprocessing", r"! preprocessing\.json +changed"),
        ("config", r"! agreement .*data\.batch_size: \d+ there, 7 in config\.yaml"),
        ("all manifests", r"! checkpoints? .*|! step-\d+\.safetensors +no checkpoint +never committed"),
    ],
)
def test_what_is_damaged_is_named(cli, run, what, said):
    damage(run, what)
    code, out, _ = cli("doctor", "mine")
    assert code == 1
    assert re.search(said, out, re.DOTALL), out


def test_a_lost_config_is_repaired_from_the_checkpoint(cli, run):
    before = (run.path / "config.yaml").read_text()
    (run.path / "config.yaml").unlink()
    code, out, _ = cli("doctor", "outputs/mine")
    assert code == 1
    assert "next: nnkit doctor outputs/mine --repair" in out
    assert cli("doctor", "outputs/mine", "--repair")[0] == 0
    # The checkpoint also knows the length of the run, which was not known when the config was written.
    after = re.sub(r"(total_steps|steps_per_epoch): \d+", r"\1: null", (run.path / "config.yaml").read_text())
    assert after == before
    assert cli("test", "mine")[0] == 0
    code, _, err = cli("doctor", "outputs/mine", "--repair")
    assert code == 2
    assert "nothing that could be repaired" in err


def test_what_a_kill_during_a_save_leaves_is_no_damage(cli, run):
    newest = sorted(run.checkpoints.glob("*.safetensors"))[-1]
    (run.checkpoints / "step-000099.safetensors").write_bytes(newest.read_bytes())
    code, out, _ = cli("doctor", "mine")
    assert code == 0
    assert re.search(r"step-000099\.safetensors +no checkpoint +never committed", out)


def test_the_advice_for_an_interrupted_run_is_followed(cli, run):
    run.update(status="stopped")
    said = advice(run, examine(run))
    assert said == "nnkit resume outputs/mine"
    code, _, err = cli(*shlex.split(said)[1:])
    assert code == 0, err
    assert run.status() == "done"


def test_a_run_that_never_saved_starts_at_step_zero(run):
    shutil.rmtree(run.checkpoints)
    run.update(status="failed", error="the disk was full")
    report = examine(run)
    assert advice(run, report) == "nnkit resume outputs/mine   (starts at step 0)"
    assert any("the disk was full" in word for _, _, word in report.rows)


def test_a_run_in_use_is_left_alone(run):
    with run.locked():
        run.update(status="running", pid=os.getpid())
        assert f"process {os.getpid()} trains it" in advice(run, examine(run))


def test_no_run_is_the_users_mistake(cli, tmp_path):
    (tmp_path / "empty").mkdir()
    for spec in ("empty", "nothing"):
        code, _, err = cli("doctor", spec)
        assert code == 2
        assert "no run" in err


def test_a_pipe_in_the_place_of_the_metrics_is_named_and_not_waited_for(cli, run):
    (run.path / "metrics.jsonl").unlink()
    os.mkfifo(run.path / "metrics.jsonl")
    code, out, _ = cli("doctor", run.path)
    assert code == 1
    assert "it is no plain file" in out


@pytest.mark.parametrize("place", ["train.log", "checkpoints/step-999999.safetensors", "more"])
def test_a_link_that_resume_refuses_is_named(cli, run, place, tmp_path):
    (run.path / place).unlink(missing_ok=True)
    (run.path / place).symlink_to(tmp_path)
    code, out, _ = cli("doctor", run.path)
    assert code == 1
    assert "is a link that leads out of the run" in " ".join(out.split())


def test_a_doctor_needs_no_lightning(run):
    code = (
        "import sys; from nnkit.cli import main; assert main(['doctor', 'outputs/mine']) == 0; "
        "print([name for name in ('lightning', 'torchmetrics', 'torch.distributed.tensor') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("line", "counts"),
    [
        (b'  {"step": 1}  \r\n', True),
        (b'{"step": 1, "text": "\xc3\xa9"}\n', True),
        (b'{"step": 1} {"step": 2}\n', False),
        (b'{"step": 1}}\n', False),
        (b'{"step": "\xe9"}\n', False),
        (b"[" * 200_000 + b"\n", False),
        (b"\n", False),
        (b'{"step": 1', False),
    ],
)
def test_lines_are_counted_to_the_first_that_is_no_json(tmp_path, line, counts):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 0}\n' * 3 + line)
    assert _whole_lines(path) == 3 + counts
    if line.endswith(b"\n"):
        path.write_bytes(b'{"step": 0}\n' * 3 + line + b'{"step": 0}\n')
        assert _whole_lines(path) == (5 if counts else 3)
