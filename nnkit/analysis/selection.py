"""Choosing and ordering runs: filters such as ``optimizer.lr>1e-3``, which are compared and never executed."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from nnkit.analysis.comparison import OWN_KEYS, Row, metric_names
from nnkit.errors import UserError
from nnkit.suggest import closest

# Keys that a message lists.
_FEW = 5


def resolve_key(key: str, rows: Sequence[Row], what: str) -> str:
    """Return the full name of a key of configs, a metric, or one of `OWN_KEYS`.

    Args:
        key: As typed: the whole of it, or its last part where that is unique.
        rows: What is compared.
        what: The option it was given to, for the message.

    Raises:
        UserError: If no row has it, or its last part is that of several.
    """
    known = [*OWN_KEYS, *dict.fromkeys(name for row in rows for name in (*row.metrics, *row.settings))]
    if key in known:
        return key
    ending = [name for name in known if _last(name) == key]
    if len(ending) == 1:
        return ending[0]
    if ending:
        raise UserError(f"{what}: {key!r} may be {' or '.join(ending[:_FEW])}: type the whole of it")
    near = closest(key, known) or [
        name for last in closest(key, map(_last, known)) for name in known if _last(name) == last
    ]
    hint = f", did you mean {near[0]}?" if near else f"; there is: {', '.join(metric_names(rows))}"
    raise UserError(f"{what}: no run has {key!r}{hint}")


def _last(name: str) -> str:
    return re.split(r"[./]", name)[-1]


def sorted_rows(rows: Sequence[Row], key: str, mode: str | None, reverse: bool) -> list[Row]:
    """Return rows in order: by a metric the best first, by anything else ascending; what lacks it comes last.

    Args:
        rows: The rows.
        key: A full name.
        mode: "max" or "min" for a metric; None for anything else.
        reverse: Whether the other way round.
    """
    having = [row for row in rows if _is_value(row.value(key))]
    lacking = [row for row in rows if not _is_value(row.value(key))]
    ordered = sorted(having, key=lambda row: _rank(row.value(key)), reverse=(mode == "max") != reverse)
    return [*ordered, *lacking]


def _is_value(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def _rank(value: Any) -> tuple[bool, float, str]:
    number = isinstance(value, int | float)
    return (not number, float(value) if number else 0.0, str(value))


_FILTER = re.compile(r"\s*(?P<key>[^<>=!\s]+)\s*(?P<sign><=|>=|!=|==|=|<|>)\s*(?P<value>.*?)\s*")
_SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    "<": lambda one, other: one < other,
    "<=": lambda one, other: one <= other,
    ">": lambda one, other: one > other,
    ">=": lambda one, other: one >= other,
}


def split_filter(text: str, rows: Sequence[Row]) -> tuple[str, str, str]:
    """Return key, sign and value of a filter such as ``optimizer.lr>1e-3``.

    Raises:
        UserError: If it cannot be read, or no row has the key.
    """
    found = _FILTER.fullmatch(text)
    if found is None:
        raise UserError(
            f"--filter {text!r} is no comparison\n    such as: --filter model=lenet5  or  'optimizer.lr>1e-3'"
        )
    sign, value = found["sign"], found["value"]
    if sign in _SIGNS and _number(value) is None:
        raise UserError(f"--filter {text!r}: {value!r} is no number, which {sign} needs")
    return resolve_key(found["key"], rows, "--filter"), sign, value


def fits(row: Row, key: str, sign: str, wanted: str) -> bool:
    """Return whether a row passes a filter; what lacks the key passes only an inequality."""
    value = row.value(key)
    if sign in _SIGNS:
        number = None if isinstance(value, bool) else _number(value)
        return number is not None and _SIGNS[sign](number, _number(wanted))
    # A reference may be named by its own text as well.
    raw = row.settings.get(key, value)
    return (_equal(value, wanted) or _equal(raw, wanted)) == (sign != "!=")


def _equal(value: Any, wanted: str) -> bool:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _number(wanted) == value
    if isinstance(value, str):
        return value == wanted
    written = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return written.replace('"', "") == re.sub(r"[\s'\"]", "", wanted)


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def labels(rows: Iterable[Row], keys: Sequence[str]) -> list[str]:
    """Return what rows are called in a sentence or a legend: what they differ in, or their names."""
    found = []
    for row in rows:
        parts = [f"{key}={_shown(row.setting(key))}" for key in keys if key in row.settings]
        found.append(" ".join(parts) or row.name)
    return [
        label if found.count(label) == 1 else f"{label} ({row.name})"
        for label, row in zip(found, rows, strict=True)
    ]


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
