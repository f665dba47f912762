"""What is settled right after composing: the embed of the data's kind, the length, the references."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from nnkit import catalog
from nnkit.errors import Problem
from nnkit.suggest import hint

_NO_LIMIT = -1


def settle(
    config: DictConfig, choices: dict[str, Any], broken: Collection[str], config_dir: Path | None
) -> list[Problem]:
    """Finish a composed config in place.

    Args:
        config: With the values from the command line set.
        choices: The option of each group.
        broken: Groups whose choice was wrong; nothing is said of how their stand-ins go together.
        config_dir: The directory given with ``--config-dir``.

    Returns:
        One problem for each key that is unknown, missing or refers to nothing, and one for a model that does
        not take the data.
    """
    problems = list(_top_level(config))
    if not problems:
        problem = _choose_embed(config, choices, config_dir)
        if problem is not None and not {"model", "data", "experiment"} & set(broken):
            problems.append(problem)
        if not {"data", "task", "head", "experiment"} & set(broken):
            problems += _fit_head(config, choices)
        _lift_limit_on_epochs(config)
    # What does not belong here cannot find its facts either: that is one mistake, not two.
    silent = {*broken, *(problem.key for problem in problems)}
    return problems + [problem for problem in _unresolved(config) if problem.key.split(".")[0] not in silent]


def _top_level(config: DictConfig) -> Iterator[Problem]:
    """Find keys at the top level that are unknown, missing, or a value where a node must stand."""
    defaults = catalog.defaults()
    known = [*defaults, *catalog.plain_keys()]
    for key in config:
        if key not in known:
            yield Problem(str(key), "there is no such key", hint(str(key), known))
    needed = [group for group, default in defaults.items() if isinstance(default, str)]
    for key in [*needed, *catalog.plain_keys()]:
        if key not in config.keys():  # noqa: SIM118 (`in` denies a missing value)
            yield Problem(key, "is missing")
    for group in [name for name in defaults if name in config.keys()]:  # noqa: SIM118
        node = config._get_node(group)
        if node is not None and (not isinstance(node, DictConfig) or node._is_none()):
            yield Problem(group, f"must hold keys, not {node}")


def _choose_embed(config: DictConfig, choices: dict[str, Any], config_dir: Path | None) -> Problem | None:
    embeds = config.model.get("embeds")
    kind = config.data.get("kind")
    if not isinstance(embeds, DictConfig):
        return Problem("model.embeds", "a model lists an embed for each kind of input it takes")
    if kind is None:
        return Problem("data.kind", "a dataset says its kind of input (pictures, table)")
    model, data = choices.get("model") or "?", choices.get("data") or "?"
    takes = list(embeds)
    with open_dict(embeds):
        for other in [name for name in takes if name != kind]:
            del embeds[other]
    if kind in takes:
        return None
    text = f"model={model} does not take data={data} (kind {kind}), only {' and '.join(map(str, takes))}"
    models = ", ".join(catalog.models_for(str(kind), config_dir)) or "none"
    datasets = ", ".join(catalog.data_for(str(model), config_dir)) or "none"
    return Problem("model", text, f"models that take {kind}: {models}; data that {model} takes: {datasets}")


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


def _unresolved(node: DictConfig | ListConfig) -> Iterator[Problem]:
    """Find values that refer to a key that does not exist, or that must be given and are not."""
    names: list[Any] = list(range(len(node))) if isinstance(node, ListConfig) else list(node.keys())
    for name in names:
        key = str(node._get_full_key(name))
        if OmegaConf.is_missing(node, name):
            yield Problem(key, "must be given", f"{key}=...")
        elif OmegaConf.is_interpolation(node, name):
            try:
                node[name]
            # A resolver of Hydra's own (`${hydra:...}`) raises ValueError outside its application.
            except (OmegaConfBaseException, ValueError) as error:
                yield Problem(key, f"cannot be filled in: {str(error).splitlines()[0]}")
        elif isinstance(child := node._get_node(name), DictConfig | ListConfig) and not child._is_none():
            yield from _unresolved(child)
