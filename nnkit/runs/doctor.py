"""What is in a run directory, which files are sound, and what to type next."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nnkit import config as configs
from nnkit import factory
from nnkit.checkpoint.formats import KEY
from nnkit.checkpoint.manifest import Finding
from nnkit.checkpoint.store import CheckpointStore
from nnkit.errors import ConfigError, NnkitError, UserError
from nnkit.files import atomic
from nnkit.files.json_limits import parse_json
from nnkit.files.layout import CONFIG, METRICS, PREPROCESSING, RECORD
from nnkit.files.paths import expand
from nnkit.runs.belonging import check_belongs
from nnkit.runs.metrics_log import log_lines
from nnkit.runs.run import Run, find_run

_AGREEMENT = "agreement"


@dataclass
class Report:
    """What was found out about a run directory.

    Attributes:
        rows: What was looked at, what came out, and a word about it; a row with an exclamation mark is a problem.
        findings: The checkpoints, newest first.
        problems: Files that are damaged or missing.
    """

    rows: list[tuple[str, str, str]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    problems: set[str] = field(default_factory=set)

    def add(self, what: str, result: str, word: str = "", bad: bool = False) -> None:
        """Add a row."""
        self.rows.append((f"{'!' if bad else ' '} {what}", result, word))
        if bad:
            self.problems.add(what)

    @property
    def valid(self) -> list[Finding]:
        """The checkpoints that can be used."""
        return [finding for finding in self.findings if not finding.problem]


def find_damaged(spec: str, output_dir: Path) -> Run:
    """Find a run, even one that has lost its config.

    Args:
        spec: Run directory, the beginning of its name, or "last".
        output_dir: Where runs are looked for by name.

    Raises:
        UserError: If there is no such run.
    """
    path = expand(spec)
    if any((path / name).exists() for name in (CONFIG, RECORD, METRICS, "checkpoints")):
        return Run(path)
    return find_run(spec, output_dir)


def examine(run: Run) -> Report:
    """Look at every file of a run directory.

    Args:
        run: The run; it is only read.
    """
    report = Report()
    _examine_links(run, report)
    _examine_record(run, report)
    config_is_sound = _examine_config(run, report)
    _examine_checkpoints(run, report)
    _examine_metrics(run, report)
    _examine_preprocessing(run, report)
    if config_is_sound and report.valid:
        _examine_agreement(run, report)
    return report


def _examine_links(run: Run, report: Report) -> None:
    try:
        run.refuse_links()
    except UserError as error:
        report.add("links", "one leads out", str(error), bad=True)


def _examine_record(run: Run, report: Report) -> None:
    record, status = run.record(), run.status()
    if not record:
        report.add(
            RECORD, "missing or garbled", "status and versions are lost, the run itself is not", bad=True
        )
        return
    step = f" at step {record['step']}" if record.get("step") is not None else ""
    word = {"failed": str(record.get("error") or ""), "running": f"by process {record.get('pid')}"}.get(
        status, ""
    )
    report.add("status", f"{status}{step}", word)
    resumed = record.get("resumed") or []
    if resumed:
        report.add("resumed", f"{len(resumed)} times")


def _examine_config(run: Run, report: Report) -> bool:
    try:
        config = configs.load(run.path / CONFIG)
        factory.refuse_untrusted(config)
    except ConfigError as error:
        report.add(CONFIG, "refused", str(error.problems[0]).splitlines()[0], bad=True)
    except UserError as error:
        missing = not (run.path / CONFIG).exists()
        report.add(
            CONFIG, "missing" if missing else "cannot be read", "" if missing else str(error), bad=True
        )
    else:
        report.add(CONFIG, "sound")
        return True
    return False


def _examine_checkpoints(run: Run, report: Report) -> None:
    report.findings = CheckpointStore(run.checkpoints).inspect()
    if not report.findings:
        lost = (run.checkpoints / "index.json").exists()
        report.add("checkpoints", "none", "there were some, the index says" if lost else "", bad=lost)
    best = next((finding.manifest.best for finding in report.valid if finding.manifest is not None), None)
    for finding in report.findings:
        # What a kill during a save leaves beside good ones is no damage.
        leftover = finding.is_leftover and bool(report.valid)
        report.add(*_describe(finding, best), bad=bool(finding.problem) and not leftover)


def _describe(finding: Finding, best: str | None) -> tuple[str, str, str]:
    manifest = finding.manifest
    if manifest is None:
        return finding.name, "no checkpoint", finding.problem
    facts = f"step {manifest.step}, epoch {manifest.epoch + 1}, {manifest.size:,} bytes"
    score = f"{manifest.monitor} {manifest.score:.4g}" if manifest.score is not None else ""
    if finding.problem:
        return finding.name, f"damaged ({facts})", finding.problem
    return (
        finding.name,
        f"valid, {facts}",
        " ".join(filter(None, [score, "(best)" if finding.name == best else ""])),
    )


def _examine_metrics(run: Run, report: Report) -> None:
    path = run.path / METRICS
    try:
        # To open a pipe would be to wait for its writer.
        whole = _whole_lines(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        report.add(METRICS, "cannot be read", reason, bad=bool(report.valid))
        return
    expected = _newest_state(run, report).get("num_lines") or 0
    beyond = whole - expected
    if whole < expected:
        report.add(
            METRICS,
            f"{whole} lines",
            f"the newest checkpoint counts {expected}: some are lost",
            bad=True,
        )
    else:
        done = run.status() == "done"
        word = (
            ""
            if done or not beyond or not report.valid
            else f"{beyond} after the newest checkpoint: written again"
        )
        report.add(METRICS, f"{whole} lines", word)


def _whole_lines(path: Path) -> int:
    """Return how many lines can be read until one cannot: the last of a run that was killed while it wrote."""
    count, decode = 0, json.JSONDecoder().raw_decode
    for count, line in enumerate(log_lines(path), 1):
        try:
            # A line of ours ends where its object does; another form is parsed as any JSON is.
            text = line.decode()
            if text[decode(text)[1] :] == "\n":
                continue
        except (ValueError, RecursionError):
            pass
        try:
            parse_json(line)
        except ValueError:
            return count - 1
    return count


def _examine_preprocessing(run: Run, report: Report) -> None:
    try:
        learnt = run.preprocessing()
    except UserError as error:
        report.add(PREPROCESSING, "missing or garbled", str(error), bad=True)
        return
    wanted = _newest_state(run, report).get("preprocessing_sha256")
    if wanted is not None and atomic.sha256(atomic.canonical(learnt)) != wanted:
        report.add(
            PREPROCESSING, "changed", "it is not the one the newest checkpoint was trained with", bad=True
        )
    else:
        report.add(PREPROCESSING, "sound", f"data {str(learnt.get('fingerprint', '?'))[:12]}")


def _examine_agreement(run: Run, report: Report) -> None:
    config = configs.load(run.path / CONFIG)
    try:
        newest = CheckpointStore(run.checkpoints).load("last")
        check_belongs(run, config, newest)
    except NnkitError as error:
        if PREPROCESSING not in report.problems:
            report.add(_AGREEMENT, "config and checkpoint differ", " ".join(str(error).split()), bad=True)


def _newest_state(run: Run, report: Report) -> dict[str, Any]:
    """Return what the newest valid checkpoint says beside Lightning's state; empty if there is none."""
    newest = next((finding.manifest for finding in report.valid), None)
    if newest is None:
        return {}
    try:
        state: dict[str, Any] = CheckpointStore(run.checkpoints).state(newest)[KEY]
    except ValueError:
        # Pruned by a run that goes on, since it was looked at.
        return {}
    return state


def advice(run: Run, report: Report) -> str:
    """Return what to type next.

    Args:
        run: The run.
        report: From `examine`.
    """
    path, record, lost = shlex.quote(str(run.path)), run.record(), report.problems
    pid, again = record.get("pid", "?"), shlex.join(["nnkit", "train", *record.get("overrides", [])])
    writes = run.choices().get("task") == "language_modeling"
    use = f"generate {path} --prompt TEXT" if writes else f"predict {path} FILE"
    cases = (
        (run.held(), f"process {pid} trains it; Ctrl-C there or kill {pid} saves and stops it"),
        (
            CONFIG in lost and bool(report.valid),
            f"nnkit doctor {path} --repair   (the checkpoint holds the config)",
        ),
        (
            bool({CONFIG, PREPROCESSING} & lost),
            f"what is missing cannot be had from the rest; start again: {again}",
        ),
        (bool(report.findings) and not report.valid, f"no valid checkpoint is left; start again: {again}"),
        (_AGREEMENT in lost, f"put back the config.yaml that belongs here, or start again: {again}"),
        (run.status() == "done", f"nnkit test {path}   or   nnkit {use}"),
        (bool(report.valid), f"nnkit resume {path}"),
    )
    return next((text for applies, text in cases if applies), f"nnkit resume {path}   (starts at step 0)")


def repair(run: Run, report: Report) -> None:
    """Write a config.yaml that is lost or garbled again, from the newest valid checkpoint.

    Raises:
        UserError: If there is nothing to repair, or nothing to repair it from.
    """
    state = _newest_state(run, report)
    if CONFIG not in report.problems:
        raise UserError(f"{run.path / CONFIG} is sound: there is nothing that could be repaired")
    if not state:
        raise UserError(f"{run.path} holds no valid checkpoint to take the config from")
    config = configs.from_yaml(state["config"])
    factory.refuse_untrusted(config)
    with run.locked():
        atomic.write_atomic(run.path / CONFIG, configs.to_yaml(config).encode())
