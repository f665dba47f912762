"""FAULTS class 17: checkpoints that carry code or lies are refused; nothing in them is imported or run.

Only the formats 1 and 2 were pickles, which can carry code; test_hostile_files.py attacks format 3.
"""

import builtins
import io
import json
import os
import pickle
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from hostile_run import HostileRun
from old_checkpoint import saved

import nnkit
from nnkit.errors import NnkitError
from nnkit.runs.run import Run

QUICK = [
    "data=iris",
    "model=mlp",
    "model.hidden=[4]",
    "trainer.max_epochs=1",
    "trainer.num_threads=1",
    "logger=[]",
]
CANARY = "canary"


class Opens:
    def __reduce__(self):
        return builtins.open, (str(Path(CANARY).absolute()), "w")


class RunsShell:
    def __reduce__(self):
        return os.system, (f"touch {Path(CANARY).absolute()}",)


class Evaluates:
    def __reduce__(self):
        return eval, (f"open({str(Path(CANARY).absolute())!r}, 'w')",)


GADGETS = {"open": Opens, "os.system": RunsShell, "eval": Evaluates}
PLACES = {
    "weights": lambda state, gadget: state["state_dict"].update(evil=gadget),
    "optimizer": lambda state, gadget: state["optimizer_states"][0].update(evil=gadget),
    "nnkit": lambda state, gadget: state["nnkit"].update(evil=gadget),
    "callbacks": lambda state, gadget: state["callbacks"].update(evil=gadget),
}


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """Return an interrupted run with one checkpoint, made once."""
    words = [*QUICK, "callbacks=[checkpoint]", "name=run", f"output_dir={tmp_path_factory.mktemp('stopped')}"]
    made = nnkit.train(words).run
    made.update(status="stopped")
    return made.path


@pytest.fixture
def run(stopped, tmp_path):
    """Return a copy of it as outputs/run."""
    return HostileRun(shutil.copytree(stopped, tmp_path / "outputs" / "run"))


VERBS = (
    ("test", "run"),
    ("resume", "run"),
    ("predict", "run", "rows.csv"),
    ("train", *QUICK, "init_from=run", "name=other"),
)


def assert_refused(cli, said="no valid checkpoint is left"):
    for words in VERBS:
        code, _, err = cli(*words)
        assert code in (1, 2), words
        assert said in err, words
        assert "Traceback" not in err, words
        assert "weights_only=False" not in err, "torch's advice to load it unsafely is not passed on"
    with pytest.raises(NnkitError):
        nnkit.load("run")
    assert not Path(CANARY).exists()
    assert not Path("outputs/other").exists()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("gadget", GADGETS)
def test_code_in_a_checkpoint_is_not_run(cli, run, gadget, place):
    state = run.state()
    PLACES[place](state, GADGETS[gadget]())
    run.put_old(state)
    assert_refused(cli)


def test_a_bare_pickle_is_not_run(cli, run):
    run.put_old(pickle.dumps(Opens()))
    assert_refused(cli)


def test_the_attack_works_where_nothing_guards(run):
    """Otherwise the tests above would prove nothing."""
    run.put_old({"x": Opens()})
    (path,) = run.checkpoints.glob("*.ckpt")
    torch.load(path, weights_only=False)["x"].close()
    assert Path(CANARY).exists()


def test_a_compressed_bomb_is_refused_before_it_is_unpacked(cli, run, monkeypatch):
    data, buffer = saved(run.state()), io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, bytes(200_000_000) if name.endswith("data/0") else old.read(name))
    assert len(buffer.getvalue()) < 1_000_000
    run.put_old(buffer.getvalue())
    opened = []
    monkeypatch.setattr(torch, "load", lambda *arguments, **named: opened.append(arguments))
    assert_refused(cli)
    assert not opened


def test_a_tensor_that_claims_more_than_it_holds_is_refused(cli, run):
    data, buffer = saved({**run.state(), "big": torch.zeros(10)}), io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith("data.pkl"):
                # The ten numbers of the last tensor become ten thousand million.
                content = content.replace(b"K\n\x85", b"\x8a\x05\x00\xe4\x0b\x54\x02\x85")
            new.writestr(name, content)
    run.put_old(buffer.getvalue())
    assert_refused(cli)


def test_a_config_in_a_checkpoint_names_no_class_of_its_own(cli, run):
    state = run.state()
    config = json.loads(state["nnkit"]["config"])
    config["model"] = {
        "_target_": "os.system",
        "command": f"touch {CANARY}",
        "embeds": config["model"]["embeds"],
    }
    state["nnkit"]["config"] = json.dumps(config)
    run.put(state)
    code, _, err = cli("resume", "run")
    assert code == 2
    assert "belongs to another config" in err
    (run.path / "config.yaml").unlink()
    code, _, err = cli("doctor", "outputs/run", "--repair")
    assert code == 2
    assert "os.system" in err
    assert "outside the packages" in err
    assert not (run.path / "config.yaml").exists()
    assert not Path(CANARY).exists()


@pytest.mark.parametrize("key", ["name", "best"])
@pytest.mark.parametrize("path", ["../../../secret", "/etc/passwd", "..", "a/b"])
def test_a_manifest_leads_nowhere_else(cli, run, key, path):
    run.say(**{key: path})
    assert_refused(cli)


def test_a_link_to_a_file_elsewhere_is_not_written_through(cli, run):
    outside = Path("outside.txt").absolute()
    outside.write_text("mine")
    for name in ("metrics.jsonl", "run.json"):
        (run.path / name).unlink()
        (run.path / name).symlink_to(outside)
    cli("resume", "run")
    assert outside.read_text() == "mine"


@pytest.mark.parametrize("name", ["run.json", "preprocessing.json", "checkpoints/index.json"])
@pytest.mark.parametrize(
    "content", ["[" * 100_000, "{", "\x00" * 100, "9" * 100_000, "null", '{"a":' * 50_000]
)
def test_hostile_json_is_a_sentence(cli, run, name, content):
    (run.path / name).write_text(content)
    for words in (("test", "run"), ("resume", "run"), ("doctor", "run"), ("runs",)):
        code, _, err = cli(*words)
        assert code in (0, 1, 2), words
        assert "Traceback" not in err, words
    assert isinstance(Run(run.path).record(), dict)


@pytest.mark.parametrize("choices", [[1, 2], {"model": 7, "callbacks": 3}, {"model": "mlp"}, "mlp"], ids=str)
def test_choices_of_another_shape_are_not_followed(hostile, cli, choices):
    hostile.update(choices=choices)
    code, _, err = cli("resume", hostile.path)
    assert code == 0, err
    assert Run(hostile.path).status() == "done"
