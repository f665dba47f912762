"""FAULTS class 17: what a run directory says or links to leads nowhere else, and no pipe or circle makes nnkit wait."""

import json
import os
import shutil
from pathlib import Path

import pytest
from hostile_run import RESUME, TEST, VERBS, cheaply

from nnkit.checkpoint.store import CheckpointStore
from nnkit.files.atomic import sha256

NAMES = [
    "../../../secret",
    "/etc/passwd",
    "..",
    ".",
    "a/b",
    "",
    "other",
    "step-000008.json",
    "x\n",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_manifest_speaks_of_its_own_file_only(hostile, refuses, name):
    """Of another it would be looked for again and again, as one that was pruned in between."""
    hostile.say(name=name)
    for words in VERBS:
        with cheaply():
            refuses(words, "no valid checkpoint is left", "it is not a manifest")


@pytest.mark.parametrize("name", ["../../../secret", "/etc/passwd", "..", "a/b"])
def test_the_best_checkpoint_is_one_of_the_run(hostile, refuses, name):
    hostile.say(best=name)
    refuses(TEST, "no plain file name")


FIELDS = [(field, value) for field in ("step", "epoch", "batch", "format", "score") for value in ([], "9")]
FIELDS += [(field, value) for field in ("name", "best", "monitor") for value in ([], 9)]
FIELDS += [("files", value) for value in ({}, 9, "step-000008.safetensors")]


@pytest.mark.parametrize(("field", "value"), FIELDS, ids=str)
def test_a_manifest_holds_what_it_should(hostile, refuses, field, value):
    hostile.say(**{field: value})
    refuses(TEST, f"{field} is missing or of the wrong kind")


CONTENTS = {
    "deep": b"[" * 100_000 + b"]" * 100_000,
    "deep mapping": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "long number": b'{"step": ' + b"9" * 5000 + b"}",
    "no text": b"\xff\xfe\x00\x01",
    "not a number": b'{"file": NaN, "step": 1e999}',
    "large": b'{"a": "' + b"x" * 2_000_000 + b'"}',
}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_a_manifest_of_any_content_is_answered(hostile, refuses, content):
    hostile.manifest.write_bytes(content)
    for words in VERBS:
        with cheaply():
            refuses(words, "it is not a manifest")


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_an_index_of_any_content_changes_nothing(hostile, cli, content):
    (hostile.checkpoints / "index.json").write_bytes(content)
    with cheaply():
        assert cli(*TEST)[0] == 0


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_preprocessing_of_any_content_is_answered(hostile, refuses, content):
    (hostile.path / "preprocessing.json").write_bytes(content)
    with cheaply():
        refuses(RESUME, "preprocessing.json")


# What stands in run.json, and what only looks like it.
RECORDS = [
    {"metrics": {"val/accuracy": "high", "test/loss": [1]}},
    {"metrics": {"val/accuracy": 10**4000}},
    {"metrics": 3, "choices": [], "start": "0001-01-01T00:00:00+00:00", "end": 7},
    {"start": "2026-01-01", "end": "2026-01-02T00:00:00+00:00", "status": ["running"]},
    {"resumed": [{"time": {}}, 3, None], "error": {"a": 1}, "seed": [1]},
    {"status": "\x1b[2J\x1b]0;title\x07", "seed": "\x1b[31m"},
]


@pytest.mark.parametrize("record", RECORDS, ids=range(len(RECORDS)))
def test_a_record_of_any_content_is_listed(hostile, cli, record):
    (hostile.path / "run.json").write_text(json.dumps(record))
    code, out, err = cli("runs")
    assert code == 0, err
    assert out.startswith("run\t")
    assert "\x1b" not in out, "an order to the terminal"
    assert cli("runs", "--json")[0] == 0


@pytest.mark.parametrize("name", ["metrics.jsonl", "timing.jsonl"])
def test_a_log_of_any_content_is_listed(hostile, cli, name):
    with (hostile.path / name).open("ab") as file:
        for content in CONTENTS.values():
            file.write(content + b"\n")
    hostile.update(metrics=None)
    assert cli("runs")[0] == 0


def test_a_file_of_gigabytes_is_not_read(hostile, refuses):
    """It takes no room on the disk."""
    for path in (hostile.manifest, hostile.path / "config.yaml", hostile.path / "preprocessing.json"):
        content = path.read_bytes()
        os.truncate(path, 2 << 30)
        with cheaply():
            refuses(TEST, "2,147,483,648 bytes, more than the")
        path.write_bytes(content)
    os.truncate(hostile.tensors, 2 << 30)
    with cheaply():
        refuses(TEST, "2,147,483,648 bytes, its manifest says")


# ------------------------------------------------------------------------------------------------------------ links

# What is written while a run is tested or resumed, and what would be written through a link there.
WRITTEN = [
    "metrics.jsonl",
    "timing.jsonl",
    "train.log",
    "run.json",
    "run.json.tmp",
    "config.yaml.tmp",
    ".lock",
]
WRITTEN += ["checkpoints/index.json", "checkpoints/index.json.tmp", "checkpoints/step-000016.safetensors.tmp"]
WRITTEN += ["checkpoints/step-000016.state.json.tmp", "checkpoints/step-000016.json.tmp"]


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("verb", ["test", "resume"])
def test_nothing_is_written_through_a_link(hostile, cli, tmp_path, name, verb):
    """A line in a shell's start-up file is a command, and what a link leads to is the attacker's choice."""
    outside = tmp_path / "bashrc"
    outside.write_text("mine\n")
    link = hostile.path / name
    link.unlink(missing_ok=True)
    link.symlink_to(outside)
    # So that there is something to log.
    (hostile.checkpoints / "step-000001.json").write_text("{")
    code, _, err = cli(verb, "run")
    assert code in (0, 1, 2)
    assert "Traceback" not in err
    assert outside.read_text() == "mine\n"


def test_a_directory_elsewhere_is_not_cleared(hostile, cli, tmp_path):
    """A run deletes temporaries and what was never committed where its checkpoints stand."""
    outside = tmp_path / "models"
    shutil.move(hostile.checkpoints, outside)
    hostile.checkpoints.symlink_to(outside)
    (outside / "thesis.tmp").write_text("mine")
    (outside / "step-000099.ckpt").write_text("mine")
    code, _, err = cli(*RESUME)
    assert code == 2
    assert "checkpoints is a link" in err
    assert {path.name for path in outside.iterdir()} >= {"thesis.tmp", "step-000099.ckpt"}


def test_a_run_directory_may_itself_be_a_link(hostile, cli, tmp_path):
    """It is the user who names it."""
    shutil.move(hostile.path, tmp_path / "elsewhere")
    Path("outputs/run").symlink_to(tmp_path / "elsewhere")
    assert cli(*TEST)[0] == 0
    assert cli(*RESUME)[0] == 0


def test_what_a_link_leads_to_is_not_shown(hostile, cli, tmp_path):
    outside = tmp_path / "secret"
    outside.write_text("password")
    places = (
        hostile.tensors,
        hostile.document,
        hostile.path / "preprocessing.json",
        hostile.checkpoints / "index.json",
    )
    for path in places:
        path.unlink()
        path.symlink_to(outside)
        for words in VERBS:
            _, out, err = cli(*words)
            assert "password" not in out + err
            shutil.rmtree("outputs/other", ignore_errors=True)


ELSEWHERE = {"file": "../../../thesis.safetensors", "size": 4, "sha256": sha256(b"mine")}


def test_pruning_stays_inside(hostile, tmp_path):
    outside = tmp_path / "thesis.safetensors"
    outside.write_text("mine")
    content = json.loads(hostile.manifest.read_text())
    for step in range(3):
        fields = {"step": step, "name": f"step-00000{step}", "files": [*content["files"], ELSEWHERE]}
        (hostile.checkpoints / f"step-00000{step}.json").write_text(json.dumps({**content, **fields}))
    store = CheckpointStore(hostile.checkpoints)
    store.prepare()
    store.settle(keep=1)
    assert outside.read_text() == "mine"


# ------------------------------------------------------------------------------------------------------------ pipes


@pytest.mark.parametrize(
    "name", ["run.json", "preprocessing.json", "config.yaml", "manifest", "tensors", "document", "index"]
)
def test_no_pipe_is_waited_for(hostile, cli, name):
    """Nobody writes into it: to read from it would be to wait for ever."""
    places = {
        "manifest": hostile.manifest,
        "tensors": hostile.tensors,
        "document": hostile.document,
        "index": hostile.checkpoints / "index.json",
    }
    path = places.get(name, hostile.path / name)
    path.unlink()
    os.mkfifo(path)
    for words in (*VERBS, ("runs",), ("doctor", "run")):
        with cheaply():
            code, _, err = cli(*words)
        assert code in (0, 1, 2)
        assert "Traceback" not in err
        shutil.rmtree("outputs/other", ignore_errors=True)
