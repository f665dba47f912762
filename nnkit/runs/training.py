"""Train a composed config in a new run directory."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nnkit import config as configs
from nnkit import factory
from nnkit.errors import ConfigError, EnvironmentFault, Problem, UserError
from nnkit.files import atomic
from nnkit.files.layout import CONFIG, LOG, PREPROCESSING
from nnkit.machine import signals
from nnkit.runs.fit import Result, fit
from nnkit.runs.optimization import check_optimizer, resolve_precision
from nnkit.runs.reopen import open_run
from nnkit.runs.resuming import resume_held
from nnkit.runs.run import Run, exists_already, start_record
from nnkit.runs.session import (
    check_batches,
    check_devices,
    check_validation,
    count_batches,
    fix_arithmetic,
    fix_logging,
    make_session,
)
from nnkit.runs.transfer import comes_along, prepare, take_weights
from nnkit.ui import logs, report

if TYPE_CHECKING:
    from lightning.pytorch import Callback
    from omegaconf import DictConfig

    from nnkit.config import Composition


def train(
    composition: Composition | None,
    problems: Sequence[Problem] = (),
    show: bool = True,
    extra: Sequence[Callback] = (),
) -> Result:
    """Train a composed config in a new run directory, then test the best checkpoint.

    Args:
        composition: From `nnkit.config.examine` or `compose`.
        problems: Mistakes found while composing; those of building are added to them.
        show: Whether to print the table of results.
        extra: Callbacks beside those of the config.

    Raises:
        ConfigError: If the config is wrong, with every mistake; nothing is written then.
        NnkitError: For everything else a user can mend.
    """
    if composition is None:
        raise ConfigError(problems)
    found = [*problems, *factory.problems(composition)]
    if found:
        raise ConfigError(found)
    config = composition.config
    if (earlier := _earlier(config)) is not None:
        return _continue(earlier, composition, show, extra)
    check_devices(config)
    check_output(Path(config.output_dir), config.name)
    fix_arithmetic(config)
    with logs.remembered() as said:
        data, source = prepare(config, composition.typed_keys)
        check_validation(config, data)
        counts = count_batches(data)
        check_batches(config, counts)
        fix_logging(config, counts["train"])
        session = make_session(config, composition.choices, data)
        check_optimizer(config, session.task.network, counts["train"])
        taken = None if source is None else take_weights(session, source)
    check_space(config, sum(p.numel() * p.element_size() for p in session.task.parameters()))
    label = f"{composition.choices['model']}-{composition.choices['data']}"
    run = Run.create(Path(config.output_dir), label, config.name)
    with run.locked(), signals.noted():
        if (run.path / CONFIG).exists():
            # Another process has begun it since it was looked for.
            raise UserError(exists_already(run.path))
        atomic.write_json(run.path / PREPROCESSING, data.preprocessing)
        run.update(
            **start_record(),
            choices=dict(composition.choices),
            overrides=list(composition.overrides),
            seed=config.seed,
            threads=config.trainer.num_threads,
            precision=resolve_precision(config),
            data_fingerprint=data.preprocessing.get("fingerprint"),
            better=dict(session.task.metrics),
            parameters=sum(p.numel() for p in session.task.network.parameters() if p.requires_grad),
            init_from=taken,
        )
        # Last, as a directory with a config is a run that can be resumed.
        text = configs.to_yaml(config)
        atomic.write_atomic(run.path / CONFIG, text.encode())
        # Sentences on the data name their files, and a path taken from the environment may be a secret.
        if "${oc.env:" not in text:
            logs.write(run.path / LOG, said)
        return fit(session, run, None, show, extra)


def _earlier(config: DictConfig) -> Run | None:
    """Return the run that `auto_resume` is to go on with, if there is one."""
    if not config.auto_resume or not (Path(config.output_dir) / config.name / CONFIG).is_file():
        return None
    return Run(Path(config.output_dir) / config.name)


def _continue(run: Run, composition: Composition, show: bool, extra: Sequence[Callback]) -> Result:
    """Go on with an interrupted run if the command is the one it was started with; leave one alone that is done.

    Raises:
        UserError: If the command says otherwise than the run's config.
    """
    saved, _ = configs.load(run.path / CONFIG)
    factory.refuse_untrusted(saved)
    changed = {change["key"] for note in run.resumptions() for change in note["changes"]}
    found = [
        one
        for one in configs.differing(configs.flat(saved), configs.flat(composition.config))
        # Facts and threads are null in a command and filled in where the run was started.
        if one.new is not None
        and one.key not in {*changed, "auto_resume", "name", "output_dir"}
        and not (saved.init_from is not None and comes_along(one.key))
    ]
    if found:
        lines = "\n    ".join(
            f"{one.key}: {one.old!r} in the run, {one.new!r} in the command" for one in found
        )
        raise UserError(
            f"auto_resume: {run.path} was started with another config\n    {lines}\n"
            f"    what may change is changed with: nnkit resume {run.path} KEY=VALUE"
        )
    record = run.record()
    if record.get("status") != "done":
        with run.locked():
            return resume_held(run, show=show, extra=extra)
    if show:
        facts = {"run": f"{report.shorten(run.path)} is done"}
        report.console().print(report.results_table(record["metrics"], facts, f"{run.path.name}"))
    return Result(run, record["metrics"], record["seconds"], open_run(run).session)


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
