"""Start from the weights of another run or of a directory of Hugging Face.

Embed and body must fit, the head need not, and the vocabulary comes along; from a directory the model's size as well.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch

from nnkit import config as configs
from nnkit.adapters.lora import is_added
from nnkit.checkpoint.base import Base
from nnkit.data.base import DataModule, Preprocessing
from nnkit.data.tokenizing import Tokenizer, tokenizer_from
from nnkit.errors import ConfigError, EnvironmentFault, Problem, UserError
from nnkit.factory import build_network, target_class
from nnkit.factory.soundness import length_problems
from nnkit.files.layout import CONFIG
from nnkit.files.paths import expand
from nnkit.hugging_face import Directory, Taken, is_directory
from nnkit.network import Network
from nnkit.runs.base import PREFIX, digest, shapes_of, weights_of
from nnkit.runs.run import Run, find_run
from nnkit.runs.session import Session, prepare_data
from nnkit.suggest import some_of
from nnkit.ui import report

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from torch import Tensor

_LISTED = 10
_NAMED = 4


class Source(Protocol):
    """What the weights of a new run come from.

    Attributes:
        path: Its directory.
        learnt: What belongs to the weights, as `DataModule.preprocessing` has it.
    """

    @property
    def path(self) -> Path: ...  # noqa: D102

    @property
    def learnt(self) -> Mapping[str, Any]: ...  # noqa: D102

    def take(self, network: Network, *, with_head: bool) -> tuple[Taken, str, dict[str, Any]]:
        """Return the weights for a network, what they are called, and plain data for the run's record.

        Args:
            network: It is not changed.
            with_head: Whether those of the head may be taken over.
        """


@dataclass(frozen=True)
class RunSource:
    """Another run of nnkit, whose best weights are taken.

    Attributes:
        run: The run.
        learnt: What its data module learnt.
    """

    run: Run
    learnt: Preprocessing

    @property
    def path(self) -> Path:
        """Its directory."""
        return self.run.path

    def take(self, network: Network, *, with_head: bool) -> tuple[Taken, str, dict[str, Any]]:
        """Return its best weights, an adapter folded into those that it adapts; see `Source.take`."""
        manifest, there = weights_of(self.run)
        taken, fresh = _fitting(network, there, with_head, self.run)
        record = {
            "run": str(self.run.path.resolve()),
            "checkpoint": manifest.name,
            "sha256": manifest.sha256,
        }
        return Taken(taken, fresh, []), manifest.name, record


@dataclass(frozen=True)
class DirectorySource:
    """A directory of Hugging Face.

    Attributes:
        directory: The directory.
        head: The class of the run's head.
        settings: Values of the config that it has decided, by their keys.
    """

    directory: Directory
    head: str
    settings: Mapping[str, Any]

    @property
    def path(self) -> Path:
        """Where it is."""
        return self.directory.path

    @property
    def learnt(self) -> Preprocessing:
        """Its tokenizer and its class names."""
        return self.directory.learnt

    def check(self, config: DictConfig, *, with_head: bool) -> None:
        """Refuse it if its weights do not fit a network of this config, before one is made: it may claim any size."""
        try:
            with torch.device("meta"):
                outline = build_network(config)
        except EnvironmentFault as error:
            text = f"{report.shorten(self.path)} claims a network that no machine has: {error}"
            raise ConfigError([Problem("init_from", text)]) from error
        self.directory.plan(shapes_of(outline), self.head, with_head=with_head)

    def take(self, network: Network, *, with_head: bool) -> tuple[Taken, str, dict[str, Any]]:
        """Return its weights; see `Source.take`."""
        taken = self.directory.take(shapes_of(network), self.head, with_head=with_head)
        kind, hashes = self.directory.family.model_type, self.directory.weights.hashes()
        record = {
            "directory": str(self.path.resolve()),
            "model_type": kind,
            "sha256": hashes,
            "settings": dict(self.settings),
            "left": taken.left,
            "notes": self.directory.notes,
        }
        return taken, kind, record


def source_of(config: DictConfig, typed: Collection[str] = ()) -> Source | None:
    """Return what `init_from` names, a run or a directory of Hugging Face; None if it names nothing.

    Args:
        config: A composed config; what a directory decides of the model is filled in.
        typed: Keys that the user has set on the command line.

    Raises:
        UserError: If there is no such thing, or what it holds cannot be read.
        ConfigError: If a directory holds another model, or what was typed contradicts it.
    """
    if config.init_from is None:
        return None
    path = expand(config.init_from)
    if is_directory(path) and not (path / CONFIG).is_file():
        return _settled(config, Directory(path), typed)
    return RunSource(run := _run_of(config.init_from, path, Path(config.output_dir)), run.preprocessing())


def _run_of(given: str, path: Path, output_dir: Path) -> Run:
    """Return the run that `init_from` names; a UserError that tells what else it could have named."""
    if not given.strip():
        raise UserError(
            "init_from: it names nothing\n    init_from=RUN, or init_from=DIR of a published model"
        )
    if path.is_file():
        raise UserError(f"init_from: {given} is a file\n    init_from={path.parent} names its directory")
    try:
        return find_run(given, output_dir)
    except UserError as error:
        lacks = "has no config.json, so it is no published model" if path.is_dir() else "is no directory here"
        text = f"init_from: {error}\n    {given} {lacks} either; nothing is fetched by the name of a model"
        raise UserError(text) from error


def _settled(config: DictConfig, directory: Directory, typed: Collection[str]) -> DirectorySource:
    """Write what a directory decides of the model into the config, unless the user wants it otherwise."""
    where, family = report.shorten(directory.path), directory.family
    if config.model.get("_target_") != family.target:
        text = f"{config.model.get('_target_')} is another model than {where} holds, a {family.model_type}"
        raise ConfigError([Problem("model", text, f"model={family.option}")])
    settings, problems = {}, []
    for key, value in {**directory.settings, **directory.free}.items():
        group, _, name = key.partition(".")
        # Most heads have no vectors that could be tied.
        if group == "head" and name not in config.head:
            continue
        given = config[group].get(name)
        if key in typed and given != value:
            if key in directory.settings:
                text = f"{given} was given, {where} has {value}"
                problems.append(Problem(key, text, "leave it out: it comes along with the weights"))
            continue
        settings[key] = value
        configs.set_values(config[group], **{name: value})
    options = {key: value for key, value in directory.sizes.items() if not _is_fact(config, key)}
    for key, value in options.items():
        name = key.partition(".")[2]
        if key in typed and config.data.get(name) != value:
            text = f"{config.data.get(name)} was given, {where} reads {value}"
            problems.append(Problem(key, text, "leave it out: it comes along with the weights"))
        settings[key] = value
        configs.set_values(config.data, **{name: value})
    problems = problems or list(length_problems(config))
    if problems:
        raise ConfigError(problems)
    return DirectorySource(directory, str(config.head.get("_target_")), settings)


def _is_fact(config: DictConfig, key: str) -> bool:
    """Return whether a key of the data is what they are, and cannot be chosen."""
    name = key.partition(".")[2]
    return name not in config.data or name in getattr(target_class(config.data, "data"), "fact_names", ())


def _check_sizes(config: DictConfig, source: Source) -> None:
    """Refuse data of another size than the weights read."""
    sizes = source.directory.sizes if isinstance(source, DirectorySource) else {}
    found = [
        Problem(key, f"the data have {given}, {report.shorten(source.path)} reads {value}")
        for key, value in sizes.items()
        if (given := config.data.get(key.partition(".")[2], value)) != value
    ]
    if found:
        raise ConfigError(found)


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
        where, what = report.shorten(source.path), missing[0].replace("_", " ")
        raise UserError(
            f"init_from: {where} has no {what} that could come along with "
            "its weights, and these data need one\n    name a run that was trained on data of the same kind"
        )
    _adopt(config.data, {key: tokenizer_from(source.learnt[key]) for key in inherited}, typed)
    data = prepare_data(config, pretrained={key: source.learnt[key] for key in inherited})
    _check_vocabulary(data, source)
    _check_sizes(config, source)
    if isinstance(source, DirectorySource):
        source.check(config, with_head=_same_classes(source, data))
    return data


def _same_classes(source: Source, data: DataModule) -> bool:
    """Return whether the head means the same: of one for other classes not even the shape means anything."""
    return source.learnt.get("class_names") == data.preprocessing.get("class_names")


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
                f"init_from: the {name} of {report.shorten(source.path)} is not that of these data: its weights "
                "would stand for other tokens"
            )


def take_weights(session: Session, source: Source) -> dict[str, Any]:
    """Load weights into a network that was freshly built, and say what was taken.

    An adapter rests on them: they become the base of the session.

    Args:
        session: The parts of the new run; its network is changed in place.
        source: From `source_of`.

    Returns:
        Plain data for the run's record: where from, its hash, how many tensors were taken, which were left there and
        which stay fresh.

    Raises:
        UserError: If there are no weights, or a tensor of embed or body is missing or has another shape.
    """
    network = session.task.network
    taken, title, record = source.take(network, with_head=_same_classes(source, session.data))
    # In place: the tensors of a large model would otherwise be there three times.
    network.load_state_dict(taken.tensors, strict=False)
    if session.config.get("adapter") is not None:
        frozen = [name for name, one in network.named_parameters() if not one.requires_grad]
        names = tuple(f"{PREFIX}{name}" for name in frozen if name in taken.tensors)
        session.base = Base(str(source.path.resolve()), title, digest(record["sha256"]), names)
    parts = ", ".join(dict.fromkeys(name.split(".")[0] for name in taken.tensors))
    rest = "".join(
        f"; {how}: {some_of(names, _NAMED)}"
        for how, names in (("left", taken.left), ("fresh", taken.fresh))
        if names
    )
    where, console = report.shorten(source.path), report.console()
    console.print(
        f"weights from {where}, {title}: {len(taken.tensors)} tensors taken ({parts}){rest}", soft_wrap=True
    )
    if settings := record.get("settings"):
        told = " ".join(f"{key}={value}" for key, value in settings.items())
        for note in record["notes"]:
            console.print(f"    {note}", soft_wrap=True)
        console.print(f"    with them come {told}", soft_wrap=True)
    return {**record, "taken": len(taken.tensors), "fresh": taken.fresh}


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
    wrong = [
        name
        for name in {**here, **there}
        if not name.startswith("head.") and name not in taken and not is_added(name)
    ]
    if wrong:
        lines = [f"{name}: {_shape(there, name)} there, {_shape(here, name)} here" for name in wrong]
        text = some_of(lines, _LISTED, "\n    ")
        raise UserError(
            f"init_from: the weights of {report.shorten(run.path)} do not fit this model\n    {text}"
        )
    return taken, [name for name in here if name not in taken and not is_added(name)]


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
    path = Path(str(begun.get("run") or begun.get("directory") or ""))
    lost = f"{report.shorten(run.path)} holds no checkpoint, and the weights that it began with"
    answer = "start a new run: nnkit train ... init_from=RUN"
    if not begun or not path.is_dir():
        raise UserError(f"{lost} are gone: {path if begun else 'its record names none'}\n    {answer}")
    if "run" in begun:
        source: Source = RunSource(Run(path), Run(path).preprocessing())
    else:
        source = DirectorySource(Directory(path), str(session.config.head.get("_target_")), begun["settings"])
    taken = take_weights(session, source)
    if taken["sha256"] != begun.get("sha256"):
        was, now = (one.get("checkpoint", "its files") for one in (begun, taken))
        raise UserError(f"{lost}, {was} of {path}, are no longer its best ones, {now}\n    {answer}")
