"""`nnkit summary`: layers, shapes and parameters of a network; trains nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nnkit import config as configs
from nnkit.cli.parser import Given
from nnkit.cli.verbs import CONFIG_DIR, OVERRIDES, Verb
from nnkit.ui.report import show

if TYPE_CHECKING:
    from nnkit.analysis.shapes import Layer
    from nnkit.config import Composition


VERB = Verb(
    "summary",
    (OVERRIDES,),
    (CONFIG_DIR,),
    ("Multiply-adds are those of matrix products, convolutions and attention, for one sample.",),
)


def run(given: Given) -> int:
    """Print the layers of the network that the words compose."""
    composed = configs.examine(given.overrides, given.config_dir)
    from nnkit.analysis.shapes import network_layers
    from nnkit.runs.preflight import settle_facts, sound
    from nnkit.runs.transfer import source_of

    composition = sound(*composed)
    settle_facts(
        composition.config, source_of(composition.config, composition.typed_keys), composition.typed_keys
    )
    _print(composition, network_layers(composition.config))
    return 0


def _print(composition: Composition, layers: list[Layer]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from nnkit.analysis.shapes import format_shape

    trainable, frozen = sum(layer.trainable for layer in layers), sum(layer.frozen for layer in layers)
    multiply_adds = sum(layer.multiply_adds for layer in layers)
    chosen = {group: composition.choices[group] for group in ("model", "data", "head")}
    table = Table(
        title="  ".join(f"{group}={option}" for group, option in chosen.items()),
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        pad_edge=False,
        show_footer=True,
    )
    columns: list[tuple[str, Any]] = [
        ("layer", "total"),
        ("type", ""),
        ("output", ""),
        ("parameters", trainable),
    ]
    columns += [("frozen", frozen)] if frozen else []
    for header, footer in [*columns, ("multiply-adds", multiply_adds)]:
        is_number = isinstance(footer, int)
        table.add_column(
            header, _number(footer) if is_number else footer, justify="right" if is_number else "left"
        )
    for layer in layers:
        numbers = [layer.trainable, *([layer.frozen] if frozen else []), layer.multiply_adds]
        table.add_row(layer.name, layer.kind, format_shape(layer.output[1:]), *map(_number, numbers))
    show(table)


def _number(value: int) -> str:
    return f"{value:,}" if value else ""
