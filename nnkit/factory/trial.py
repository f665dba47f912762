"""Constructs every node once for trial, so that a value out of range is found before anything is written."""

import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from nnkit.errors import NnkitError, Problem
from nnkit.factory.nodes import Node, blame, signature
from nnkit.factory.typecheck import UNKNOWN
from nnkit.machine.memory import bounded, shortage

# The length of the run while the schedule is tried.
TRIAL_STEPS, TRIAL_STEPS_PER_EPOCH = 100, 10
# What constructors raise over their arguments; anything else is a bug and gets its traceback.
_COMPLAINTS = (
    ValueError,
    TypeError,
    AssertionError,
    RuntimeError,
    ZeroDivisionError,
    OverflowError,
    ImportError,
    MisconfigurationException,
    NnkitError,
)


# Arguments that a trainer obeys by changing a setting of the whole process as soon as it is constructed.
_WHOLE_PROCESS = ("deterministic", "benchmark", "detect_anomaly")
# Stands for a fact about the data that is not known yet while the body behind an embed is tried.
_SOME_SIZE = 8


def try_all(
    nodes: Mapping[str, Node], num_outputs: int | None, target: str | None, partial: Iterable[Node] = ()
) -> list[Problem]:
    """Construct what can be constructed without data, and return the errors.

    Args:
        nodes: Checked nodes by key; a node that is missing here is left out, and what needs it too.
        num_outputs: Classes, or real values a sample; None if not known yet.
        target: Type of target the loss gets (index, one_hot, real, multi); None if there is none.
        partial: Nodes with some wrong arguments, which are left out.
    """
    # A trial must not move the generator that weights are drawn from.
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # The construction that counts warns again.
        warnings.simplefilter("ignore")
        problems = [*_try_network(nodes), *_try_loss(nodes.get("loss"), num_outputs, target)]
        optimizer, found = _try_optimizer(nodes.get("optimizer"))
        problems += found
        if "scheduler" in nodes:
            problems += construct(nodes["scheduler"], optimizer=optimizer)[1]
        for node in nodes.values():
            if node.group in ("data", "callbacks", "adapter"):
                problems += construct(node)[1]
        problems += _try_rest(partial, optimizer)
    return problems


def _try_rest(partial: Iterable[Node], optimizer: Optimizer) -> list[Problem]:
    """Construct nodes without their wrong arguments, so that the other mistakes are found at once."""
    injected: dict[str, dict[str, Any]] = {
        "data": {},
        "callbacks": {},
        "adapter": {},
        "optimizer": {"params": [nn.Parameter(torch.zeros(2, 2))]},
        "scheduler": {"optimizer": optimizer},
    }
    found = []
    for node in partial:
        given = injected.get(node.group)
        if given is None:
            continue
        needed = [name for name, parameter in signature(node.target)[0].items() if parameter.needed]
        for problem in construct(node, **given)[1]:
            name = problem.key.removeprefix(f"{node.key}.").split(".")[0]
            alone = {one: value for one, value in node.arguments.items() if one in (name, *needed)}
            # With the others at their defaults, or it may be at odds with the default of what was left out.
            if name in alone and construct(replace(node, arguments=alone), **given)[1]:
                found.append(problem)
    return found


def try_trainer(node: Node) -> list[Problem]:
    """Construct Lightning's Trainer, which alone knows its strategies, profilers and ways of clipping.

    Args:
        node: The checked node of the trainer.
    """
    arguments = {name: value for name, value in node.arguments.items() if name not in _WHOLE_PROCESS}
    if not _is_here(arguments.get("accelerator")):
        # That this machine has no such device is no mistake of the config.
        arguments |= {"accelerator": "cpu", "devices": 1, "strategy": "auto", "precision": None}
    with warnings.catch_warnings(), _quiet_lightning():
        warnings.simplefilter("ignore")
        bare: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_model_summary": False}
        # Whatever has started this process: nnkit itself joins those that train together.
        bare["plugins"] = [LightningEnvironment()]
        return construct(replace(node, arguments=arguments), **bare, enable_progress_bar=False)[1]


def _is_here(accelerator: Any) -> bool:
    if accelerator in ("gpu", "cuda"):
        return torch.cuda.is_available() or (accelerator == "gpu" and torch.backends.mps.is_available())
    return accelerator != "mps" or torch.backends.mps.is_available()


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keep what a trainer says of itself out of the log: the one that trains says it again."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def construct(node: Node, **injected: Any) -> tuple[Any, list[Problem]]:
    """Return the object that a node describes, None if it cannot be built, and the problems.

    A constructor stops at its first mistake. To find the others, the argument it named is left at its default and the
    construction tried again.
    """
    problems: list[Problem] = []
    arguments = dict(node.arguments) if node.complete else None
    while arguments is not None:
        try:
            return node.target(**arguments, **injected), problems
        except _COMPLAINTS as error:
            # A constructor that reads values cannot run on the meta device; that is no mistake of the config.
            if isinstance(error, RuntimeError) and "meta" in str(error):
                break
            lack = shortage(error)
            problem = Problem(node.key, lack) if lack else blame(error, node.key, arguments)
            # The same mistake again, in the light of the default: a contradiction of two arguments is one mistake.
            if problems and (problem.key == node.key or problem.text == problems[-1].text):
                break
            problems.append(problem)
            named = problem.key.removeprefix(f"{node.key}.").split(".")[0]
            arguments = (
                {key: value for key, value in arguments.items() if key != named}
                if named in arguments
                else None
            )
    return None, problems


def _try_network(nodes: Mapping[str, Node]) -> list[Problem]:
    """Build embed, body and head on the meta device: no memory, no time."""
    problems: list[Problem] = []
    width: dict[str, Any] = {}
    ahead = getattr(nodes["task"].target, "needs_causal", False) if "task" in nodes else False
    with torch.device("meta"), bounded():
        for group in ("embeds", "model", "head"):
            node = next((node for node in nodes.values() if node.group == group), None)
            if node is None:
                break
            if group == "embeds":
                # What the body gets rarely depends on the facts; whether it can be built at all never should.
                needed = {name for name, parameter in signature(node.target)[0].items() if parameter.needed}
                known = {
                    name: value
                    for name, value in node.arguments.items()
                    if name in needed or value is not UNKNOWN
                }
                node = replace(node, arguments=_guessed(known))
            module, found = construct(node, **width)
            problems += found
            if ahead and not getattr(module, "causal", True):
                key = f"{node.key}.bidirectional" if "bidirectional" in node.arguments else node.key
                text = f"{node.target.__name__} looks ahead, and the task predicts what comes next"
                problems.append(Problem(key, text, "choose one that reads forwards only, such as model=lstm"))
            if not hasattr(module, "dim_out"):
                break
            width = {"dim_in": module.dim_out}
    return problems


def _guessed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _guessed(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_guessed(inner) for inner in value)
    return _SOME_SIZE if value is UNKNOWN else value


def _try_optimizer(node: Node | None) -> tuple[Optimizer, list[Problem]]:
    """Return the configured optimizer over a dummy matrix, or a plain one in its place."""
    parameter = nn.Parameter(torch.zeros(2, 2))
    optimizer, problems = construct(node, params=[parameter]) if node is not None else (None, [])
    if node is not None and optimizer is not None:
        parameter.grad = torch.zeros_like(parameter)
        try:
            optimizer.step(lambda: torch.zeros(()))
        except _COMPLAINTS as error:
            problems.append(blame(error, node.key, node.arguments))
    return optimizer or SGD([parameter], lr=0.1, momentum=0.9), problems


def _try_loss(node: Node | None, num_outputs: int | None, target: str | None) -> list[Problem]:
    """Construct the loss and score one dummy batch: torch.nn checks some arguments only there."""
    if node is None:
        return []
    loss, problems = construct(node)
    if loss is None or num_outputs is None or target is None:
        return problems
    try:
        loss(torch.zeros(2, num_outputs), _dummy_target(target, num_outputs))
    except _COMPLAINTS as error:
        return [*problems, blame(error, node.key, node.arguments)]
    return problems


def _dummy_target(target: str, num_outputs: int) -> Tensor:
    if target == "index":
        return torch.zeros(2, dtype=torch.int64)
    return torch.zeros(2, num_outputs)
