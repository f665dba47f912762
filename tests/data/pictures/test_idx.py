import struct

import numpy as np
import pytest

from nnkit.data.pictures import idx


@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 3, 4)])
def test_what_is_written_is_read(shape):
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    content = idx.serialise(array)
    assert np.array_equal(idx.parse(content), array)
    assert idx.declared_size(content[: idx.HEADER_BYTES]) == len(content)


def test_the_header_is_the_one_mnist_has():
    # The first 16 bytes of train-images-idx3-ubyte, as LeCun's page lists them.
    header = idx.serialise(np.zeros((60000, 28, 28), np.uint8))[:16]
    assert header == struct.pack(">IIII", 2051, 60000, 28, 28)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no IDX file: it has 0 bytes"),
        (b"\x89PNG\r\n\x1a\n", "no IDX file of bytes: it begins with 89504e47"),
        (b"\x00\x00\x0d\x01\x00\x00\x00\x01", "no IDX file of bytes"),
        (b"\x00\x00\x08\x03\x00\x00\x00\x01", "header ends after 8 of 16 bytes"),
        (b"\x00\x00\x08\x01\x00\x00\x00\x05abc", "declares 5 bytes of data, but 3 follow"),
        (b"\x00\x00\x08\x01\x00\x00\x00\x02abc", "declares 2 bytes of data, but 3 follow"),
        (b"\x00\x00\x08\x03" + b"\x7f\xff\xff\xff" * 3, "more than 1,073,741,824"),
    ],
)
def test_a_header_that_lies_is_refused(content, message):
    with pytest.raises(ValueError, match=message):
        idx.parse(content)
