"""The weights of classes that a loss gets: as they are given, by the names of the classes, or from their counts."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from nnkit import config as configs
from nnkit.errors import ConfigError, Problem
from nnkit.factory.fence import RefusedError, resolve
from nnkit.losses.class_weights import balanced
from nnkit.suggest import closest, some_of

KEY = "loss.class_weights"
_BALANCED = "balanced"
_NAME = "class_weights"
# Names of classes that a message lists.
_LISTED = 12
_EXPECTED = f"must be a list, weights by name such as {{rare: 10}}, or {_BALANCED}"


def class_weight_problems(config: DictConfig) -> Iterator[Problem]:
    """Yield what is wrong with the weights as far as it shows without the data.

    Args:
        config: A composed config; facts about the data may still be null.
    """
    given = _given(config)
    if given is None or given == _BALANCED:
        return
    if isinstance(given, str | bool | int | float):
        near = closest(given, [_BALANCED]) if isinstance(given, str) else []
        yield Problem(KEY, f"{_EXPECTED}, not {given!r}", f"did you mean {KEY}={_BALANCED}?" if near else "")
        return
    yield from _value_problems(given)
    count = config.data.get("num_classes")
    if isinstance(given, list) and isinstance(count, int) and len(given) != count:
        text = f"must hold one number for each of the {count} classes, not {len(given)}"
        yield Problem(KEY, text, "null weighs all alike")


def _value_problems(given: list[Any] | dict[Any, Any]) -> Iterator[Problem]:
    values = list(given.values()) if isinstance(given, dict) else given
    wrong = [value for value in values if isinstance(value, bool) or not isinstance(value, int | float)]
    if wrong:
        yield Problem(KEY, f"must hold numbers, not {wrong[0]!r}")
    elif bad := [value for value in values if value < 0 or not math.isfinite(value)]:
        yield Problem(KEY, f"must not be negative and must be finite, and {bad[0]!r} is among them")
    elif isinstance(given, list) and not any(values):
        yield Problem(KEY, "must not all be 0, or nothing is learnt", "null weighs all alike")


def _given(config: DictConfig) -> Any:
    value = config.loss.get(_NAME)
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def without_data(config: DictConfig) -> None:
    """Weigh all classes alike, in place, where only the data tell what is meant; for trials and dry runs."""
    if _NAME in config.loss and not isinstance(config.loss.get(_NAME), ListConfig):
        config.loss[_NAME] = None


def with_class_weights(config: DictConfig, learnt: Mapping[str, Any]) -> DictConfig:
    """Return the node of the loss with one number a class, where its weights are given in another way.

    Args:
        config: A composed config; it is left as it is, so that a run keeps what its user has typed.
        learnt: What was learnt from the data: class_names, class_counts and num_train_samples.

    Raises:
        ConfigError: If there is no such class, or classes without a training sample are to be balanced.
    """
    weights = resolved(config, learnt)
    if weights is not None:
        config = configs.copy(config)
        config.loss[_NAME] = weights
    node: DictConfig = config.loss
    return node


def resolved(config: DictConfig, learnt: Mapping[str, Any]) -> list[float] | None:
    """Return the weights that are given by name or as balanced, one a class; None where they are not.

    Raises:
        ConfigError: As `with_class_weights`.
    """
    given = _given(config)
    if not isinstance(given, dict | str):
        return None
    if not learnt.get("class_names"):
        raise ConfigError([Problem(KEY, "these data have no classes that could be weighed", f"{KEY}=null")])
    names = learnt["class_names"]
    weights = _by_name(given, names) if isinstance(given, dict) else _balanced(config, names, learnt)
    if not any(weights):
        raise ConfigError([Problem(KEY, "all classes weigh 0: nothing is learnt", f"{KEY}=null")])
    return weights


def _by_name(given: Mapping[Any, float], names: Sequence[str]) -> list[float]:
    # YAML reads names such as 3 and true as a number and as a truth.
    spoken = {
        str(name).lower() if isinstance(name, bool) else str(name): value for name, value in given.items()
    }
    found = []
    for name in [name for name in spoken if name not in names]:
        near = closest(name, names)
        answer = f"did you mean {near[0]}? " if near else ""
        text = f"there is no class {name!r}"
        found.append(Problem(f"{KEY}.{name}", text, f"{answer}The classes: {some_of(names, _LISTED)}"))
    if found:
        raise ConfigError(found)
    return [float(spoken.get(name, 1.0)) for name in names]


def _balanced(config: DictConfig, names: Sequence[str], learnt: Mapping[str, Any]) -> list[float]:
    counts: list[int] | None = learnt.get("class_counts")
    if counts is None:
        raise ConfigError(
            [Problem(KEY, "these data do not tell how often a class occurs", "a list, or weights by name")]
        )
    total: int = learnt["num_train_samples"]
    own = _own_formula(config)
    # Of decisions by label, one that is always the same has nothing to balance either.
    lone = [name for name, count in zip(names, counts, strict=True) if not count or (own and count == total)]
    if lone:
        text = f"all or none of the training samples are in {some_of([repr(name) for name in lone], _LISTED)}"
        raise ConfigError([Problem(KEY, f"cannot be {_BALANCED}: {text}", "give weights by name")])
    return own(counts, total) if own is not None else balanced(counts)


def _own_formula(config: DictConfig) -> Callable[[Sequence[int], int], list[float]] | None:
    """Return how a loss balances that takes each class as a decision of its own."""
    plain: Any = OmegaConf.to_container(config.loss, resolve=False)
    try:
        return getattr(resolve(plain["_target_"], "loss"), _BALANCED, None)
    except RefusedError as refusal:
        raise ConfigError([Problem("loss._target_", str(refusal), refusal.hint)]) from refusal
