"""From a config to the objects of a run: data, task, trainer and profiler, in the order in which each can be built."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning.pytorch as lightning
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.strategies import Strategy

from nnkit import config as configs
from nnkit.checkpoint.base import Base
from nnkit.checkpoint.plugin import StoreIO
from nnkit.data.base import DataModule, Preprocessing
from nnkit.data.locating import look_in
from nnkit.distributed.group import group
from nnkit.distributed.lightning import Joined, data_parallel
from nnkit.distributed.sharded import (
    FullySharded,
    GatherToEvaluate,
    ScatterToTrain,
    checkpoint_activations,
    is_sharded,
    whole_state,
)
from nnkit.errors import ConfigError, Problem
from nnkit.factory import build, build_network, loss_target
from nnkit.factory.class_weights import with_class_weights
from nnkit.factory.metrics import build_metrics, directions, task_of
from nnkit.machine.cores import cores
from nnkit.network import Network
from nnkit.runs.compiling import compile_losses
from nnkit.runs.hooks import shorten_steps, without_empty_hooks
from nnkit.runs.optimization import (
    count_steps,
    make_optimizer,
    make_scheduler,
    resolve_precision,
)
from nnkit.runs.profiling import make_profiler
from nnkit.tasks.base import Task

if TYPE_CHECKING:
    from omegaconf import DictConfig

# What `trainer.devices` says for all there are.
ALL = ("auto", "-1")
# Steps between two lines of the record, and points that the curve of a short run has at least.
_LOG_EVERY, _POINTS = 50, 20


@dataclass
class Session:
    """What a run is made of.

    Attributes:
        config: The config, every fact filled in.
        choices: The option chosen in each group.
        data: Prepared data.
        task: The Lightning module.
        base: What its adapter rests on, which checkpoints do not hold; None where they hold all weights.
    """

    config: DictConfig
    choices: Mapping[str, Any]
    data: DataModule
    task: Task
    base: Base | None = None


def fix_arithmetic(config: DictConfig) -> None:
    """Set threads and matmul precision, and write them into the config: other settings give other bits."""
    if config.trainer.num_threads is None:
        config.trainer.num_threads = _threads(config)
    torch.set_num_threads(config.trainer.num_threads)
    if config.trainer.matmul_precision is None:
        config.trainer.matmul_precision = "medium" if _has_matrix_units() else "highest"
    torch.set_float32_matmul_precision(config.trainer.matmul_precision)


def wanted(config: DictConfig) -> int:
    """Return how many processes of this machine a config asks for."""
    trainer = config.trainer
    if trainer.strategy == "single":
        return 1
    text = str(trainer.devices)
    if text in ALL:
        on_gpu = trainer.accelerator in ("auto", "gpu", "cuda")
        return max(1, torch.cuda.device_count() if on_gpu else 1)
    return text.count(",") + 1 if "," in text or "[" in text else int(text)


def _threads(config: DictConfig) -> int:
    """Return the threads of each process: those of all together are no more than the cores that they share.

    What OMP_NUM_THREADS says, be it typed or set by torchrun, is for each process already.
    """
    there, found = torch.get_num_threads(), group()
    if "OMP_NUM_THREADS" in os.environ:
        return there
    processes = wanted(config) if found is None else found.world.local_size
    shared = cores()
    if found is not None and found.world.launcher == "SLURM":
        # A task that is bound to cores of its own sees no others.
        on_machine = os.environ.get("SLURM_CPUS_ON_NODE", "")
        shared = int(on_machine) if on_machine.isdecimal() else shared * processes
    return min(there, max(1, shared // processes))


def _has_matrix_units() -> bool:
    """Return whether this CPU multiplies bfloat16 matrices several times as fast as float32 ones (AMX)."""
    # Older versions of torch do not tell.
    capabilities = getattr(torch.cpu, "get_capabilities", None)
    return capabilities is not None and bool(capabilities().get("amx_bf16"))


def prepare_data(
    config: DictConfig,
    preprocessing: Preprocessing | None = None,
    pretrained: Preprocessing | None = None,
    directory: Path | None = None,
) -> DataModule:
    """Build the data module, prepare it or take over what an earlier run learnt, and fill the facts in.

    Args:
        config: A composed config.
        preprocessing: What this run learnt when it began; None: the data are prepared.
        pretrained: What they need not learn then, as another run has; see `DataModule.inherited`.
        directory: Where else relative paths may lead from: where the run began.

    Raises:
        ConfigError: If a fact the user typed contradicts the data.
    """
    data: DataModule = build(config.data, "data")
    if directory is not None:
        look_in(data, directory)
    data.pretrained = dict(pretrained or {})
    data.setup_data(preprocessing)
    problems = []
    for name, value in data.facts().items():
        given = config.data.get(name)
        if given is not None and given != value:
            problems.append(
                Problem(f"data.{name}", f"{given} was given, the data have {value}", "leave it out")
            )
        config.data[name] = value
    problems += _unread_categories(config)
    if problems:
        raise ConfigError(problems)
    return data


def _unread_categories(config: DictConfig) -> Iterator[Problem]:
    """Yield the embed of a model that takes rows of numbers, where the data have categories for learnt vectors."""
    for kind, embed in config.model.embeds.items():
        if config.data.get("cardinalities") and "cardinalities" not in embed:
            count = len(config.data.cardinalities)
            text = f"{embed['_target_']} reads no categories, and {count} columns are rich in them"
            hint = "data.max_vectors=0 makes them features; nnkit.embeds.table.TableColumns learns a vector for each"
            yield Problem(f"model.embeds.{kind}", text, hint)


def fix_logging(config: DictConfig, num_batches: int) -> None:
    """Write the steps between two lines of the record into the config: fewer where a run is short.

    Args:
        config: A composed config; what the user has set stays.
        num_batches: Batches of the training split.
    """
    if config.trainer.get("log_every_n_steps") is not None:
        return
    total = count_steps(config, num_batches)[1]
    every = _LOG_EVERY if math.isinf(total) else max(1, min(_LOG_EVERY, int(total) // _POINTS))
    configs.set_values(config.trainer, log_every_n_steps=every)


def make_session(
    config: DictConfig, choices: Mapping[str, Any], data: DataModule, network: Network | None = None
) -> Session:
    """Seed everything and build the task around a network, by default one with fresh weights."""
    lightning.seed_everything(config.seed, verbose=False)
    network = build_network(config) if network is None else network
    if config.trainer.activation_checkpointing and not checkpoint_activations(network.body):
        text = f"{type(network.body).__name__} has no list of layers (nn.ModuleList) to compute a second time"
        problem = Problem("trainer.activation_checkpointing", text, "trainer.activation_checkpointing=false")
        raise ConfigError([problem])
    task: Task = build(
        config.task,
        "task",
        network=network,
        loss=build(with_class_weights(config, data.preprocessing), "loss"),
        target=loss_target(config),
        make_optimizer=lambda module: make_optimizer(config, module),
        make_scheduler=lambda optimizer, steps, epoch: make_scheduler(config, optimizer, steps, epoch),
        interval=config.scheduler.get("interval", "step"),
        monitor=config.monitor,
        **task_of(config).learnt(data.preprocessing),
    )
    task.choose(build_metrics(config, data.preprocessing), directions(config))
    if config.trainer.compile is True:
        compile_losses(config, task, data)
    return Session(config, choices, data, task)


def make_trainer(
    config: DictConfig,
    directory: Path,
    callbacks: list[Callback],
    loggers: list[Any],
    *,
    data: DataModule,
    io: StoreIO | None = None,
    validates: bool = True,
) -> Trainer:
    """Build Lightning's Trainer with exactly these callbacks and loggers.

    Args:
        config: A composed config.
        directory: The run directory.
        callbacks: In the order in which they are called.
        loggers: Lightning loggers.
        data: The data; several processes limit what they evaluate there, as each has its share of every batch.
        io: What writes checkpoints; None for a trainer that only tests.
        validates: Whether there is a validation split.
    """
    node = config.trainer.copy()
    node.precision = resolve_precision(config)
    # `nnkit.callbacks.stopping` ends the run there: Lightning, told of it, resumes an epoch that is over.
    node.max_steps = -1
    plugins: list[Any] = [] if io is None else [io]
    strategy: Strategy | str = "auto"
    found = group()
    if found is not None:
        plugins.append(Joined(found.world))
        node.num_nodes, strategy = found.world.num_nodes, data_parallel()
        if node.strategy == "fsdp" and io is not None and found.world.size > 1:
            strategy = FullySharded(node.precision)
            callbacks = [GatherToEvaluate(), *callbacks, ScatterToTrain()]
            # Gathered weights would be of a kind that cannot be trained.
            configs.set_values(node, inference_mode=False)
        if not _is_list(node.devices):
            node.devices = found.world.local_size
        for name in ("val", "test"):
            data.limits[name] = node[f"limit_{name}_batches"]
            if data.limits[name]:
                node[f"limit_{name}_batches"] = 1.0
    else:
        # Whatever has started this process, as SLURM, whose signals Lightning would answer in ways of its own.
        plugins.append(LightningEnvironment())
        # A run of several processes that one process tests, or goes on with.
        node.num_nodes, node.devices = 1, alone(node)
    configs.remove(node, "strategy")
    if not validates:
        node.limit_val_batches = 0
    if node.get("overfit_batches"):
        # The data deal out the same batches in every epoch; Lightning would put a sampler of its own into the loader.
        node.limit_train_batches = node.overfit_batches
        node.overfit_batches = 0.0
    profiler = node.get("profiler")
    node.profiler = None
    has_checkpoints = any(isinstance(callback, lightning.callbacks.Checkpoint) for callback in callbacks)
    trainer: Trainer = build(
        node,
        "trainer",
        strategy=strategy,
        callbacks=callbacks,
        logger=loggers or False,
        default_root_dir=str(directory),
        plugins=plugins or None,
        enable_checkpointing=has_checkpoints,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )
    if found is not None:
        # Lightning asks before every batch whether SIGTERM has reached the first process. `StopSignal` asks for all.
        trainer.fit_loop.epoch_loop.__dict__["_broadcast_sigterm_tensor"] = lambda: None
    # Lightning sets it from outside the class, where types do not see it.
    trainer.__dict__["profiler"] = make_profiler(None if profiler is None or io is None else str(profiler))
    shorten_steps(trainer)
    for callback in callbacks:
        without_empty_hooks(callback)
    return trainer


def made_whole(session: Session) -> None:
    """Give each process all weights after a training in which they have shared them; all must call this."""
    if is_sharded(session.task):
        state = whole_state(session.task)
        session.task = make_session(session.config, session.choices, session.data).task
        session.task.load_state_dict(state)


def alone(trainer: DictConfig) -> Any:
    """Return the one device of a process that trains alone: the first of those that are listed."""
    devices = trainer.devices
    return [devices[0]] if _is_list(devices) else 1


def _is_list(devices: Any) -> bool:
    return isinstance(devices, Sequence) and not isinstance(devices, str)


def build_all(of: str, config: DictConfig, **injected: Any) -> list[Any]:
    """Build every named node of a group of many (callbacks, loggers)."""
    nodes = config.get(of) or {}
    return [build(node, of, **injected) for node in nodes.values()]
