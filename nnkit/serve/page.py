"""The page of a run and the files that it loads, all read once at the start."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnkit import ui
from nnkit.analysis.pages import look
from nnkit.serve import writing
from nnkit.ui.terminal import printable

if TYPE_CHECKING:
    from nnkit.serve.served import Served

_TEMPLATES = Path(ui.__path__[0]) / "templates"
_KINDS = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
# Categories of a column among which a form lets choose.
_MOST_CHOICES = 200


class Page:
    """The pages of a run.

    Args:
        served: The run.

    Attributes:
        index: The page with the widget, HTML.
        api: The page that shows the OpenAPI document, HTML.
        assets: The files that pages load by their names, each with its type.
    """

    def __init__(self, served: Served) -> None:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

        environment = Environment(
            loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )
        about = {
            "title": printable(served.name),
            "facts": {printable(name): printable(value) for name, value in served.facts.items()},
            "config": json.dumps(config(served)),
        }
        self.index = environment.get_template("serve.html").render(page="run", **about)
        self.api = environment.get_template("serve.html").render(page="api", **about)
        sheet = environment.get_template("style.css").render(
            light={name: colour for colour, name in look.VARIABLES.items()}, dark=look.DARK
        )
        self.assets = {"style.css": (sheet.encode(), "text/css")}
        for file in files("nnkit.serve").joinpath("assets").iterdir():
            ending = Path(file.name).suffix
            if ending in _KINDS:
                self.assets[file.name] = (file.read_bytes(), _KINDS[ending])


def config(served: Served) -> dict[str, Any]:
    """Return what the script of the page must know: which widget, and what it is made of.

    Args:
        served: The run.
    """
    data, learnt = served.data, served.data.preprocessing
    found: dict[str, Any] = {
        "form": served.form.name,
        "kind": served.kind,
        "writes": served.task.writes,
        "reads": served.task.network.max_len,
        "generate": {field.name: field.default for field in writing.fields(served)},
        "classes": [str(name) for name in learnt.get("class_names") or []][:_MOST_CHOICES],
    }
    if served.form.name == "images":
        channels, height, width = learnt["shape"]
        found |= {"channels": channels, "height": height, "width": width}
    elif served.form.name == "rows":
        found["columns"] = [_column(spec) for spec in learnt["columns"]]
    elif served.form.name == "series":
        found |= {
            "channels": [dict(channel) for channel in learnt["channels"]],
            "window": learnt["window"],
            "horizon": learnt["horizon"],
            "example": _window(served),
        }
    elif served.form.name == "inputs":
        found["shape"] = list(learnt["given_shape"])
    if served.task.writes == "masked":
        tokenizer: Any = data
        known = tokenizer.learnt_tokenizer
        found["mask"] = known.special[known.mask_id]
    return found


def _column(spec: Any) -> dict[str, Any]:
    found = {"name": str(spec["name"]), "kind": spec["kind"]}
    if spec["kind"] == "number":
        return {**found, "mean": spec["mean"], "std": spec["std"], "median": spec["median"]}
    if spec["kind"] in ("category", "rich"):
        return {**found, "categories": [str(one) for one in spec["categories"]][:_MOST_CHOICES]}
    return found


def _window(served: Served) -> list[list[float]]:
    """Return a window to begin with: the mean of each channel, with a wave of its deviation."""
    import math

    learnt = served.data.preprocessing
    return [
        [
            round(channel["mean"] + channel["std"] * math.sin(step / 4 + place), 6)
            for place, channel in enumerate(learnt["channels"])
        ]
        for step in range(learnt["window"])
    ]
