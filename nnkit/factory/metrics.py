"""Metrics of a user's choice: whether they fit the task, which way they are better, and how they are built."""

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor
from torchmetrics import Metric

from nnkit import config as configs
from nnkit.config import catalog
from nnkit.errors import ConfigError, Problem
from nnkit.factory.construct import build, target_class
from nnkit.factory.nodes import Node, signature
from nnkit.factory.trial import construct
from nnkit.suggest import hint
from nnkit.tasks.base import Task
from nnkit.tasks.chosen_metrics import ChosenMetric, Over

# What a metric may compare, as `Task.measures` has it, in words; and what torchmetrics calls its task then.
_KINDS = {"classes": "classes", "labels": "any number of labels", "values": "real values"}
_TASKS = {"classes": "multiclass", "labels": "multilabel"}
_DIRECTIONS = ("max", "min")
# Classes a metric is tried with, at most and where their number is not known yet; rows of the batch.
_MOST_TRIED, _SOME_CLASSES, _ROWS = 100, 8, 4
_NAME = re.compile(r"[A-Za-z]\w*", re.ASCII)
_AVERAGE = "average"


def task_of(config: DictConfig) -> type[Task]:
    """Return the class of the task.

    Raises:
        ConfigError: If it is refused.
    """
    found = target_class(config.task, "task")
    assert issubclass(found, Task)
    return found


def directions(config: DictConfig) -> dict[str, str]:
    """Return the metrics that a run reports, and whether "max" or "min" of each is better.

    Args:
        config: A composed config that nothing is wrong with.
    """
    chosen = {str(name): str(node.better) for name, node in (config.get("metrics") or {}).items()}
    return {**task_of(config).metrics, **chosen}


def mode_of(config: DictConfig) -> Literal["max", "min"]:
    """Return whether more or less of the monitored metric is better."""
    return "max" if directions(config).get(str(config.monitor).split("/", 1)[-1]) == "max" else "min"


def metric_problems(
    config: DictConfig, choices: Mapping[str, Any], nodes: Mapping[str, Node], num_outputs: int | None
) -> Iterator[Problem]:
    """Hold the metrics against the task, then try those that fit on a batch.

    Args:
        config: A composed config.
        choices: The option of each group.
        nodes: The nodes whose arguments are sound, by key.
        num_outputs: Classes, or real values a sample; None if not known yet.
    """
    task = nodes["task"].target if "task" in nodes else None
    for name, node in (config.get("metrics") or {}).items():
        found = [*_key_problems(str(name), node)]
        if not found and task is not None and issubclass(task, Task):
            found = [*_misfit(str(name), node, task, choices)]
            checked = nodes.get(f"metrics.{name}")
            if not found and checked is not None:
                assert task.measures is not None
                found = [*_tried(checked, task.measures, num_outputs)]
        yield from found


def _key_problems(name: str, node: object) -> Iterator[Problem]:
    """Yield what is wrong with the keys that nnkit itself reads."""
    key = f"metrics.{name}"
    if not isinstance(node, DictConfig):
        # Such a node is refused as one that holds no keys.
        return
    if not _NAME.fullmatch(name):
        yield Problem(
            key, "must be a word, as a column of tables and files is called so", "such as metrics.my_auroc"
        )
    plain: Any = OmegaConf.to_container(node, resolve=True)
    if plain.get("better") not in _DIRECTIONS:
        text = f"must be max or min, whichever is better, not {plain.get('better')!r}"
        yield Problem(f"{key}.better", text)
    fits = plain.get("fits")
    if not isinstance(fits, list) or not fits or not set(map(str, fits)) <= set(_KINDS):
        yield Problem(f"{key}.fits", f"must be a list out of {', '.join(_KINDS)}, not {fits!r}")
    over = plain.get("over")
    if over is not None and over not in get_args(Over):
        yield Problem(f"{key}.over", f"must be one of {', '.join(get_args(Over))}, or null, not {over!r}")


def _misfit(name: str, node: DictConfig, task: type[Task], choices: Mapping[str, Any]) -> Iterator[Problem]:
    key, called = f"metrics.{name}", choices.get("task") or task.__name__
    if task.measures is None:
        text = f"the task {called} takes no metrics beside its own: {', '.join(task.metrics)}"
        yield Problem(key, text, f"~{key} leaves it out")
    elif task.measures not in node.fits:
        compared = " or ".join(_KINDS[kind] for kind in node.fits)
        text = f"compares {compared}, and the task {called} gives {_KINDS[task.measures]}"
        yield Problem(key, text, f"metrics that fit: {', '.join(fitting(task))}")
    elif name in task.metrics:
        yield Problem(
            key, f"the task {called} reports a metric of this name already", f"~{key} leaves it out"
        )


def fitting(task: type[Task]) -> list[str]:
    """Return the options of the group that fit a task and that it does not report anyway."""
    found = []
    for option in catalog.options("metrics"):
        for name, node in catalog.read("metrics", option).items():
            if (
                isinstance(node, dict)
                and task.measures in (node.get("fits") or ())
                and name not in task.metrics
            ):
                found.append(option)
    return found


def _tried(node: Node, kind: str, num_outputs: int | None) -> Iterator[Problem]:
    """Build a metric and compare a batch with it: some arguments are looked at only there."""
    most = node.arguments.get("top_k")
    if isinstance(most, int) and num_outputs is not None and most >= num_outputs and kind == "classes":
        text = f"of {num_outputs} classes the right one is always among the {most} most probable ones"
        yield Problem(f"{node.key}.top_k", text, f"{node.key}.top_k={max(1, num_outputs - 1)}")
        return
    size = min(num_outputs or _SOME_CLASSES, _MOST_TRIED)
    size = max(size, most) if isinstance(most, int) else size
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            metric, found = construct(node, **_injected(node.target, kind, size))
            yield from found
            if metric is None or found:
                return
            # Other processes of the run take no part in a trial.
            metric.distributed_available_fn = lambda: False
            metric.update(*_dummies(kind, size))
            value = metric.compute()
    except (ValueError, TypeError, RuntimeError, IndexError, NotImplementedError) as error:
        text = " ".join(str(error).split()) or type(error).__name__
        yield Problem(node.key, f"{node.target.__name__} cannot compare {_KINDS[kind]}: {text}")
        return
    if not isinstance(value, Tensor) or (value.numel() != 1 and kind != "values"):
        count = value.numel() if isinstance(value, Tensor) else "several"
        answer = f"{node.key}.{_AVERAGE}=macro" if _AVERAGE in signature(node.target)[0] else ""
        yield Problem(node.key, f"{node.target.__name__} gives {count} numbers, and a metric is one", answer)


def _dummies(kind: str, size: int) -> tuple[Tensor, Tensor]:
    rows = torch.arange(_ROWS)
    if kind == "values":
        return rows[:, None].double().expand(-1, size) + 1, rows[:, None].double().expand(-1, size) + 2
    labels = ((torch.arange(size) - rows[:, None]) % size == 0).long()
    prediction = (labels + 1.0) / (size + 1)
    return prediction, labels if kind == "labels" else labels.argmax(1)


def _injected(target: type, kind: str, size: int) -> dict[str, Any]:
    """Return the arguments of a metric that follow from the task and the data."""
    values = {"task": _TASKS.get(kind), "num_classes": size, "num_labels": size, "num_outputs": size}
    parameters = signature(target)[0]
    return {name: value for name, value in values.items() if name in parameters and value is not None}


def build_metrics(config: DictConfig, learnt: Mapping[str, Any]) -> dict[str, ChosenMetric]:
    """Build the metrics of a config for data that are prepared.

    Args:
        config: A composed config.
        learnt: What was learnt from the data: class_names, or the scale of the target.

    Raises:
        ConfigError: If a metric does not go with the task or with the data.
    """
    names = [str(name) for name in config.get("metrics") or {}]
    if not names:
        return {}
    kind = task_of(config).measures
    if kind is None:
        raise ConfigError([Problem("metrics", "the task takes no metrics beside its own", "metrics=[]")])
    size = len(learnt["target"]["mean"] if kind == "values" else learnt["class_names"])
    config = configs.copy(config)
    return {name: _build(config.metrics[name], kind, size) for name in names}


def _build(node: DictConfig, kind: str, size: int) -> ChosenMetric:
    over: Over | None = node.get("over") if node.get(_AVERAGE) == "macro" else None
    if over is not None:
        # One value a class; `ChosenMetric` takes their mean.
        node[_AVERAGE] = "none"
    with warnings.catch_warnings():
        # Of a metric that keeps all values: conf/metrics says it of those that do.
        warnings.simplefilter("ignore")
        metric: Metric = build(node, "metrics", **_injected(target_class(node, "metrics"), kind, size))
    if kind == "values":
        # Sums of squares of large values need all 64 bits.
        metric.set_dtype(torch.float64)
    return ChosenMetric(metric, over, size)


def closest_metric(metric: str, names: Sequence[str], key: str) -> str:
    """Return what to type instead of a metric that the task does not report."""
    name = metric.split("/", 1)[-1]
    if name in catalog.options("metrics"):
        return f"add it: metrics=[{name}]"
    return hint(metric, names, f"{key}={{}}")
