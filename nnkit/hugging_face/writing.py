"""A trained network as a directory of Hugging Face."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import safetensors.torch
from torch import Tensor

from nnkit.errors import ConfigError, Problem, UserError
from nnkit.files import atomic
from nnkit.hugging_face.family import Family, Head
from nnkit.hugging_face.files import CONFIG, WEIGHTS
from nnkit.hugging_face.pictures import FILE as PICTURES
from nnkit.hugging_face.reading import FAMILIES, UNNAMED
from nnkit.hugging_face.vocabulary import write_tokenizer

# Sentence-Transformers' own files, for a text that is represented by a mean.
_MODULES: Final = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
]


def write_directory(
    path: Path,
    *,
    model: Mapping[str, Any],
    head: Mapping[str, Any],
    data: Mapping[str, Any],
    state: Mapping[str, Tensor],
    preprocessing: Mapping[str, Any],
) -> list[str]:
    """Write a network as config.json, model.safetensors and the files of its tokenizer.

    Args:
        path: The directory, which is made.
        model: The config of the model, resolved, as plain data.
        head: The config of the head, resolved, as plain data.
        data: The config of the data, resolved, as plain data: the size of pictures.
        state: The weights of the network by name.
        preprocessing: What the data module learnt: the tokenizer, the class names, and the means and deviations of
            pictures, where there are some.

    Returns:
        Sentences on what their library does otherwise.

    Raises:
        ConfigError: If their library has no such model; nothing is written then.
        UserError: If the directory is there already.
        EnvironmentFault: If it cannot be written.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(
            f"{path} is there already, and nothing is written over it\n    name another directory"
        )
    family, kind = _family_of(model), str(head.get("_target_"))
    found = family.heads.get(kind)
    # A mean is what Sentence-Transformers adds to their model without a head.
    is_mean = model.get("pooling") == "mean"
    architecture = family.architecture if found is None or is_mean else found.architecture
    prefix = "" if architecture == family.architecture else family.prefix
    tensors, problems = _tensors(family, model, kind, state, prefix)
    config, unlike = _config(family, model, head, data)
    problems = [*_unlike(family, model), *_unlike_head(family, found, model, head), *unlike, *problems]
    if problems:
        raise ConfigError(problems)
    config |= {"architectures": [architecture]}
    if (vectors := state.get("embed.vectors.weight")) is not None:
        config["vocab_size"] = len(vectors)
    if found is not None and not found.is_tied:
        config |= _classes(preprocessing.get("class_names"), len(state["head.linear.bias"]))
    for first, second in found.untied.items() if found is not None and not head.get("tied") else ():
        tensors[second] = tensors[first].clone()
    files = {
        WEIGHTS: safetensors.torch.save(tensors, {"format": "pt"}),
        **_beside(model, data, preprocessing),
    }
    # The config last: a directory without it is none.
    for name, content in {**files, CONFIG: _json(config)}.items():
        atomic.make_directory((path / name).parent)
        atomic.write_atomic(path / name, content)
    if not is_mean or found is None:
        return []
    return [
        f"transformers has no {found.architecture} over a mean: it reads a {architecture}, without the head"
    ]


def _beside(
    model: Mapping[str, Any], data: Mapping[str, Any], preprocessing: Mapping[str, Any]
) -> dict[str, bytes]:
    """Return the files beside config and weights: how texts and pictures are read, and what represents a text."""
    files: dict[str, bytes] = {}
    if (spec := preprocessing.get("tokenizer")) is not None:
        files |= write_tokenizer(spec, model.get("max_len"))
    if "mean" in preprocessing:
        files[PICTURES] = _json(_scaling(data, preprocessing))
    if model.get("pooling") == "mean":
        pooling = {"word_embedding_dimension": model["dim"], "pooling_mode_mean_tokens": True}
        files |= {"modules.json": _json(_MODULES), f"1_Pooling/{CONFIG}": _json(pooling)}
    return files


def _tensors(
    family: Family, model: Mapping[str, Any], head: str, state: Mapping[str, Tensor], prefix: str
) -> tuple[dict[str, Tensor], list[Problem]]:
    """Return the tensors of theirs for all of ours, and a problem for each of ours that has none."""
    tensors: dict[str, Tensor] = {}
    problems = []
    for name, tensor in state.items():
        if (found := family.find(name, head, prefix)) is None:
            text = f"{family.model_type} has no tensor like {name}, {tuple(tensor.shape)}"
            problems.append(Problem(name.partition(".")[0], text))
        else:
            rule, names = found
            tensors |= zip(names, rule.split(tensor.detach().cpu(), model), strict=True)
    return tensors, problems


def _json(content: Any) -> bytes:
    return json.dumps(content, indent=2, ensure_ascii=False).encode()


def _family_of(model: Mapping[str, Any]) -> Family:
    for family in FAMILIES:
        if family.target == model.get("_target_"):
            return family
    known = ", ".join(family.option for family in FAMILIES)
    text = f"transformers has no counterpart of {model.get('_target_')}"
    raise ConfigError([Problem("model", text, f"models that have one: {known}")])


def _unlike(family: Family, model: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what of the model theirs has no other kind of; what of the head, its tensors tell."""
    for key, value in family.ours.items():
        name = key.removeprefix("model.")
        if name != key and model.get(name, value) != value:
            yield Problem(key, f"{family.model_type} has {value} only, and this is {model[name]}")


def _unlike_head(
    family: Family, found: Head | None, model: Mapping[str, Any], head: Mapping[str, Any]
) -> Iterator[Problem]:
    """Yield what of the head theirs has no other kind of."""
    if found is None:
        known = ", ".join(name.rpartition(".")[2] for name in family.heads)
        yield Problem("head", f"{family.model_type} has no {head.get('_target_')}; it has {known}")
        return
    for name in found.as_body:
        if head.get(name) not in (None, model.get(name)):
            yield Problem(
                f"head.{name}", f"{head[name]} is not that of the model, and theirs has one for both"
            )
    for name in found.without:
        if head.get(name) is not None:
            yield Problem(f"head.{name}", f"their {found.architecture} has none, and this is {head[name]}")


def _config(
    family: Family, model: Mapping[str, Any], head: Mapping[str, Any], data: Mapping[str, Any]
) -> tuple[dict[str, Any], list[Problem]]:
    """Return what config.json says of the model, and a problem for each value that theirs cannot have."""
    config: dict[str, Any] = {"model_type": family.model_type, "dtype": "float32", **family.fixed}
    problems = []
    for option in family.options:
        try:
            config |= option.write(model)
        except ValueError as error:
            problems.append(Problem(f"model.{option.ours}", str(error)))
    for size in family.sizes:
        values = {data.get(key.removeprefix("data.")) for key in size.ours}
        if len(values) > 1:
            text = f"{size.theirs} is one number in theirs, and these data have {values}"
            problems.append(Problem(size.ours[0], text))
        config[size.theirs] = values.pop()
    config |= family.derived(model)
    config["tie_word_embeddings"] = bool(head.get("tied", False))
    return config, problems


def _classes(names: Sequence[str] | None, count: int) -> dict[str, Any]:
    named = names or [f"{UNNAMED}{number}" for number in range(count)]
    return {
        "id2label": {str(number): name for number, name in enumerate(named)},
        "label2id": {name: number for number, name in enumerate(named)},
    }


def _scaling(data: Mapping[str, Any], preprocessing: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of their image processors: the size, and how pixels are scaled."""
    return {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": data.get("height"), "width": data.get("width")},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": preprocessing["mean"],
        "image_std": preprocessing["std"],
    }
