import json
import os
import pickle

import pytest
import torch

from nnkit.checkpoint import files
from nnkit.checkpoint.formats import FORMAT
from nnkit.checkpoint.plugin import StoreIO
from nnkit.checkpoint.store import CheckpointStore, dump_bytes, load_bytes
from nnkit.errors import EnvironmentFault, UserError


@pytest.fixture
def store(tmp_path):
    store = CheckpointStore(tmp_path / "run" / "checkpoints")
    store.prepare()
    return store


def commit(store, step, score=None, best=None):
    state = {"state_dict": {"w": torch.full((3,), float(step))}, "step": step, "nnkit": {"format": FORMAT}}
    name = f"step-{step:06d}.ckpt"
    facts = {"step": step, "epoch": 0, "monitor": "val/loss", "score": score, "best": best}
    return store.commit(name, dump_bytes(state), **facts)


def test_the_newest_step_is_loaded_whatever_the_file_times_say(store):
    for step in (3, 1, 2):
        commit(store, step)
    manifest, state = store.load("last")
    assert manifest.step == state["step"] == 3


def test_best_is_loaded_from_the_index_and_survives_pruning(store):
    for step in (1, 2, 3, 4):
        commit(store, step, best="step-000001.ckpt")
        store.settle(keep=2)
    assert store.load("best")[0].step == 1
    assert [manifest.step for manifest in store.manifests()] == [4, 3, 1]
    assert sorted(path.name for path in store.directory.glob("*.ckpt")) == [
        f"step-00000{n}.ckpt" for n in (1, 3, 4)
    ]


@pytest.mark.parametrize("damage", ["one byte short", "half", "empty", "flipped bit", "zeroed hole", "gone"])
def test_a_damaged_checkpoint_is_named_and_the_older_one_used(store, caplog, damage):
    commit(store, 1)
    commit(store, 2)
    path = store.directory / "step-000002.ckpt"
    data = bytearray(path.read_bytes())
    if damage == "flipped bit":
        data[len(data) // 2] ^= 1
    elif damage == "zeroed hole":
        data[100:300] = bytes(200)
    else:
        data = data[: {"one byte short": -1, "half": len(data) // 2, "empty": 0, "gone": 0}[damage]]
    path.write_bytes(data)
    if damage == "gone":
        path.unlink()
    manifest, state = store.load("last")
    assert manifest.step == state["step"] == 1
    assert "step-000002.ckpt" in caplog.text
    assert "step-000001.ckpt" in caplog.text


def test_a_file_without_manifest_is_no_checkpoint(store):
    commit(store, 1)
    commit(store, 2)
    (store.directory / "step-000002.json").unlink()
    assert store.load("last")[0].step == 1


def test_a_garbled_manifest_is_passed_over(store, caplog):
    commit(store, 1)
    commit(store, 2)
    (store.directory / "step-000002.json").write_text("{garbage")
    assert store.load("last")[0].step == 1
    assert "step-000002.json" in caplog.text


def test_only_bad_checkpoints_are_an_error_and_never_step_zero(store):
    commit(store, 1)
    (store.directory / "step-000001.ckpt").write_bytes(b"x")
    with pytest.raises(EnvironmentFault, match="no valid checkpoint"):
        store.load("last")


def test_no_checkpoint_is_the_users_mistake(store):
    with pytest.raises(UserError, match="no checkpoint"):
        store.load("best")


def test_a_newer_format_is_refused(store):
    manifest = commit(store, 1)
    path = store.directory / "step-000001.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": manifest.format + 1}))
    with pytest.raises(EnvironmentFault, match="newer nnkit"):
        store.load("last")


def test_nothing_in_a_checkpoint_is_executed(tmp_path):
    canary = tmp_path / "canary"

    class Attack:
        def __reduce__(self):
            return open, (str(canary), "w")

    for data in (dump_bytes({"x": Attack()}), pickle.dumps(Attack())):
        with pytest.raises(ValueError, match="refused"):
            load_bytes(data)
    assert not canary.exists()


@pytest.mark.parametrize("operation", ["write", "fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch, operation):
    path = tmp_path / "file"
    files.write_atomic(path, b"old")

    def fail(*arguments, **keywords):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as context:
        context.setattr(os, operation, fail)
        with pytest.raises(EnvironmentFault, match=r"3 bytes.*No space"):
            files.write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_thread_writes_the_state_of_the_moment_of_saving(store):
    io = StoreIO(store, lambda: None)
    weights = torch.zeros(4)
    facts = {"step": 1, "epoch": 0, "monitor": "val/loss", "score": None, "best": None, "keep": 2}
    io.save_checkpoint({"w": weights, "nnkit": {"format": FORMAT}}, "step-000001.ckpt", facts)
    weights += 1
    io.flush()
    io.teardown()
    assert torch.equal(store.load("last")[1]["w"], torch.zeros(4))


def test_a_failed_write_is_said_with_its_place_and_the_good_checkpoint_stands(store, monkeypatch):
    commit(store, 1)
    io = StoreIO(store, lambda: None)

    def fail(path, data):
        raise files.WriteFault(f"{path}: No space left on device")

    monkeypatch.setattr(files, "write_atomic", fail)
    facts = {"step": 2, "epoch": 0, "monitor": None, "score": None, "best": None, "keep": 2}
    io.save_checkpoint({"w": torch.zeros(1)}, "step-000002.ckpt", facts)
    with pytest.raises(EnvironmentFault, match="No space left"):
        io.flush()
    io.teardown()
    assert store.load("last")[0].step == 1


def test_leftovers_of_a_killed_writer_are_cleared(store):
    leftover = store.directory / ("step-000009.ckpt" + files.TEMPORARY)
    leftover.write_bytes(b"half")
    store.prepare()
    assert not leftover.exists()
