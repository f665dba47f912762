"""How a model type of Hugging Face and a model of ours correspond: options of the config, and names of weights.

Each model type is a `Family` in a file of its own, read in both directions.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor

# Names of activations: theirs -> ours; the first of several is the one that is written.
ACTIVATIONS: Final = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
    "tanh": "tanh",
}


@dataclass(frozen=True)
class ConfigKey:
    """A key of config.json and the argument of our model that has its value.

    Attributes:
        theirs: The key.
        ours: The argument.
        default: What their library takes where the key is missing.
        names: Their values and ours, where these are words.
        is_free: Whether another value than the published one may be typed, as it changes no weight's meaning.
        also: Further keys of theirs for which our model has this one argument.
        unset: Returns the value of our argument from those of the model where it is null.
    """

    theirs: str
    ours: str
    default: Any
    names: Mapping[str, Any] | None = None
    is_free: bool = False
    also: tuple[str, ...] = ()
    unset: Callable[[Mapping[str, Any]], Any] | None = None

    def read(self, config: Mapping[str, Any]) -> Any:
        """Return our value; a ValueError if theirs is none that there could be."""
        value = config.get(self.theirs, self.default)
        if self.names is not None:
            if not isinstance(value, str) or value not in self.names:
                raise ValueError(f"{self.theirs} is {value!r}; what can be read is {', '.join(self.names)}")
            return self.names[value]
        if value is None and self.default is None:
            return None
        kind = type(self.default) if self.default is not None else int
        # A whole number may stand for a fraction, such as a dropout of 0.
        fits = type(value) is kind or (kind is float and type(value) is int)
        numbers = value if kind is list and fits else [value]
        if not fits or (kind is not bool and not all(_is_number(one, kind) for one in numbers)):
            raise ValueError(f"{self.theirs} must be {_TITLES[kind]}, not {value!r}")
        return kind(value)

    def write(self, model: Mapping[str, Any]) -> dict[str, Any]:
        """Return their keys for the arguments of our model; a ValueError if they have no such value."""
        value = model.get(self.ours)
        if value is None and self.unset is not None:
            value = self.unset(model)
        if self.names is not None:
            known = [theirs for theirs, ours in self.names.items() if ours == value]
            if not known:
                raise ValueError(f"{value} has no name in {self.theirs}")
            value = known[0]
        return dict.fromkeys((self.theirs, *self.also), value)


def _is_number(value: Any, kind: type) -> bool:
    return type(value) in ((int, float) if kind is float else (int,)) and 0 <= value < math.inf


_TITLES: Final[dict[type, str]] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list of whole numbers",
}


@dataclass(frozen=True)
class SizeKey:
    """A key of config.json and the keys of our data that must have its value.

    Attributes:
        theirs: The key.
        ours: Dotted keys of our config.
        default: What their library takes where the key is missing.
    """

    theirs: str
    ours: tuple[str, ...]
    default: int

    def read(self, config: Mapping[str, Any]) -> int:
        """Return their value; a ValueError if it is none that there could be."""
        value = config.get(self.theirs, self.default)
        if type(value) is not int or not 1 <= value <= _MAX_SIZE:
            raise ValueError(
                f"{self.theirs} must be a whole number from 1 to {_MAX_SIZE:,}, not {str(value)[:40]}"
            )
        return value


# Of channels, and of sides of images in pixels.
_MAX_SIZE: Final = 1 << 16


@dataclass(frozen=True)
class Rule:
    """Where a tensor of ours is found among theirs.

    Attributes:
        ours: Its name in our network; {} is a number, * the last part of the name, such as weight or bias.
        theirs: The names of the tensors that make it up, one above the other.
        is_transposed: Whether matrices of theirs have inputs as rows.
        is_first_square: Whether the first of several has as many rows as columns, and the others share the rest.
        shape: Returns the shape of theirs from ours and the arguments of our model, where it is another.
    """

    ours: str
    theirs: tuple[str, ...]
    is_transposed: bool = False
    is_first_square: bool = False
    shape: Callable[[Tensor, Mapping[str, Any]], tuple[int, ...]] | None = None

    def match(self, name: str) -> tuple[str, ...] | None:
        """Return the names of theirs for a name of ours; None if the rule is about others."""
        pattern = re.escape(self.ours).replace(r"\{\}", r"(\d+)").replace(r"\*", r"(\w+)")
        found = re.fullmatch(pattern, name)
        if found is None:
            return None
        *numbers, last = found.groups() if "*" in self.ours else (*found.groups(), "")
        return tuple(one.format(*numbers).replace("*", last) for one in self.theirs)

    def join(self, parts: Sequence[Tensor], shape: torch.Size) -> Tensor:
        """Return our tensor of theirs; it has our shape if theirs only lists the same numbers in another one."""
        whole = parts[0] if len(parts) == 1 else torch.cat(list(parts))
        if self.shape is not None and whole.numel() == shape.numel():
            return whole.reshape(shape)
        return whole.T if self.is_transposed and whole.ndim == 2 else whole

    def split(self, tensor: Tensor, model: Mapping[str, Any]) -> list[Tensor]:
        """Return their tensors of ours."""
        if self.shape is not None:
            return [tensor.reshape(self.shape(tensor, model)).contiguous()]
        whole = tensor.T if self.is_transposed and tensor.ndim == 2 else tensor
        if len(self.theirs) == 1:
            return [whole.contiguous()]
        count = len(self.theirs) - 1
        first = whole.shape[1] if self.is_first_square else len(whole) // (count + 1)
        sizes = [first, *[(len(whole) - first) // count] * count]
        return [part.contiguous() for part in torch.split(whole, sizes)]


@dataclass(frozen=True)
class Head:
    """A head of ours in their models.

    Attributes:
        architecture: Their class that has it.
        rules: Of its weights; the names of theirs are whole.
        is_tied: Whether it may score with the vectors of the tokens, which `tie_word_embeddings` then tells.
        copies: Names of theirs that repeat other tensors where it does.
        untied: Names of theirs, and the second names that count instead where it does not.
        as_body: Arguments of ours that are the body's own in theirs.
        without: Arguments of ours that theirs has nothing like.
    """

    architecture: str
    rules: tuple[Rule, ...]
    is_tied: bool = False
    copies: tuple[str, ...] = ()
    untied: Mapping[str, str] = field(default_factory=dict)
    as_body: tuple[str, ...] = ()
    without: tuple[str, ...] = ()


@dataclass(frozen=True)
class Family:
    """A model type of theirs and a model of ours.

    Attributes:
        model_type: As config.json names it.
        target: Our class.
        option: What `model=` names to get one.
        architecture: Their class without a head.
        prefix: What the names of the weights begin with in their classes with a head.
        options: Of the model.
        rules: Of the weights of embed and body, names of theirs without the prefix.
        fixed: Keys of config.json that must have these values where they occur, as ours is no other model.
        ours: Keys of our config that have these values, as theirs has no other kind.
        heads: By the class of ours.
        derived: Returns keys of config.json that follow from the arguments of our model.
        sizes: What the data must be like.
        tie_default: What `tie_word_embeddings` is where it is missing.
        spare: What tensors of ours begin with that stay fresh where theirs are missing.
        left: What tensors of theirs begin with that are left where ours has no place for them, without the prefix.
        buffers: Regular expressions of names of theirs that are no weights.
        outside: What names of theirs that belong to heads begin with, where others have no prefix.
    """

    model_type: str
    target: str
    option: str
    architecture: str
    prefix: str
    options: tuple[ConfigKey, ...]
    rules: tuple[Rule, ...]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    ours: Mapping[str, Any] = field(default_factory=dict)
    heads: Mapping[str, Head] = field(default_factory=dict)
    derived: Callable[[Mapping[str, Any]], dict[str, Any]] = lambda model: {}
    sizes: tuple[SizeKey, ...] = ()
    tie_default: bool = True
    spare: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    buffers: tuple[str, ...] = ()
    outside: tuple[str, ...] = ("cls.", "classifier.", "score.", "lm_head.", "qa_outputs.")

    def find(self, name: str, head: str, prefix: str) -> tuple[Rule, tuple[str, ...]] | None:
        """Return the rule of a tensor of ours, and the names of theirs; None if there is none.

        Args:
            name: In our network.
            head: The class of our head.
            prefix: What the names of theirs begin with, except those of heads.
        """
        for rule in self.rules:
            if (names := rule.match(name)) is not None:
                return rule, tuple(prefix + one for one in names)
        for rule in self.heads[head].rules if head in self.heads else ():
            if (names := rule.match(name)) is not None:
                return rule, names
        return None
