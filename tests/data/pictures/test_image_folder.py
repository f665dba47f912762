import os
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from nnkit.data.cache import cache_dir
from nnkit.data.pictures import image_folder
from nnkit.data.pictures.image_folder import ImageFolder
from nnkit.data.sampler import Draw
from nnkit.errors import UserError

SMALL = {"height": 6, "width": 8, "in_channels": 1}


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("NNKIT_CACHE", str(tmp_path / "cache"))


def fill(folder, count, level, size=(8, 6)):
    """Pictures of one level, a little apart from each other, in formats that take turns."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        suffix = ("png", "bmp", "tiff")[number % 3]
        Image.new("L", size, level + number).save(folder / f"{number}.{suffix}")
    return folder


@pytest.fixture
def root(tmp_path):
    fill(tmp_path / "data" / "dark", 10, 10)
    fill(tmp_path / "data" / "light", 20, 200)
    return tmp_path / "data"


def prepared(root, **options):
    data = ImageFolder(root=str(root), **{**SMALL, **options})
    data.setup_data()
    return data


def levels(data, name):
    samples = data.split(name)
    inputs, target, _ = samples[Draw(None, torch.arange(len(samples)))]
    values = inputs.mean(dim=(1, 2, 3)) * 255 * data.preprocessing["std"][0]
    return sorted((values + 255 * data.preprocessing["mean"][0]).round().int().tolist()), target


def test_folders_are_classes_and_all_pictures_are_there(root):
    data = prepared(root)
    assert data.preprocessing["class_names"] == ["dark", "light"]
    assert data.facts() == {"num_classes": 2}
    assert data.preprocessing["counts"] == {"train": 21, "val": 3, "test": 6}
    everything = [level for name in ("train", "val", "test") for level in levels(data, name)[0]]
    assert sorted(everything) == [*range(10, 20), *range(200, 220)]
    inputs, target, _ = data.split("train")[Draw(None, torch.arange(21))]
    assert torch.equal(inputs.mean(dim=(1, 2, 3)) > 0, target.bool())


def test_parts_with_folders_of_their_own_are_kept(root, tmp_path):
    split = tmp_path / "split"
    shutil.copytree(root, split / "train")
    fill(split / "valid" / "dark", 2, 50)
    fill(split / "Test" / "light", 3, 150)
    data = prepared(split)
    assert data.preprocessing["counts"] == {"train": 30, "val": 2, "test": 3}
    assert levels(data, "val")[0] == [50, 51]
    values, target = levels(data, "test")
    assert (values, target.tolist()) == ([150, 151, 152], [1, 1, 1])


def test_the_second_start_decodes_nothing(root):
    first = prepared(root)
    path = next((root / "dark").iterdir())
    status = path.stat()
    path.write_bytes(bytes(status.st_size))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    second = prepared(root)
    assert levels(second, "train")[0] == levels(first, "train")[0]


def test_a_changed_folder_is_prepared_anew_and_a_run_on_the_old_one_refused(root):
    first = prepared(root)
    fill(root / "dark", 12, 30)
    second = prepared(root)
    assert sum(second.preprocessing["counts"].values()) == 32
    second.setup_data(first.preprocessing)
    with pytest.raises(
        UserError, match=r"its SHA-256 was \w{12}, now it is \w{12}; it had 2 classes, and now has 2"
    ):
        second.split("test")
    assert len(list((cache_dir() / "image_folder").iterdir())) == 1


def test_a_copy_of_the_folder_counts_as_the_same_data(root, tmp_path):
    first = prepared(root)
    shutil.copytree(root, tmp_path / "copy", copy_function=shutil.copy)
    second = ImageFolder(root=str(tmp_path / "copy"), **SMALL)
    second.setup_data(first.preprocessing)
    assert levels(second, "test")[0] == levels(first, "test")[0]


def test_colour_and_size_are_the_users_choice(root):
    data = prepared(root, in_channels=3, height=5, width=4)
    assert data.split("train")[Draw(None, torch.arange(3))].inputs.shape == (3, 3, 5, 4)


def test_unreadable_files_are_named_and_left_out(root, caplog):
    (root / "dark" / "broken.png").write_bytes(b"no picture")
    (root / "light" / "empty.jpg").write_bytes(b"")
    data = prepared(root)
    assert sum(data.preprocessing["counts"].values()) == 30
    assert "2 of 32 pictures cannot be read and are left out" in caplog.text
    assert "broken.png: it is no picture" in caplog.text
    assert "empty.jpg: the file is empty" in caplog.text


def test_too_many_unreadable_files_are_an_error_and_leave_nothing(root):
    for number in range(20):
        (root / "dark" / f"broken{number}.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"too many unreadable files: 20 of 50") as caught:
        prepared(root)
    assert "and 10 more" in str(caught.value)
    assert not list(cache_dir().rglob("*.npy"))


def test_a_class_without_one_readable_picture_is_an_error(root):
    (root / "other").mkdir()
    (root / "other" / "broken.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"no picture of other below .* can be read"):
        prepared(root)


def test_what_is_no_folder_of_classes_is_an_error(root, tmp_path):
    (tmp_path / "empty").mkdir()
    cases = {
        root / "none": "there is no folder",
        tmp_path / "empty": "empty holds no pictures; expected is a folder for each of at least two classes",
        root / "dark": "dark holds 10 pictures outside of class folders",
    }
    shutil.rmtree(root / "light")
    cases[root] = "holds pictures of one class only, dark"
    for folder, message in cases.items():
        with pytest.raises(UserError, match=message):
            prepared(folder)
    with pytest.raises(UserError, match=r"data.root: name the folder"):
        ImageFolder().setup_data()


def test_an_empty_class_folder_is_left_out_and_said(root, caplog):
    (root / "nothing").mkdir()
    assert prepared(root).preprocessing["class_names"] == ["dark", "light"]
    assert "no pictures in nothing, left out" in caplog.text


def test_a_class_that_is_only_tested_is_an_error(root, tmp_path):
    shutil.copytree(root, tmp_path / "split" / "train")
    fill(tmp_path / "split" / "test" / "strange", 3, 0)
    with pytest.raises(UserError, match=r"test part has classes without training pictures: \['strange'\]"):
        prepared(tmp_path / "split")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"height": 0}, "height must be at least 1, not 0"),
        ({"in_channels": 4}, r"in_channels must be 1 \(grey\) or 3 \(colour\), not 4"),
        ({"resize": "squeeze"}, "resize must be one of crop, stretch, pad, not squeeze"),
    ],
)
def test_arguments_out_of_range_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        ImageFolder(**options)


@pytest.fixture
def small_memory(monkeypatch):
    monkeypatch.setattr(image_folder, "total_memory", lambda: 1000)


def test_what_does_not_fit_in_memory_is_decoded_when_asked_for(root, monkeypatch, caplog):
    whole = prepared(root)
    monkeypatch.setattr(image_folder, "total_memory", lambda: 1000)
    lazy = prepared(root)
    assert "decoded anew in each epoch" in caplog.text
    assert lazy.preprocessing["mean"] == whole.preprocessing["mean"]
    for name in ("train", "val", "test"):
        index = torch.arange(len(whole.split(name)))
        expected = whole.split(name)[Draw(None, index)]
        assert torch.equal(lazy.split(name)[Draw(None, index)].inputs, expected.inputs)
    assert len(list(cache_dir().rglob("statistics.npy"))) == 2
    assert len(list(cache_dir().rglob("pixels.npy"))) == 1


def test_worker_processes_decode_too(root, small_memory):
    alone = list(prepared(root, batch_size=8).train_dataloader())
    shared = list(prepared(root, batch_size=8, num_workers=1).train_dataloader())
    for one, other in zip(alone, shared, strict=True):
        assert torch.equal(one.inputs, other.inputs)


def test_a_file_that_vanishes_during_training_is_named(root, small_memory):
    data = prepared(root)
    train = data.split("train")
    shutil.rmtree(root / "light")
    with pytest.raises(UserError, match=r"light/.* cannot be used: there is no such file"):
        train[Draw(0, torch.arange(21))]


def test_a_new_picture_is_read_as_the_training_pictures_were(root, tmp_path):
    data = prepared(root, resize="pad")
    Image.new("RGB", (80, 30), (100, 100, 100)).save(tmp_path / "new.png")
    other = ImageFolder(root=str(root), **SMALL)
    other.setup_data(data.preprocessing)
    ((_, batch),) = other.read([str(tmp_path / "new.png")])
    pixels = batch.inputs[0, 0] * 255 * data.preprocessing["std"][0] + 255 * data.preprocessing["mean"][0]
    assert pixels.shape == (6, 8)
    # 80x30 padded to 8x6: three rows of picture between black bars.
    assert np.count_nonzero(pixels.numpy().round()[:, 0] == 100) == 3


def test_many_pictures_say_that_they_are_prepared(root, capsys):
    fill(root / "many", 500, 0)
    data = prepared(root)
    assert capsys.readouterr().err == "Preparing 530 pictures\n"
    assert sum(data.preprocessing["counts"].values()) == 530
