"""A run written in a format of others: folded, encoded, compared with the run, and only then written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from nnkit import config as configs
from nnkit.adapters.lora import is_added, merge
from nnkit.errors import UserError
from nnkit.export import comparison, hugging_face, onnx_file, program, weights
from nnkit.export.description import Description, beside
from nnkit.factory.metrics import task_of
from nnkit.files import atomic
from nnkit.files.paths import expand
from nnkit.network import Network
from nnkit.runs.reopen import open_run
from nnkit.runs.run import Run
from nnkit.ui import report

if TYPE_CHECKING:
    from nnkit.runs.session import Session


class Format(NamedTuple):
    """How one file is made.

    Attributes:
        ending: Of its name.
        encode: Returns its bytes for a network and what that is called with.
        runner: Returns what runs the bytes; the network is there for files of weights alone.
        by: What runs it, for sentences.
    """

    ending: str
    encode: Callable[[Network, Mapping[str, Tensor]], bytes]
    runner: Callable[[bytes, Session], comparison.Runner]
    by: str


FORMATS = {
    "onnx": Format(".onnx", onnx_file.encode, lambda content, _: onnx_file.runner(content), "onnxruntime"),
    "torch": Format(".pt2", program.encode, lambda content, _: program.runner(content), "torch.export.load"),
    "safetensors": Format(".safetensors", weights.encode, weights.runner, "a new network with these weights"),
}


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: The file or directory.
        facts: What is worth telling of it, by name.
        notes: Sentences on what the format has otherwise.
    """

    path: Path
    facts: dict[str, str]
    notes: tuple[str, ...] = ()


def export_run(run: Run, form: str, out: Path | None = None, *, merged: bool = False) -> Exported:
    """Write the best weights of a run in a format of others.

    Args:
        run: The run.
        form: One of `FORMATS`, or "huggingface".
        out: The file, or the directory for huggingface; None: named like the run, in the working directory.
        merged: Whether LoRA's matrices are folded into the weights.

    Raises:
        UserError: If the format cannot hold this network, or something is there already; nothing is written then.
        Unequal: If what was made computes something else than the run; nothing is written then.
    """
    # Before the weights are read, which takes longest.
    ending = FORMATS[form].ending if form in FORMATS else ""
    path = Path(f"{run.path.resolve().name}{ending}") if out is None else expand(out)
    _check_free(path)
    if ending:
        _check_free(beside(path))
    session = open_run(run).session
    network = session.task.network
    if merged:
        _fold(session, run)
    elif form == "huggingface" and any(map(is_added, network.state_dict())):
        where = report.shorten(run.path)
        raise UserError(
            f"{where} has an adapter, which huggingface cannot hold beside the weights\n"
            f"    nnkit export {where} --format huggingface --merge folds it in"
        )
    with comparison.exactly():
        if form == "huggingface":
            return Exported(path, *hugging_face.write(path, session))
        return _write_file(FORMATS[form], path, session)


def _check_free(path: Path) -> None:
    if path.exists():
        said = f"{report.shorten(path)} is there already, and nothing is written over it"
        raise UserError(f"{said}\n    --out names another place")
    if not path.parent.is_dir():
        raise UserError(f"--out {path}: there is no directory {path.parent}")


def _fold(session: Session, run: Run) -> None:
    network = session.task.network
    if not any(map(is_added, network.state_dict())):
        raise UserError(
            f"--merge: {report.shorten(run.path)} has no matrices of LoRA to fold in; leave it out"
        )
    merge(network)
    configs.remove(session.config, "adapter")


def _write_file(form: Format, path: Path, session: Session) -> Exported:
    """Write a file and its description."""
    network = session.task.network
    example = task_of(session.config).example_batch(session.config.data, program.TRACED)
    arguments = comparison.arguments_of(example)
    content = form.encode(network, arguments)
    samples = comparison.samples_of(session)
    apart = comparison.difference(
        form.runner(content, session), partial(comparison.outputs_of, network), samples
    )
    description = Description(
        dict(session.choices), session.config, session.data.preprocessing, _arrays(network, arguments)
    )
    atomic.write_atomic(path, content)
    try:
        atomic.write_atomic(beside(path), description.to_json(content))
    except BaseException:
        # One without the other is of no use.
        path.unlink(missing_ok=True)
        raise
    takes, returns = description.arrays.values()
    facts = {
        "bytes": f"{len(content):,}",
        "takes": _sizes(takes),
        "returns": _sizes(returns),
        "beside it": beside(path).name,
        "largest difference": f"{apart:.2g}, {form.by} and the run, {samples.described}",
    }
    return Exported(path, facts)


def _arrays(network: Network, arguments: Mapping[str, Tensor]) -> dict[str, dict[str, list[int | str]]]:
    """Return the sizes of inputs and outputs, a name for each that varies."""
    varying = program.sizes_that_vary(network, arguments)
    takes: dict[str, list[int | str]] = {
        name: [varying[name].get(place, size) for place, size in enumerate(tensor.shape)]
        for name, tensor in arguments.items()
    }
    # What is scored is each step of the last argument, or the sample.
    last = [*arguments][-1]
    time = arguments[last].shape[1] if 1 in varying[last] else None
    returns: dict[str, list[int | str]] = {}
    for name, tensor in zip(onnx_file.OUTPUTS, comparison.outputs_of(network, arguments), strict=False):
        sizes: list[int | str] = ["batch", *tensor.shape[1:]]
        if tensor.ndim == 3 and tensor.shape[1] == time:
            sizes[1] = "time"
        returns[name] = sizes
    return {"inputs": takes, "outputs": returns}


def _sizes(arrays: Mapping[str, list[int | str]]) -> str:
    return ", ".join(f"{name} ({', '.join(map(str, sizes))})" for name, sizes in arrays.items())
