"""What the server that trials are forked from has imported: everything that a trial would import by itself."""

import gc
import importlib
import pkgutil
import signal

import lightning.pytorch.loggers
import tensorboard.compat.proto.summary_pb2
import torch.utils.tensorboard

import nnkit
import nnkit.sweep.trial

# Nothing of these two needs more than a trial may need; the others are the parent's or a verb's.
_FAMILIES = ("models", "embeds", "heads", "layers", "tasks", "data", "losses", "optim", "callbacks")

for _family in _FAMILIES:
    _package = importlib.import_module(f"nnkit.{_family}")
    for _module in pkgutil.iter_modules(_package.__path__, f"{_package.__name__}."):
        importlib.import_module(_module.name)

# The sweep itself ends its trials; the server goes when the sweep has gone.
for _number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(_number, signal.SIG_IGN)
# Pages that the collector does not touch stay shared between all trials.
gc.collect()
gc.freeze()
