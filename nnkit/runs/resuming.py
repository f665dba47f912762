"""Go on with a run in its own directory, from its newest valid checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnkit import config as configs
from nnkit import factory
from nnkit.checkpoint.base import Base
from nnkit.checkpoint.formats import KEY
from nnkit.checkpoint.plugin import reopen_epoch
from nnkit.checkpoint.store import CheckpointStore
from nnkit.config import Change, Composition
from nnkit.distributed import collectives
from nnkit.distributed.group import together
from nnkit.errors import ConfigError, Problem, UserError
from nnkit.files import atomic
from nnkit.files.layout import CONFIG
from nnkit.machine import signals
from nnkit.runs import preflight
from nnkit.runs.base import load_state
from nnkit.runs.belonging import check_belongs
from nnkit.runs.fastest import is_measured, settle
from nnkit.runs.fit import Loaded, Result, fit
from nnkit.runs.following import follow, in_processes, launched
from nnkit.runs.run import Run, cpu_capability, find_run, now, start_record, versions
from nnkit.runs.transfer import take_again
from nnkit.ui import report

_log = logging.getLogger("nnkit")
if TYPE_CHECKING:
    from lightning.pytorch import Callback
    from omegaconf import DictConfig

    from nnkit.runs.session import Session


def resume(
    spec: str,
    output_dir: str = "outputs",
    words: Sequence[str] = (),
    allowed: Collection[str] = (),
    show: bool = True,
    *,
    extra: Sequence[Callback] = (),
) -> Result:
    """Continue a run in its own directory from its newest valid checkpoint.

    Args:
        spec: Run directory, unique prefix, or "last".
        output_dir: Where runs are looked for.
        words: Values to change, such as ``trainer.max_epochs=20``.
        allowed: Keys among them that change the arithmetic and may.
        show: Whether to print the table of results.
        extra: Callbacks beside those of the config.

    Raises:
        ConfigError: If a change is refused, with every reason; nothing is written then.
        UserError: If there is no such run, it is finished, or another process trains it.
        EnvironmentFault: If it has checkpoints and none is valid.
    """
    if (found := launched()) is not None and not found.leads:
        return follow(found)
    with together(found):
        run = find_run(spec, Path(output_dir))
        with run.locked():
            return resume_held(run, words, allowed, show, extra)


def resume_held(
    run: Run,
    words: Sequence[str] = (),
    allowed: Collection[str] = (),
    show: bool = True,
    extra: Sequence[Callback] = (),
) -> Result:
    """Continue a run whose directory this process holds; see `resume`.

    Args:
        run: The run.
        words: As for `resume`.
        allowed: As for `resume`.
        show: As for `resume`.
        extra: Callbacks beside those of the config.
    """
    run.refuse_links()
    record = run.record()
    config = configs.load(run.path / CONFIG)
    factory.refuse_untrusted(config)
    newest = load_state(run, "last") if CheckpointStore(run.checkpoints).holds_any() else None
    choices = run.choices() or (newest[1][KEY]["choices"] if newest else {})
    if newest is not None:
        check_belongs(run, config, newest)
    changes, problems = configs.change(config, words, allowed)
    composition = Composition(config, dict(choices))
    problems = problems or preflight.problems(composition)
    if newest is not None:
        problems += [
            Problem(one.key, "is measured where a run begins, and this one has begun", f"{one.key}={one.old}")
            for one in changes
            if is_measured(one.key, config)
        ]
    if problems:
        raise ConfigError([replace(problem, where=problem.where or "config.yaml") for problem in problems])
    newest = _lengthen(run, config, record, newest, changes)
    return in_processes(
        config, lambda: _go_on(run, composition, newest, changes, allowed=allowed, show=show, extra=extra)
    )


def _go_on(
    run: Run,
    composition: Composition,
    newest: Loaded | None,
    changes: Sequence[Change],
    *,
    allowed: Collection[str],
    show: bool,
    extra: Sequence[Callback],
) -> Result:
    config, record = composition.config, run.record()
    session = preflight.preflight_again(composition, run)
    if newest is not None:
        _check_weights(run, session, newest)
        session.base = Base.of(newest[1])
    elif config.init_from is not None:
        take_again(session, run)
    with signals.noted():
        is_compiled = session.task.compiled is not None
        _say(run, record, newest, changes, is_compiled=is_compiled, show=show)
        if changes:
            atomic.write_atomic(run.path / CONFIG, configs.to_yaml(config).encode())
        note = {
            "time": now(),
            "step": newest[0].step if newest else 0,
            "changes": [asdict(one) for one in changes],
            "allowed": sorted(allowed),
        }
        entry = start_record()
        run.update(
            status="running",
            pid=entry["pid"],
            versions=entry["versions"],
            processes=collectives.size(),
            cpu_capability=entry["cpu_capability"],
            end=None,
            error=None,
            resumed=[*record.get("resumed", []), note],
        )
        if newest is None:
            # It was killed before this was done.
            settle(session, run, show)
        return fit(session, run, newest, show, extra)


def _lengthen(
    run: Run, config: DictConfig, record: dict[str, Any], newest: Loaded | None, changes: Sequence[Change]
) -> Loaded | None:
    """Let a run that has ended go on if something was changed that ends it later; refuse it otherwise."""
    longer = any(one.lengthens for one in changes)
    if record.get("status") == "done" and not longer:
        again = (
            f"nnkit train ... init_from={run.path}"
            if configs.has_length(config)
            else f"nnkit resume {run.path}"
        )
        raise UserError(
            f"{run.path} is finished\n    test it with: nnkit test {run.path}\n"
            f"    train it longer with: {again} trainer.max_epochs=..."
        )
    if newest is None or not longer:
        return newest
    manifest, state = newest
    if state[KEY]["stopped"]:
        reopen_epoch(state)
        state[KEY]["stopped"] = False
    return manifest, state


def _check_weights(run: Run, session: Session, newest: Loaded) -> None:
    """Refuse a checkpoint whose tensors the network does not have.

    Raises:
        UserError: With the tensors that differ.
    """
    manifest, state = newest
    there = {name: tuple(tensor.shape) for name, tensor in session.task.upgraded(state["state_dict"]).items()}
    here = {name: tuple(tensor.shape) for name, tensor in session.task.state_dict().items()}
    wrong = [name for name in dict.fromkeys([*there, *here]) if there.get(name) != here.get(name)]
    if wrong:
        lines = [
            f"{name}: {there.get(name, 'missing')} there, {here.get(name, 'missing')} here" for name in wrong
        ]
        raise UserError(
            f"{run.checkpoints / manifest.name} does not fit the model of {run.path / CONFIG}\n    "
            + "\n    ".join(lines[:10])
        )


def _say(
    run: Run,
    record: dict[str, Any],
    newest: Loaded | None,
    changes: Sequence[Change],
    *,
    is_compiled: bool,
    show: bool,
) -> None:
    """Report, to the log at least, where the run goes on, what has changed, and whether other versions are at work."""
    where = report.shorten(run.path)
    if newest is None:
        lines = [f"{where} holds no checkpoint: starting at step 0"]
    else:
        lines = [f"{where}: going on from {newest[0].name}, step {newest[0].step}"]
        processes = len(newest[1][KEY].get("ranks") or [None])
        if processes != collectives.size():
            lines.append(
                f"    exact: no, {processes} -> {collectives.size()} processes: losses agree to rounding, "
                "dropout draws anew"
            )
        if newest[1][KEY].get("is_compiled") and not is_compiled:
            lines.append("    exact: no, it was compiled until now and is not here, so that bits may differ")
    lines += [f"    {one}" for one in changes]
    before, present = record.get("versions") or {}, versions()
    other = [
        f"{name} {before[name]} -> {now}" for name, now in present.items() if before.get(name, now) != now
    ]
    if other:
        lines.append(
            f"    trained with other versions until now, so that bits may differ: {', '.join(other)}"
        )
    earlier, capability = record.get("cpu_capability"), cpu_capability()
    if earlier not in (None, capability):
        lines.append(
            f"    trained with the instructions {earlier} until now, here torch uses {capability}, "
            "so that bits may differ"
        )
    for line in lines:
        _log.info(line.strip())
        if show:
            report.console().print(line, soft_wrap=True, markup=False)
