"""Which column of a table holds the texts and which their labels: by name, then by how many different values it has."""

import logging
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from nnkit.data.reading.split_files import SplitFiles, check_columns
from nnkit.errors import ConfigError, Problem

_logger = logging.getLogger("nnkit")

Sample = Mapping[str, Sequence[str | None]]

# What columns of texts and of labels are called, those that say most first; only an exact name counts, in any case.
_TEXT_NAMES = (
    "text texts 文本",
    "sentence review comment content body message tweet document utterance question query article abstract post"
    " 评论 内容 正文 句子 问题",
    "description title headline subject summary name 标题 描述",
)
_LABEL_NAMES = (
    "label labels 标签",
    "target class category sentiment y 类别 分类 情感",
    "tag tags topic genre intent emotion polarity language stars rating score categories classes topics genres"
    " 类型 话题 意图 评分",
)
# Columns that number, name or date the rows; "unnamed" is what a column without a name is called.
_INDEX_NAME = re.compile(
    r"(.*[_\s.-])?(id|idx|index|nr|no|row|rowid|uuid|guid|unnamed|time|timestamp|date|datetime)([:_\s]*\d+)?"
    r"|.*[a-z](Id|ID)|编号|序号|时间|日期",
    re.ASCII,
)
_INDEX_VALUE = re.compile(
    r"\d+|[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}|\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([T ][\d:.,]+\S*)?",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"[+-]?(\d+[.,]?\d*|[.,]\d+)(e[+-]?\d+)?", re.IGNORECASE)
_MIN_INDEX_ROWS = 5
# A column with half as many different values as another one is as distinct; a text this much longer is longer.
_AS_DISTINCT, _AS_LONG = 0.5, 1.5
_MAX_LABELS = 100


@dataclass(frozen=True)
class _Facts:
    """What the first rows tell of a column: different values, their mean length, and what kind they are."""

    distinct: int
    length: float
    is_numeric: bool
    is_index: bool
    repeats: bool

    @classmethod
    def of(cls, name: str, cells: Sequence[str | None]) -> "_Facts":
        values = [cell.strip() for cell in cells if cell is not None and cell.strip()]
        distinct = set(values)
        all_differ = _MIN_INDEX_ROWS <= len(values) == len(distinct)
        return cls(
            len(distinct),
            sum(map(len, values)) / max(len(values), 1),
            all(map(_NUMBER.fullmatch, distinct)),
            _INDEX_NAME.fullmatch(name) is not None
            or (all_differ and all(map(_INDEX_VALUE.fullmatch, values))),
            2 * len(distinct) <= len(values),
        )


def read_cells(table: SplitFiles, columns: Mapping[str, str]) -> dict[str, list[str | None]]:
    """Read columns of texts, the rows of all files one after the other.

    Args:
        table: The files of the splits.
        columns: Names of the columns by what they are for, such as "text".

    Returns:
        The cells by what they are for, None where a typed file has none.

    Raises:
        UserError: If rows cannot be read.
        ConfigError: If a file lacks a column.
    """
    for part in table.files.values():
        check_columns(part.title, part.names, columns)
    cells: dict[str, list[str | None]] = {key: [] for key in columns}
    names = list(dict.fromkeys(columns.values()))
    for chunk in table.texts(names):
        for key, name in columns.items():
            cells[key] += chunk[names.index(name)]
    return cells


def choose_columns(
    title: str, sample: Sample, text: str | None, target: str | None, *, report: bool
) -> dict[str, str]:
    """Choose the column of the texts and that of the labels.

    A name decides where it is one that such columns usually have. Then texts are those with the most different values,
    of equally distinct ones much the longest; labels are those that repeat a few values. What numbers, names or dates
    the rows is neither.

    Args:
        title: The table, for messages.
        sample: Cells of the first rows by the name of their column, in the order of the columns.
        text: The column with the texts; None: found out.
        target: The column with the labels; None: found out.
        report: Whether to log what was found out.

    Returns:
        The names of "text" and "target".

    Raises:
        ConfigError: If a name that is given is not there, or none or several columns may be meant.
    """
    given = {"text": text, "target": target}
    check_columns(title, list(sample), given)
    if text is not None and text == target:
        raise ConfigError(
            [Problem("data.target", f"{text!r} holds the texts, it cannot be the target as well")]
        )
    if len(sample) < 2:
        found = f"only one column, {next(iter(sample))!r}" if sample else "no columns"
        problem = f"{title} has {found}: one of texts and one of labels are needed"
        raise ConfigError([Problem("data.target", problem)])
    facts = {name: _Facts.of(name, cells) for name, cells in sample.items()}
    ways: dict[str, str] = {}
    chosen = {key: name for key, name in given.items() if name is not None}
    for key, tiers in (("text", _TEXT_NAMES), ("target", _LABEL_NAMES)):
        if key not in chosen and (name := _by_name(title, key, facts, tiers, chosen.values())):
            chosen[key], ways[key] = name, "by its name"
    for key, choose in (("text", _text_of), ("target", _label_of)):
        if key not in chosen:
            rest = {name: found for name, found in facts.items() if name not in chosen.values()}
            chosen[key], ways[key] = choose(title, rest)
    if report and ways:
        nouns = {"text": "texts", "target": "labels"}
        said = [
            f"the {nouns[key]} are in column {chosen[key]!r}, {way} (data.{key})" for key, way in ways.items()
        ]
        _logger.warning("%s: %s", title, "; ".join(said))
    return {key: chosen[key] for key in ("text", "target")}


def _by_name(
    title: str, key: str, facts: Mapping[str, _Facts], tiers: Sequence[str], taken: Collection[str]
) -> str | None:
    for tier in tiers:
        found = [name for name in facts if name.strip().casefold() in tier.split() and name not in taken]
        # Texts are no numbers, and a single value tells no classes apart.
        found = [
            name
            for name in found
            if facts[name].distinct > 1 and not (key == "text" and facts[name].is_numeric)
        ]
        if len(found) > 1:
            raise _refuse(title, key, found, "are equally likely by their names")
        if found:
            return found[0]
    return None


def _text_of(title: str, facts: Mapping[str, _Facts]) -> tuple[str, str]:
    found = {name: of for name, of in facts.items() if not (of.is_index or of.is_numeric) and of.distinct > 1}
    if not found:
        raise _refuse(title, "text", list(facts), "hold no texts")
    most = max(of.distinct for of in found.values())
    distinct = [name for name, of in found.items() if of.distinct >= _AS_DISTINCT * most]
    if len(distinct) == 1:
        return distinct[0], "with the most different ones"
    longest, second = sorted(distinct, key=lambda name: -found[name].length)[:2]
    if found[longest].length < _AS_LONG * found[second].length:
        raise _refuse(title, "text", distinct, "may hold the texts")
    return longest, "with the longest of many different ones"


def _label_of(title: str, facts: Mapping[str, _Facts]) -> tuple[str, str]:
    usable = [name for name, of in facts.items() if not of.is_index]
    found = [name for name in usable if facts[name].repeats and 2 <= facts[name].distinct <= _MAX_LABELS]
    if len(found) > 1:
        raise _refuse(title, "target", found, "may hold the labels")
    if found:
        return found[0], "the only one with few different values"
    if len(usable) == 1:
        return usable[0], "the only one left"
    raise _refuse(title, "target", list(facts), "hold no labels that repeat")


def _refuse(title: str, key: str, names: Sequence[str], why: str) -> ConfigError:
    listed = ", ".join(map(repr, names[:8])) + (" ..." if len(names) > 8 else "")
    hint = f"type data.{key}=COLUMN, such as data.{key}={names[0]}"
    return ConfigError([Problem(f"data.{key}", f"{title}: columns {listed} {why}", hint)])
