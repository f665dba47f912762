"""What the server that trials are forked from has imported: everything that a trial would import by itself."""

import gc
import importlib
import logging
import pkgutil
import signal
from contextlib import suppress

import torch

from nnkit.config import examine
from nnkit.machine import signals
from nnkit.runs.run import versions

# What a family, a logger or a task imports when a run first needs it.
_NAMED = ("lightning.pytorch.loggers", "torch.utils.tensorboard", "nnkit.sweep.trial")
# What an installation may lack. Arrow imports pandas with the first list that it is given: a quarter of a second in
# each trial.
_MAYBE = ("torch.profiler._cupti_monitor", "pandas", "pyarrow.pandas_compat")
_FAMILIES = ("models", "embeds", "heads", "layers", "tasks", "data", "losses", "optim", "callbacks")

for _name in _NAMED:
    importlib.import_module(_name)
for _name in _MAYBE:
    with suppress(ImportError):
        importlib.import_module(_name)
for _family in _FAMILIES:
    _package = importlib.import_module(f"nnkit.{_family}")
    for _module in pkgutil.walk_packages(_package.__path__, f"{_package.__name__}."):
        importlib.import_module(_module.name)

# The parsers of Hydra and OmegaConf get faster with what they have read, and trials are to begin with that.
# The sweep itself reports what is wrong with option files.
logging.disable(logging.CRITICAL)
examine([])
# And with the forms of words that trials have.
examine(["model=mlp", "data=iris", "optimizer.lr=1e-3", "seed=1", "+callbacks=early_stopping", "name='a b'"])
logging.disable(logging.NOTSET)
# What is found out once in a process: versions of packages, and that optimizers are not to be compiled.
versions()
torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))])

# The sweep itself ends its trials; the server goes when the sweep has gone.
for _number in (*signals.STOPS, *signals.SAVES):
    signal.signal(_number, signal.SIG_IGN)
signals.let_through()
# Pages that the collector does not touch stay shared between all trials.
gc.collect()
gc.freeze()
