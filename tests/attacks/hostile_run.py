"""A run directory that an attacker has had in hand, and what it costs and touches to open it."""

import json
import signal
from contextlib import contextmanager
from pathlib import Path

import pytest
import safetensors.torch
from old_checkpoint import OLD_FORMAT, saved

from nnkit.checkpoint.formats import DOCUMENT, TENSORS, encode
from nnkit.checkpoint.store import CheckpointStore
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
    def manifest(self):
        (path,) = (path for path in self.checkpoints.glob("step-*.json") if not path.name.endswith(DOCUMENT))
        return path

    @property
    def name(self):
        return self.manifest.stem

    @property
    def tensors(self):
        return self.checkpoints / (self.name + TENSORS)

    @property
    def document(self):
        return self.checkpoints / (self.name + DOCUMENT)

    def state(self):
        return CheckpointStore(self.checkpoints).load("last")[1]

    def put(self, state):
        """Commit a state in the present format, whatever it costs to read."""
        document, tensors = encode(state)
        self.put_files({TENSORS: safetensors.torch.save(tensors), DOCUMENT: json.dumps(document).encode()})

    def put_files(self, parts):
        """Commit files by suffix with a manifest that matches: an attacker can compute a hash too."""
        files = []
        for suffix, data in parts.items():
            (self.checkpoints / (self.name + suffix)).write_bytes(data)
            files.append({"file": self.name + suffix, "size": len(data), "sha256": atomic.sha256(data)})
        self.say(files=files)

    def put_old(self, state):
        """Commit a state, or any bytes, as a checkpoint of the last format that was a pickle."""
        data = state if isinstance(state, bytes) else saved(state)
        manifest, name = self.manifest, self.name + ".ckpt"
        for path in (self.tensors, self.document):
            path.unlink(missing_ok=True)
        (self.checkpoints / name).write_bytes(data)
        content = json.loads(manifest.read_text())
        content = {key: value for key, value in content.items() if key not in ("name", "files")}
        content |= {"file": name, "size": len(data), "sha256": atomic.sha256(data), "format": OLD_FORMAT}
        manifest.write_text(json.dumps(content))

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
