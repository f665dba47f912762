"""Titles of figures and columns of few units: nothing is cut that has room, and no figure is mostly empty."""

import numpy as np
import pytest

from nnkit.analysis.inspection import diagrams
from nnkit.analysis.pages import look

LONG = "what fires: units of each layer, and the connections that carry most"


def column(count, **options):
    return diagrams.Units("layer", np.linspace(-1, 1, count), **options)


def test_a_title_that_is_too_long_for_one_line_is_written_on_two():
    written = diagrams.columns([column(4), column(3)], LONG).get_suptitle()
    assert written.replace("\n", " ") == LONG
    assert written.count("\n") == 1


def test_a_title_that_fits_stays_on_one_line():
    assert diagrams.columns([column(4)] * 5, LONG).get_suptitle() == LONG


def test_a_title_that_is_too_long_for_two_lines_is_cut():
    figure, _ = look.panels("word " * 60, 1, 1, 300, 200)
    lines = figure.get_suptitle().splitlines()
    assert len(lines) == 2
    assert lines[1].endswith("…")
    assert all(len(line) <= 39 for line in lines)


@pytest.mark.parametrize(("units", "height"), [((4, 3), 206), ((1, 1), 110), ((64, 16, 10), 430)])
def test_columns_of_few_units_make_a_low_figure(units, height):
    figure = diagrams.columns([column(count) for count in units], "units")
    assert figure.get_size_inches()[1] * 100 == pytest.approx(height)
    (axes,) = figure.axes
    low, high = axes.get_ylim()
    heights = [y for points in axes.collections for y in points.get_offsets()[:, 1]]
    assert low + 0.04 < min(heights)
    assert max(heights) < high - 0.04


def test_the_name_of_a_column_of_a_table_is_whole():
    labels = ["sepal length (cm)", "petal width (cm)"]
    figure = diagrams.columns([column(2, labels=labels), column(3)], "units")
    assert [text.get_text() for text in figure.axes[0].texts] == [
        "sepal length (cm) -1",
        "petal width (cm) 1",
    ]
