"""What is taken from the environment is shown by its name: its value may be a secret, and messages end up in logs."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from omegaconf import DictConfig, ListConfig
from omegaconf.errors import OmegaConfBaseException

from nnkit.errors import Problem

_FROM_ENVIRONMENT = "${oc.env:"
# A shorter value stands in many a message by chance; it is hidden only where its own key is spoken of.
_MIN_LENGTH = 6


def veil(config: DictConfig, problems: Iterable[Problem]) -> list[Problem]:
    """Return problems in which no value from the environment is written out, be it in the text or in the hint.

    Args:
        config: With its interpolations.
        problems: As found.
    """
    secrets = list(_secrets(config, ""))
    return [_veiled(problem, secrets) for problem in problems]


def _secrets(node: DictConfig | ListConfig, path: str) -> Iterator[tuple[str, str, str]]:
    """Find what is taken from the environment: key, value, and what is written in the config."""
    if node._is_none() or node._is_missing() or node._is_interpolation():
        return
    names: Iterable[Any] = node.keys() if isinstance(node, DictConfig) else range(len(node))
    for name in list(names):
        child = node._get_node(name)
        key = f"{path}.{name}".removeprefix(".")
        if isinstance(child, DictConfig | ListConfig) and not child._is_interpolation():
            yield from _secrets(child, key)
            continue
        raw = getattr(child, "_value", lambda: None)()
        if isinstance(raw, str) and _FROM_ENVIRONMENT in raw:
            try:
                yield key, str(node[name]), raw
            # A resolver of Hydra's own (`${hydra:...}`) raises ValueError outside its application.
            except (OmegaConfBaseException, ValueError):
                # What cannot be filled in has no value that could be shown.
                continue


def _veiled(problem: Problem, secrets: Iterable[tuple[str, str, str]]) -> Problem:
    text = problem.text
    for key, value, raw in secrets:
        is_own = f"{key}.".startswith(f"{problem.key}.") or f"{problem.key}.".startswith(f"{key}.")
        if value and (is_own or len(value) >= _MIN_LENGTH):
            text = text.replace(value, raw).replace(repr(value)[1:-1], raw)
    # What to type instead of a value is often built of it.
    return replace(problem, text=text, hint=problem.hint if text == problem.text else "")
