"""Have as many processes as a config asks for: the first one leads, the others follow it here."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnkit import config as configs
from nnkit.callbacks.progress import Progress
from nnkit.callbacks.record import Record
from nnkit.callbacks.signals import StopSignal
from nnkit.checkpoint.base import Base
from nnkit.checkpoint.formats import KEY
from nnkit.checkpoint.plugin import StoreIO, reopen_epoch
from nnkit.checkpoint.store import CheckpointStore
from nnkit.distributed.group import Group, group, join, start, together
from nnkit.distributed.world import read_world, unfit
from nnkit.errors import ConfigError, EnvironmentFault, NnkitError, Problem
from nnkit.factory import refuse_untrusted
from nnkit.files.layout import LOGS
from nnkit.machine import signals
from nnkit.machine.faults import explained
from nnkit.runs.base import completed
from nnkit.runs.fit import Loaded, Result, evaluate, own_share, run_trainer, trainer_of
from nnkit.runs.reopen import open_run
from nnkit.runs.run import Run
from nnkit.runs.session import (
    ALL,
    Session,
    build_all,
    fix_arithmetic,
    made_whole,
    make_session,
    prepare_data,
    wanted,
)
from nnkit.ui import logs

_log = logging.getLogger("nnkit")

if TYPE_CHECKING:
    from omegaconf import DictConfig


def launched() -> Group | None:
    """Join the processes that torchrun, srun or nnkit has started, if one of them has started this one."""
    if group() is not None:
        return group()
    world = read_world()
    return None if world is None else join(world)


def in_processes(config: DictConfig, train: Callable[[], Result]) -> Result:
    """Train in as many processes as a config asks for; the others wait for what `fit` tells them.

    Args:
        config: A composed config.
        train: Leads the training.

    Raises:
        ConfigError: If others were started than the config asks for.
        PeerEnded: If one of them has ended.
    """
    found, trainer = group(), config.trainer
    is_own = found is None
    if found is not None:
        devices = "auto" if str(trainer.devices) in ALL else wanted(config)
        if (text := unfit(found.world, devices, trainer.num_nodes)) is not None:
            raise ConfigError([Problem("trainer.devices", text)])
    elif trainer.num_nodes not in (1, "auto"):
        text = f"{trainer.num_nodes} machines train together where torchrun or srun has started the command on each"
        raise ConfigError([Problem("trainer.num_nodes", text, "trainer.num_nodes=1")])
    elif (size := wanted(config)) > 1:
        found = start(size, __name__)
    try:
        with together(found):
            result = train()
            if found is not None:
                found.channel.send(over=str(result.run.path))
            return result
    finally:
        if found is not None and is_own:
            found.close()


def follow(found: Group) -> Result:
    """Train together with the first process, which decides and writes, what that one trains next.

    What this process has to say goes into a file of its own below the run directory.

    Args:
        found: The processes.

    Raises:
        PeerEnded: If the first process has ended, for its reason.
        NnkitError: For what has happened here alone, such as data that cannot be read.
    """
    result = None
    with together(found), logs.off_the_terminal():
        while "over" not in (job := found.channel.receive()):
            run = Run(Path(job["run"]))
            log = run.path / LOGS / f"rank-{found.world.rank}.log"
            log.parent.mkdir(exist_ok=True)
            found.channel.before_leaving = partial(_log.info, "%s")
            with logs.to_file(log), signals.noted():
                try:
                    with explained():
                        result = _train(job, run)
                except NnkitError as error:
                    _log.info("%s", error)
                    raise
                except Exception:
                    _log.exception("process %d of the run has ended", found.world.rank)
                    raise
        if result is None:
            # It was trained already.
            run = Run(Path(job["over"]))
            result = Result(run, run.record().get("metrics") or {}, 0.0, open_run(run).session)
    return result


def _train(job: Mapping[str, Any], run: Run) -> Result:
    session = _session_of(job, run)
    store = CheckpointStore(run.checkpoints)
    checkpoint = None if job["checkpoint"] is None else _checkpoint_of(run, store, job)
    io = StoreIO(store, lambda: None, own_share(checkpoint))
    chosen = [one for one in build_all("callbacks", session.config) if not isinstance(one, Progress)]
    trainer = trainer_of(
        session, run, Record(run.path), chosen=chosen, loggers=[], io=io, checkpoint=checkpoint
    )
    run_trainer(session, trainer, store, checkpoint)
    io.flush()
    made_whole(session)
    return Result(run, evaluate(session, run.path, [StopSignal()]), 0.0, session)


def _session_of(job: Mapping[str, Any], run: Run) -> Session:
    """Build the parts of a run as the first process has them."""
    config = configs.from_yaml(job["config"])
    refuse_untrusted(config)
    fix_arithmetic(config)
    data = prepare_data(config, job["preprocessing"], directory=run.directory())
    session = make_session(config, job["choices"], data)
    session.base = None if job["base"] is None else Base.parse(job["base"])
    return session


def _checkpoint_of(run: Run, store: CheckpointStore, job: Mapping[str, Any]) -> Loaded:
    """Read the checkpoint that the first process goes on from.

    Raises:
        EnvironmentFault: If this process finds another one, or none.
    """
    name, sha256 = job["checkpoint"]
    found = next((one for one in store.manifests() if one.name == name), None)
    if found is None or found.sha256 != sha256:
        raise EnvironmentFault(
            f"{store.directory / name} is not what the first process of the run sees there\n"
            "    all machines must see the same run directory: type output_dir=DIR on a disk that they share"
        )
    state = completed(run, found, store.state(found))
    if state[KEY]["stopped"] and not job["stopped"]:
        reopen_epoch(state)
        state[KEY]["stopped"] = False
    return found, state


def follow_as_command(found: Group) -> int:
    """Follow the first process to its end and return the exit code; it says what there is to say.

    Args:
        found: The processes.
    """
    try:
        follow(found)
    except NnkitError as error:
        # The first process has the sentence.
        return error.exit_code
    found.close()
    return 0


def main() -> int:
    """Follow, in a process that nnkit has started, the one that has started it; return the exit code."""
    signals.ignore_at_exit()
    signals.take()
    logs.set_up()
    try:
        found = launched()
        assert found is not None
        return follow_as_command(found)
    except signals.Stopped as stopped:
        return 128 + stopped.number


if __name__ == "__main__":
    sys.exit(main())
