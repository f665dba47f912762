"""What an adapter rests on lies in another directory: one that was forged, changed, removed, or leads in a circle."""

import json
import shutil

import pytest
import torch
from hostile_run import HostileRun
from untouched import assert_refused, untouched

import nnkit
from nnkit.checkpoint.formats import KEY
from nnkit.runs.base import weights_of

QUICK = ["data=iris", "model=mlp", "model.hidden=[6]", "logger=[]", "trainer.num_threads=1"]
QUICK += ["callbacks=[checkpoint]", "trainer.max_epochs=1"]
LORA = ["adapter=lora", "adapter.rank=2"]
BASE_WEIGHT = "network.body.layers.0.0.weight"
VERBS = (
    ("test", "outputs/mine"),
    ("resume", "outputs/mine", "trainer.max_epochs=3"),
    ("predict", "outputs/mine", "rows.csv"),
    ("embed", "outputs/mine", "rows.csv", "--out", "vectors.npy"),
    ("export", "outputs/mine", "--format", "safetensors", "--out", "made.safetensors"),
    ("train", *QUICK, "init_from=outputs/mine", "name=other"),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run, an adapter on it and an adapter on that one, moved away from where they were trained."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        nnkit.train([*QUICK, "name=base"])
        nnkit.train([*QUICK, *LORA, "init_from=base", "name=middle"])
        nnkit.train([*QUICK, *LORA, "init_from=middle", "name=mine"])
    return (folder / "outputs").rename(folder / "moved")


@pytest.fixture
def runs(made, tmp_path):
    shutil.copytree(made, tmp_path / "outputs")
    names = ("sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)")
    (tmp_path / "rows.csv").write_text(f"{','.join(names)}\n5.1,3.5,1.4,0.2\n")
    return {name: HostileRun(tmp_path / "outputs" / name) for name in ("base", "middle", "mine")}


def test_adapters_on_adapters_are_read_wherever_they_lie_together(runs, cli):
    assert cli("predict", "outputs/mine", "rows.csv")[0] == 0
    found = weights_of(runs["mine"])[1]
    assert found.keys() == weights_of(runs["base"])[1].keys()
    before, after = (weights_of(runs[name])[1]["body.layers.0.0.weight"] for name in ("middle", "mine"))
    assert not torch.equal(before, after)


def swap(run):
    """Replace the weights and compute the hashes anew."""
    state = run.state()
    for weights in (state["state_dict"], state.get("current_model_state", {})):
        for name in weights:
            if name.endswith(("weight", "lora_b")):
                weights[name] = weights[name] + 1
    run.put(state)


def flip(run):
    """Replace a byte of the weights, with a manifest that still has the old hash."""
    data = bytearray(run.tensors.read_bytes())
    data[-3] ^= 1
    run.tensors.write_bytes(data)


def circle(runs, *, claimed):
    """Let the base rest on the adapter that rests on it."""
    state, manifest = runs["base"].state(), json.loads(runs["mine"].manifest.read_text())
    digest = next(iter(weights_hash(runs["mine"])))
    state[KEY]["base"] = {
        "path": str(runs["mine"].path),
        "checkpoint": manifest["name"],
        "sha256": digest,
        "names": [BASE_WEIGHT],
    }
    before = json.loads(runs["base"].manifest.read_text())["files"]
    runs["base"].put(state)
    if claimed:
        runs["base"].say(files=before)


def weights_hash(run):
    yield from (one.sha256 for one in nnkit.runs.base.CheckpointStore(run.checkpoints).manifests())


def repoint(run, **changes):
    state = run.state()
    state[KEY]["base"] |= changes
    run.put(state)


def elsewhere(runs, path):
    """Let an adapter name another place; what lay beside it is gone."""
    shutil.rmtree(runs["middle"].path)
    repoint(runs["mine"], path=path)


def published(runs):
    folder = runs["middle"].path
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", "auto_map": {"AutoModel": "x.Y"}}))


def code(runs):
    """Let the config of the middle adapter, which must be built to be folded, name a class of another package."""
    state = runs["middle"].state()
    state[KEY]["config"] = state[KEY]["config"].replace("nnkit.models.mlp.MLP", "os.system")
    runs["middle"].put(state)
    repoint(runs["mine"], sha256=next(weights_hash(runs["middle"])))


ATTACKS = {
    "removed": (lambda runs: shutil.rmtree(runs["middle"].path), "is gone"),
    "removed below": (lambda runs: shutil.rmtree(runs["base"].path), "is gone"),
    "forged": (lambda runs: swap(runs["middle"]), "has changed: its SHA-256 is"),
    "forged below": (lambda runs: swap(runs["base"]), "has changed: its SHA-256 is"),
    "changed": (lambda runs: flip(runs["middle"]), "cannot be read"),
    "changed below": (lambda runs: flip(runs["base"]), "cannot be read"),
    "without checkpoints": (lambda runs: shutil.rmtree(runs["middle"].checkpoints), "cannot be read"),
    "a circle": (lambda runs: circle(runs, claimed=False), "has changed: its SHA-256 is"),
    "a circle with the hash of before": (lambda runs: circle(runs, claimed=True), "cannot be read"),
    "a device": (lambda runs: elsewhere(runs, "/dev/zero"), "is gone"),
    "no path": (lambda runs: elsewhere(runs, "\0"), "is gone"),
    "a long path": (lambda runs: elsewhere(runs, "a" * 5000), "is gone"),
    "the root": (lambda runs: elsewhere(runs, "/"), "cannot be read"),
    "a directory that asks for code": (published, "asks for code of its own"),
    "a config that asks for code": (code, "os.system"),
    "a weight that the base lacks": (
        lambda runs: repoint(runs["mine"], names=["network.body.other"]),
        "its base has no network.body.other",
    ),
    "a hash of no text": (lambda runs: repoint(runs["mine"], sha256=3), "its base is of the wrong kind"),
    "a name that leads away": (lambda runs: repoint(runs["mine"], checkpoint="../../x"), "cannot be read"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_a_base_that_is_not_the_one_it_was_is_refused_in_a_sentence(name, runs, cli, tmp_path, monkeypatch):
    change, text = ATTACKS[name]
    change(runs)
    with untouched(tmp_path, monkeypatch):
        for words in VERBS:
            assert_refused(cli(*words), words, text, most=10_000)


def test_what_is_folded_follows_from_what_the_hash_covers(runs):
    """An adapter beneath another one is folded by the config of its checkpoint, not by a file that anyone can edit."""
    expected = weights_of(runs["mine"])[1]
    config = runs["middle"].path / "config.yaml"
    config.write_text(config.read_text().replace("alpha: 16", "alpha: 1600"))
    assert "alpha: 1600" in config.read_text()
    found = weights_of(runs["mine"])[1]
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())
