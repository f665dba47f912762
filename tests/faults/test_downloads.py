"""A download that goes wrong is retried, leaves nothing and is explained; with a valid cache none is needed (class 14).

The parts are tested in tests/data/download/test_fetch.py and test_sources.py; this is what a user sees.
"""

import errno
import gzip
import hashlib
import socket
import urllib.error
from email.message import Message
from pathlib import Path

import pytest
import tiny
from tiny import MIRROR, Response, contents

TRAIN = [
    "data=mnist",
    "model=mlp",
    "model.hidden=[4]",
    "trainer.max_epochs=1",
    "trainer.num_threads=1",
    "callbacks=[]",
    "logger=[]",
]
OTHER = "https://other.invalid/"
IMAGES = "train-images-idx3-ubyte"


@pytest.fixture(autouse=True)
def published(monkeypatch, tmp_path):
    tiny.publish(monkeypatch, tmp_path)


def cached():
    """Return the files of the cache, but for locks."""
    files = (path for path in Path("cache/mnist").rglob("*") if path.is_file() and path.name != ".lock")
    return sorted(str(path.relative_to("cache/mnist")) for path in files)


def no_network(url, content):
    raise urllib.error.URLError(socket.gaierror(socket.EAI_NONAME, "Name or service not known"))


def not_found(url, content):
    raise urllib.error.HTTPError(url, 404, "Not Found", Message(), None)


def garbage(url, content):
    return Response(url, gzip.compress(b"<html>log in here</html>"))


def half(url, content):
    return Response(url, content[: len(content) // 2], len(content))


def reset(url, content):
    raise ConnectionResetError("reset by peer")


FAULTS = {
    # What the network answers, how often it is asked, and what is said.
    "no network": (no_network, 1, "mirror.invalid cannot be found: Name or service not known"),
    "404": (not_found, 1, "the server answered 404 Not Found"),
    "half a file": (half, 3, "bytes came (3 tries)"),
    "wrong hash": (garbage, 1, f"SHA-256 {hashlib.sha256(contents()[IMAGES]).hexdigest()} was expected, "),
    "reset": (reset, 3, "reset by peer (3 tries)"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_download_that_fails_is_explained_and_leaves_nothing(cli, monkeypatch, fault):
    answer, times, words = FAULTS[fault]
    asked = tiny.serve(monkeypatch, answer)
    code, _, err = cli("train", *TRAIN)
    assert code == 1
    assert "Traceback" not in err
    assert f"{MIRROR}{IMAGES}.gz: " in err
    assert words in err
    if fault == "wrong hash":
        assert f"{hashlib.sha256(b'<html>log in here</html>').hexdigest()} was found in its 24 bytes" in err
    # After one file the mirror is believed to have none.
    assert asked == [IMAGES] * times
    assert "data.root=FOLDER" in err
    assert cached() == []
    assert not Path("outputs").exists()


@pytest.mark.parametrize("fault", ["half a file", "reset"])
def test_what_passes_is_tried_again(cli, monkeypatch, fault):
    failed = []

    def once(url, content):
        if not failed:
            failed.append(url)
            return FAULTS[fault][0](url, content)
        return Response(url, content)

    asked = tiny.serve(monkeypatch, once)
    code, _, err = cli("train", *TRAIN)
    assert code == 0, err
    assert "trying again" in err
    assert asked == [IMAGES, *contents()]
    assert [name for name in cached() if "prepared" not in name] == sorted(
        f"{name}.gz" for name in contents()
    )


def test_another_mirror_serves_where_the_first_is_wrong(cli, monkeypatch, tmp_path):
    tiny.publish(monkeypatch, tmp_path, (MIRROR, OTHER))
    asked = tiny.serve(
        monkeypatch, lambda url, content: (garbage if MIRROR in url else Response)(url, content)
    )
    assert cli("train", *TRAIN)[0] == 0
    assert len(asked) == 1 + 4


def test_with_a_valid_cache_no_network_is_needed(cli, monkeypatch):
    tiny.serve(monkeypatch, Response)
    assert cli("train", *TRAIN)[0] == 0
    asked = tiny.serve(monkeypatch, no_network)
    assert cli("train", *TRAIN)[0] == 0
    # Nor where the files are there and not yet prepared.
    for path in Path("cache/mnist/prepared").iterdir():
        path.unlink()
    code, _, err = cli("train", *TRAIN)
    assert code == 0, err
    assert asked == []


def test_one_damaged_file_of_the_cache_is_fetched_alone(cli, monkeypatch):
    tiny.serve(monkeypatch, Response)
    assert cli("train", *TRAIN)[0] == 0
    for path in Path("cache/mnist/prepared").iterdir():
        path.unlink()
    damaged = Path("cache/mnist", f"{IMAGES}.gz")
    damaged.write_bytes(damaged.read_bytes()[:-100])
    asked = tiny.serve(monkeypatch, Response)
    code, _, err = cli("train", *TRAIN)
    assert code == 0
    assert asked == [IMAGES]
    assert f"{IMAGES}.gz is damaged and will be fetched again" in err


def test_a_disk_that_is_full_is_no_fault_of_the_mirror(cli, monkeypatch):
    class Full(Response):
        def read(self, size=-1):
            raise OSError(errno.ENOSPC, "No space left on device")

    tiny.serve(monkeypatch, Full)
    code, _, err = cli("train", *TRAIN)
    assert code == 1
    assert f"{IMAGES}.gz" in err
    assert "no space is left" in err
    assert cached() == []
