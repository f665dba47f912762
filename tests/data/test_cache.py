import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from nnkit.data import cache
from nnkit.errors import EnvironmentFault

NUMBERS = np.arange(24, dtype=np.uint8).reshape(4, 6)


def store(folder, key="key", numbers=NUMBERS):
    with cache.locked(folder):
        with cache.new_array(folder, "numbers", numbers.shape, "u1") as array:
            array[:] = numbers
        cache.commit(folder, key, {"fact": 1})


def test_the_environment_moves_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("NNKIT_CACHE", str(tmp_path / "here"))
    assert cache.cache_dir() == tmp_path / "here"
    monkeypatch.delenv("NNKIT_CACHE")
    assert cache.cache_dir().name == "nnkit"


def test_prepared_arrays_open_as_they_were_stored(tmp_path):
    store(tmp_path)
    opened = cache.open_arrays(tmp_path, "key")
    assert opened is not None
    assert np.array_equal(opened.arrays["numbers"], NUMBERS)
    assert opened.facts == {"fact": 1}
    assert opened.hashes["numbers"] == cache.sha256_of(tmp_path / "numbers.npy")
    # filterwarnings=error: torch warns where the memory cannot be written.
    tensor = torch.from_numpy(opened.arrays["numbers"])
    tensor[0, 0] = 99
    assert np.load(tmp_path / "numbers.npy")[0, 0] == 0


def test_arrays_of_another_key_or_none_at_all_are_not_opened(tmp_path):
    assert cache.open_arrays(tmp_path, "key") is None
    store(tmp_path)
    assert cache.open_arrays(tmp_path, "other") is None


def test_arrays_without_their_manifest_do_not_count(tmp_path):
    store(tmp_path)
    (tmp_path / "prepared.json").unlink()
    assert cache.open_arrays(tmp_path, "key") is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 1}'])
def test_a_garbled_manifest_is_prepared_again(tmp_path, content):
    store(tmp_path)
    (tmp_path / "prepared.json").write_text(content)
    assert cache.open_arrays(tmp_path, "key") is None


def test_a_changed_array_is_noticed_and_said(tmp_path, caplog):
    store(tmp_path)
    path = tmp_path / "numbers.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert cache.open_arrays(tmp_path, "key") is None
    assert "numbers.npy is damaged" in caplog.text


def test_a_copied_cache_is_believed_by_its_hash(tmp_path):
    store(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    os.utime(tmp_path / "b" / "numbers.npy", (1, 1))
    assert cache.open_arrays(tmp_path / "b", "key") is not None
    manifest = json.loads((tmp_path / "b" / "prepared.json").read_text())
    assert manifest["arrays"]["numbers"][1] == 1_000_000_000


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(RuntimeError), cache.replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    with cache.replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_no_space_is_said_with_path_and_bytes_before_anything_is_written(tmp_path):
    num_bytes = 2**60
    with (
        pytest.raises(EnvironmentFault, match=rf"numbers.npy \({num_bytes:,} bytes\): no space is left"),
        cache.new_array(tmp_path, "numbers", (num_bytes,), "u1"),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(EnvironmentFault, match="NNKIT_CACHE=FOLDER"),
        cache.locked(tmp_path / "file" / "mnist"),
    ):
        pass


WORKER = """
import sys, time
from pathlib import Path
import numpy as np
from nnkit.data import cache

folder, log, pause = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])

def prepare():
    with log.open("a") as file:
        file.write("prepared\\n")
    with cache.new_array(folder, "numbers", (1000,), "u1") as array:
        time.sleep(pause)
        array[:] = 7
    cache.commit(folder, 1, {})

print(int(cache.prepared(folder, 1, prepare).arrays["numbers"].sum()))
"""


def start(folder, log, pause):
    command = [sys.executable, "-c", WORKER, str(folder), str(log), str(pause)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def test_two_processes_prepare_once(tmp_path):
    log = tmp_path / "log"
    both = [start(tmp_path / "data", log, 0.6) for _ in range(2)]
    assert [process.communicate(timeout=60)[0].strip() for process in both] == ["7000", "7000"]
    assert log.read_text() == "prepared\n"


def test_the_owner_of_the_lock_is_killed(tmp_path):
    folder, log = tmp_path / "data", tmp_path / "log"
    owner = start(folder, log, 60)
    deadline = time.monotonic() + 60
    while not list(folder.glob("*.part")) and time.monotonic() < deadline:
        time.sleep(0.02)
    owner.kill()
    owner.communicate()
    assert list(folder.glob("*.part"))
    second = start(folder, log, 0)
    assert second.communicate(timeout=60)[0].strip() == "7000"
    assert not list(folder.glob("*.part"))


def test_the_hash_of_a_large_file_is_remembered_until_it_changes(tmp_path, monkeypatch):
    monkeypatch.setenv("NNKIT_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "large"
    path.write_bytes(b"x" * 17_000_000)
    before = cache.remembered_sha256(path)
    assert before == hashlib.sha256(b"x" * 17_000_000).hexdigest()
    monkeypatch.setattr(cache, "sha256_of", lambda path: "read again")
    assert cache.remembered_sha256(path) == before
    path.write_bytes(b"y" * 17_000_000)
    assert cache.remembered_sha256(path) == "read again"


@pytest.mark.parametrize("dtype", ["u1", "<u2", "<i4"])
@pytest.mark.parametrize("parts", [[[1]], [[1, 2, 3], [], [4] * 200_000, [5, 6]]])
def test_an_array_of_unknown_length_is_what_was_appended(tmp_path, dtype, parts):
    with cache.growing_array(tmp_path, "tokens", np.dtype(dtype)) as append:
        for part in parts:
            append(np.array(part, np.int32)[::-1])
    array = np.load(tmp_path / "tokens.npy", mmap_mode="r", allow_pickle=False)
    assert array.dtype == np.dtype(dtype)
    assert np.array_equal(array, np.concatenate([part[::-1] for part in parts]))


def test_an_array_that_was_not_finished_takes_no_place(tmp_path):
    np.save(tmp_path / "tokens.npy", np.arange(3))
    with pytest.raises(KeyError), cache.growing_array(tmp_path, "tokens", np.dtype("u1")) as append:
        append(np.ones(5))
        raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["tokens.npy"]
    assert np.load(tmp_path / "tokens.npy").tolist() == [0, 1, 2]
