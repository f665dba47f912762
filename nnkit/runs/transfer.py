"""Start from another run's weights: embed and body must fit, the head need not, and the vocabulary comes along."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnkit.checkpoint.store import CheckpointStore
from nnkit.data.base import DataModule, Preprocessing
from nnkit.data.tokenizing import Tokenizer, tokenizer_from
from nnkit.errors import ConfigError, Problem, UserError
from nnkit.factory import target_class
from nnkit.network import Network
from nnkit.runs.run import Run, find_run
from nnkit.runs.session import Session, prepare_data
from nnkit.suggest import some_of
from nnkit.ui import report

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from torch import Tensor

_PREFIX = "network."
_LISTED = 10
_NAMED = 4


@dataclass(frozen=True)
class Source:
    """The run whose weights another one starts from.

    Attributes:
        run: Its directory.
        learnt: What its data module learnt.
    """

    run: Run
    learnt: Preprocessing


def source_of(config: DictConfig) -> Source | None:
    """Return the run that `init_from` names; None if it names none.

    Raises:
        UserError: If there is no such run, or what its data module learnt cannot be read.
    """
    if config.init_from is None:
        return None
    run = find_run(config.init_from, Path(config.output_dir))
    return Source(run, run.preprocessing())


def prepare(config: DictConfig, source: Source | None, typed: Collection[str] = ()) -> DataModule:
    """Prepare the data of a new run, with what the weights that it starts from rest on, such as their vocabulary.

    Args:
        config: A composed config; facts about the data are filled in, and the tokenizer that comes along.
        source: From `source_of`.
        typed: Keys that the user has set on the command line.

    Raises:
        ConfigError: If another tokenizer was typed.
        UserError: If the vocabulary of the other run does not do for these data.
    """
    if source is None:
        return prepare_data(config)
    inherited: tuple[str, ...] = getattr(target_class(config.data, "data"), "inherited", ())
    missing = [key for key in inherited if key not in source.learnt]
    if missing:
        where, what = report.shorten(source.run.path), missing[0].replace("_", " ")
        raise UserError(
            f"init_from: {where} has no {what} that could come along with "
            "its weights, and these data need one\n    name a run that was trained on data of the same kind"
        )
    _adopt(config.data, {key: tokenizer_from(source.learnt[key]) for key in inherited}, typed)
    data = prepare_data(config, pretrained={key: source.learnt[key] for key in inherited})
    _check_vocabulary(data, source)
    return data


def _adopt(node: DictConfig, tokenizers: Mapping[str, Tokenizer], typed: Collection[str]) -> None:
    """Write the tokenizers that come along into the config of the data, unless the user wants others."""
    problems = []
    most = node.get("max_vocab") if "data.max_vocab" in typed else None
    for key, tokenizer in tokenizers.items():
        spec, size = tokenizer.spec(), tokenizer.vocab_size
        marked = spec["kind"] == "marked"
        kind = spec["of"]["kind"] if marked else spec["kind"]
        if f"data.{key}" in typed and node[key] != kind:
            problems.append((f"data.{key}", f"{node[key]} was given, the run it starts from has {kind}"))
        if most is not None and most < size:
            problems.append(("data.max_vocab", f"{most:,} was given, the run it starts from has {size:,}"))
        if "data.markers" in typed and node.markers and not marked:
            problems.append(("data.markers", "the vocabulary of the run it starts from has no marks"))
        changes = {key: kind, "max_vocab": None}
        if "data.markers" not in typed:
            changes["markers"] = marked
        # Of `max_vocab` nothing is left that it could bound.
        node.update({name: value for name, value in changes.items() if name in node})
    if problems:
        answer = "leave it out: the vocabulary comes along with the weights"
        raise ConfigError([Problem(key, text, answer) for key, text in problems])


def comes_along(key: str) -> bool:
    """Return whether a config key is about the vocabulary, which comes from the run whose weights are taken."""
    return key in ("data.max_vocab", "data.markers") or (
        key.startswith("data.") and key.endswith("tokenizer")
    )


def _check_vocabulary(data: DataModule, source: Source) -> None:
    """Refuse weights whose numbers mean other tokens, even where there happen to be as many of them."""
    for key, learnt in data.preprocessing.items():
        if key.endswith("tokenizer") and learnt != source.learnt.get(key):
            name = key.replace("_", " ")
            raise UserError(
                f"init_from: the {name} of {report.shorten(source.run.path)} is not that of these data: its weights "
                "would stand for other tokens"
            )


def take_weights(session: Session, source: Source) -> dict[str, Any]:
    """Load the best weights of a run into a network that was freshly built, and say what was taken.

    Args:
        session: The parts of the new run; its network is changed in place.
        source: From `source_of`.

    Returns:
        Plain data for the run's record: run, checkpoint, its hash, how many tensors were taken, which stay fresh.

    Raises:
        UserError: If there is no checkpoint, or a tensor of embed or body is missing or has another shape.
    """
    manifest, checkpoint = CheckpointStore(source.run.checkpoints).load("best")
    there = {
        name.removeprefix(_PREFIX): tensor
        for name, tensor in checkpoint["state_dict"].items()
        if name.startswith(_PREFIX)
    }
    # Of a head for other classes not even the shape means anything.
    same = source.learnt.get("class_names") == session.data.preprocessing.get("class_names")
    network = session.task.network
    taken, fresh = _fitting(network, there, same, source.run)
    network.load_state_dict({**network.state_dict(), **taken})
    parts = ", ".join(dict.fromkeys(name.split(".")[0] for name in taken))
    left = f"; fresh: {some_of(fresh, _NAMED)}" if fresh else ""
    where = report.shorten(source.run.path)
    report.console().print(
        f"weights from {where}, {manifest.name}: {len(taken)} tensors taken ({parts}){left}", soft_wrap=True
    )
    return {
        "run": str(source.run.path.resolve()),
        "checkpoint": manifest.name,
        "sha256": manifest.sha256,
        "taken": len(taken),
        "fresh": fresh,
    }


def _fitting(
    network: Network, there: Mapping[str, Tensor], with_head: bool, run: Run
) -> tuple[dict[str, Tensor], list[str]]:
    """Return the tensors to take and the names of those that stay as they are."""
    here = network.state_dict()
    taken = {
        name: there[name]
        for name, tensor in here.items()
        if name in there and there[name].shape == tensor.shape and (with_head or not name.startswith("head."))
    }
    wrong = [name for name in {**here, **there} if not name.startswith("head.") and name not in taken]
    if wrong:
        lines = [f"{name}: {_shape(there, name)} there, {_shape(here, name)} here" for name in wrong]
        text = some_of(lines, _LISTED, "\n    ")
        raise UserError(
            f"init_from: the weights of {report.shorten(run.path)} do not fit this model\n    {text}"
        )
    return taken, [name for name in here if name not in taken]


def _shape(tensors: Mapping[str, Tensor], name: str) -> str:
    return str(tuple(tensors[name].shape)) if name in tensors else "missing"


def take_again(session: Session, run: Run) -> None:
    """Load the weights that a run began with, where it was ended before its first checkpoint.

    Args:
        session: The parts of the run.
        run: Its directory, whose record names them.

    Raises:
        UserError: If they are gone, or others by now.
    """
    begun = run.record().get("init_from") or {}
    path = Path(str(begun.get("run", "")))
    lost = f"{report.shorten(run.path)} holds no checkpoint, and the weights that it began with"
    answer = "start a new run: nnkit train ... init_from=RUN"
    if not begun or not path.is_dir():
        raise UserError(f"{lost} are gone: {path if begun else 'its record names none'}\n    {answer}")
    source = Source(Run(path), Run(path).preprocessing())
    taken = take_weights(session, source)
    if taken["sha256"] != begun.get("sha256"):
        raise UserError(
            f"{lost}, {begun.get('checkpoint')} of {path}, are no longer its best ones, {taken['checkpoint']}\n"
            f"    {answer}"
        )
