import gzip
import hashlib
import io
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from nnkit.data.cache import cache_dir, open_arrays, sha256_of
from nnkit.data.datasets import mnist
from nnkit.data.datasets.fashion_mnist import FashionMNIST
from nnkit.data.datasets.mnist import MNIST, files_from_wheel
from nnkit.data.download.fetch import FetchError
from nnkit.data.pictures import idx
from nnkit.data.sampler import Draw
from nnkit.errors import UserError

NAMES = [file.name for file in MNIST.published.files]


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("NNKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def arrays(num_train=60, num_test=20):
    generator = np.random.default_rng(0)
    pictures = [generator.integers(0, 256, (n, 28, 28), dtype=np.uint8) for n in (num_train, num_test)]
    labels = [np.arange(n, dtype=np.uint8) % 10 for n in (num_train, num_test)]
    return [pictures[0], labels[0], pictures[1], labels[1]]


@pytest.fixture
def root(cache, tmp_path):
    """A folder of tiny files in MNIST's own format, half of them packed."""
    folder = tmp_path / "root"
    folder.mkdir()
    for name, array in zip(NAMES, arrays(), strict=True):
        content = idx.serialise(array)
        packed = "images" in name
        (folder / (f"{name}.gz" if packed else name)).write_bytes(
            gzip.compress(content) if packed else content
        )
    return folder


@pytest.mark.parametrize("dataset", [MNIST, FashionMNIST])
def test_files_of_the_format_become_batches(root, dataset):
    data = dataset(root=str(root), verify=False, val_fraction=1 / 6)
    data.setup_data()
    assert data.facts() == {"num_classes": 10, "in_channels": 1, "height": 28, "width": 28}
    assert data.preprocessing["counts"] == {"train": 50, "test": 20, "val": 10}
    inputs, target, _ = data.split("test")[Draw(None, torch.tensor([3, 19]))]
    expected = (arrays()[2][[3, 19], None] / 255 - data.preprocessing["mean"][0]) / data.preprocessing["std"][
        0
    ]
    torch.testing.assert_close(inputs.double(), torch.from_numpy(expected), atol=1e-5, rtol=0)
    assert target.tolist() == [3, 9]


def test_the_second_start_reads_no_file(root):
    options = {"root": str(root), "verify": False}
    MNIST(**options).setup_data()
    status = (root / NAMES[1]).stat()
    (root / NAMES[1]).write_bytes(bytes(status.st_size))
    os.utime(root / NAMES[1], ns=(status.st_atime_ns, status.st_mtime_ns))
    MNIST(**options).setup_data()


def test_changed_files_in_the_root_are_prepared_anew(root):
    first = MNIST(root=str(root), verify=False)
    first.setup_data()
    labels = np.zeros(60, np.uint8)
    labels[::2] = 1
    (root / NAMES[1]).write_bytes(idx.serialise(labels))
    second = MNIST(root=str(root), verify=False)
    second.setup_data()
    target = second.split("train")[Draw(None, torch.arange(50))].target
    assert set(target.tolist()) == {0, 1}
    with pytest.raises(UserError, match="MNIST has changed since this run was prepared"):
        MNIST.setup_data(second, first.preprocessing)
        second.split("train")


def test_files_that_are_not_the_published_ones_are_refused(root):
    with pytest.raises(
        UserError, match=r"train-images.*is not the published file: SHA-256 ba891046.* was found"
    ):
        MNIST(root=str(root)).setup_data()
    with pytest.raises(ValueError, match="verify can be false only where root names a folder"):
        MNIST(verify=False)


@pytest.mark.parametrize(
    ("number", "content", "message"),
    [
        (
            1,
            idx.serialise(np.full(60, 10, np.uint8)),
            "60 of 60 labels of MNIST's training part lie outside 0 to 9",
        ),
        (1, idx.serialise(np.zeros(59, np.uint8)), "holds 60 pictures but 59 labels"),
        (1, idx.serialise(np.zeros((60, 2), np.uint8)), "has labels of 2 dimensions, not of one"),
        (1, idx.serialise(np.zeros((60, 2, 2), np.uint8)), "labels of 3 dimensions"),
        (3, b"", "it is no IDX file: it has 0 bytes"),
        (3, struct.pack(">III", 0x803, 2**31, 1), "header ends after 12 of 16 bytes"),
        (3, struct.pack(">IIII", 0x803, 2**31, 28, 28), "more than 1,073,741,824"),
        (3, idx.serialise(np.zeros(20, np.uint8)) + b"x", "more than the 28 bytes expected"),
    ],
)
def test_files_that_lie_are_refused(root, number, content, message):
    (root / NAMES[number]).write_bytes(content)
    with pytest.raises(UserError, match=message):
        MNIST(root=str(root), verify=False).setup_data()


def test_empty_files_of_the_format_are_refused(root):
    (root / f"{NAMES[2]}.gz").unlink()
    (root / NAMES[2]).write_bytes(idx.serialise(np.zeros((0, 28, 28), np.uint8)))
    with pytest.raises(UserError, match="MNIST's test part holds no pictures"):
        MNIST(root=str(root), verify=False).setup_data()


def test_a_header_that_promises_a_lot_allocates_nothing(root):
    # 2^30 bytes declared, six there: within the format's bound, refused because nothing follows.
    (root / NAMES[3]).write_bytes(struct.pack(">II", 0x801, 2**30) + b"abcdef")
    with pytest.raises(UserError, match="declares 1,073,741,824 bytes of data, but 6 follow"):
        MNIST(root=str(root), verify=False).setup_data()


def wheel(path, packed):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mnist/data/mnist.pkl.gz", packed)


def test_the_wheel_turns_back_into_the_four_files(tmp_path, monkeypatch):
    first, labels, test, test_labels = arrays()
    parts = [
        (first[:50].reshape(50, 784) / np.float32(256), labels[:50].astype(np.int64)),
        (first[50:].reshape(10, 784) / np.float32(256), labels[50:].astype(np.int64)),
        (test.reshape(20, 784) / np.float32(256), test_labels.astype(np.int64)),
    ]
    packed = gzip.compress(pickle.dumps(tuple(parts), protocol=4))
    wheel(tmp_path / "a.whl", packed)
    monkeypatch.setattr(mnist, "_MEMBER_SHA256", hashlib.sha256(packed).hexdigest())
    monkeypatch.setattr(mnist, "_MEMBER_BYTES", len(packed))
    files = files_from_wheel(tmp_path / "a.whl")
    assert files == {name: idx.serialise(array) for name, array in zip(NAMES, arrays(), strict=True)}


def test_nothing_is_unpickled_before_its_hash_is_known(tmp_path, monkeypatch):
    packed = gzip.compress(pickle.dumps("anything"))
    wheel(tmp_path / "a.whl", packed)
    with pytest.raises(FetchError, match=f"has {len(packed)} bytes"):
        files_from_wheel(tmp_path / "a.whl")
    monkeypatch.setattr(mnist, "_MEMBER_BYTES", len(packed))
    monkeypatch.setattr(mnist, "ArraysOnly", None)
    with pytest.raises(FetchError, match=r"SHA-256 f11bb9e4.* was expected, .* was found"):
        files_from_wheel(tmp_path / "a.whl")
    (tmp_path / "b.whl").write_bytes(b"no zip")
    with pytest.raises(FetchError, match=r"b.whl holds no mnist/data/mnist.pkl.gz"):
        files_from_wheel(tmp_path / "b.whl")


class Evil:
    def __reduce__(self):
        return (print, ("run",))


@pytest.mark.parametrize("thing", [Evil(), np.float64(1.0), np.random.default_rng(0), np.array([Evil()])])
def test_only_arrays_are_unpickled(thing, capsys):
    with pytest.raises(pickle.UnpicklingError, match="is no NumPy array"):
        mnist.ArraysOnly(io.BytesIO(pickle.dumps(thing, protocol=2)), encoding="latin1").load()
    assert capsys.readouterr().out == ""


def drawn(size, box, ink=255, paper=0):
    image = Image.new("L", size, paper)
    ImageDraw.Draw(image).line([(box[0], box[1]), (box[2], box[3])], fill=ink, width=max(2, size[0] // 12))
    return image


def test_a_drawing_of_any_size_is_brought_to_mnists_shape(root, tmp_path, caplog):
    data = MNIST(root=str(root), verify=False, batch_size=8)
    data.setup_data()
    # Statistics of the real thing: dark borders, the tiny files are noise.
    data.preprocessing["brightness"] = {"picture": [33.3, 11.0], "border": [0.05, 0.45]}
    drawn((300, 200), (200, 20, 230, 180)).save(tmp_path / "large.png")
    drawn((28, 28), (14, 4, 14, 24)).save(tmp_path / "exact.png")
    drawn((300, 200), (200, 20, 230, 180), ink=0, paper=255).save(tmp_path / "inverted.png")
    names = [str(tmp_path / f"{name}.png") for name in ("large", "exact")]
    scale = 255 * data.preprocessing["std"][0]
    pixels = [b.inputs[0, 0] * scale + 255 * data.preprocessing["mean"][0] for _, b in data.read(names)]
    assert caplog.text == ""
    rows = (pixels[0] > 60).any(dim=1).nonzero()
    assert (rows.min(), rows.max()) == (4, 23)
    exact = torch.from_numpy(np.asarray(drawn((28, 28), (14, 4, 14, 24))).astype(np.float32))
    torch.testing.assert_close(pixels[1], exact, atol=0.01, rtol=0)
    assert len(list(data.read([str(tmp_path / "inverted.png")]))) == 1
    assert "it looks inverted, try its negative" in caplog.text


def test_the_real_mnist_if_it_is_cached():
    folder = cache_dir() / "mnist" / "prepared"
    opened = open_arrays(folder, MNIST.published.fingerprint)
    if opened is None:
        pytest.skip("MNIST is not in the cache: `nnkit train data=mnist` puts it there")
    data = MNIST()
    data.setup_data()
    assert data.preprocessing["counts"] == {"train": 55_000, "test": 10_000, "val": 5_000}
    # The well-known constants of MNIST, which are those of all 60,000.
    assert data.preprocessing["mean"] == pytest.approx([0.1307], abs=5e-4)
    assert data.preprocessing["std"] == pytest.approx([0.3081], abs=5e-4)
    pixels, targets = opened.arrays["pixels"], opened.arrays["targets"]
    parts = (pixels[:60_000, 0], targets[:60_000], pixels[60_000:, 0], targets[60_000:])
    for file, array in zip(MNIST.published.files, parts, strict=True):
        assert hashlib.sha256(idx.serialise(array.astype(np.uint8))).hexdigest() == file.sha256
    assert opened.hashes["pixels"] == sha256_of(folder / "pixels.npy")
