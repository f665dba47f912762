"""Pictures of a folder come in order, each with its own answer, however many threads decode them."""

import threading
import time

import pytest
import torch

from nnkit.data.pictures import reading
from nnkit.data.pictures.image_files import PictureError
from nnkit.data.pictures.reading import read_pictures

COUNT = 150


@pytest.fixture
def folder(tmp_path):
    for number in range(COUNT):
        place = tmp_path / ("a" if number % 2 else "b")
        place.mkdir(exist_ok=True)
        (place / f"{number:03}.png").touch()
    return tmp_path


def number_of(name):
    return int(str(name).rpartition("/")[2].partition(".")[0])


@pytest.mark.parametrize("seconds", [0.0, 0.001])
def test_order_folders_and_errors_are_those_of_the_files(folder, monkeypatch, seconds):
    monkeypatch.setattr(reading, "cores", lambda: 4)
    threads = set()

    def decode(path):
        threads.add(threading.get_ident())
        number = number_of(path)
        # The first take longest.
        time.sleep(seconds * (1 + 2 * (number % 3 == 0)))
        if number % 10 == 7:
            raise PictureError(f"broken {number}")
        return torch.full((1, 2, 2), float(number))

    single = str(folder / "a" / "001.png")
    chunks = list(read_pictures([single, str(folder), "-"], decode, 40))
    assert [len(chunk) for chunk in chunks] == [40, 40, 40, COUNT - 118]
    found = [one for chunk in chunks for one in chunk]
    assert found[0].name == single
    assert found[0].inside == ()
    assert found[-1].name == "-"
    assert "not from standard input" in found[-1].pixels
    order = [*range(1, COUNT, 2), *range(0, COUNT, 2)]
    assert [number_of(one.name) for one in found[1:-1]] == order
    for number, one in zip(order, found[1:-1], strict=True):
        if number % 10 == 7:
            assert one.pixels == f"broken {number}"
            continue
        assert torch.equal(one.pixels, torch.full((1, 2, 2), float(number)))
        assert one.inside == ("a" if number % 2 else "b",)
    # Small pictures are decoded without threads.
    assert (len(threads) > 1) == (seconds > 0)


def test_no_more_is_decoded_than_is_asked_for_soon(folder):
    decoded = []

    def decode(path):
        decoded.append(path)
        return torch.zeros(1, 2, 2)

    pictures = read_pictures([str(folder)], decode, at_once=10)
    next(pictures)
    assert len(decoded) == 10
    pictures.close()
    assert len(decoded) == 10


def test_what_is_no_error_of_a_picture_comes_through(folder):
    def decode(path):
        raise MemoryError

    with pytest.raises(MemoryError):
        list(read_pictures([str(folder)], decode, 64))
