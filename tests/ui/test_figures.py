"""Figures, asked for what they show and looked at pixel by pixel."""

import importlib
import logging
import subprocess
import sys

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager

from nnkit.ui import figures
from nnkit.ui.figures import (
    HeatMap,
    clip_to_bytes,
    confusion_matrix,
    forecasts,
    heat_maps,
    image_grid,
    scatter,
    to_bytes,
    to_pixels,
)


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def boxes(figure):
    """Return the images of a figure with their boxes: left, top, width and height in pixels."""
    for image in figure.axes[0].images:
        left, right, bottom, top = image.get_extent()
        yield image, (left, top, right - left, bottom - top)


def darkness(figure):
    """Return how dark each pixel of the only matrix of a figure is."""
    ((_, (left, top, width, height)),) = boxes(figure)
    left, top, width, height = map(round, (left, top, width, height))
    return 255 - to_pixels(figure).mean(axis=2)[top : top + height, left : left + width]


@pytest.mark.parametrize("classes", [2, 10, 40, 200])
def test_a_perfect_confusion_matrix_is_dark_on_its_diagonal_only(classes):
    figure = confusion_matrix(np.eye(classes) * 7, ["name"] * classes)
    assert max(to_pixels(figure).shape) < 900
    body = darkness(figure)
    cell = len(body) // classes
    # Beside the count in the middle of a cell and the frame around all.
    inner = body[cell // 5 :: cell, cell // 5 :: cell][1:-1, 1:-1]
    off = inner[~np.eye(len(inner), dtype=bool)]
    assert inner.size == 0 or np.diag(inner).min() > 150
    assert off.size == 0 or off.max() < 12


def test_a_row_is_shaded_by_its_own_share():
    body = darkness(confusion_matrix(np.array([[1000, 0], [1, 1]]), ["a", "b"]))
    corners = body[8::64, 8::64]
    assert corners[0, 0] > corners[1, 0] == corners[1, 1] > corners[0, 1]


def test_names_and_counts_are_written_where_there_is_room():
    counts = np.array([[40, 0], [3, 12345]])
    assert texts(confusion_matrix(counts, ["cat", "$x_1$"])) == [
        *("predicted", "true", "cat", "$x_1$", "cat", "$x_1$", "40", "3", "12345"),
    ]
    assert texts(confusion_matrix(np.eye(300), ["x"] * 300)) == ["predicted", "true"]


def test_long_names_are_cut():
    short, long = (to_pixels(confusion_matrix(np.eye(2), [name, "b"])) for name in ("a", "a" * 500))
    assert long.shape[1] < short.shape[1] + 200


@pytest.mark.parametrize("count", [1, 3, 4, 16])
def test_images_are_enlarged_in_whole_steps_and_laid_out_in_a_square(count):
    images = [np.full((8, 8, 3), 10 * number, np.uint8) for number in range(count)]
    figure = image_grid(images, side=20)
    pixels = to_pixels(figure)
    columns = int(np.ceil(np.sqrt(count)))
    for number, (_, (left, top, width, height)) in enumerate(boxes(figure)):
        assert (width, height) == (16, 16)
        assert (left, top) == (10 + number % columns * 28, 10 + number // columns * 28)
        assert (pixels[top : top + 16, left : left + 16] == 10 * number).all()
    assert pixels.shape[1] == columns * 28 + 8


def test_a_large_image_shrinks_and_captions_stand_below():
    image = np.zeros((100, 300, 3), np.uint8)
    captioned = image_grid([image], [("true a", "said b" + "b" * 90)], side=60)
    pixels = to_pixels(captioned).astype(int)
    assert (pixels[8 + 30, 8:68] == 0).all()
    assert len(pixels) > len(to_pixels(image_grid([image], side=60)))
    first, second = texts(captioned)
    assert first == "true a"
    assert len(second) <= 10
    below = pixels[8 + 62 :].reshape(-1, 3)
    assert (below[:, 1] - below[:, 0]).max() > 50  # green
    assert (below[:, 0] - below[:, 1]).max() > 50  # red


def test_scattered_points_stand_where_their_values_are():
    figure = scatter(np.array([0.0, 10.0, 5.0]), np.array([0.0, np.nan, 2.0]))
    (axes,) = figure.axes
    points, line = axes.lines
    assert points.get_xydata().tolist() == [[0.0, 0.0], [5.0, 2.0]]
    assert line.get_slope() == 1
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("true", "predicted")


@pytest.mark.parametrize("values", [[], [np.nan, np.inf], [3.0], [1e30, -1e30]])
def test_a_scatter_of_nothing_or_of_few_points(values):
    assert to_pixels(scatter(np.array(values), np.array(values))).dtype == np.uint8


def test_forecasts_stand_beside_what_came_on_one_scale():
    truth = np.array([[1.0, 2.0, 3.0], [10.0, 11.0, 12.0]])
    figure = forecasts(truth, np.where(truth == 2, np.inf, truth + 1))
    assert len(figure.axes) == 2
    for axes, came in zip(figure.axes, truth, strict=True):
        true, forecast = axes.lines
        assert true.get_ydata().tolist() == came.tolist()
        assert forecast.get_ydata()[2] == came[2] + 1
        assert axes.get_ylim() == figure.axes[0].get_ylim()
    assert np.isnan(figure.axes[0].lines[1].get_ydata()[1])
    assert to_pixels(figure).shape[0] > 2 * 160
    assert to_pixels(forecasts(np.array([[np.nan]]), np.array([[2.0]]))).ndim == 3


def test_values_become_bytes():
    grey = to_bytes(np.array([[[-1.0, 0.0], [1.0, 3.0]]]))
    assert grey[..., 0].tolist() == [[0, 64], [128, 255]]
    assert (grey == grey[..., :1]).all()
    colours = clip_to_bytes(np.stack([np.full((1, 1), value) for value in (-5.0, 99.6, 300.0)]))
    assert colours.tolist() == [[[0, 100, 255]]]
    averaged = clip_to_bytes(np.stack([np.full((1, 1), value) for value in (0.0, 100.0)]))
    assert averaged.tolist() == [[[50, 50, 50]]]
    assert to_bytes(np.zeros((1, 2, 2))).max() == 0


def test_heat_maps_are_dark_where_their_values_are_and_names_are_not_repeated():
    values = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 0.5]])
    one = HeatMap("a title", values, ["row", "r"], ["column", "c", "d"])
    other = one._replace(title="b", rows=["s", "t"])
    figure = heat_maps([one, other, one._replace(title="c")], across=2, cell=10)
    assert texts(figure) == [
        *("row", "r", "column", "c", "d", "a title"),
        *("s", "t", "column", "c", "d", "b"),
        *("row", "r", "c"),
    ]
    pixels = to_pixels(figure).astype(int)
    for _, (left, top, width, height) in boxes(figure):
        assert (width, height) == (30, 20)
        left, top = round(left), round(top)
        cells = pixels[top + 5 : top + 20 : 10, left + 5 : left + 30 : 10].sum(axis=2)
        assert cells[0, 0] < cells[1, 2] < 500
        assert np.delete(cells.ravel(), [0, 5]).min() > 730


def test_matplotlib_is_imported_by_the_first_figure_only():
    code = "import sys, nnkit.ui.figures; print('matplotlib' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"


@pytest.fixture
def fresh():
    """Let this test find the fonts anew, and leave those of the machine behind."""
    fonts = font_manager.fontManager.ttflist
    before = list(fonts)
    importlib.reload(figures)
    yield
    fonts[:] = before
    importlib.reload(figures)


@pytest.mark.usefixtures("fresh")
def test_characters_without_a_font_are_code_points_and_a_sentence_names_the_font_to_install(caplog):
    font_manager.fontManager.ttflist[:] = [
        font for font in font_manager.fontManager.ttflist if "DejaVu" in font.name
    ]
    names = ["cat", "\u732b", "\ud55c\uad6d\uc5b4 \u65e5\u672c\u8a9e", "a\nb"]
    with caplog.at_level(logging.WARNING):
        figure = figures.confusion_matrix(np.eye(4), names)
        figures.to_pixels(figure)
        assert figures.legible(["\u72ac"]) == ["0 \\u72ac"]
    assert texts(figure)[2:6] == ["cat", "1 \\u732b", "2 \\ud55c\\uad6d\\uc5b\u2026", "3 a\\nb"]
    (said,) = [record.getMessage() for record in caplog.records if record.name == "nnkit"]
    assert "apt install fonts-noto-cjk" in said


@pytest.mark.usefixtures("fresh")
def test_a_font_of_the_machine_is_used_for_what_the_first_one_lacks(tmp_path, caplog):
    pen = TTGlyphPen(None)
    for place in [(0, 0), (0, 1000), (1000, 1000), (1000, 0)]:
        (pen.lineTo if place[0] or place[1] else pen.moveTo)(place)
    pen.closePath()
    builder = FontBuilder(1000)
    builder.setupGlyphOrder([".notdef", "cat"])
    builder.setupCharacterMap({ord("\u732b"): "cat"})
    glyph = pen.glyph()
    builder.setupGlyf({".notdef": glyph, "cat": glyph})
    builder.setupHorizontalMetrics({".notdef": (1000, 0), "cat": (1000, 0)})
    builder.setupHorizontalHeader(ascent=1000, descent=0)
    builder.setupNameTable({"familyName": "Noto Sans CJK SC", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(tmp_path / "cjk.ttf")
    font_manager.fontManager.addfont(tmp_path / "cjk.ttf")
    figure = figures.confusion_matrix(np.zeros((1, 1)), ["\u732b"])
    assert "\u732b" in texts(figure)
    # The glyph is a black square, which no letter of the other font is.
    assert (figures.to_pixels(figure)[:, 15:38].sum(axis=2) == 0).sum() > 20
    assert not caplog.records
