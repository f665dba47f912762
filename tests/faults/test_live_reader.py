"""Class 26: whoever reads while a run commits and prunes gets a complete checkpoint, and no warning."""

import json
import subprocess
import sys
import threading
import time

import pytest
from failing_os import WatchedOs
from small_store import SmallStore

from nnkit.checkpoint.store import INDEX, CheckpointStore

# A process that commits and prunes as fast as it can, until its standard input is closed.
WRITER = """
import sys, threading
from pathlib import Path
sys.path.insert(0, {folder!r})
from small_store import SmallStore

store = SmallStore(Path({directory!r}))
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
ended = threading.Event()
step = 1
while not ended.is_set():
    step += 1
    store.save(step, best=step - step % 3 or 1, keep=1)
print(step)
"""


class Overtaken(WatchedOs):
    """Lets a writer overtake the reader before the n-th operation.

    Args:
        n: Number of the operation, from 1.
        overtake: What the writer does then.
    """

    def __init__(self, n, overtake):
        super().__init__()
        self.n, self.overtake = n, overtake
        self.is_writing = False
        self.was_overtaken = False

    def perform(self, name, path, real, arguments):
        if not self.is_writing and not self.was_overtaken:
            self.n -= 1
            if self.n == 0:
                self.is_writing = self.was_overtaken = True
                self.overtake()
                self.is_writing = False
        return super().perform(name, path, real, arguments)


@pytest.mark.parametrize("which", ["last", "best"])
@pytest.mark.parametrize("num_saves", [1, 3])
@pytest.mark.parametrize("keep", [1, 2])
@pytest.mark.parametrize("follows", [True, False], ids=["each the best", "the first the best"])
def test_a_reader_overtaken_at_any_operation_loads_what_was_or_is_there(
    store, operating, warned, which, num_saves, keep, follows
):
    def save(step):
        store.save(step, best=step if follows else 1, keep=keep)

    def overtake():
        for _ in range(num_saves):
            steps.append(steps[-1] + 1)
            save(steps[-1])

    steps = [1, 2, 3]
    for step in steps:
        save(step)
    for n in range(1, 200):
        oldest = steps[-1]
        proxy = operating(Overtaken(n, overtake))
        loaded = SmallStore(store.directory).loaded(which)
        if not proxy.was_overtaken:
            break
        assert loaded == 1 if which == "best" and not follows else oldest <= loaded <= steps[-1]
    assert n > 5
    assert not warned


def test_a_reader_beside_a_process_that_saves_without_pause_always_loads(store, warned, request):
    store.save(1, best=1, keep=1)
    code = WRITER.format(folder=str(request.path.parent), directory=str(store.directory))
    writer = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + 60
        while store.loaded("last") < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        before, seen, end = 5, set(), time.monotonic() + 3
        while time.monotonic() < end:
            step = store.loaded("last")
            assert step >= before
            before = step
            seen.add(step)
            best = store.loaded("best")
            assert best == 1 or best % 3 == 0
    finally:
        out, _ = writer.communicate("")
    assert int(out) > 50
    assert len(seen) > 20
    assert not warned


def test_nnkit_test_works_on_a_run_that_saves_without_pause(cli, halfway):
    store = CheckpointStore(halfway.checkpoints)
    manifest, _ = store.load("last")
    data, ended = store.read(manifest), threading.Event()

    def write():
        step = manifest.step
        while not ended.is_set():
            step += 1
            name = f"step-{step:06d}.ckpt"
            store.commit(name, data, step=step, epoch=1, monitor="val/accuracy", score=0.5, best=name)
            store.settle(1)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(10):
            code, out, err = cli("test", halfway.path)
            assert code == 0, err
            assert "test/accuracy" in out
            assert "passed over" not in err
    finally:
        ended.set()
        thread.join()
    assert json.loads((halfway.checkpoints / INDEX).read_text())["last"] > "step-000020"
