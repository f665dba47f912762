import json
import shutil

import pytest
import torch

from nnkit.checkpoint.formats import DOCUMENT, FORMAT, TENSORS, dump, encode
from nnkit.checkpoint.plugin import StoreIO
from nnkit.checkpoint.store import CheckpointStore
from nnkit.errors import EnvironmentFault, UserError


@pytest.fixture
def store(tmp_path):
    store = CheckpointStore(tmp_path / "run" / "checkpoints")
    store.prepare()
    return store


def commit(store, step, score=None, best=None):
    state = {"state_dict": {"w": torch.full((3,), float(step))}, "step": step, "nnkit": {"format": FORMAT}}
    facts = {"step": step, "epoch": 0, "monitor": "val/loss", "score": score, "best": best}
    return store.commit(f"step-{step:06d}", dump(*encode(state)), **facts)


def test_the_newest_step_is_loaded_whatever_the_file_times_say(store):
    for step in (3, 1, 2):
        commit(store, step)
    manifest, state = store.load("last")
    assert manifest.step == state["step"] == 3


def test_best_is_loaded_from_the_index_and_survives_pruning(store):
    for step in (1, 2, 3, 4):
        commit(store, step, best="step-000001")
        store.settle(keep=2)
    assert store.load("best")[0].step == 1
    assert [manifest.step for manifest in store.manifests()] == [4, 3, 1]
    for suffix in (TENSORS, DOCUMENT):
        found = sorted(path.name for path in store.directory.glob("*" + suffix))
        assert found == [f"step-00000{n}{suffix}" for n in (1, 3, 4)]


def test_no_checkpoint_is_the_users_mistake(store):
    with pytest.raises(UserError, match="no checkpoint"):
        store.load("best")


def test_a_newer_format_is_refused(store):
    manifest = commit(store, 1)
    path = store.directory / "step-000001.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": manifest.format + 1}))
    with pytest.raises(EnvironmentFault, match="newer nnkit"):
        store.load("last")


def test_a_manifest_lists_the_files_with_their_sizes(store):
    manifest = commit(store, 1)
    content = json.loads((store.directory / "step-000001.json").read_text())
    assert content["format"] == FORMAT
    sizes = {file["file"]: file["size"] for file in content["files"]}
    assert sizes == {path.name: path.stat().st_size for path in store.directory.glob("step-000001.s*")}
    assert manifest.size == sum(sizes.values())


def test_tensors_may_lie_in_several_files(store):
    """As several processes will write them."""
    state = {"state_dict": {"a": torch.ones(3), "b": torch.zeros(2)}, "nnkit": {"format": FORMAT}}
    document, tensors = encode(state)
    parts = {
        f".rank-{number}{TENSORS}": dump(document, {name: tensor})[TENSORS]
        for number, (name, tensor) in enumerate(tensors.items())
    }
    parts[DOCUMENT] = dump(document, tensors)[DOCUMENT]
    store.commit("step-000001", parts, step=1, epoch=0)
    weights = store.load("last")[1]["state_dict"]
    assert torch.equal(weights["a"], torch.ones(3))
    assert torch.equal(weights["b"], torch.zeros(2))
    store.remove(store.manifests()[0])
    assert not list(store.directory.glob("step*"))


def test_what_was_never_committed_is_cleared_and_a_file_of_the_users_own_is_not(store):
    commit(store, 1)
    for name in (
        "step-000002.safetensors",
        "step-000002.state.json",
        "step-000003.ckpt",
        "step-000001.rank-7.safetensors",
    ):
        (store.directory / name).write_bytes(b"left")
    (store.directory / "model.safetensors").write_bytes(b"mine")
    shutil.copy(store.directory / "step-000001.safetensors", store.directory / "step-000004.safetensors")
    (store.directory / "step-000004.json").write_text("{")
    store.prepare()
    assert sorted(path.name for path in store.directory.iterdir()) == [
        "index.json",
        "model.safetensors",
        "step-000001.json",
        "step-000001.safetensors",
        "step-000001.state.json",
        "step-000004.json",
        "step-000004.safetensors",
    ]


def test_the_thread_writes_the_state_of_the_moment_of_saving(store):
    io = StoreIO(store, lambda: None)
    weights = torch.zeros(4)
    facts = {"step": 1, "epoch": 0, "monitor": "val/loss", "score": None, "best": None, "keep": 2}
    io.save_checkpoint({"w": weights, "nnkit": {"format": FORMAT}}, "step-000001", facts)
    weights += 1
    io.flush()
    io.teardown()
    assert torch.equal(store.load("last")[1]["w"], torch.zeros(4))
