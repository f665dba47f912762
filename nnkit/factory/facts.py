"""Facts about the data: counts and sizes that the data say, and that nobody chooses."""

from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf

from nnkit.config import Composition, catalog
from nnkit.errors import Problem
from nnkit.factory.nodes import Node

# No class, column or word has a higher number; names are made up for as many classes as the config says.
_MAX_FACT = 10_000_000
_REFERENCE = "${data."


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
        is_count = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _MAX_FACT
        if value is not None and not is_count:
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
