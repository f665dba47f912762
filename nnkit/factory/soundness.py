"""What is checked of a composed config beside its single nodes: plain keys, facts, and how the parts go together.

`nnkit.runs.preflight` calls these in its order.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from nnkit import config as configs
from nnkit.config import Composition, catalog
from nnkit.config.declared import INJECTED, LIMITS, MAX_SEED
from nnkit.config.keys import sources_of
from nnkit.config.provenance import veil
from nnkit.errors import ConfigError, Problem
from nnkit.factory.class_weights import class_weight_problems, without_data
from nnkit.factory.metrics import closest_metric, metric_problems
from nnkit.factory.nodes import Node, nodes_of, read_node
from nnkit.factory.trial import TRIAL_STEPS, TRIAL_STEPS_PER_EPOCH
from nnkit.factory.typecheck import UNKNOWN

# What data modules call the tokens they give at a time.
_LENGTHS = ("block_size", "eval_block_size", "max_length")
# Of more outputs no batch is made for trial: a number without sense must not cost memory.
_MAX_TRIED = 1_000_000
# No class, column or token has a higher number; as many class names are made up as the config asks for.
_MAX_FACT = 10_000_000
_REFERENCE = "${data."


def for_trial(config: DictConfig) -> DictConfig:
    """Return a copy of a composed config in which what only data tell is filled in as far as a trial needs it."""
    config = configs.copy(config)
    OmegaConf.set_struct(config, False)
    for name, steps in (("total_steps", TRIAL_STEPS), ("steps_per_epoch", TRIAL_STEPS_PER_EPOCH)):
        if config.fit.get(name) is None:
            config.fit[name] = steps
    without_data(config)
    return config


def read_all(config: DictConfig) -> tuple[dict[str, Node], list[Problem]]:
    """Check every node by itself; a value that is taken from another key is that key's mistake.

    Args:
        config: From `for_trial`.

    Returns:
        The nodes whose class is known, by key, and one problem for each mistake.
    """
    nodes: dict[str, Node] = {}
    found: dict[str, Problem] = {}
    for key, group, content in nodes_of(config):
        node, mistakes = read_node(content, key, group, INJECTED.get(group, ()), UNKNOWN)
        for mistake in mistakes:
            sources = sources_of(config, mistake.key)
            origin = sources.pop() if len(sources) == 1 else mistake.key
            found.setdefault(origin, replace(mistake, key=origin))
        if node is not None:
            nodes[key] = node
    return nodes, list(found.values())


def target_for(config: DictConfig) -> str | None:
    """Return the type of target the loss prefers among those the task gives, None if there is none."""
    offered = config.task.get("targets") or []
    return next((str(taken) for taken in config.loss.get("takes") or [] if taken in offered), None)


def loss_target(config: DictConfig) -> str:
    """Return the type of target (index, one_hot, real, multi) that the task is to give the loss.

    Args:
        config: A composed config, the facts about the data filled in.

    Raises:
        ConfigError: If the task gives none that the loss takes, or the loss weighs other classes than there are.
    """
    target = target_for(config)
    found = [*class_weight_problems(config), *([_loss_problem(config, {})] if target is None else [])]
    if found or target is None:
        raise ConfigError(found)
    return target


def num_outputs(config: DictConfig) -> int | None:
    """Return the classes, or real values a sample, that the network puts out; None if that is not known yet."""
    data = config.data
    count = data.get("num_classes") or data.get("num_outputs")
    if not {"num_classes", "num_outputs"} & set(data):
        # A text that is put into classes has a vocabulary too, but that is not what is predicted.
        count = data.get("vocab_size")
    return count if isinstance(count, int) and 0 < count <= _MAX_TRIED else None


def misfits(config: DictConfig, choices: Mapping[str, Any], nodes: Mapping[str, Node]) -> Iterator[Problem]:
    """Hold loss, metrics and the monitored one against the task, and the lengths of texts against the model.

    Args:
        config: A composed config.
        choices: The option of each group.
        nodes: The sound nodes by key.
    """
    if target_for(config) is None:
        yield _loss_problem(config, choices)
    yield from length_problems(config)
    yield from metric_problems(config, choices, nodes, num_outputs(config))
    metrics = getattr(nodes["task"].target, "metrics", {}) if "task" in nodes else {}
    names = [f"val/{name}" for name in (*metrics, *(config.get("metrics") or {}))]
    monitored = {"monitor": config.monitor} if isinstance(config.monitor, str) else {}
    for key, node in nodes.items():
        name = node.arguments.get("monitor")
        # A callback that follows the config's own metric is not named a second time.
        if node.group == "callbacks" and isinstance(name, str) and name != config.monitor:
            monitored[f"{key}.monitor"] = name
    for key, metric in monitored.items():
        if names and metric not in names:
            yield Problem(key, f"the task logs no {metric}", closest_metric(str(metric), names, key))


def length_problems(config: DictConfig) -> Iterator[Problem]:
    """Hold what the data give at a time against what the model can read."""
    most = config.model.get("max_len")
    for name in _LENGTHS:
        given = config.data.get(name)
        if isinstance(most, int) and isinstance(given, int) and given > most:
            text = f"{given} tokens are more than the model reads, model.max_len={most}"
            yield Problem(f"data.{name}", text, f"data.{name}={most}, or model.max_len={given}")


def _loss_problem(config: DictConfig, choices: Mapping[str, Any]) -> Problem:
    takes, gives = config.loss.get("takes") or [], config.task.get("targets") or []
    words = {
        "index": "class indices",
        "one_hot": "one-hot classes",
        "real": "real values",
        "multi": "any number of labels",
    }
    taken = " or ".join(words.get(kind, str(kind)) for kind in takes) or "nothing it names"
    given = " or ".join(words.get(kind, str(kind)) for kind in gives) or "nothing it names"
    loss, task = choices.get("loss", "this loss"), choices.get("task", "this task")
    text = f"{loss} scores {taken}, and the task {task} gives {given}"
    return Problem("loss", text, "leave loss= out: the task chooses one that fits")


def plain_problems(config: DictConfig) -> Iterator[Problem]:
    """Yield what is wrong with the keys outside the groups."""
    seed = config.seed
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed <= MAX_SEED:
        yield Problem("seed", f"must be {LIMITS['seed']}, not {seed!r}", "seed=0")
    if (problem := _directory_name(config.name)) is not None:
        yield problem
    if not isinstance(config.output_dir, str) or not config.output_dir:
        text = f"must be the path of a directory, not {config.output_dir!r}"
        yield Problem("output_dir", text, "output_dir=outputs")
    if not isinstance(config.monitor, str):
        yield Problem("monitor", f"must be {LIMITS['monitor']}, not {config.monitor!r}")
    if not isinstance(config.auto_resume, bool):
        yield Problem("auto_resume", f"must be true or false, not {config.auto_resume!r}")
    elif config.auto_resume and config.name is None:
        yield Problem("auto_resume", "needs a name to find the run by", "name=... auto_resume=true")
    if config.init_from is not None and not isinstance(config.init_from, str):
        yield Problem("init_from", f"must be {LIMITS['init_from']}, not {config.init_from!r}")
    if config.get("adapter") is not None and config.init_from is None:
        text = "adapts weights that were trained before, and none are given: fresh ones would stay as they were drawn"
        yield Problem(
            "adapter", text, "init_from=RUN names the run to start from; without adapter= all is trained"
        )
    parts = OmegaConf.to_container(config.freeze) if OmegaConf.is_list(config.freeze) else config.freeze
    are_names = isinstance(parts, list) and all(isinstance(part, str) and part for part in parts)
    if parts is not None and not are_names:
        text = f"must be {LIMITS['freeze']}, not {parts!r}"
        yield Problem("freeze", text, "freeze=[embed] or freeze=[embed,body.layers.0]")


def _directory_name(name: Any) -> Problem | None:
    if name is None:
        return None
    plain = isinstance(name, str) and name == PurePath(name).name and name not in {"..", "last"}
    if plain and re.fullmatch(r"[^\x00-\x1f/\\]{1,200}", name) and not name.startswith("-"):
        return None
    text = f"must be {LIMITS['name']}, not {name!r}"
    return Problem("name", text, "such as name=first_try; output_dir= says where it stands")


def fact_problems(composition: Composition, config: DictConfig, data: Node | None) -> Iterator[Problem]:
    """Yield what is wrong with facts in the config, and with arguments that must follow them.

    Args:
        composition: The composition, for the options that were chosen.
        config: Its config.
        data: The checked node of the data; None if something is wrong with it.
    """
    names = getattr(data.target, "fact_names", ()) if data is not None else ()
    for name in names:
        if name not in config.data:
            text = "is a fact about the data and must be listed, null where the data say it"
            yield Problem(f"data.{name}", text, f"+data.{name}=null")
        value = config.data.get(name)
        # A list holds a number for each column.
        is_fact = all(map(_is_count, value)) if isinstance(value, ListConfig) else _is_count(value)
        # A table of categories with learnt vectors need not have other columns.
        is_fact |= name == "num_features" and value == 0 and bool(config.data.get("cardinalities"))
        if value is not None and not is_fact:
            text = (
                f"must be a whole number from 1 to {_MAX_FACT}, or null where the data say it, not {value!r}"
            )
            yield Problem(f"data.{name}", text)
        elif value is not None:
            yield from _contradiction(composition, config, name)
    for group in ("head", "model"):
        option = composition.choices.get(group)
        if isinstance(option, str):
            yield from _chosen(config, group, catalog.read(group, option, composition.config_dir))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _MAX_FACT


def _contradiction(composition: Composition, config: DictConfig, name: str) -> Iterator[Problem]:
    """Hold a fact against the one that the file of the dataset gives."""
    option = composition.choices.get("data")
    known = (
        catalog.read("data", option, composition.config_dir).get(name) if isinstance(option, str) else None
    )
    if known is not None and _follows(config, known) != config.data[name]:
        text = f"{config.data[name]} was given, the data have {_follows(config, known)}"
        yield Problem(f"data.{name}", text, "leave it out")


def _chosen(config: DictConfig, group: str, content: dict[str, Any]) -> Iterator[Problem]:
    """Refuse other values of the arguments that refer to the data in the file of a head or an embed."""
    key, node = group, config[group]
    if group == "model":
        (kind,) = config.model.embeds or ("",)
        content = (content.get("embeds") or {}).get(kind) or {}
        key, node = f"model.embeds.{kind}", config.model.embeds.get(kind)
    # A model that does not take the data is refused for that, and a value where keys must stand as well.
    given: Any = OmegaConf.to_container(node, resolve=True) if isinstance(node, DictConfig) else {}
    for name, wanted in content.items():
        if _REFERENCE not in str(wanted) or name not in given:
            continue
        known = _follows(config, wanted)
        if given[name] != known:
            said = "the data say it when they are read" if known is None else f"the data have {known}"
            yield Problem(f"{key}.{name}", f"{given[name]!r} was given, {said}", "leave it out")


def _follows(config: DictConfig, wanted: Any) -> Any:
    """Return what a value of an option file refers to."""
    if isinstance(wanted, list):
        return [_follows(config, item) for item in wanted]
    if isinstance(wanted, str) and wanted.startswith(_REFERENCE):
        return config.data.get(wanted[len(_REFERENCE) : -1])
    return wanted


def explained(composition: Composition, config: DictConfig, found: Sequence[Problem]) -> list[Problem]:
    """Return problems without the mere consequences of others, each with its place, no secret written out.

    Args:
        composition: The composition.
        config: Its config, as it was checked.
        found: As found.
    """
    wrong = {problem.key for problem in found} | composition.broken
    # A wrong value is not reported again where another key refers to it.
    kept = [
        problem
        for problem in found
        if not composition.is_broken(problem.key) and not wrong & sources_of(config, problem.key)
    ]
    return [
        replace(problem, where=problem.where or composition.where(problem.key))
        # As it was typed: what a trial fills in no longer tells what comes from the environment.
        for problem in veil(composition.config, kept)
    ]
