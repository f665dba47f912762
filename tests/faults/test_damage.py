"""Class 8: a damaged checkpoint is rejected by name and an older one used; the end of the run is the same."""

import json
import re

import pytest
from exactness import assert_same_end
from failing_os import KILL, FailingOs, Killed, WatchedOs
from small_store import SmallStore

from nnkit.checkpoint.formats import DOCUMENT, TENSORS
from nnkit.checkpoint.store import CheckpointStore
from nnkit.errors import EnvironmentFault
from nnkit.runs.resuming import resume

pytestmark = pytest.mark.usefixtures("a_config_is_judged_once")


def edited(path, **values):
    """Return the JSON of a file, some values changed."""
    return json.dumps({**json.loads(path.read_text()), **values}).encode()


def listing(path, **values):
    """Return the manifest in a file, what it says of the tensors changed."""
    first, *others = json.loads(path.read_text())["files"]
    return edited(path, files=[{**first, **values}, *others])


def renamed(path, name):
    """Return the manifest in a file with another name of the checkpoint everywhere."""
    return json.dumps(json.loads(path.read_text().replace("step-000008", json.dumps(name)[1:-1]))).encode()


def with_hole(data):
    """Return bytes in which some are zero, as after a power cut."""
    middle = len(data) // 2
    return data[:middle] + bytes(500) + data[middle + 500 :]


def with_flipped_bit(data):
    """Return bytes of which one bit is flipped, in a tensor."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


# What happens to a file, and what is said of it.
CHECKPOINT = {
    "one byte short": (lambda path: path.read_bytes()[:-1], "bytes, its manifest says"),
    "half": (lambda path: path.read_bytes()[: path.stat().st_size // 2], "bytes, its manifest says"),
    "empty": (lambda path: b"", "has 0 bytes, its manifest says"),
    "one byte more": (lambda path: path.read_bytes() + b"\n", "bytes, its manifest says"),
    "flipped bit": (lambda path: with_flipped_bit(path.read_bytes()), "does not have the SHA-256"),
    "zeroed hole": (lambda path: with_hole(path.read_bytes()), "does not have the SHA-256"),
    "gone": (None, "is missing|cannot be read"),
}
MANIFEST = {
    "empty": (lambda path: b"", "it is not a manifest"),
    "half": (lambda path: path.read_bytes()[:99], "it is not a manifest"),
    "zeroed": (lambda path: bytes(path.stat().st_size), "it is not a manifest"),
    "no text": (lambda path: b"\xff\xfe{}", "it is not a manifest"),
    "a list": (lambda path: b"[]", "it holds no keys"),
    "nested deeply": (lambda path: b"[" * 100_000, "it is nested too deeply"),
    "a path": (lambda path: edited(path, name="../../x"), "is no plain file name"),
    "a path to the best": (lambda path: edited(path, best="/etc/passwd"), "is no plain file name"),
    "the parent": (lambda path: edited(path, name=".."), "is no plain file name"),
    "another checkpoint": (lambda path: edited(path, name="step-000006"), "is no file of 'step-000006'"),
    "files of another": (lambda path: renamed(path, "step-000006"), "it speaks of 'step-000006'"),
    "no name at all": (lambda path: renamed(path, "no\0thing"), "it speaks of"),
    "a number of another kind": (
        lambda path: edited(path, batch="8"),
        "batch is missing or of the wrong kind",
    ),
    "another hash": (lambda path: listing(path, sha256="0" * 64), "does not have the SHA-256"),
    "another size": (lambda path: listing(path, size=10**12), "its manifest says 1,000,000,000,000"),
}
DAMAGE = {
    **{f"tensors: {name}": (TENSORS, *how) for name, how in CHECKPOINT.items()},
    **{f"document: {name}": (DOCUMENT, *how) for name, how in CHECKPOINT.items()},
    **{f"manifest: {name}": (".json", *how) for name, how in MANIFEST.items()},
}


def damage(path, change):
    """Change a file, or delete it."""
    if change is None:
        path.unlink()
    else:
        path.write_bytes(change(path))


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_checkpoint_is_named_and_the_older_one_resumed_exactly(halfway, undisturbed, warned, what):
    suffix, change, said = DAMAGE[what]
    damage((halfway.checkpoints / "step-000008").with_suffix(suffix), change)
    resume(str(halfway.path), show=False)
    assert_same_end(undisturbed, halfway)
    passed_over = [text for text in warned if "passed over" in text]
    assert passed_over
    assert all("step-000008" in text and re.search(said, text) for text in passed_over)
    assert "using step-000006 of step 6 instead" in warned
    assert SmallStore(halfway.checkpoints).litter() == set()


def test_a_checkpoint_that_lost_its_manifest_is_none_and_the_older_one_resumed_exactly(
    cli, halfway, undisturbed
):
    (halfway.checkpoints / "step-000008.json").unlink()
    code, out, err = cli("resume", halfway.path)
    assert code == 0, err
    assert "going on from step-000006, step 6" in out
    assert_same_end(undisturbed, halfway)


def test_two_damaged_checkpoints_leave_the_best_to_resume_from(halfway, undisturbed, warned):
    for step, change in ((8, None), (6, lambda path: b"")):
        damage(halfway.checkpoints / f"step-{step:06d}{TENSORS}", change)
    resume(str(halfway.path), show=False)
    assert_same_end(undisturbed, halfway)
    assert "using step-000005 of step 5 instead" in warned


@pytest.mark.parametrize("command", ["resume", "test"])
@pytest.mark.parametrize("damaged", ["*.safetensors", "*.state.json", "step-00000?.json"])
def test_where_no_checkpoint_is_valid_all_are_named_and_nothing_starts_at_step_zero(
    cli, halfway, command, damaged
):
    for path in halfway.checkpoints.glob(damaged):
        damage(path, lambda path: path.read_bytes()[:-9])
    assert_refused(
        cli, halfway, command, "no valid checkpoint is left", "step-000008", "step-000006", "step-000005"
    )


@pytest.mark.parametrize("command", ["resume", "test"])
def test_where_all_manifests_are_gone_nothing_starts_at_step_zero(cli, halfway, command):
    for path in halfway.checkpoints.glob("step-00000?.json"):
        path.unlink()
    assert_refused(
        cli, halfway, command, "has lost all its manifests, without which no checkpoint can be trusted"
    )


def assert_refused(cli, run, command, *said):
    """A command ends with a sentence, the checkpoints as they were."""
    before = {path: path.read_bytes() for path in run.checkpoints.iterdir()}
    code, _, err = cli(command, run.path)
    assert code == 1
    assert all(part in err for part in said), err
    assert "Traceback" not in err
    assert {path: path.read_bytes() for path in run.checkpoints.iterdir()} == before


@pytest.mark.parametrize("keep", [1, 2])
def test_what_is_saved_after_damage_does_not_give_way_to_what_is_damaged(store, keep):
    for step in (3, 7, 9):
        store.save(step, best=3)
    for step in (7, 9):
        damage(store.directory / f"step-{step:06d}{TENSORS}", lambda path: b"")
    # Resumed from step 3, the run saves at other steps than before, as it does by the clock.
    resumed = SmallStore(store.directory)
    assert resumed.loaded("last") == 3
    resumed.prepare()
    for step in (4, 5):
        resumed.save(step, best=3, keep=keep)
        assert SmallStore(store.directory).loaded("last") == step
    assert resumed.steps() == {1: [3, 5], 2: [3, 4, 5]}[keep]


def test_a_kill_after_resuming_from_before_the_damage_loses_nothing(halfway, operating, undisturbed):
    for step in (8, 6):
        damage(halfway.checkpoints / f"step-{step:06d}{TENSORS}", lambda path: b"")
    operating(FailingOs(1, KILL, lambda name, path: path.name == "step-000008.state.json.tmp"))
    with pytest.raises(Killed):
        resume(str(halfway.path), show=False)
    operating(WatchedOs())
    assert CheckpointStore(halfway.checkpoints).load("last")[0].step == 6
    resume(str(halfway.path), show=False)
    assert_same_end(undisturbed, halfway)


def test_an_index_that_is_damaged_or_gone_changes_nothing(halfway, undisturbed, warned):
    (halfway.checkpoints / "index.json").write_text("{")
    assert CheckpointStore(halfway.checkpoints).load("best")[0].step == 5
    (halfway.checkpoints / "index.json").unlink()
    resume(str(halfway.path), show=False)
    assert_same_end(undisturbed, halfway)
    assert not warned


def test_only_damaged_checkpoints_are_all_named(store):
    for step in (1, 2):
        store.save(step)
        damage(store.directory / f"step-{step:06d}{TENSORS}", lambda path: b"")
    with pytest.raises(EnvironmentFault, match=r"(?s)no valid checkpoint.*step-000002.*step-000001"):
        store.load("best")
