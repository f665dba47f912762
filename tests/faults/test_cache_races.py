"""Two processes that want the same data: one prepares them, and if it is killed the other does (class 25)."""

import json
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

import pytest
import tiny
from PIL import Image

from nnkit.cli import main
from nnkit.data.cache import cache_dir
from nnkit.data.download import sources
from nnkit.data.pictures import image_folder

# A child that is a copy of this process starts at once, with everything imported.
pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="processes cannot be copied there"),
    pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning"),
]
QUICK = [
    "model=mlp",
    "model.hidden=[4]",
    "trainer.max_epochs=1",
    "trainer.num_threads=1",
    "callbacks=[]",
    "logger=[]",
]
FOLDER = ["data=image_folder", "data.root=pictures", "data.height=4", "data.width=4", *QUICK]
PUBLISHED = ["data=mnist", *QUICK]
COUNT = 24
PAUSE = {"seconds": 0.0}


def train(words, name, pause=0.0):
    """Start `nnkit train` in a process of its own, which takes its time over each picture or file."""
    process = multiprocessing.get_context("fork").Process(target=_run, args=(words, name, pause), daemon=True)
    process.start()
    return process


def _run(words, name, pause):
    PAUSE["seconds"] = pause
    # Not pytest's, which a copy of its process would share.
    with Path(f"{name}.txt").open("w", buffering=1) as output:
        sys.stdout = sys.stderr = output
        os._exit(main(["train", *words, f"name={name}"]))


def said(name):
    path = Path(f"{name}.txt")
    return path.read_text() if path.exists() else ""


def wait_until(holds):
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def note(line):
    """Append a line in one write, so that lines of two processes do not mix."""
    with Path("log.txt").open("a") as log:
        log.write(f"{os.getpid()} {line}\n")


def noted():
    """Return which process did what."""
    if not Path("log.txt").exists():
        return []
    return [(int(pid), what) for pid, what in map(str.split, Path("log.txt").read_text().splitlines())]


def metrics(name):
    return json.loads(Path("outputs", name, "run.json").read_text())["metrics"]


@pytest.fixture(params=["pictures", "published"])
def slow(request, monkeypatch, tmp_path):
    """Data that note each picture decoded, each file fetched; and how many these are."""
    if request.param == "published":
        tiny.publish(monkeypatch, tmp_path)
        packed = {f"{tiny.MIRROR}{name}.gz": content for name, content in tiny.contents().items()}

        def download(url, path, limit):
            note(url)
            content = packed[url]
            path.write_bytes(content[:100])
            time.sleep(PAUSE["seconds"])
            path.write_bytes(content)

        monkeypatch.setattr(sources, "download", download)
        return PUBLISHED, len(packed)
    monkeypatch.setenv("NNKIT_CACHE", str(tmp_path / "cache"))
    for number in range(COUNT):
        folder = Path("pictures", "ab"[number % 2])
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (10 * number,) * 3).save(folder / f"{number}.png")
    read = image_folder._read_fitted

    def read_slowly(path, **options):
        note(path)
        time.sleep(PAUSE["seconds"])
        return read(path, **options)

    monkeypatch.setattr(image_folder, "_read_fitted", read_slowly)
    return FOLDER, COUNT


def test_two_processes_prepare_the_same_data_once(slow):
    words, count = slow
    both = [train(words, name, pause=0.05) for name in ("one", "two")]
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0], said("one") + said("two")
    assert len(noted()) == len({what for _, what in noted()}) == count
    assert metrics("one") == metrics("two")
    assert not list(cache_dir().rglob("*.part"))


def test_the_one_that_waits_prepares_when_the_owner_is_killed(slow):
    words, count = slow
    owner = train(words, "owner", pause=60)
    wait_until(lambda: noted() and list(cache_dir().rglob("*.part")))
    waiting = train(words, "waiting")
    wait_until(lambda: "Waiting for another process that prepares" in said("waiting"))
    os.kill(owner.pid, signal.SIGKILL)
    owner.join(60)
    waiting.join(60)
    assert waiting.exitcode == 0, said("waiting")
    assert len([what for pid, what in noted() if pid == waiting.pid]) == count
    # The half that the owner left is gone, and what came after it is whole.
    assert not list(cache_dir().rglob("*.part"))
    third = train(words, "third")
    third.join(60)
    assert metrics("third") == metrics("waiting")
    assert not [what for pid, what in noted() if pid == third.pid]
