"""`nnkit check`: is this config sound? shapes, memory, time and disk; trains and downloads nothing."""

from __future__ import annotations

import argparse
import math
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from nnkit.cli.verbs.summary import sound
from nnkit.ui.terminal import show, table

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from nnkit.analysis.dry_run import Rehearsal
    from nnkit.config import Composition
    from nnkit.data.base import DataModule

# Checkpoints beside those that are kept: the best one, and the one being written.
_MORE_CHECKPOINTS = 2
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


class _Finding(NamedTuple):
    """One line of the table: what was checked, what came out, and what is wrong or worth a word."""

    what: str
    result: str
    word: str = ""
    is_bad: bool = False


def main(arguments: list[str]) -> int:
    """Check the config the arguments compose; return 1 if this machine is too small for it."""
    parser = argparse.ArgumentParser(
        prog="nnkit check",
        description="Check a config: its keys, shapes, memory, time and disk space; train and download nothing.",
        epilog="Exit codes: 0 sound; 2 a mistake in the config; 1 memory, disk or device do not suffice.",
    )
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="as for nnkit train: model=lenet5")
    parser.add_argument("--config-dir", metavar="DIR", help="a directory with more option files")
    given = parser.parse_args(arguments)
    composition = sound(given.overrides, given.config_dir)
    findings = _check(composition)
    rows = [(f"{'!' if found.is_bad else ' '} {found.what}", found.result, found.word) for found in findings]
    show(table(("  checked", "result", ""), rows, _title(composition)))
    return 1 if any(finding.is_bad for finding in findings) else 0


def _title(composition: Composition) -> str:
    return "  ".join(
        f"{group}={composition.choices[group]}" for group in ("model", "data", "loss", "optimizer")
    )


def _check(composition: Composition) -> list[_Finding]:
    from nnkit.analysis.dry_run import pick_device, rehearse, settle_facts
    from nnkit.analysis.shapes import format_shape
    from nnkit.factory import build
    from nnkit.runs.optimization import resolve_precision
    from nnkit.runs.run import find_run
    from nnkit.runs.session import check_devices, fix_arithmetic
    from nnkit.runs.training import check_output

    config = composition.config
    check_devices(config)
    check_output(Path(config.output_dir), config.name)
    if config.init_from is not None:
        find_run(config.init_from, Path(config.output_dir))
    fix_arithmetic(config)
    prepared = settle_facts(config, composition.typed_keys, hold_typed=True)
    data = prepared or build(config.data, "data")
    num_samples = _samples(config, data)
    # A batch holds all samples at most.
    size, config.data.batch_size = config.data.batch_size, min(config.data.batch_size, num_samples)
    found = rehearse(config, composition.choices, math.ceil(num_samples / config.data.batch_size))
    parameters = sum(layer.trainable for layer in found.layers)
    device = f"{pick_device(config)}, {resolve_precision(config)}, {config.trainer.num_threads} threads"
    memory, fits = _memory(composition, found)
    return [
        _Finding("config", "keys, values, types and how the parts go together"),
        _Finding("data", "prepared" if prepared else "facts from the config, nothing fetched"),
        _Finding("shapes", f"{format_shape(found.inputs)} -> {format_shape(found.layers[-1].output)}"),
        _Finding("loss", f"{composition.choices['loss']}: one number, with a gradient"),
        _Finding("parameters", f"{parameters:,} trained"),
        _Finding("device", device),
        memory,
        *(_time(composition, found, data, num_samples) if fits else []),
        *(
            [_Finding("batch size", f"{size} is more than there are training samples")]
            if size > num_samples
            else []
        ),
        _disk(composition, found, num_samples),
    ]


def _samples(config: DictConfig, data: DataModule) -> int:
    """Return the number of training samples; the splits must do for the validation and the lengths wanted."""
    from nnkit.runs.session import check_batches, check_validation, count_batches

    num_samples = data.num_train_samples()
    # Where nothing is prepared, nothing is fetched for it either.
    counts = {"train": math.ceil(num_samples / config.data.batch_size)}
    if data.preprocessing:
        check_validation(config, data)
        counts = count_batches(data)
    check_batches(config, counts)
    return num_samples


def _memory(composition: Composition, found: Rehearsal) -> tuple[_Finding, bool]:
    from nnkit.analysis.dry_run import pick_device
    from nnkit.factory.memory import available_memory

    need, free = found.memory, available_memory(pick_device(composition.config))
    parts = {
        "parameters": need.parameters,
        "gradients": need.gradients,
        "optimizer": need.optimizer,
        "activations": need.activations,
    }
    result = " + ".join(f"{name} {_size(size)}" for name, size in parts.items())
    fits = free is None or need.total < free
    word = f"{_size(need.total)}" + (f" of {_size(free)} free" if free is not None else "")
    if not fits:
        word += ": too little; try a smaller data.batch_size"
    return _Finding("memory, about", result, word, not fits), fits


def _time(composition: Composition, found: Rehearsal, data: DataModule, num_samples: int) -> list[_Finding]:
    from nnkit.analysis.timing import count_validations, measure_pace
    from nnkit.runs.optimization import count_steps, limited

    config = composition.config
    pace = measure_pace(config, composition.choices, found, data)
    # Where nothing is prepared, nothing is fetched for it either.
    all_batches = (
        len(data.train_dataloader())
        if data.preprocessing
        else math.ceil(num_samples / config.data.batch_size)
    )
    batches = limited(config.trainer.overfit_batches or config.trainer.limit_train_batches, all_batches)
    per_epoch, steps = count_steps(config, all_batches)
    epoch = pace.batch * batches + pace.epoch
    result = f"{_duration(epoch)}: {batches:,} batches of {_duration(pace.batch)}"
    findings = [_Finding("epoch, about", result, f"{num_samples:,} training samples")]
    if math.isfinite(steps):
        seconds = epoch * steps / per_epoch + pace.validation * count_validations(config, all_batches)
        apart = "test apart" if pace.validation else "validation and test apart"
        findings.append(_Finding("run, about", f"{_duration(seconds)}: {steps:,} steps", apart))
    if not data.preprocessing:
        findings.append(_Finding("time", "measured on a made-up batch", _made_up(config)))
    return findings


def _made_up(config: DictConfig) -> str:
    """Return why a batch was made up, and what that does to the time of texts."""
    longest = ": every text taken as long as max_length" if "max_length" in config.data else ""
    return f"data not at hand{longest}"


def _disk(composition: Composition, found: Rehearsal, num_samples: int) -> _Finding:
    from nnkit.runs.optimization import count_steps

    config = composition.config
    one = found.memory.parameters + found.memory.optimizer
    kept = [node.keep_last for node in (config.get("callbacks") or {}).values() if "keep_last" in node]
    if not kept:
        return _Finding("disk", "no checkpoints are kept (callbacks=[checkpoint] keeps them)")
    _, steps = count_steps(config, math.ceil(num_samples / config.data.batch_size))
    # There is at most one for each step, and one of the start.
    count = int(min(kept[0] + _MORE_CHECKPOINTS, steps + 1))
    need = one * count
    place = Path(config.output_dir).absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    result = f"{count} checkpoints of {_size(one)} in {config.output_dir}"
    word = f"{_size(need)} of {_size(free)} free" + ("" if need < free else ": too little")
    return _Finding("disk, about", result, word, need >= free)


def _size(count: float) -> str:
    power = min(int(math.log2(max(count, 1)) // 10), len(_UNITS) - 1)
    value = count / 1024**power
    return f"{value:.1f} {_UNITS[power]}" if power and value < 10 else f"{value:.0f} {_UNITS[power]}"


def _duration(seconds: float) -> str:
    """Return about two digits of a duration."""
    for limit, unit, length in ((0.1, "ms", 1e-3), (100, "s", 1), (6000, "min", 60)):
        if seconds < limit:
            value = seconds / length
            return f"{value:.2g} {unit}" if value < 10 else f"{value:.0f} {unit}"
    return f"{seconds / 3600:.1f} h"
