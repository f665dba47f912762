"""Is a composed config sound? Every node checked, built for trial, and held against the others."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from nnkit.config import Composition
from nnkit.config.keys import sources_of
from nnkit.config.veil import veil
from nnkit.errors import ConfigError, Problem
from nnkit.factory.facts import fact_problems
from nnkit.factory.listed import missing
from nnkit.factory.nodes import INJECTED, Node, nodes_of, read_node
from nnkit.factory.trainer_checks import trainer_problems
from nnkit.factory.trial import TRIAL_STEPS, TRIAL_STEPS_PER_EPOCH, try_all, try_trainer
from nnkit.factory.typecheck import UNKNOWN
from nnkit.suggest import hint

_MAX_SEED = 2**32 - 1
# What data modules call the tokens they give at a time.
_LENGTHS = ("block_size", "eval_block_size", "max_length")
# Of more outputs no batch is made for trial: a number without sense must not cost memory.
_MAX_TRIED = 1_000_000


def problems(composition: Composition) -> list[Problem]:
    """Return every mistake of a composed config; builds parts of it for trial and writes nothing.

    Args:
        composition: From `nnkit.config.compose`; facts about the data may still be null.
    """
    config = composition.config.copy()
    OmegaConf.set_struct(config, False)
    for name, steps in (("total_steps", TRIAL_STEPS), ("steps_per_epoch", TRIAL_STEPS_PER_EPOCH)):
        if config.fit.get(name) is None:
            config.fit[name] = steps
    everything, found = _read_all(config)
    nodes = {key: node for key, node in everything.items() if node.is_sound}
    partial = [node for node in everything.values() if not node.is_sound]
    found += try_all(nodes, _num_outputs(config), target_for(config), partial)
    plain = [*_plain_keys(config), *_class_weights(config)]
    # The seed also arrives as an argument of the data, where it would be reported by its type alone.
    found = [problem for problem in found if problem.key not in {other.key for other in plain}] + plain
    said = {problem.key for problem in found}
    found += [problem for problem in trainer_problems(composition.config) if problem.key not in said]
    if "trainer" in everything:
        trainer = everything["trainer"]
        wrong = {problem.key.removeprefix("trainer.").split(".")[0] for problem in found}
        rest = {name: value for name, value in trainer.arguments.items() if name not in wrong}
        found += try_trainer(replace(trainer, arguments=rest))
    acting = {key: (node.target, node.group) for key, node in nodes.items()}
    found += missing(acting, has_loggers=bool(config.get("logger")))
    if not composition.broken:
        found += fact_problems(composition, config, nodes.get("data"))
        found += _fitting(config, composition.choices, nodes)
    wrong = {problem.key for problem in found} | composition.broken
    # What is wrong with a value is not said again where the value arrives.
    kept = [
        problem
        for problem in found
        if not composition.is_broken(problem.key) and not wrong & sources_of(config, problem.key)
    ]
    return [
        replace(problem, where=problem.where or composition.where(problem.key))
        for problem in veil(config, kept)
    ]


def _read_all(config: DictConfig) -> tuple[dict[str, Node], list[Problem]]:
    """Check every node by itself; a value that is taken from another key is that key's mistake."""
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
    """Return the type of target (index, one_hot, real) that the task is to give the loss.

    Args:
        config: A composed config, the facts about the data filled in.

    Raises:
        ConfigError: If the task gives none that the loss takes, or the loss weighs other classes than there are.
    """
    target = target_for(config)
    found = [*_class_weights(config), *([_loss_problem(config, {})] if target is None else [])]
    if found or target is None:
        raise ConfigError(found)
    return target


def _class_weights(config: DictConfig) -> Iterator[Problem]:
    weights, count = config.loss.get("class_weights"), config.data.get("num_classes")
    if isinstance(weights, ListConfig) and isinstance(count, int) and len(weights) != count:
        text = f"must hold one number for each of the {count} classes, not {len(weights)}"
        yield Problem("loss.class_weights", text, "null weighs all alike")


def _num_outputs(config: DictConfig) -> int | None:
    data = config.data
    count = data.get("num_classes") or data.get("num_outputs")
    if not {"num_classes", "num_outputs"} & set(data):
        # A text that is put into classes has a vocabulary too, but that is not what is predicted.
        count = data.get("vocab_size")
    return count if isinstance(count, int) and 0 < count <= _MAX_TRIED else None


def _fitting(config: DictConfig, choices: Mapping[str, Any], nodes: Mapping[str, Node]) -> Iterator[Problem]:
    """Hold the loss and the monitored metric against the task."""
    if target_for(config) is None:
        yield _loss_problem(config, choices)
    yield from _lengths(config)
    metrics = getattr(nodes["task"].target, "metrics", {}) if "task" in nodes else {}
    names = [f"val/{name}" for name in metrics]
    monitored = {"monitor": config.monitor} if isinstance(config.monitor, str) else {}
    for key, node in nodes.items():
        name = node.arguments.get("monitor")
        # A callback that follows the config's own metric is not named a second time.
        if node.group == "callbacks" and isinstance(name, str) and name != config.monitor:
            monitored[f"{key}.monitor"] = name
    for key, metric in monitored.items():
        if names and metric not in names:
            yield Problem(key, f"the task logs no {metric}", hint(str(metric), names, f"{key}={{}}"))


def _lengths(config: DictConfig) -> Iterator[Problem]:
    """Hold what the data give at a time against what the model can read."""
    most = config.model.get("max_len")
    for name in _LENGTHS:
        given = config.data.get(name)
        if isinstance(most, int) and isinstance(given, int) and given > most:
            text = f"{given} tokens are more than the model reads, model.max_len={most}"
            yield Problem(f"data.{name}", text, f"data.{name}={most}, or model.max_len={given}")


def _loss_problem(config: DictConfig, choices: Mapping[str, Any]) -> Problem:
    takes, gives = config.loss.get("takes") or [], config.task.get("targets") or []
    words = {"index": "class indices", "one_hot": "one-hot classes", "real": "real values"}
    taken = " or ".join(words.get(kind, str(kind)) for kind in takes) or "nothing it names"
    given = " or ".join(words.get(kind, str(kind)) for kind in gives) or "nothing it names"
    loss, task = choices.get("loss", "this loss"), choices.get("task", "this task")
    text = f"{loss} scores {taken}, and the task {task} gives {given}"
    return Problem("loss", text, "leave loss= out: the task chooses one that fits")


def _plain_keys(config: DictConfig) -> Iterator[Problem]:
    seed = config.seed
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed <= _MAX_SEED:
        yield Problem("seed", f"must be a whole number from 0 to {_MAX_SEED}, not {seed!r}", "seed=0")
    if (problem := _directory_name(config.name)) is not None:
        yield problem
    if not isinstance(config.output_dir, str) or not config.output_dir:
        text = f"must be the path of a directory, not {config.output_dir!r}"
        yield Problem("output_dir", text, "output_dir=outputs")
    if not isinstance(config.monitor, str):
        yield Problem("monitor", f"must be the name of a metric, not {config.monitor!r}")
    if not isinstance(config.auto_resume, bool):
        yield Problem("auto_resume", f"must be true or false, not {config.auto_resume!r}")
    elif config.auto_resume and config.name is None:
        yield Problem("auto_resume", "needs a name to find the run by", "name=... auto_resume=true")
    if config.init_from is not None and not isinstance(config.init_from, str):
        yield Problem("init_from", f"must be a run, not {config.init_from!r}")
    parts = OmegaConf.to_container(config.freeze) if OmegaConf.is_list(config.freeze) else config.freeze
    are_names = isinstance(parts, list) and all(isinstance(part, str) and part for part in parts)
    if parts is not None and not are_names:
        text = f"must be a list of parts of the network, not {parts!r}"
        yield Problem("freeze", text, "freeze=[embed] or freeze=[embed,body.layers.0]")


def _directory_name(name: Any) -> Problem | None:
    if name is None:
        return None
    plain = isinstance(name, str) and name == PurePath(name).name and name not in {"..", "last"}
    if plain and re.fullmatch(r"[^\x00-\x1f/\\]{1,200}", name) and not name.startswith("-"):
        return None
    text = f"must be the plain name of a directory, not {name!r}"
    return Problem("name", text, "such as name=first_try; output_dir= says where it stands")
