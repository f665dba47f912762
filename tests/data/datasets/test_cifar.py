import hashlib
import io
import tarfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from nnkit.data.datasets.cifar10 import CIFAR10
from nnkit.data.datasets.cifar100 import CIFAR100
from nnkit.data.download import sources
from nnkit.data.download.sources import DataFile
from nnkit.data.sampler import Draw
from nnkit.errors import EnvironmentFault, UserError

EACH, LAST = 12, 20


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("NNKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sources, "SYSTEM_FOLDERS", ())


def records(dataset, count, seed):
    """Return records of the format, byte by byte: the labels, then red, green and blue, row by row."""
    generator = np.random.default_rng(seed)
    pictures = generator.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)
    labels = np.arange(count) % 10 + len(dataset.class_names) - 10
    content = b""
    for picture, label in zip(pictures, labels, strict=True):
        coarse = [label % 20] if dataset is CIFAR100 else []
        content += bytes([*coarse, label])
        for channel in picture:
            for row in channel:
                content += bytes(row.tolist())
    return content, pictures, labels


def files(dataset):
    """Return tiny files of the format by name."""
    contents = {name: records(dataset, EACH, number)[0] for number, name in enumerate(dataset.train_files)}
    return {**contents, dataset.test_file: records(dataset, LAST, 99)[0]}


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "root"
    folder.mkdir()
    for dataset in (CIFAR10, CIFAR100):
        for name, content in files(dataset).items():
            (folder / name).write_bytes(content)
    return folder


def published(monkeypatch, dataset, *folders):
    """Put an archive of the tiny files into folders, and say that it is the published one."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in {"readme.html": b"<html>", **files(dataset)}.items():
            entry = tarfile.TarInfo(f"cifar-batches-bin/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    (old,) = dataset.published.files
    packed = buffer.getvalue()
    file = DataFile(old.name, len(packed), hashlib.sha256(packed).hexdigest())
    monkeypatch.setattr(dataset, "published", replace(dataset.published, files=(file,)))
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / old.name).write_bytes(packed)


@pytest.mark.parametrize("dataset", [CIFAR10, CIFAR100])
def test_records_become_batches_of_their_own_pixels_and_classes(root, dataset):
    data = dataset(root=str(root), verify=False)
    data.setup_data()
    classes = len(dataset.class_names)
    assert data.facts() == {"num_classes": classes, "in_channels": 3, "height": 32, "width": 32}
    num_train = EACH * len(dataset.train_files)
    assert data.preprocessing["counts"] == {
        "train": num_train - round(num_train / 10), "val": round(num_train / 10), "test": LAST,
    }  # fmt: skip
    inputs, target, _ = data.split("test")[Draw(None, torch.tensor([3, 19]))]
    _, pictures, labels = records(dataset, LAST, 99)
    mean, std = (np.array(data.preprocessing[name]).reshape(3, 1, 1) for name in ("mean", "std"))
    expected = (pictures[[3, 19]] / 255 - mean) / std
    torch.testing.assert_close(inputs.double(), torch.from_numpy(expected), atol=1e-5, rtol=0)
    assert target.tolist() == labels[[3, 19]].tolist()


@pytest.mark.parametrize("dataset", [CIFAR10, CIFAR100])
def test_the_archive_is_read_from_the_cache_and_from_a_folder(root, dataset, monkeypatch, tmp_path):
    unpacked = dataset(root=str(root), verify=False)
    unpacked.setup_data()
    published(monkeypatch, dataset, tmp_path / "own", tmp_path / "cache" / dataset.published.folder)
    for place in (str(tmp_path / "own"), None):
        data = dataset(root=place)
        data.setup_data()
        assert data.num_train_samples() == unpacked.num_train_samples()
        draw = Draw(None, torch.arange(LAST))
        for one, other in zip(data.split("test")[draw], unpacked.split("test")[draw], strict=True):
            assert torch.equal(one, other)


def test_another_archive_and_unpacked_files_are_refused(root):
    with pytest.raises(
        UserError, match=r"lacks cifar-10-binary.tar.gz; what it was unpacked to has no published hash"
    ):
        CIFAR10(root=str(root)).setup_data()
    (root / "cifar-10-binary.tar.gz").write_bytes(b"\x1f\x8bother")
    with pytest.raises(UserError, match=r"is not the published file: SHA-256 c4a38c50.* was expected"):
        CIFAR10(root=str(root)).setup_data()
    (root / "test.bin").unlink()
    with pytest.raises(UserError, match=r"lacks test.bin, as data.verify=false reads unpacked files"):
        CIFAR100(root=str(root), verify=False).setup_data()


def test_where_nothing_can_be_had_it_is_said_what_to_do(monkeypatch):
    def refuse(url, path, limit):
        raise sources.FetchError("the server answered 404 Not Found")

    monkeypatch.setattr(sources, "download", refuse)
    with pytest.raises(
        EnvironmentFault, match=r"(?s)kriz/cifar-100-binary.tar.gz: the server .* \(SHA-256 58a81ae1"
    ):
        CIFAR100().setup_data()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (bytes(3073 * 2 - 1), "CIFAR-10's test part has 6,145 bytes, which are no records of 3,073"),
        (b"", "CIFAR-10's test part holds no pictures"),
        (
            bytes([10]) + bytes(3072),
            "1 of 1 labels of CIFAR-10's test part lie outside 0 to 9; the largest is 10",
        ),
    ],
)
def test_files_that_are_not_of_the_format_are_refused(root, content, message):
    (root / "test_batch.bin").write_bytes(content)
    with pytest.raises(UserError, match=message):
        CIFAR10(root=str(root), verify=False).setup_data()


def test_a_picture_of_any_size_is_cut_and_scaled(root, tmp_path):
    data = CIFAR10(root=str(root), verify=False)
    data.setup_data()
    Image.new("RGB", (90, 60), (200, 100, 50)).save(tmp_path / "wide.png")
    pixels = data.read_picture(tmp_path / "wide.png")
    assert pixels.shape == (3, 32, 32)
    assert pixels.flatten(1).float().mean(1).tolist() == [200, 100, 50]


def test_classes_are_the_published_ones_in_order():
    assert len(set(CIFAR100.class_names)) == 100
    # The published order is that of the alphabet.
    for dataset in (CIFAR10, CIFAR100):
        assert list(dataset.class_names) == sorted(dataset.class_names)
