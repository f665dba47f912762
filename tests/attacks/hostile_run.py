"""A run directory that an attacker has had in hand, and what it costs and touches to open it."""

import json
import signal
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from nnkit.checkpoint.serial import dump_bytes
from nnkit.files import atomic
from nnkit.runs.run import Run

QUICK = ["data=iris", "model=mlp", "model.hidden=[4]", "trainer.max_epochs=2", "trainer.num_threads=1"]
QUICK += ["scheduler=constant", "callbacks=[checkpoint]", "logger=[]"]
# Each verb that reads a run directory.
TEST, RESUME = ("test", "run"), ("resume", "run")
PREDICT = ("predict", "run", "rows.csv")
INIT_FROM = ("train", *QUICK, "init_from=run", "name=other")
VERBS = (TEST, RESUME, PREDICT, INIT_FROM)
# What each of them adds to what Python, torch and Lightning take anyway.
MEBIBYTE = 1 << 20


class HostileRun(Run):
    """A run that was interrupted after one of two epochs; its one checkpoint can be replaced by any other."""

    @property
    def file(self):
        (path,) = self.checkpoints.glob("*.ckpt")
        return path

    @property
    def manifest(self):
        return self.file.with_suffix(".json")

    def state(self):
        return torch.load(self.file, weights_only=True)

    def put(self, state):
        """Commit a state, or any bytes, with a manifest that matches: an attacker can compute a hash too."""
        data = state if isinstance(state, bytes) else dump_bytes(state)
        self.file.write_bytes(data)
        self.say(size=len(data), sha256=atomic.sha256(data))

    def say(self, **fields):
        """Change what the manifest says."""
        self.manifest.write_text(json.dumps({**json.loads(self.manifest.read_text()), **fields}))

    def edit(self, old, new):
        """Change the text of config.yaml."""
        path = self.path / "config.yaml"
        assert path.read_text().count(old) == 1
        path.write_text(path.read_text().replace(old, new))


def memory():
    """Return the most bytes this process has held since the last call of `forget_peak`; None where nobody tells."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))
    except OSError:
        return None


def forget_peak():
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    return memory()


@contextmanager
def cheaply(seconds=20, num_bytes=100 * MEBIBYTE):
    """Assert that the block takes little memory and no minutes, which is what it costs to obey it."""
    earlier = signal.signal(signal.SIGALRM, lambda *_: pytest.fail(f"it takes more than {seconds} seconds"))
    signal.alarm(seconds)
    before = forget_peak()
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, earlier)
    if before is not None:
        assert memory() - before < num_bytes
