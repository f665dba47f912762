"""A user's own package, in the sense of docs/extending.md: data and a network in which one thing is wrong."""

import errno
import json
import os
import signal
import time
from pathlib import Path

import torch
from lightning.pytorch import Callback
from torch import nn

from nnkit.batches import TableBatch
from nnkit.checkpoint.store import CheckpointStore
from nnkit.data import loading
from nnkit.data.base import DataModule, Samples
from nnkit.errors import UserError
from nnkit.runs import fit as fitting

DATA = """
defaults:
  - override /task@_global_.task: classification
  - override /model@_global_.model: mlp
_target_: faulty.Faulty
kind: table
max_epochs: 2
num_features: 4
num_classes: 3
num_train: 64
num_val: 20
num_test: 20
fault: none
where: train
bad: []
batch_size: 16
eval_batch_size: null
num_workers: 0
seed: ${seed}
"""

MODEL = """
_target_: faulty.Body
fault: none
dropout: 0.0
embeds:
  table:
    _target_: nnkit.embeds.flat.Flat
    shape: ["${data.num_features}"]
"""
# For processes of their own, which a test cannot reach into.
if "FAULTY_TIMEOUT" in os.environ:
    loading.WORKER_TIMEOUT = float(os.environ["FAULTY_TIMEOUT"])

# What a marked sample holds: the network chokes on it.
MARK = 999.0

# A short run: 4 steps an epoch. Sample 40 is drawn in the fourth of the first epoch, sample 52 in the second.
TRAIN = [
    "data=faulty",
    "model=faulty",
    "trainer.num_threads=1",
    "trainer.log_every_n_steps=1",
    "callbacks=[checkpoint,nan_guard]",
    "logger=[]",
    "name=run",
]


def install(monkeypatch):
    """Put the options data=faulty and model=faulty into the working directory and trust this file."""
    for group, text in (("data", DATA), ("model", MODEL)):
        Path("conf", group).mkdir(parents=True)
        Path("conf", group, "faulty.yaml").write_text(text)
    monkeypatch.setenv("NNKIT_TRUST", "faulty")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)


class FaultySamples(Samples):
    """Three clouds of points; the fault strikes at the bad samples, in training or wherever they are drawn."""

    def __init__(self, size, seed, fault, where, bad):
        generator = torch.Generator().manual_seed(seed)
        self.target = torch.arange(size) % 3
        self.inputs = torch.randn(size, 4, generator=generator)
        self.inputs[torch.arange(size), self.target] += 3
        self.fault, self.where, self.bad = fault, where, torch.tensor(bad, dtype=torch.int64)

    def __len__(self):
        return len(self.target)

    def __getitem__(self, draw):
        inputs, target = self.inputs[draw.indices], self.target[draw.indices]
        struck = torch.isin(draw.indices, self.bad)
        if struck.any() and (self.where == "always" or draw.epoch is not None):
            getattr(self, f"_{self.fault}")(inputs, target, struck)
        return TableBatch(inputs, target, draw.indices)

    def _none(self, inputs, target, struck):
        pass

    def _not_a_number(self, inputs, target, struck):
        inputs[struck, 1] = torch.nan

    def _infinite(self, inputs, target, struck):
        inputs[struck, 1] = torch.inf

    def _huge(self, inputs, target, struck):
        inputs[struck] = 3e38

    def _mark(self, inputs, target, struck):
        inputs[struck, 1] = MARK

    def _unknown_class(self, inputs, target, struck):
        target[struck] = 7

    def _raise(self, inputs, target, struck):
        raise ValueError("a picture is\ntorn")

    def _vanish(self, inputs, target, struck):
        raise UserError("faulty/5.png cannot be used: there is no such file")

    def _unreadable(self, inputs, target, struck):
        raise OSError(errno.EIO, "Input/output error", "faulty/5.png")

    def _die(self, inputs, target, struck):
        os.kill(os.getpid(), signal.SIGKILL)

    def _leave(self, inputs, target, struck):
        os._exit(3)

    def _hang(self, inputs, target, struck):
        time.sleep(600)


class Faulty(DataModule):
    fact_names = ("num_features", "num_classes")

    def __init__(
        self, *, num_train=64, num_val=20, num_test=20, fault="none", where="train", bad=(), **common
    ):
        super().__init__(**common)
        self.sizes = {"train": num_train, "val": num_val, "test": num_test}
        self.fault, self.where, self.bad = fault, where, list(bad)

    def prepare(self):
        return {"class_names": ["a", "b", "c"], "fingerprint": f"{self.sizes} {self.fault} {self.bad}"}

    def facts(self):
        return {"num_features": 4, "num_classes": 3}

    def samples(self, split):
        bad = self.bad if split == "train" or self.where == "always" else []
        seed = list(self.sizes).index(split)
        return FaultySamples(self.sizes[split], seed, self.fault, self.where, bad)

    def read(self, items):
        for item in items:
            yield item, "these data have no files"


class Sore(nn.Module):
    def forward(self, features, inputs):
        return features / (inputs[:, 1:2] != MARK)


class Body(nn.Module):
    """Two layers with batch norm between; the fault strikes at marked samples."""

    def __init__(self, dim_in, *, fault="none", dropout=0.0):
        super().__init__()
        self.first = nn.Linear(dim_in, 8)
        self.sore = Sore()
        self.norm = nn.BatchNorm1d(8)
        self.dropout = nn.Dropout(dropout)
        self.second = nn.Linear(8, 8)
        self.hidden = nn.Parameter(torch.ones(8))
        self.fault = fault
        self.dim_out = 8

    def forward(self, inputs):
        marked = (inputs[:, 1:2] == MARK) & torch.tensor(self.fault != "none")
        features = self.first(inputs)
        if self.fault == "layer":
            features = self.sore(features, inputs)
        features = self.dropout(self.norm(features))
        if self.fault == "between":
            features = features / (~marked).float()
        if self.fault == "minus_infinity":
            features = features + (~marked).float().log()
        if self.fault == "gradient":
            # The root's slope at zero is infinite, and infinity times zero is no number.
            features = features + (features * ~marked).square().sum(1, keepdim=True).sqrt()
        if self.fault == "parameter":
            features = torch.where(features > 1e9, features * self.hidden, features)
        return self.second(features).relu()


def add_callback(monkeypatch, callback):
    """Add a callback to the next runs, as a config would."""
    build_all = fitting.build_all

    def and_it(group, *rest, **named):
        return build_all(group, *rest, **named) + ([callback] if group == "callbacks" else [])

    monkeypatch.setattr(fitting, "build_all", and_it)


class Poison(Callback):
    """A callback that changes the network before one step."""

    def __init__(self, change, step=3):
        self.change, self.step = change, step

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == self.step:
            with torch.no_grad():
                self.change(pl_module.network)


def checkpoint(step, name="run"):
    """Return a checkpoint of one step."""
    store = CheckpointStore(Path("outputs", name, "checkpoints"))
    return store.state(next(one for one in store.manifests() if one.step == step))


def rows(split, name="run"):
    lines = [json.loads(line) for line in Path("outputs", name, "metrics.jsonl").read_text().splitlines()]
    return [row for row in lines if row["split"] == split]
