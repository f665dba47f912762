"""A published model in a directory: what its config decides, its tokenizer, and its weights by our names."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import torch
from torch import Size, Tensor

from nnkit.data.tokenizing import tokenizer_from
from nnkit.hugging_face.bert import BERT
from nnkit.hugging_face.family import Family, Rule
from nnkit.hugging_face.files import CONFIG, INDEX, WEIGHTS, Weights, read_object, refused, refusing
from nnkit.hugging_face.gpt2 import GPT2
from nnkit.hugging_face.llama import LLAMA
from nnkit.hugging_face.pictures import FILE as PICTURES
from nnkit.hugging_face.pictures import PictureReader, picture_reader
from nnkit.hugging_face.resnet import RESNET
from nnkit.hugging_face.vit import VIT
from nnkit.hugging_face.vocabulary import read_tokenizer
from nnkit.suggest import some_of

FAMILIES: Final = (BERT, GPT2, LLAMA, VIT, RESNET)

# Where Sentence-Transformers says what represents a sentence.
_POOLING: Final = Path("1_Pooling") / CONFIG
# Names of classes that say nothing, which their library makes up.
UNNAMED: Final = "LABEL_"
_LISTED: Final = 5
# Characters of a value of any size.
_SHOWN: Final = 80
_AGAIN: Final = "fetch the directory again, with all its files"


@dataclass(frozen=True)
class Taken:
    """The weights that a network takes from a directory.

    Attributes:
        tensors: By their names in our network.
        fresh: Tensors of the network that stay as they are.
        left: Tensors of the directory that the network has no use for.
    """

    tensors: dict[str, Tensor]
    fresh: list[str]
    left: list[str]


def is_directory(path: Path) -> bool:
    """Return whether a path is a directory with a model of Hugging Face, or at least with files of one."""
    names = (CONFIG, WEIGHTS, INDEX, "pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5")
    return path.is_dir() and any((path / name).exists() for name in names)


class Directory:
    """A directory with config.json, weights in safetensors, and the files of a tokenizer.

    Args:
        path: The directory.

    Attributes:
        family: Its model type.
        settings: Values of our config that the directory decides, by their dotted keys.
        free: Values of our config that it proposes: others may be typed.
        sizes: Values of our config that the data must have.
        learnt: What a data module takes over, as `DataModule.preprocessing` has it: the tokenizer, the class names.
        notes: Sentences on what was decided that could have been decided otherwise.

    Raises:
        ConfigError: If it is no such directory, of another model type, or a file of it cannot be trusted.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not (path / CONFIG).exists():
            raise refused(
                path, f"has no {CONFIG}, so that nothing says which model its weights are of", _AGAIN
            )
        self.config = read_object(path / CONFIG)
        self.family = self._family()
        self.notes: list[str] = []
        self.settings, self.free = self._options()
        self.sizes = self._sizes()
        self.weights = Weights(path)
        self.learnt: dict[str, Any] = {}
        if (spec := read_tokenizer(path)) is not None:
            self._check_size(tokenizer_from(spec).vocab_size)
            self.learnt["tokenizer"] = spec
        if self.family.sizes and (path / PICTURES).exists():
            scaling = read_object(path / PICTURES)
            mean, std = (str(scaling.get(key))[:_SHOWN] for key in ("image_mean", "image_std"))
            self.notes.append(
                f"its pictures were normalised by image_mean {mean} and image_std {std}; "
                "those here have the mean and deviation of the new training pictures"
            )
        if names := self._class_names():
            self.learnt["class_names"] = names

    def _family(self) -> Family:
        kind = self.config.get("model_type")
        for family in FAMILIES:
            if family.model_type == kind:
                return family
        known = ", ".join(family.model_type for family in FAMILIES)
        raise refused(self.path / CONFIG, f"model_type is {str(kind)[:40]!r}; what can be read is {known}")

    def _options(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the values that the config decides, and those that it proposes."""
        # Since 2025 the options of the positions have an object of their own.
        nested = self.config.get("rope_parameters")
        config = {**(nested if isinstance(nested, dict) else {}), **self.config}
        settled: dict[str, Any] = dict(self.family.ours)
        free: dict[str, Any] = {}
        for option in self.family.options:
            with refusing(self.path / CONFIG):
                value = option.read(config)
            (free if option.is_free else settled)[f"model.{option.ours}"] = value
            others = [f"{key} {config[key]}" for key in option.also if config.get(key, value) != value]
            if others:
                text = f"model.{option.ours}={value} is {option.theirs}; {', '.join(others)} are of the same argument"
                self.notes.append(text)
        model = {key.removeprefix("model."): value for key, value in {**settled, **free}.items()}
        for key, value in {**self.family.fixed, **self.family.derived(model)}.items():
            if config.get(key) not in (None, value):
                text = f"{key} is {config[key]!r}, and the model that can be read has {value!r}"
                raise refused(self.path / CONFIG, text)
        if "quantization_config" in config:
            raise refused(
                self.path / CONFIG, "its weights are quantized, and only floating-point ones are read"
            )
        settled["head.tied"] = bool(config.get("tie_word_embeddings", self.family.tie_default))
        if (path := self.path / _POOLING).exists() and read_object(path).get(
            "pooling_mode_mean_tokens"
        ) is True:
            free["model.pooling"] = "mean"
        return settled, free

    def _sizes(self) -> dict[str, int]:
        """Return what the data must be like, by keys of our config."""
        with refusing(self.path / CONFIG):
            return {key: size.read(self.config) for size in self.family.sizes for key in size.ours}

    def _check_size(self, num_tokens: int) -> None:
        """Refuse a vocabulary of another size than that of the vectors, whose ids would mean other tokens."""
        size = self.config.get("vocab_size", num_tokens)
        if size != num_tokens:
            text = f"its tokenizer has {num_tokens:,} tokens, and vocab_size in {CONFIG} is {size}"
            raise refused(self.path, text, "the tokenizer that the model was trained with has as many")

    def _class_names(self) -> list[str] | None:
        names = self.config.get("id2label")
        if not isinstance(names, dict):
            return None
        found = [names.get(str(number)) for number in range(len(names))]
        if not all(isinstance(name, str) and not name.startswith(UNNAMED) for name in found):
            return None
        return [str(name) for name in found]

    def pictures(self) -> PictureReader:
        """Return what reads its pictures; a ConfigError if that cannot be read."""
        sizes = self.sizes
        return picture_reader(
            self.path, self.family.model_type, sizes["data.in_channels"], sizes.get("data.height")
        )

    def take(self, shapes: Mapping[str, Size], head: str, *, with_head: bool) -> Taken:
        """Return the weights of a network.

        Args:
            shapes: Of the tensors of the network by name.
            head: The class of its head.
            with_head: Whether the head is to be taken over where the directory has it.

        Raises:
            ConfigError: If a tensor of embed or body is missing, has another shape, or has no place in the network.
        """
        plan, fresh, left = self.plan(shapes, head, with_head=with_head)
        loaded = self.weights.load({self._names[one] for _, names in plan.values() for one in names})
        tensors = {
            name: rule.join([loaded[self._names[one]] for one in theirs], shapes[name])
            for name, (rule, theirs) in plan.items()
        }
        return Taken(tensors, fresh, left)

    def plan(
        self, shapes: Mapping[str, Size], head: str, *, with_head: bool
    ) -> tuple[dict[str, tuple[Rule, tuple[str, ...]]], list[str], list[str]]:
        """Return how the tensors of a network are made of those here, which stay fresh, and which here are left.

        No weight is read; arguments and errors are those of `take`.
        """
        plan, fresh, wrong = {}, [], []
        for name, shape in shapes.items():
            found = self.family.find(name, head, self._prefix)
            is_head = name.startswith("head.")
            lacking = [] if found is None else [one for one in found[1] if one not in self._names]
            if found is not None and not lacking and (with_head or not is_head):
                plan[name] = found
            elif is_head or (lacking and name.startswith(self.family.spare)):
                fresh.append(name)
            else:
                wrong.append(
                    f"{name} {tuple(shape)}: {', '.join(lacking) or 'nothing like it'} is missing there"
                )
        used = {theirs for _, names in plan.values() for theirs in names}
        wrong += [f"{name}: it has no place here" for name in self._strangers(used)]
        wrong += self._misshapen(plan, shapes)
        if wrong:
            text = some_of(wrong, _LISTED, "\n    ")
            raise refused(
                self.path, f"its weights do not fit its {CONFIG} and its tokenizer\n    {text}", _AGAIN
            )
        copies = (
            self.family.heads[head].copies if head in self.family.heads and self.settings["head.tied"] else ()
        )
        return plan, fresh, [name for name in self._names if name not in {*used, *copies}]

    def _misshapen(
        self, plan: Mapping[str, tuple[Rule, tuple[str, ...]]], shapes: Mapping[str, Size]
    ) -> Iterator[str]:
        """Yield what of a plan would have another shape than it must have."""
        for name, (rule, theirs) in plan.items():
            parts = [torch.empty(self.weights.shapes[self._names[one]], device="meta") for one in theirs]
            try:
                found = rule.join(parts, shapes[name]).shape
            except RuntimeError:
                sizes = " and ".join(str(tuple(part.shape)) for part in parts)
                yield f"{name}: {sizes} there, which do not join to {tuple(shapes[name])} here"
                continue
            if found != shapes[name]:
                yield f"{name}: {tuple(found)} there, {tuple(shapes[name])} here"

    @cached_property
    def _names(self) -> dict[str, str]:
        """The weights of the directory: the names that they have today, and those that the files have."""
        ignored = re.compile(
            "|".join(f"({re.escape(self._prefix)})?{one}" for one in self.family.buffers) or "$^"
        )
        # What normalisations call their weights in directories of before 2020.
        names = {
            re.sub(r"\.gamma$", ".weight", re.sub(r"\.beta$", ".bias", name)): name
            for name in self.weights.shapes
            if not ignored.fullmatch(name)
        }
        for head in self.family.heads.values() if not self.settings["head.tied"] else ():
            names |= {first: names.pop(second) for first, second in head.untied.items() if second in names}
        return names

    @cached_property
    def _prefix(self) -> str:
        """What the names of embed and body begin with: nothing where the directory is of a model without a head."""
        has_prefix = any(name.startswith(self.family.prefix) for name in self.weights.shapes)
        return self.family.prefix if has_prefix else ""

    def _strangers(self, used: Collection[str]) -> list[str]:
        """Return the weights of embed and body that have no place in ours: the directory holds another model."""
        spare = [self._prefix + name for name in self.family.left]
        other = tuple(spare) if self._prefix else (*spare, *self.family.outside)
        return [
            name
            for name in self._names
            if name not in used and name.startswith(self._prefix) and not name.startswith(other)
        ]
