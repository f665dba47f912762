import json
import pickle

import pytest
import torch

from nnkit.checkpoint.formats import FORMAT
from nnkit.checkpoint.plugin import StoreIO
from nnkit.checkpoint.serial import dump_bytes, load_bytes
from nnkit.checkpoint.store import CheckpointStore
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


def test_the_thread_writes_the_state_of_the_moment_of_saving(store):
    io = StoreIO(store, lambda: None)
    weights = torch.zeros(4)
    facts = {"step": 1, "epoch": 0, "monitor": "val/loss", "score": None, "best": None, "keep": 2}
    io.save_checkpoint({"w": weights, "nnkit": {"format": FORMAT}}, "step-000001.ckpt", facts)
    weights += 1
    io.flush()
    io.teardown()
    assert torch.equal(store.load("last")[1]["w"], torch.zeros(4))
