"""The base of a checkpoint: weights that it does not hold, since they are those of another one and never change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from nnkit.checkpoint.formats import KEY

# Where a state has weights: those that are evaluated, and beside an average of them (EMA) the current ones.
_WEIGHTS = ("state_dict", "current_model_state")


@dataclass(frozen=True)
class Base:
    """What an adapter rests on.

    Attributes:
        path: Absolute path of the run, or of what else was named by `init_from`.
        checkpoint: Name of the checkpoint there.
        sha256: Its hash.
        names: Names, in the state of the task, of the weights that are read from there.
    """

    path: str
    checkpoint: str
    sha256: str
    names: tuple[str, ...]

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Base | None:
        """Return the base that a checkpoint names, None if it holds all its weights; see `parse`."""
        given = state.get(KEY, {}).get("base")
        return None if given is None else cls.parse(given)

    @classmethod
    def parse(cls, given: Any) -> Base:
        """Read what `spec` returns.

        Args:
            given: Plain data; nothing in it is trusted.

        Raises:
            ValueError: If it is no base.
        """
        facts = ("path", "checkpoint", "sha256")
        names = given.get("names") if isinstance(given, dict) else None
        if not isinstance(names, list) or not _are_texts([*names, *(given.get(fact) for fact in facts)]):
            raise ValueError("its base is of the wrong kind")
        return cls(given["path"], given["checkpoint"], given["sha256"], tuple(names))

    def spec(self) -> dict[str, Any]:
        """Return what a checkpoint says about it, as `of` reads it."""
        return {**asdict(self), "names": list(self.names)}

    def left_out(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Return a state without the weights of the base."""
        names = frozenset(self.names)
        return {**state, **{part: _without(state[part], names) for part in _WEIGHTS if part in state}}

    def put_back(self, state: Mapping[str, Any], weights: Mapping[str, Tensor]) -> dict[str, Any]:
        """Return a state with the weights of the base.

        Args:
            state: A checkpoint as it was saved.
            weights: All weights of the base, by their names in the state of the task.

        Raises:
            ValueError: If the base lacks one of them.
        """
        if lacking := [name for name in self.names if name not in weights]:
            raise ValueError(f"its base has no {lacking[0]}")
        taken = {name: weights[name] for name in self.names}
        return {**state, **{part: {**state[part], **taken} for part in _WEIGHTS if part in state}}


def _are_texts(values: Iterable[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def _without(weights: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in weights.items() if name not in names}
