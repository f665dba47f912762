"""What a sound config asks of this machine: device, memory, time and disk; trains and downloads nothing."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from nnkit.analysis import timing
from nnkit.analysis.dry_run import DryRun, dry_run
from nnkit.analysis.shapes import format_shape
from nnkit.factory.class_weights import resolved
from nnkit.factory.metrics import directions, mode_of
from nnkit.machine.memory import available_memory
from nnkit.runs.optimization import FASTEST, count_steps, limited, pick_device, resolve_precision
from nnkit.runs.preflight import look
from nnkit.runs.session import wanted
from nnkit.suggest import some_of

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from nnkit.config import Composition
    from nnkit.data.base import DataModule


# Checkpoints beside those that are kept: the best one, and the one being written.
_MORE_CHECKPOINTS = 2
# Classes that are named.
_LISTED = 12
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


class Requirement(NamedTuple):
    """One requirement of a config, and whether this machine meets it.

    Attributes:
        what: Such as "memory, about".
        result: What the config needs.
        note: What is missing or worth knowing; empty for nothing.
        is_missed: Whether this machine has too little.
    """

    what: str
    result: str
    note: str = ""
    is_missed: bool = False


def examine(composition: Composition) -> list[Requirement]:
    """Return what a config asks of this machine.

    Args:
        composition: A config without mistakes; its batch size is lowered to the number of training samples.

    Raises:
        NnkitError: If the parts do not fit together, or a device or a directory is not to be had.
    """
    config, looked = composition.config, look(composition)
    data, num_samples = looked.data, looked.num_samples
    # A batch holds all samples at most.
    size, config.data.batch_size = config.data.batch_size, min(config.data.batch_size, num_samples)
    found = dry_run(config, composition.choices, math.ceil(num_samples / config.data.batch_size))
    precision = resolve_precision(config)
    if config.trainer.precision == FASTEST:
        precision = "the precision that is measured to be the fastest when the run begins"
    device = f"{pick_device(config)}, {precision}, {config.trainer.num_threads} threads"
    memory, fits = _memory(composition, found)
    return [
        Requirement("config", "keys, values, types and how the parts go together"),
        Requirement("data", "prepared" if looked.is_prepared else "facts from the config, nothing fetched"),
        *_classes(config, data),
        Requirement("shapes", f"{format_shape(found.inputs)} -> {format_shape(found.layers[-1].output)}"),
        Requirement("loss", f"{composition.choices['loss']}: one number, with a gradient"),
        Requirement(
            "metrics", ", ".join(directions(config)), f"the best {config.monitor} is the {_best(config)}"
        ),
        _parameters(found),
        Requirement("device", device),
        *_shared_batch(config),
        memory,
        *(_time(composition, found, data, num_samples) if fits else []),
        *(
            [Requirement("batch size", f"{size} is more than there are training samples")]
            if size > num_samples
            else []
        ),
        _disk(composition, found, num_samples),
    ]


def _parameters(found: DryRun) -> Requirement:
    trained, frozen = (
        sum(getattr(layer, kind) for layer in found.layers) for kind in ("trainable", "frozen")
    )
    if not frozen:
        return Requirement("parameters", f"{trained:,} trained")
    note = f"saves {format_bytes(found.saved)} of gradients and optimizer state"
    return Requirement("parameters", f"{trained:,} trained, {frozen:,} frozen", note)


def _shared_batch(config: DictConfig) -> Iterator[Requirement]:
    """Yield how many samples of a batch each of several processes gets."""
    nodes = config.trainer.num_nodes
    processes = wanted(config) * (nodes if isinstance(nodes, int) else 1)
    if processes > 1:
        each = math.ceil(config.data.batch_size / processes)
        note = f"{config.data.batch_size} samples shared by {processes} processes"
        yield Requirement("batch_size_per_device", str(each), note)


def _best(config: DictConfig) -> str:
    return "largest" if mode_of(config) == "max" else "smallest"


def _classes(config: DictConfig, data: DataModule) -> Iterator[Requirement]:
    """Yield the classes in the order of their numbers and their weights, where the data are at hand."""
    learnt = data.preprocessing
    if not (names := learnt.get("class_names")):
        return
    counts, weights = learnt.get("class_counts"), resolved(config, learnt)
    listed = [f"{name} {count:,}" for name, count in zip(names, counts, strict=True)] if counts else names
    note = "training samples of each" if counts else ""
    yield Requirement("classes", f"{len(names):,}: {some_of(listed, _LISTED)}", note)
    if weights is not None:
        pairs = [f"{name} {weight:.4g}" for name, weight in zip(names, weights, strict=True)]
        yield Requirement("class weights", some_of(pairs, _LISTED))


def _memory(composition: Composition, found: DryRun) -> tuple[Requirement, bool]:

    need, free = found.memory, available_memory(pick_device(composition.config))
    parts = {
        "parameters": need.parameters,
        "gradients": need.gradients,
        "optimizer": need.optimizer,
        "activations": need.activations,
    }
    result = " + ".join(f"{name} {format_bytes(size)}" for name, size in parts.items())
    fits = free is None or need.total < free
    word = f"{format_bytes(need.total)}" + (f" of {format_bytes(free)} free" if free is not None else "")
    if not fits:
        word += ": too little; try a smaller data.batch_size"
    return Requirement("memory, about", result, word, not fits), fits


def _time(composition: Composition, found: DryRun, data: DataModule, num_samples: int) -> list[Requirement]:
    config = composition.config
    pace = timing.measure_pace(config, composition.choices, found, data)
    # Where nothing is prepared, nothing is fetched for it either.
    all_batches = (
        len(data.train_dataloader())
        if data.preprocessing
        else math.ceil(num_samples / config.data.batch_size)
    )
    batches = limited(config.trainer.overfit_batches or config.trainer.limit_train_batches, all_batches)
    per_epoch, steps = count_steps(config, all_batches)
    epoch = pace.batch * batches + pace.epoch
    result = f"{format_duration(epoch)}: {batches:,} batches of {format_duration(pace.batch)}"
    findings = [Requirement("epoch, about", result, f"{num_samples:,} training samples")]
    if math.isfinite(steps):
        seconds = epoch * steps / per_epoch + pace.validation * timing.count_validations(config, all_batches)
        apart = "test apart" if pace.validation else "validation and test apart"
        findings.append(Requirement("run, about", f"{format_duration(seconds)}: {steps:,} steps", apart))
    if not data.preprocessing:
        findings.append(Requirement("time", "measured on a made-up batch", why_made_up(config)))
    return findings


def why_made_up(config: DictConfig) -> str:
    """Return why a batch was made up, and what that does to the time of texts."""
    longest = ": every text taken as long as max_length" if "max_length" in config.data else ""
    return f"data not at hand{longest}"


def _disk(composition: Composition, found: DryRun, num_samples: int) -> Requirement:
    config = composition.config
    # The checkpoint of an adapter names the weights beneath it.
    beneath = found.frozen if config.get("adapter") is not None else 0
    one = found.memory.parameters - beneath + found.memory.optimizer
    kept = [node.keep_last for node in (config.get("callbacks") or {}).values() if "keep_last" in node]
    if not kept:
        return Requirement("disk", "no checkpoints are kept (callbacks=[checkpoint] keeps them)")
    _, steps = count_steps(config, math.ceil(num_samples / config.data.batch_size))
    # There is at most one for each step, and one of the start.
    count = int(min(kept[0] + _MORE_CHECKPOINTS, steps + 1))
    need = one * count
    place = Path(config.output_dir).absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    result = f"{count} checkpoints of {format_bytes(one)} in {config.output_dir}"
    word = f"{format_bytes(need)} of {format_bytes(free)} free" + ("" if need < free else ": too little")
    return Requirement("disk, about", result, word, need >= free)


def format_bytes(count: float) -> str:
    """Return a size as "723 KiB"."""
    power = min(int(math.log2(max(count, 1)) // 10), len(_UNITS) - 1)
    value = count / 1024**power
    return f"{value:.1f} {_UNITS[power]}" if power and value < 10 else f"{value:.0f} {_UNITS[power]}"


def format_duration(seconds: float) -> str:
    """Return about two digits of a duration, as "7.9 ms"."""
    for limit, unit, length in ((0.1, "ms", 1e-3), (100, "s", 1), (6000, "min", 60)):
        if seconds < limit:
            value = seconds / length
            return f"{value:.2g} {unit}" if value < 10 else f"{value:.0f} {unit}"
    return f"{seconds / 3600:.1f} h"
