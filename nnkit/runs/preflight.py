"""Every check that is made before anything is written, in this order, each made once.

1. Words, option files, keys and references: `nnkit.config.examine`.
2. Each node by itself: its class, the names and types of its arguments.
3. The parts, built once for trial without data, and the keys beside them.
4. The trainer, callbacks and loggers; then how all parts go together.
5. The machine: its devices, the output directory, the run that `init_from` names.
6. The data: prepared, then held against the facts, shares of batches and validation that the config asks for.
7. The network: built with its loss, optimizer and schedule tried on it, weights taken over, room on the disk.

`sound` makes the first four, which look at the config alone, and reports all their mistakes together. `look` adds steps
5 and 6, and `preflight` step 7; each of these stops at its first mistake, as it rests on what came before.

| command | steps |
|---|---|
| train, and each trial of a sweep | 1 to 7 |
| check | 1 to 6, data prepared only where the config lacks their facts; 7 as the dry run of `nnkit.analysis` |
| sweep, before its first trial | 1 to 5 |
| resume | 1 to 7, without what was decided when the run began: its directory, `init_from`, what the data told |
| summary | 1 to 4, and the facts of 6 |
"""

from __future__ import annotations

import math
import os
import re
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from nnkit import config as configs
from nnkit.errors import ConfigError, EnvironmentFault, Problem, UserError
from nnkit.factory import build, target_class
from nnkit.factory import soundness as checks
from nnkit.factory.class_weights import class_weight_problems
from nnkit.factory.fence import missing
from nnkit.factory.nodes import signature
from nnkit.factory.trainer_checks import trainer_problems
from nnkit.factory.trial import try_all, try_trainer
from nnkit.runs.compiling import settle_compiling
from nnkit.runs.optimization import check_optimizer, limited
from nnkit.runs.run import Run, exists_already
from nnkit.runs.session import Session, fix_arithmetic, fix_logging, make_session, prepare_data
from nnkit.runs.transfer import Source, prepare, source_of, take_weights

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from nnkit.config import Composition
    from nnkit.data.base import DataModule


@dataclass(frozen=True)
class Ready:
    """A run that can begin.

    Attributes:
        session: Its parts.
        taken: What of another run's weights was taken over, as plain data for the record; None if none was.
    """

    session: Session
    taken: dict[str, Any] | None = None


@dataclass(frozen=True)
class Looked:
    """What `nnkit check` knows of the data.

    Attributes:
        data: The data module.
        is_prepared: Whether the data were prepared; nothing is fetched where the config holds their facts.
        num_samples: Training samples.
    """

    data: DataModule
    is_prepared: bool
    num_samples: int


def sound(composition: Composition | None, found: Sequence[Problem] = ()) -> Composition:
    """Return a composition that nothing is wrong with, as far as the config alone tells: steps 1 to 4.

    Args:
        composition: From `nnkit.config.examine` or `compose`.
        found: Mistakes found while composing, of step 1.

    Raises:
        ConfigError: With every mistake.
    """
    found = [*found, *(problems(composition) if composition is not None else ())]
    if found or composition is None:
        raise ConfigError(found)
    return composition


def problems(composition: Composition) -> list[Problem]:
    """Return every mistake of a composed config, steps 2 to 4; builds parts of it for trial and writes nothing.

    Args:
        composition: From `nnkit.config.compose`; facts about the data may still be null.
    """
    config = checks.for_trial(composition.config)
    nodes, found = checks.read_all(config)
    complete = {key: node for key, node in nodes.items() if node.is_sound}
    partial = [node for node in nodes.values() if not node.is_sound]
    found += try_all(complete, checks.num_outputs(config), checks.target_for(config), partial)
    plain = [*checks.plain_problems(config), *class_weight_problems(composition.config)]
    # The seed also arrives as an argument of the data, where it would be reported by its type alone.
    found = [problem for problem in found if problem.key not in _keys(plain)] + plain
    found += [problem for problem in trainer_problems(composition.config) if problem.key not in _keys(found)]
    if "trainer" in nodes:
        wrong = {key.removeprefix("trainer.").split(".")[0] for key in _keys(found)}
        rest = {name: value for name, value in nodes["trainer"].arguments.items() if name not in wrong}
        found += try_trainer(replace(nodes["trainer"], arguments=rest))
    acting = {key: (node.target, node.group) for key, node in complete.items()}
    found += missing(acting, has_loggers=bool(config.get("logger")))
    if not composition.broken:
        found += checks.fact_problems(composition, config, complete.get("data"))
        found += checks.misfits(config, composition.choices, complete)
    return checks.explained(composition, config, found)


def _keys(found: Sequence[Problem]) -> set[str]:
    return {problem.key for problem in found}


def preflight(composition: Composition) -> Ready:
    """Make steps 5 to 7 for a new run.

    Args:
        composition: From `sound`; what the machine and the data decide is filled into its config.

    Raises:
        ConfigError: If data or network do not do what the config asks of them.
        UserError: If there is no room for the run, or nothing that it could be trained with.
        EnvironmentFault: If the machine does not suffice.
    """
    config = composition.config
    source = check_machine(config, composition.typed_keys)
    fix_arithmetic(config)
    data = prepare(config, source, composition.typed_keys)
    num_batches = _check_splits(config, data)
    fix_logging(config, num_batches)
    settle_compiling(config)
    session = make_session(config, composition.choices, data)
    check_optimizer(config, session.task.network, num_batches)
    taken = None if source is None else take_weights(session, source)
    beneath = frozenset() if session.base is None else frozenset(session.base.names)
    kept = [one for name, one in session.task.named_parameters() if name not in beneath]
    check_space(config, sum(one.numel() * one.element_size() for one in kept))
    return Ready(session, taken)


def preflight_again(composition: Composition, run: Run) -> Session:
    """Make steps 5 to 7 for a run that goes on.

    Args:
        composition: From `sound`, of the saved config with its changes.
        run: The run.

    Raises:
        NnkitError: As `preflight`.
    """
    config = composition.config
    check_devices(config)
    fix_arithmetic(config)
    data = prepare_data(config, run.preprocessing(), directory=run.directory())
    num_batches = _check_splits(config, data)
    settle_compiling(config)
    session = make_session(config, composition.choices, data)
    check_optimizer(config, session.task.network, num_batches)
    return session


def look(composition: Composition) -> Looked:
    """Make steps 5 and 6 without fetching what is not needed.

    Args:
        composition: From `sound`; what the machine and the data decide is filled into its config.

    Raises:
        NnkitError: As `preflight`.
    """
    config = composition.config
    source = check_machine(config, composition.typed_keys)
    fix_arithmetic(config)
    prepared = settle_facts(config, source, composition.typed_keys, hold_typed=True)
    data = prepared or build(config.data, "data")
    num_samples = data.num_train_samples()
    # Some data are at hand without being fetched, and are prepared by being counted.
    if data.preprocessing:
        _check_splits(config, data)
    elif found := list(_empty_shares(config, {"train": math.ceil(num_samples / config.data.batch_size)})):
        raise ConfigError(found)
    return Looked(data, prepared is not None, num_samples)


def check_machine(config: DictConfig, typed: Collection[str] = ()) -> Source | None:
    """Refuse devices that are not here and an output directory that cannot be made, and find what to start from.

    Args:
        config: A composed config; what a directory to start from decides is filled in.
        typed: Keys that the user has set on the command line.

    Raises:
        UserError: If the directory is taken, or there is no run to start from.
        EnvironmentFault: If a device is missing, or the directory cannot be written.
    """
    check_devices(config)
    check_output(Path(config.output_dir), config.name)
    return source_of(config, typed)


def check_devices(config: DictConfig) -> None:
    """Refuse a device this machine does not have.

    Raises:
        EnvironmentFault: If a GPU is demanded where there is none, or more of them than there are.
    """
    wanted, count = str(config.trainer.accelerator), config.trainer.devices
    available = torch.cuda.device_count()
    absent = {
        "cuda": available == 0,
        "gpu": available == 0 and not torch.backends.mps.is_available(),
        "mps": not torch.backends.mps.is_available(),
    }
    if absent.get(wanted, False):
        raise EnvironmentFault(
            f"trainer.accelerator={wanted}: PyTorch finds no such device here\n"
            "    type trainer.accelerator=auto to take what there is, or cpu"
        )
    if wanted in ("cuda", "gpu") and isinstance(count, int) and count > max(available, 1):
        raise EnvironmentFault(f"trainer.devices={count}: there are {available} GPUs here")


def check_output(output_dir: Path, name: str | None) -> None:
    """Refuse a place where no run directory can be made, before any data are loaded.

    Raises:
        UserError: If the directory is a file, or a run of this name exists.
        EnvironmentFault: If it cannot be written.
    """
    existing = output_dir
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise UserError(f"output_dir: {existing} is a file, a directory is needed")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise EnvironmentFault(
            f"output_dir: {existing} cannot be written; type output_dir=DIR for another place"
        )
    if name and (output_dir / name).exists() and not Run(output_dir / name).is_shell():
        raise UserError(exists_already(output_dir / name))


def settle_facts(
    config: DictConfig, source: Source | None = None, typed: Collection[str] = (), *, hold_typed: bool = False
) -> DataModule | None:
    """Fill in the facts the network depends on, preparing the data only where the config does not have them.

    Args:
        config: A composed config.
        source: The run that `init_from` names.
        typed: Keys that the user has set on the command line.
        hold_typed: Whether a fact that was typed is held against the data, which are prepared for it.

    Returns:
        The prepared data, None where there was no need.
    """
    _fill_in_defaults(config)
    content = configs.plain(config)
    referred = set(re.findall(r"\$\{data\.(\w+)\}", str((content["model"]["embeds"], content["head"]))))
    names: tuple[str, ...] = getattr(target_class(config.data, "data"), "fact_names", ())
    held = typed if hold_typed else ()
    open_ = {name for name in names if config.data.get(name) is None or f"data.{name}" in held}
    return prepare(config, source, typed) if referred & open_ else None


def _fill_in_defaults(config: DictConfig) -> None:
    """Give the options of the data that were deleted the default they then have, so that they can be read here."""
    parameters, _ = signature(target_class(config.data, "data"))
    absent = {
        name: parameter.default
        for name, parameter in parameters.items()
        if name not in config.data and isinstance(parameter.default, int | float | str)
    }
    configs.set_values(config.data, **absent)


def _check_splits(config: DictConfig, data: DataModule) -> int:
    """Refuse data whose splits lack what the config asks of them; return the batches of the training split."""
    loaders: dict[str, Any] = {
        "train": data.train_dataloader(),
        "val": data.val_dataloader(),
        "test": data.test_dataloader(),
    }
    counts = {name: len(loader) for name, loader in loaders.items()}
    found = [*_unvalidated(config, data), *_empty_shares(config, counts)]
    if found:
        raise ConfigError(found)
    return counts["train"]


def _unvalidated(config: DictConfig, data: DataModule) -> Iterator[Problem]:
    """Yield what follows a validation metric where nothing is held out for validation: it would never come."""
    if len(data.split("val")):
        return
    waiting = [f"callbacks.{name}" for name in config.get("callbacks") or {} if name == "early_stopping"]
    if "ReduceLROnPlateau" in config.scheduler.get("_target_", ""):
        waiting.append("scheduler")
    for key in waiting:
        text = f"follows {config.monitor}, but nothing is held out for validation"
        yield Problem(key, text, "hold a part out with data.val_fraction=0.1")


def _empty_shares(config: DictConfig, counts: Mapping[str, int]) -> Iterator[Problem]:
    """Yield the shares of the batches that are less than one, and a validation that no epoch is long enough for.

    Args:
        config: A composed config.
        counts: Batches of each split (train, val, test) as far as they are known, train at least.
    """
    trainer = config.trainer
    limits = {f"limit_{name}_batches": count for name, count in counts.items()}
    for key, count in {**limits, "overfit_batches": counts["train"]}.items():
        share = trainer[key]
        if isinstance(share, float) and share > 0 and int(count * share) == 0 < count:
            yield Problem(
                f"trainer.{key}", f"{share} of {count} batches is none", f"a count: trainer.{key}=1"
            )
    interval = trainer.val_check_interval
    length = limited(trainer.overfit_batches or trainer.limit_train_batches, counts["train"])
    if trainer.check_val_every_n_epoch is not None and isinstance(interval, int) and interval > length > 0:
        text = f"an epoch has {length} batches, and {interval} are never reached"
        hint = "trainer.check_val_every_n_epoch=null counts on over the epochs"
        yield Problem("trainer.val_check_interval", text, hint)


def check_space(config: DictConfig, num_bytes: int) -> None:
    """Refuse a disk on which not even one checkpoint and its successor have room, before anything is written.

    Args:
        config: The config.
        num_bytes: Bytes of the parameters.

    Raises:
        EnvironmentFault: If there is too little space.
    """
    if not any("keep_last" in node for node in (config.get("callbacks") or {}).values()):
        return
    place = Path(config.output_dir).absolute()
    while not place.exists():
        place = place.parent
    # Most optimizers keep two numbers beside each parameter; a new checkpoint is written before an old one goes.
    needed, free = 2 * 3 * num_bytes, shutil.disk_usage(place).free
    if free < needed:
        raise EnvironmentFault(
            f"output_dir: {place} has {free:,} bytes left, and two checkpoints of this network need about {needed:,}\n"
            "    type output_dir=DIR for another place, or callbacks=[progress] to keep no checkpoints"
        )
