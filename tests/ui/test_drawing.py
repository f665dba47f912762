"""Pictures that are drawn: looked at pixel by pixel."""

import numpy as np
import pytest

from nnkit.ui.drawing import HeatMap, clip_to_bytes, confusion_matrix, grid, heat_maps, scatter, to_bytes


def darkness(picture):
    return 255 - picture.mean(axis=2)


@pytest.mark.parametrize("classes", [2, 10, 40, 200])
def test_a_perfect_confusion_matrix_is_dark_on_its_diagonal_only(classes):
    picture = confusion_matrix(np.eye(classes) * 7, ["name"] * classes)
    height, width, channels = picture.shape
    assert channels == 3
    assert max(height, width) < 900
    cell = max(1, min(640 // classes, 64))
    # The matrix ends eight pixels before the lower right corner; the corner of a cell carries no count.
    body = darkness(picture)[-8 - cell * classes : -8, -8 - cell * classes : -8]
    corners = body[:: cell or 1, :: cell or 1][1:, 1:]
    off = corners[~np.eye(len(corners), dtype=bool)]
    assert np.diag(corners).min() > 150
    assert off.size == 0 or off.max() < 10


def test_a_row_is_shaded_by_its_own_share():
    picture = confusion_matrix(np.array([[1000, 0], [1, 1]]), ["a", "b"])
    body = darkness(picture)[-8 - 128 : -8, -8 - 128 : -8]
    assert body[2, 2] > body[66, 2] == body[66, 66] > body[2, 66]


def test_counts_are_written_where_there_is_room():
    counts = np.full((3, 3), 4)
    middle = confusion_matrix(counts, list("abc"))[-8 - 96, -8 - 96 - 4 : -8 - 96 + 4]
    assert len(np.unique(middle.reshape(-1, 3), axis=0)) > 1
    large = confusion_matrix(np.eye(300), ["x"] * 300)
    assert len(np.unique(large[100:-8, 100:-8].reshape(-1, 3), axis=0)) <= 3


def test_long_names_are_cut():
    short, long = (confusion_matrix(np.eye(2), [name, "b"]) for name in ("a", "a" * 500))
    assert long.shape[1] < short.shape[1] + 150


@pytest.mark.parametrize("count", [1, 3, 4, 16])
def test_tiles_are_enlarged_in_whole_steps_and_laid_out_in_a_square(count):
    tiles = [np.full((8, 8, 3), 10 * number, np.uint8) for number in range(count)]
    picture = grid(tiles, tile_size=20)
    columns = int(np.ceil(np.sqrt(count)))
    for number in range(count):
        top, left = 8 + number // columns * 28, 8 + number % columns * 28
        inside = picture[top + 2 : top + 18, left + 2 : left + 18]
        assert (inside == 10 * number).all()
    assert picture.shape[1] == columns * 28 + 8


def test_a_large_tile_shrinks_and_captions_stand_below():
    tile = np.zeros((100, 300, 3), np.uint8)
    plain, captioned = grid([tile], tile_size=60), grid([tile], [("true a", "said b")], tile_size=60)
    assert (plain[8 + 30, 8:68] == 0).all()
    assert captioned.shape[0] > plain.shape[0]
    below = captioned[8 + 62 :].reshape(-1, 3).astype(int)
    assert (below[:, 1] - below[:, 0]).max() > 50  # green
    assert (below[:, 0] - below[:, 1]).max() > 50  # red


def test_scattered_points_stand_where_their_values_are():
    truth = np.array([0.0, 10.0, 5.0])
    picture = scatter(truth, np.array([0.0, 10.0, 0.0]), size=400).astype(int)
    blue = (picture[..., 2] - picture[..., 0]) > 60
    ys, xs = np.nonzero(blue)
    left, top = 8 + 15 + 4, 8
    # Lower left, upper right, and the point that is predicted too low: in the middle of the lower edge.
    for x, y in ((left, top + 400), (left + 400, top), (left + 200, top + 400)):
        assert np.hypot(xs - x, ys - y).min() < 3


@pytest.mark.parametrize("values", [[], [np.nan, np.inf], [3.0]])
def test_a_scatter_of_nothing_or_of_one_point(values):
    picture = scatter(np.array(values), np.array(values))
    assert picture.dtype == np.uint8


def test_values_become_bytes():
    grey = to_bytes(np.array([[[-1.0, 0.0], [1.0, 3.0]]]))
    assert grey[..., 0].tolist() == [[0, 64], [128, 255]]
    assert (grey == grey[..., :1]).all()
    colours = clip_to_bytes(np.stack([np.full((1, 1), value) for value in (-5.0, 99.6, 300.0)]))
    assert colours.tolist() == [[[0, 100, 255]]]
    averaged = clip_to_bytes(np.stack([np.full((1, 1), value) for value in (0.0, 100.0)]))
    assert averaged.tolist() == [[[50, 50, 50]]]
    assert to_bytes(np.zeros((1, 2, 2))).max() == 0


def test_a_heat_map_is_dark_where_its_values_are_and_names_stand_beside():
    values = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 0.5]])
    one = HeatMap("a title", values, ["row", "r"], ["column", "c", "d"])
    picture = heat_maps([one, one._replace(title="b"), one], across=2, cell=10).astype(int)
    blue = picture[..., 2] - picture[..., 0] > 60
    ys, xs = np.nonzero(blue)
    # Two cells of a hundred pixels in each of three maps, and no other blue anywhere.
    assert len(ys) == 3 * 2 * 100
    top, left = ys.min(), xs.min()
    assert blue[top : top + 10, left : left + 10].all()
    assert blue[top + 10 : top + 20, left + 20 : left + 30].all()
    # The larger value is darker.
    assert picture[top + 5, left + 5].sum() < picture[top + 15, left + 25].sum()
    names = (picture[:, :left] < 100).all(-1)
    assert names[top : top + 20].any()
    assert (picture[:top, left : left + 30] < 100).all(-1).any()


def test_a_heat_map_of_nothing_is_white_inside():
    picture = heat_maps([HeatMap("", np.zeros((2, 2)), ["", ""], ["", ""])], across=1)
    assert set(np.unique(picture)) == {128, 255}
