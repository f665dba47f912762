"""A table of many rows looks as rich draws it, on a terminal of any width and in a pipe."""

import random

import pytest
from rich.console import Console

from nnkit.ui import long_table, report
from nnkit.ui.long_table import MANY, LongTable

HEADERS = ["run", "wide 世界", "n", "value"]


def rows_of(letters):
    dice = random.Random(3)
    return [["".join(dice.choices(letters, k=dice.randint(0, 9))) for _ in HEADERS] for _ in range(MANY)]


def drawn(rows, title, width, **options):
    console = Console(width=width, highlight=False, markup=False, emoji=False, **options)
    # How the text is cut into segments does not show.
    segments = list(console.render(LongTable(HEADERS, rows, title)))
    styles = [style for text, style, _ in segments for _ in text]
    return "".join(segment.text for segment in segments), [str(style or "none") for style in styles]


@pytest.mark.parametrize(
    "title", ["", "a title", "a title that is longer than all the columns of the table are"]
)
@pytest.mark.parametrize("width", [15, 40, 55, 160])
@pytest.mark.parametrize("letters", ["abc [x]", "a世é界 "])
def test_many_rows_look_as_rich_draws_them(monkeypatch, letters, width, title):
    rows = rows_of(letters)
    for options in ({"force_terminal": True}, {"force_terminal": False}):
        by_hand = drawn(rows, title, width, **options)
        with monkeypatch.context() as patch:
            patch.setattr(long_table, "MANY", len(rows) + 1)
            assert by_hand == drawn(rows, title, width, **options)


def test_a_cell_of_two_lines_keeps_them():
    rows = [["a", "b", "c", "d"]] * MANY + [["last", "x\ny", "c", "d"]]
    text, _ = drawn(rows, "", 80)
    assert [line.split() for line in text.splitlines()[-3:]] == [["last", "x", "c", "d"], ["y"], []]


def test_what_orders_a_terminal_about_is_not_printed(capsys):
    report.show(report.table(HEADERS, [["\x1b[2Ja", "b", "c", "d"]] * MANY))
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert out.count("\ufffd[2Ja") == MANY


def test_one_column_has_no_gaps(capsys):
    report.show(report.table(["name"], [["é"], *[["abc"]] * MANY]))
    assert capsys.readouterr().out.splitlines()[1:5] == [" name", " ────", " é", " abc"]
