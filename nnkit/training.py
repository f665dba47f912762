"""Train a composed config in a new run directory, or go on with a run in its own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nnkit import build, report
from nnkit import config as configs
from nnkit.checkpoint import files
from nnkit.checkpoint.store import CheckpointStore
from nnkit.errors import ConfigError, EnvironmentFault, Problem, UserError
from nnkit.fit import Result, fit
from nnkit.run import CONFIG, PREPROCESSING, Run, find_run, now, start_record
from nnkit.session import (
    check_devices,
    check_validation,
    fix_arithmetic,
    make_session,
    prepare_data,
    resolve_precision,
)
from nnkit.transfer import take_weights

if TYPE_CHECKING:
    from nnkit.config import Composition


def train(composition: Composition | None, problems: Sequence[Problem] = (), show: bool = True) -> Result:
    """Train a composed config in a new run directory, then test the best checkpoint.

    Args:
        composition: From `nnkit.config.examine` or `compose`.
        problems: Mistakes found while composing; those of building are added to them.
        show: Whether to print the table of results.

    Raises:
        ConfigError: If the config is wrong, with every mistake; nothing is written then.
        NnkitError: For everything else a user can mend.
    """
    if composition is None:
        raise ConfigError(problems)
    found = [*problems, *build.problems(composition)]
    if found:
        raise ConfigError(found)
    config = composition.config
    check_devices(config)
    check_output(Path(config.output_dir), config.name)
    fix_arithmetic(config)
    data = prepare_data(config)
    check_validation(config, data)
    session = make_session(config, composition.choices, data)
    if config.init_from is not None:
        take_weights(session.task.network, config.init_from, Path(config.output_dir))
    label = f"{composition.choices['model']}-{composition.choices['data']}"
    run = Run.create(Path(config.output_dir), label, config.name)
    with run.locked():
        files.write_atomic(run.path / CONFIG, configs.to_yaml(config).encode())
        files.write_json(run.path / PREPROCESSING, data.preprocessing)
        run.update(
            **start_record(),
            choices=dict(composition.choices),
            overrides=list(composition.overrides),
            seed=config.seed,
            threads=config.trainer.num_threads,
            precision=resolve_precision(config),
            data_fingerprint=data.preprocessing.get("fingerprint"),
            parameters=sum(p.numel() for p in session.task.network.parameters() if p.requires_grad),
        )
        return fit(session, run, None, show)


def resume(spec: str, output_dir: str = "outputs", show: bool = True) -> Result:
    """Continue a run in its own directory from its newest valid checkpoint.

    Args:
        spec: Run directory, unique prefix, or "last".
        output_dir: Where runs are looked for.
        show: Whether to print the table of results.

    Raises:
        UserError: If there is no such run, it is finished, or another process trains it.
    """
    run = find_run(spec, Path(output_dir))
    with run.locked():
        if run.record().get("status") == "done":
            raise UserError(f"{run.path} is finished; test it with: nnkit test {run.path}")
        config, choices = configs.load(run.path / CONFIG)
        choices = choices or run.record()["choices"]
        build.refuse_untrusted(config)
        check_devices(config)
        fix_arithmetic(config)
        session = make_session(config, choices, prepare_data(config, run.preprocessing()))
        store = CheckpointStore(run.checkpoints)
        newest = store.load("last") if store.manifests() else None
        if newest is None:
            report.console().print(f"{report.shorten(run.path)} holds no checkpoint: starting at step 0")
        run.update(
            status="running",
            pid=start_record()["pid"],
            end=None,
            resumed=[*run.record().get("resumed", []), now()],
        )
        return fit(session, run, newest, show)


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
    if name and (output_dir / name).exists():
        path = output_dir / name
        raise UserError(
            f"name: {path} exists already\n    continue it with: nnkit resume {path}\n    or choose another name="
        )
