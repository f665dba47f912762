import numpy as np
import pytest
import torch

from nnkit.data.pictures.levels import about_ranges, learn_ranges, measure, to_range

BYTES = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
WIDE = np.arange(100, 4196, 16, dtype=np.int32).reshape(1, 16, 16)


def measures(*pictures):
    return torch.tensor([measure(picture) for picture in pictures], dtype=torch.float64)


def test_a_range_spans_the_pictures_of_its_kind():
    known = measures(BYTES, WIDE, WIDE + 500, WIDE / np.float32(1000))
    ranges = learn_ranges(torch.cat([known, torch.full((1, 5), torch.nan)]))
    assert ranges == {"integer": [100, 4180 + 500], "float": [pytest.approx(0.1), pytest.approx(4.18)]}
    assert learn_ranges(measures(BYTES)) == {}


def test_levels_are_brought_to_the_range_and_cut_off_outside():
    ranges = {"integer": [1000, 3000], "float": [-1.0, 1.0]}
    levels = np.array([0, 1000, 1001, 2000, 3000, 65535], np.int32)
    assert to_range(levels, ranges).tolist() == [0, 0, pytest.approx(0.1275), 127.5, 255, 255]
    floats = np.array([-np.finfo(np.float32).max, -1, 0, 0.5, 1, np.finfo(np.float32).max], np.float32)
    assert to_range(floats, ranges).tolist() == [0, 0, 127.5, pytest.approx(191.25), 255, 255]
    assert to_range(BYTES, ranges) is BYTES
    assert to_range(np.full(3, 7, np.int32), {"integer": [7, 7]}).tolist() == [0, 0, 0]


def test_a_kind_without_a_range_is_taken_for_what_is_usual():
    for levels, expected in (
        (np.array([0, 256, 65535], np.int32), [0, 1, 255]),
        (np.array([0, 7, 255], np.int32), [0, 7, 255]),
        (np.array([0, 0.5, 1], np.float32), [0, 128, 255]),
        (np.array([0, 10, 255], np.float32), [0, 10, 255]),
    ):
        assert to_range(levels, {}).tolist() == expected


def test_all_levels_of_12_bits_stay_apart():
    levels = np.arange(4096, dtype=np.int32)
    assert len(np.unique(to_range(levels, {"integer": [0, 4095]}))) == 4096


def test_a_range_that_few_pixels_stretch_is_said():
    known = measures(BYTES, WIDE)
    (usual,) = about_ranges(known, learn_ranges(known))
    assert usual == (
        "1 of 2 training pictures have more than 8 bits: their levels 100 (black) to 4,180 (white) become 0 to 255; "
        "data.grey_range=[LOW,HIGH] sets others"
    )
    spoilt = WIDE.copy()
    spoilt[0, 0, 0] = 65535
    known = measures(WIDE, spoilt)
    (text,) = about_ranges(known, learn_ranges(known))
    assert text.endswith("sets others, and 98 % of each picture lie between 140.8 and 4,155.2")
