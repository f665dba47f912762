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


def test_order_targets_and_errors_are_those_of_the_files(folder, monkeypatch):
    monkeypatch.setattr(reading, "cores", lambda: 4)
    threads = set()

    def decode(path):
        threads.add(threading.get_ident())
        number = number_of(path)
        # The first take longest.
        time.sleep(0.002 * (number % 3 == 0))
        if number % 10 == 7:
            raise PictureError(f"broken {number}")
        return torch.full((1, 2, 2), float(number))

    names = []
    found = list(
        read_pictures([str(folder), "-"], decode, lambda name, x: names.append(name) or x + 1, {"a": 5})
    )
    assert found.pop()[0] == "-"
    assert [number_of(name) for name, _ in found] == [*range(0, COUNT, 2), *range(1, COUNT, 2)] or [
        number_of(name) for name, _ in found
    ] == [*range(1, COUNT, 2), *range(0, COUNT, 2)]
    for name, read in found:
        number = number_of(name)
        if number % 10 == 7:
            assert read == f"broken {number}"
            continue
        assert torch.equal(read.inputs, torch.full((1, 1, 2, 2), number + 1.0))
        assert read[1].tolist() == [5 if number % 2 else -1]
    assert names == [name for name, read in found if not isinstance(read, str)]
    assert len(threads) > 1


def test_no_more_is_decoded_than_is_asked_for_soon(folder):
    decoded = []

    def decode(path):
        decoded.append(path)
        return torch.zeros(1, 2, 2)

    pictures = read_pictures([str(folder)], decode, lambda name, x: x, {}, at_once=10)
    next(pictures)
    assert len(decoded) == 10
    pictures.close()
    assert len(decoded) == 10


def test_what_is_no_error_of_a_picture_comes_through(folder):
    def decode(path):
        raise MemoryError

    with pytest.raises(MemoryError):
        list(read_pictures([str(folder)], decode, lambda name, x: x, {}))
