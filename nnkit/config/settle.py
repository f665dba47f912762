"""What is checked and filled in right after composing: the shape of a config, the embed, the references."""

from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from nnkit.config import catalog
from nnkit.config.declared import LIMITS
from nnkit.config.keys import sources_of
from nnkit.errors import Problem, UserError
from nnkit.files.paths import expand
from nnkit.suggest import hint

_NO_LIMIT = -1
# Keys of the trainer that nnkit itself reads.
_READ = (
    "accelerator",
    "devices",
    "num_nodes",
    "precision",
    "num_threads",
    "matmul_precision",
    "compile",
    "activation_checkpointing",
    "max_epochs",
    "max_steps",
    "accumulate_grad_batches",
    "val_check_interval",
    "check_val_every_n_epoch",
    "limit_train_batches",
    "limit_val_batches",
    "limit_test_batches",
    "overfit_batches",
    "profiler",
)
# Facts that not all data of a kind have; the embed of the kind then has a default.
_OPTIONAL_FACTS = ("cardinalities",)
# What a task brings with it: where it does not fit the data, neither do these.
_OF_TASK = frozenset({"task", "head", "loss", "monitor", "data.targets"})


def settle(
    config: DictConfig, choices: dict[str, Any], broken: Collection[str], config_dir: Path | None
) -> tuple[list[Problem], frozenset[str]]:
    """Finish a composed config in place.

    Args:
        config: With the values from the command line set, its shape checked.
        choices: The option of each group.
        broken: Groups whose choice was wrong; how their defaults go together is not reported.
        config_dir: The directory given with ``--config-dir``.

    Returns:
        One problem for each key that is unknown, missing or refers to nothing, and one for a model that does
        not take the data; and the keys that refer to nothing, null from now on.
    """
    fill_in(config)
    problems = [*_unknown_top_keys(config), *_expand_home(config)]
    problem = _choose_embed(config, choices, config_dir)
    if problem is not None and not {"model", "data", "experiment"} & set(broken):
        problems.append(problem)
    follows: frozenset[str] = frozenset()
    if not {"data", "task", "head", "experiment"} & set(broken):
        if unfit := list(_fit_task(config, choices)):
            follows = _OF_TASK
        problems += unfit or _fit_head(config, choices)
    # An option that does not fit cannot resolve its references either: that is one mistake, not two.
    silent = {*broken, *follows, *(problem.key for problem in problems)}
    empty = list(_unresolved(config))
    keys = frozenset(problem.key for _, _, problem in empty)
    for _, _, problem in empty:
        if problem.key.split(".")[0] not in silent and not _is_consequence(config, problem.key, keys):
            problems.append(problem)
    # So that the checks that follow can read the rest.
    for node, name, _ in empty:
        node[name] = None
    _lift_limit_on_epochs(config)
    return problems, keys | follows


def fill_in(config: DictConfig) -> None:
    """Give what nnkit itself reads of the trainer, where it was deleted or a file does not list it, its default."""
    defaults = catalog.shipped("trainer", "default")
    trainer = config.trainer
    with open_dict(trainer):
        # `in` would deny a key whose value is still missing.
        for name in sorted({*_READ} - {*trainer.keys()}, key=_READ.index):
            trainer[name] = defaults[name]


def _is_consequence(config: DictConfig, key: str, empty: Collection[str]) -> bool:
    """Return whether a key is empty only because one that it refers to is; keys in a circle are not."""
    reached: set[str] = set()
    ahead = sources_of(config, key) & set(empty)
    while ahead:
        reached |= ahead
        ahead = {source for found in ahead for source in sources_of(config, found)} & set(empty) - reached
    return bool(reached) and key not in reached


def _unknown_top_keys(config: DictConfig) -> list[Problem]:
    known = [*catalog.groups(), *catalog.plain_keys()]
    unknown = [str(key) for key in config if key not in known]
    return [Problem(key, "there is no such key", hint(key, known)) for key in unknown]


def _expand_home(config: DictConfig) -> Iterator[Problem]:
    """Replace ``~`` in the output directory, which a shell leaves as it is behind ``output_dir=``."""
    whole: Any = OmegaConf.to_container(config, resolve=False)
    raw = whole["output_dir"]
    if isinstance(raw, str) and raw.startswith("~"):
        try:
            config.output_dir = str(expand(raw))
        except UserError as error:
            yield Problem("output_dir", str(error))


def _choose_embed(config: DictConfig, choices: dict[str, Any], config_dir: Path | None) -> Problem | None:
    embeds, kind = config.model.embeds, config.data.kind
    model, data = choices.get("model") or "?", choices.get("data") or "?"
    takes = list(embeds)
    with open_dict(embeds):
        for other in [name for name in takes if name != kind]:
            del embeds[other]
    if kind in takes:
        _leave_out_facts(embeds[kind], config.data)
        return None
    taken = " and ".join(map(str, takes)) or "nothing"
    text = f"model={model} does not take data={data} (kind {kind}), only {taken}"
    models = ", ".join(catalog.models_for(str(kind), config_dir)) or "none"
    datasets = ", ".join(catalog.data_for(str(model), config_dir)) or "none"
    return Problem("model", text, f"models that take {kind}: {models}; data that {model} takes: {datasets}")


def _leave_out_facts(embed: Any, data: DictConfig) -> None:
    """Leave out what an embed takes from facts that not all data of a kind have, where these do not list them."""
    raw = OmegaConf.to_container(embed, resolve=False) if isinstance(embed, DictConfig) else None
    for name, value in raw.items() if isinstance(raw, dict) else ():
        if any(value == f"${{data.{fact}}}" and fact not in data for fact in _OPTIONAL_FACTS):
            with open_dict(embed):
                del embed[name]


def _fit_task(config: DictConfig, choices: dict[str, Any]) -> Iterator[Problem]:
    fits, task = config.data.get("tasks"), choices.get("task")
    if fits is not None and task is not None and task not in fits:
        text = f"data={choices.get('data')} serves {' and '.join(map(str, fits))}, not {task}"
        yield Problem("task", text, "leave task= out: the data choose one that fits")


def _fit_head(config: DictConfig, choices: dict[str, Any]) -> Iterator[Problem]:
    fits, task = config.head.get("fits"), choices.get("task")
    if fits is not None and task is not None and task not in fits:
        text = f"head={choices.get('head')} serves {' and '.join(map(str, fits))}, and the task is {task}"
        yield Problem("head", text, "leave head= out: the task chooses the one that fits")


def _lift_limit_on_epochs(config: DictConfig) -> None:
    """`max_steps` alone sets the length: the dataset's default number of epochs would cut it short."""
    trainer = config.trainer
    if trainer.get("max_steps") in (None, _NO_LIMIT) or not OmegaConf.is_interpolation(trainer, "max_epochs"):
        return
    trainer.max_epochs = _NO_LIMIT


def _unresolved(node: DictConfig | ListConfig) -> Iterator[tuple[DictConfig | ListConfig, Any, Problem]]:
    """Find values that refer to a key that does not exist, or that must be given and are not."""
    names: list[Any] = list(range(len(node))) if isinstance(node, ListConfig) else list(node.keys())
    for name in names:
        if OmegaConf.is_missing(node, name):
            key = str(node._get_full_key(name))
            yield node, name, Problem(key, "must be given", f"{key}=...")
        elif OmegaConf.is_interpolation(node, name):
            try:
                node[name]
            # A resolver of Hydra's own (`${hydra:...}`) raises ValueError outside its application.
            except (OmegaConfBaseException, ValueError) as error:
                text = f"cannot be filled in: {str(error).splitlines()[0]}"
                yield node, name, Problem(str(node._get_full_key(name)), text)
        elif isinstance(child := node._get_node(name), DictConfig | ListConfig) and not child._is_none():
            yield from _unresolved(child)


_Test = Callable[[Any], bool]


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(_is_text(name) and name != "???" for name in value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_length(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_decay(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1


# Key -> (whether it must be there, what it must be, in words).
_OWN_KEYS: dict[str, tuple[bool, _Test, str]] = {
    "model.embeds": (True, OmegaConf.is_dict, "a mapping from kinds of input to embeds"),
    "data.kind": (True, _is_text, LIMITS["data.kind"]),
    "data.tasks": (False, _is_names, "a list of tasks"),
    "data.max_epochs": (False, _is_length, LIMITS["data.max_epochs"]),
    "head.fits": (False, _is_names, "a list of tasks"),
    "loss.takes": (False, _is_names, "a list out of index, one_hot, real and multi"),
    "task.targets": (False, _is_names, "a list out of index, one_hot, real and multi"),
    "task.monitor": (False, _is_text, "the name of a metric"),
    "optimizer.layer_decay": (False, _is_decay, LIMITS["optimizer.layer_decay"]),
    "scheduler.interval": (False, lambda value: value in ("step", "epoch"), "step or epoch"),
}


def shape_problems(config: DictConfig) -> list[Problem]:
    """Return what keeps a config from being read: missing or misshapen nodes, then keys of nnkit's own.

    Args:
        config: With the values from the command line set.
    """
    return [*_missing(config), *_flat(config)] or list(_own_keys(config))


def can_do_without(key: str) -> bool:
    """Return whether a key that nnkit itself reads may be null."""
    return key in _OWN_KEYS and not _OWN_KEYS[key][0]


def _missing(config: DictConfig) -> Iterator[Problem]:
    needed = [group for group, default in catalog.defaults().items() if isinstance(default, str)]
    for key in [*needed, *catalog.plain_keys()]:
        # `in` would deny a key whose value is still missing.
        if key not in list(config.keys()):
            yield Problem(key, "is missing")


def _flat(config: DictConfig) -> Iterator[Problem]:
    """Find values where keys must stand."""
    nodes = [*catalog.groups(), *(key for key in catalog.plain_keys() if catalog.is_node(key))]
    for key in [name for name in nodes if name in list(config.keys())]:
        node = config._get_node(key)
        if node is not None and (not isinstance(node, DictConfig) or node._is_none()):
            yield Problem(key, f"must hold keys, not {node}")


def _own_keys(config: DictConfig) -> Iterator[Problem]:
    for key, (needed, test, words) in _OWN_KEYS.items():
        group, _, name = key.partition(".")
        try:
            value = config[group].get(name)
            # Not the embeds: those of other kinds may refer to facts that these data do not have.
            plain = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_list(value) else value
        # A resolver of Hydra's own (`${hydra:...}`) raises ValueError outside its application.
        except (OmegaConfBaseException, ValueError) as error:
            yield Problem(key, f"cannot be filled in: {str(error).splitlines()[0]}")
            continue
        if (needed or plain is not None) and not test(plain):
            yield Problem(key, f"must be {words}, not {plain!r}")
