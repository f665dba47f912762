"""The forms in which inputs come with a request, brought to what the data module of a run reads."""

from __future__ import annotations

import base64
import binascii
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnkit.data.objects.base import ArrayData
from nnkit.data.text.items import TypedText
from nnkit.serve.fields import Cells, Field, ListOf, Nested, Text
from nnkit.serve.refusal import Refusal

if TYPE_CHECKING:
    from nnkit.data.base import DataModule

# Bytes of a picture, and steps of a series.
MOST_BYTES, _MOST_STEPS = 8_000_000, 100_000
# Categories of a column that are listed.
_LISTED = 50


class Form(ABC):
    """How inputs of one kind come.

    Args:
        field: The field of a body that holds them.
    """

    def __init__(self, field: Field) -> None:
        self.field = field

    @property
    def name(self) -> str:
        """Name of the field."""
        return self.field.name

    def count(self, values: Any) -> int:
        """Return how many inputs there are."""
        return len(values)

    @abstractmethod
    def items(self, values: Any, folder: Path) -> list[str]:
        """Return what `DataModule.read_batches` is given, written into a folder where it is a file.

        The names of files are chosen here: nothing of a request becomes part of a path.
        """


class TextForm(Form):
    """TextForm, read as they are."""

    def __init__(self) -> None:
        super().__init__(ListOf("texts", "a list of texts", required=True, item=Text("texts", "a text")))

    def items(self, values: list[str], folder: Path) -> list[str]:
        """Return the texts, which name no files."""
        return [TypedText(text) for text in values]


class _Picture(Text):
    def schema(self) -> dict[str, Any]:
        return {
            "type": "string",
            "contentEncoding": "base64",
            "description": "a PNG, JPEG or other picture file",
        }

    def checked(self, value: Any) -> Any:
        text = super().checked(value)
        if text.startswith("data:"):
            text = text.partition(",")[2]
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise self.wrong("a picture file as base64", value) from error


class ImageForm(Form):
    """Picture files."""

    def __init__(self) -> None:
        picture = _Picture("images", "a picture", most=MOST_BYTES * 4 // 3 + 100)
        super().__init__(
            ListOf("images", "a list of picture files as base64", required=True, item=picture, most=64)
        )

    def items(self, values: list[bytes], folder: Path) -> list[str]:
        """Write each picture."""
        paths = [folder / f"image {number}" for number in range(1, len(values) + 1)]
        for path, content in zip(paths, values, strict=True):
            path.write_bytes(content)
        return [str(path) for path in paths]


class RowForm(Form):
    """RowForm of a table."""

    def __init__(self, name: str, help: str, columns: dict[str, dict[str, Any]], most: int) -> None:
        row = Cells(name, "values by column", columns=columns)
        super().__init__(ListOf(name, help, required=True, item=row, most=most))

    def items(self, values: list[dict[str, Any]], folder: Path) -> list[str]:
        """Write them as a table of JSON lines."""
        path = folder / f"{self.name}.jsonl"
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in values]
        path.write_text("".join(lines), encoding="utf-8")
        return [str(path)]


class SeriesForm(RowForm):
    """The steps of one series."""

    def count(self, values: Any) -> int:
        """Return 1: one window is read."""
        return 1


class ArrayForm(Form):
    """Arrays of numbers."""

    def __init__(self, shape: Sequence[int]) -> None:
        each = Nested("inputs", "numbers", shape=shape)
        super().__init__(ListOf("inputs", "a list of arrays of numbers", required=True, item=each))

    def items(self, values: list[Any], folder: Path) -> list[str]:
        """Write them as one array."""
        import numpy as np

        path = folder / "inputs.npy"
        np.save(path, np.stack(values))
        return [str(path)]


def form_of(data: DataModule, kind: str) -> Form:
    """Return the form in which inputs of a run come.

    Args:
        data: The data module of the run, with its preprocessing.
        kind: The kind of its data, `config.data.kind`.

    Raises:
        Refusal: If there is none for this kind.
    """
    learnt = data.preprocessing
    if isinstance(data, ArrayData):
        return ArrayForm(learnt["given_shape"])
    if kind == "pictures":
        return ImageForm()
    if kind in ("tokens", "pairs", "sentences"):
        return TextForm()
    if kind == "table":
        columns = {str(spec["name"]): _described(spec) for spec in learnt["columns"]}
        return RowForm("rows", "a list of rows, each an object of columns and their values", columns, 256)
    if kind == "series":
        columns = {
            str(channel["name"]): {"type": "number", "description": f"mean {channel['mean']:.6g}"}
            for channel in learnt["channels"]
        }
        help = f"the steps of one series in order of time, at least {learnt['window']}, each an object of columns"
        return SeriesForm("series", help, columns, _MOST_STEPS)
    raise Refusal(
        501, f"data of the kind {kind} cannot be sent in a request; nnkit predict reads their files"
    )


def _described(spec: Any) -> dict[str, Any]:
    """Return the schema of a column of a table."""
    if spec["kind"] == "number":
        text = f"mean {spec['mean']:.6g}, standard deviation {spec['std']:.6g} in the training rows"
        return {"type": "number", "description": text}
    if spec["kind"] == "date":
        return {"type": ["string", "number"], "description": "a date as in the training rows"}
    known = [str(one) for one in spec["categories"][:_LISTED]]
    return {"type": "string", "examples": known, "description": f"such as {', '.join(known[:5])}"}
