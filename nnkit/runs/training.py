"""Train a composed config in a new run directory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from logging import LogRecord
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnkit import config as configs
from nnkit.distributed import collectives
from nnkit.distributed.group import together
from nnkit.errors import Problem, UserError
from nnkit.files import atomic
from nnkit.files.layout import CONFIG, LOG, PREPROCESSING
from nnkit.machine import signals
from nnkit.runs.fastest import is_measured, is_open, settle
from nnkit.runs.fit import Result, fit
from nnkit.runs.following import follow, in_processes, launched
from nnkit.runs.optimization import resolve_precision
from nnkit.runs.preflight import Ready, preflight, sound
from nnkit.runs.reopen import open_run
from nnkit.runs.resuming import resume_held
from nnkit.runs.run import Run, exists_already, model_name, start_record
from nnkit.runs.transfer import comes_along
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
    if (found := launched()) is not None and not found.leads:
        return follow(found)
    with together(found):
        composition = sound(composition, problems)
    return in_processes(composition.config, lambda: _train(composition, show, extra))


def _train(composition: Composition, show: bool, extra: Sequence[Callback]) -> Result:
    config = composition.config
    if (earlier := _earlier(config)) is not None:
        return _continue(earlier, composition, show, extra)
    with logs.remembered() as said:
        ready = preflight(composition)
    label = f"{model_name(composition.choices, ready.taken)}-{composition.choices['data']}"
    run = Run.create(Path(config.output_dir), label, config.name)
    with run.locked(), signals.noted():
        _begin(run, composition, ready, said)
        settle(ready.session, run, show)
        return fit(ready.session, run, None, show, extra)


def _begin(run: Run, composition: Composition, ready: Ready, said: Sequence[LogRecord]) -> None:
    """Write what a new run has before it is trained."""
    config, session = composition.config, ready.session
    learnt = session.data.preprocessing
    if (run.path / CONFIG).exists():
        # Another process has begun it since it was looked for.
        raise UserError(exists_already(run.path))
    atomic.write_json(run.path / PREPROCESSING, learnt)
    run.update(
        **start_record(),
        choices=dict(composition.choices),
        overrides=list(composition.overrides),
        seed=config.seed,
        threads=config.trainer.num_threads,
        processes=collectives.size(),
        precision=resolve_precision(config),
        data_fingerprint=learnt.get("fingerprint"),
        better=dict(session.task.better),
        parameters=sum(p.numel() for p in session.task.network.parameters() if p.requires_grad),
        init_from=_beside(ready.taken, run),
        **{name: learnt[name] for name in ("class_names", "class_counts") if name in learnt},
    )
    # Last, as a directory with a config is a run that can be resumed.
    text = configs.to_yaml(config)
    atomic.write_atomic(run.path / CONFIG, text.encode())
    # Sentences on the data name their files, and a path taken from the environment may be a secret.
    if "${oc.env:" not in text:
        logs.write(run.path / LOG, said)


def _beside(taken: dict[str, Any] | None, run: Run) -> dict[str, Any] | None:
    """Return what was taken from another run, and where that one lies as seen from this one."""
    if taken is None:
        return None
    return {**taken, "beside": os.path.relpath(taken.get("run") or taken["directory"], run.path.resolve())}


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
    saved = configs.load(run.path / CONFIG)
    changed = {change["key"] for note in run.resumptions() for change in note["changes"]}
    settled = (run.record().get("init_from") or {}).get("settings", {})
    found = [
        one
        for one in configs.differing(configs.flat(saved), configs.flat(composition.config))
        # Facts and threads are null in a command and filled in where the run was started.
        if one.new is not None
        and one.key not in {*changed, "auto_resume", "name", "output_dir"}
        and not (saved.init_from is not None and comes_along(one.key))
        and (one.key not in settled or one.key in composition.typed_keys)
        and not (is_measured(one.key, composition.config) and not is_open(saved))
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
