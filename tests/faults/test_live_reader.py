"""Class 26: whoever reads while a run commits and prunes gets a complete checkpoint, and no warning."""

import subprocess
import sys
import threading
import time

import pytest
from failing_os import WatchedOs
from small_store import SmallStore

from nnkit.checkpoint.formats import dump, encode
from nnkit.checkpoint.store import CheckpointStore

# A process that commits and prunes as fast as it can, until its standard input is closed.
WRITER = """
import sys, threading
from pathlib import Path
sys.path.insert(0, {folder!r})
from small_store import SmallStore

store = SmallStore(Path({directory!r}))
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
step = 1
while not ended.is_set():
    step += 1
    store.save(step, best=step - step % 3 or 1, keep=1)
print(step)
"""


class Overtaken(WatchedOs):
    """Lets a writer overtake the reader before the n-th file that it opens.

    Args:
        n: Number of the file, from 1; 0 for before the reader begins.
        write: What the writer does, in a thread of its own.
        num_operations: File operations after which the writer is as slow as to wait for the reader; None for none.
    """

    def __init__(self, n, write, num_operations=None):
        super().__init__()
        self.n, self.num_operations = n, num_operations
        self.was_overtaken = self.was_stopped = False
        self._writer = threading.Thread(target=write)
        self._is_waiting, self._may_go_on = threading.Event(), threading.Event()

    def before(self, name):
        if threading.current_thread() is self._writer:
            if self.num_operations == 0:
                self.was_stopped = True
                self._is_waiting.set()
                self._may_go_on.wait()
            if self.num_operations is not None:
                self.num_operations -= 1
        elif name == "open" and not self.was_overtaken:
            self.n -= 1
            if self.n == 0:
                self.overtake()

    def overtake(self):
        """Let the writer go as far as it may."""
        self.was_overtaken = True
        self._writer.start()
        while self._writer.is_alive() and not self._is_waiting.is_set():
            self._is_waiting.wait(0.001)

    def finish(self):
        """Let the writer finish."""
        self._may_go_on.set()
        if self.was_overtaken:
            self._writer.join()


class Race:
    """A writer that saves a step after the other, and what a reader beside it may load.

    Args:
        store: Where both are.
        keep: How many of the newest stay.
        follows: Whether each checkpoint is the best so far; the first one stays the best otherwise.
    """

    def __init__(self, store, keep, follows):
        self.store, self.keep, self.follows = store, keep, follows
        self.step = 0
        for _ in range(3):
            self.save()

    def save(self):
        self.step += 1
        self.store.save(self.step, best=self.step if self.follows else 1, keep=self.keep)

    def assert_loads(self, which, oldest):
        loaded = SmallStore(self.store.directory).loaded(which)
        assert loaded == 1 if which == "best" and not self.follows else oldest <= loaded <= self.step


@pytest.fixture(params=[True, False], ids=["each the best", "the first the best"])
def race(request, store, operating):
    """A run whose checkpoints are the best one after the other, and one whose first stays the best."""
    operating(WatchedOs())
    return lambda keep: Race(store, keep, request.param)


@pytest.mark.parametrize("which", ["last", "best"])
@pytest.mark.parametrize("num_saves", [1, 3])
@pytest.mark.parametrize("keep", [1, 2])
def test_a_reader_overtaken_by_whole_saves_loads_what_was_or_is_there(
    race, operating, warned, which, num_saves, keep
):
    racing = race(keep)
    for n in range(1, 100):
        oldest = racing.step
        proxy = operating(Overtaken(n, lambda: [racing.save() for _ in range(num_saves)]))
        racing.assert_loads(which, oldest)
        proxy.finish()
        if not proxy.was_overtaken:
            break
    assert n > 2
    assert not warned


@pytest.mark.parametrize("which", ["last", "best"])
def test_a_reader_overtaken_by_any_part_of_a_save_loads_what_was_or_is_there(race, operating, warned, which):
    racing = race(keep=1)
    for n in range(100):
        for num_operations in range(100):
            oldest = racing.step
            proxy = operating(Overtaken(n, racing.save, num_operations))
            if n == 0:
                proxy.overtake()
            racing.assert_loads(which, oldest)
            proxy.finish()
            if not proxy.was_stopped:
                break
        if not proxy.was_overtaken:
            break
        assert num_operations > 30
    assert n > 2
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
        before, seen = 5, set()
        while (before <= 60 or len(seen) <= 30) and time.monotonic() < deadline:
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


def test_nnkit_test_overtaken_by_saves_tests_a_complete_checkpoint(cli, halfway, operating):
    store = CheckpointStore(halfway.checkpoints)
    manifest, _ = store.load("last")
    parts, steps = dump(*encode(store.state(manifest))), [manifest.step]

    def save():
        for step in range(steps[-1] + 1, steps[-1] + 4):
            name = f"step-{step:06d}"
            store.commit(name, parts, step=step, epoch=1, monitor="val/accuracy", score=0.5, best=name)
            store.settle(1)
            steps.append(step)

    for n in range(1, 100):
        proxy = operating(Overtaken(n, save))
        code, out, err = cli("test", halfway.path)
        proxy.finish()
        assert code == 0, err
        assert "test/accuracy" in out
        assert "passed over" not in err
        if not proxy.was_overtaken:
            break
    assert n > 2
