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

SMALL = {"height": 6, "width": 8, "in_channels": 1, "batch_size": 8}


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


def test_splits_elsewhere_are_options(root, tmp_path):
    fill(tmp_path / "held" / "light", 3, 150)
    data = ImageFolder(train_path=str(root), test_path=str(tmp_path / "held"), **SMALL)
    data.setup_data()
    assert data.preprocessing["counts"] == {"train": 27, "val": 3, "test": 3}
    values, target = levels(data, "test")
    assert (values, target.tolist()) == ([150, 151, 152], [1, 1, 1])
    with pytest.raises(ValueError, match="fold holds one fold out and test_path names the test rows"):
        ImageFolder(root=str(root), test_path=str(tmp_path / "held"), fold=0)
    with pytest.raises(UserError, match=r"data.train_path: data.root names the training pictures already"):
        prepared(root, train_path=str(root))


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
    (line,) = caplog.messages
    assert "left out are pictures that cannot be read: 2 (dark/broken.png: it is no picture of a" in line
    assert line.endswith("light/empty.jpg: the file is empty)")


def test_too_many_unreadable_files_are_an_error_and_leave_nothing(root):
    for number in range(20):
        (root / "dark" / f"broken{number}.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"too many unreadable files below .*: 20 of 50") as caught:
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
        tmp_path
        / "empty": "empty holds no class folders with pictures; expected is a folder for each of at least two",
        root / "dark": "dark holds no class folders.*\n.*pictures outside of class folders: 10",
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
    assert "left out are class folders without pictures: 1 (nothing)" in caplog.text
    caplog.clear()
    data = ImageFolder(root=str(root), **SMALL)
    data.setup_data(prepared(root).preprocessing)
    caplog.clear()
    data.split("test")
    assert caplog.text == ""


def test_a_class_that_is_only_tested_is_an_error(root, tmp_path):
    shutil.copytree(root, tmp_path / "split" / "train")
    fill(tmp_path / "split" / "test" / "strange", 3, 0)
    with pytest.raises(UserError, match=r"test split has classes without training pictures: \['strange'\]"):
        prepared(tmp_path / "split")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"height": 0}, "height must be at least 1, not 0"),
        ({"in_channels": 4}, r"in_channels must be 1 \(grey\) or 3 \(colour\), not 4"),
        ({"grey_range": [5, 5]}, r"grey_range must be two rising numbers or null, not \[5, 5\]"),
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
    alone = list(prepared(root).train_dataloader())
    shared = list(prepared(root, num_workers=1).train_dataloader())
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


def deep(root, shift=0, type=np.uint16, count=20):
    """Folders of noise: levels of 12 bits from 1000 up to 1255 + `shift`, and the same pictures with 8 bits."""
    noise = np.random.default_rng(0).integers(0, 256, (2, count, 6, 8), dtype=np.uint8)
    noise[:, :, 0, :2] = 0, 255
    for label in range(2):
        for number, values in enumerate(noise[label]):
            for folder, levels in ((root / "deep", 1000 + values.astype(type)), (root / "bytes", values)):
                path = folder / str(label) / f"{number:02}.tiff"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(levels).save(path)
    return root / "deep", root / "bytes"


def inputs_of(data, name):
    return data.split(name)[Draw(None, torch.arange(len(data.split(name))))].inputs


@pytest.mark.parametrize("type", [np.uint16, np.int32, np.float32])
@pytest.mark.parametrize("room", [2**40, 1000])
def test_levels_of_more_than_8_bits_count_as_the_same_pictures_of_8_bits_do(
    type, room, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(image_folder, "total_memory", lambda: room)
    wide, narrow = (prepared(folder) for folder in deep(tmp_path, type=type))
    kind = "float" if type is np.float32 else "integer"
    assert wide.preprocessing["grey_ranges"] == {kind: [1000, 1255]}
    assert narrow.preprocessing["grey_ranges"] == {}
    assert wide.preprocessing["brightness"] == narrow.preprocessing["brightness"]
    for name in ("train", "val", "test"):
        torch.testing.assert_close(inputs_of(wide, name), inputs_of(narrow, name), atol=1e-5, rtol=0)
    assert caplog.text.count("levels 1,000 (black) to 1,255 (white) become 0 to 255") == 1


def test_the_range_is_that_of_the_training_pictures_alone(tmp_path):
    folder, _ = deep(tmp_path)
    data = prepared(folder)
    (row,) = {*range(40)}.difference(data.split("train").rows.tolist(), data.split("val").rows.tolist()) - {
        *data.split("test").rows.tolist()[1:]
    }
    path = folder / str(row // 20) / f"{row % 20:02}.tiff"
    Image.fromarray(np.full((6, 8), 4000, np.uint16)).save(path)
    again = prepared(folder)
    assert again.preprocessing["grey_ranges"] == data.preprocessing["grey_ranges"]
    levels = inputs_of(again, "test")[0] * again.preprocessing["std"][0] + again.preprocessing["mean"][0]
    torch.testing.assert_close(levels, torch.ones(1, 6, 8))  # white, as what lies outside is cut off
    # Another split learns another range from the same arrays.
    other = prepared(folder, split_seed=next(seed for seed in range(1, 99) if trains_on(folder, row, seed)))
    assert other.preprocessing["grey_ranges"] == {"integer": [1000, 4000]}
    assert len(list(cache_dir().rglob("pixels.npy"))) == 1


def test_pictures_of_8_and_more_bits_and_broken_ones_are_read_together_as_each_by_itself(tmp_path):
    wide, narrow = deep(tmp_path)
    data = prepared(wide)
    (tmp_path / "broken.tiff").write_text("no picture")
    items = [str(folder / "1" / f"{row:02}.tiff") for row in range(3) for folder in (wide, narrow)]
    items.insert(2, str(tmp_path / "broken.tiff"))
    (read,) = data.read_batches(items, 10)
    assert read.names == items
    assert list(read.problems) == [2]
    alone = [found for item in items for _, found in data.read([item])]
    assert alone.pop(2) == read.problems[2]
    assert torch.equal(read.batch.inputs, torch.cat([one.inputs for one in alone]))
    # Typed by themselves they lie in no folder of a class.
    assert read.labelled.tolist() == [False] * 6
    (below,) = data.read_batches([str(wide)], 40)
    assert below.batch.target.tolist() == [0] * 20 + [1] * 20
    assert below.labelled.all()


def trains_on(folder, row, seed):
    return row in prepared(folder, split_seed=seed).split("train").rows.tolist()


def test_pictures_of_8_bits_among_deeper_ones_stay_as_they_are(tmp_path):
    folder, narrow = deep(tmp_path)
    shutil.rmtree(folder / "1")
    shutil.copytree(narrow / "1", folder / "1")
    mixed, plain = prepared(folder), prepared(narrow)
    torch.testing.assert_close(inputs_of(mixed, "train"), inputs_of(plain, "train"), atol=1e-5, rtol=0)


def test_a_new_picture_is_brought_to_the_range_of_training(tmp_path):
    folder, narrow = deep(tmp_path)
    data = ImageFolder(root=str(folder), **SMALL)
    data.setup_data(prepared(folder).preprocessing)
    same = dict(data.read([str(folder / "0"), str(narrow / "0")]))
    for number in range(20):
        one, other = (same[str(place / "0" / f"{number:02}.tiff")].inputs for place in (folder, narrow))
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


def test_a_run_of_an_earlier_release_keeps_8_bits_of_each_level(tmp_path):
    folder, narrow = deep(tmp_path)
    for path in narrow.rglob("*.tiff"):
        levels = np.asarray(Image.open(folder / path.relative_to(narrow)))
        Image.fromarray((levels >> 8).astype(np.uint8)).save(path)
    before = prepared(narrow)
    del before.preprocessing["grey_ranges"]
    data = ImageFolder(root=str(folder), **SMALL)
    data.setup_data(before.preprocessing)
    assert torch.equal(inputs_of(data, "test"), inputs_of(before, "test"))
    ((_, batch),) = data.read([str(folder / "0" / "03.tiff")])
    ((_, expected),) = before.read([str(narrow / "0" / "03.tiff")])
    assert torch.equal(batch.inputs, expected.inputs)


def test_a_range_is_the_users_choice(root, tmp_path, caplog):
    folder, _ = deep(tmp_path)
    data = prepared(folder, grey_range=[1100, 1200])
    assert caplog.text == ""
    std, mean = data.preprocessing["std"][0], data.preprocessing["mean"][0]
    values = (inputs_of(data, "train") * std + mean).clip(0, 1)
    shares = [(values < 1e-6).float().mean().item(), (values > 1 - 1e-6).float().mean().item()]
    assert shares == pytest.approx([0.39, 0.22], abs=0.04)
    assert values.mean().item() == pytest.approx(mean, abs=1e-4)
    prepared(root, grey_range=[0, 10])
    assert "data.grey_range has no effect: no picture has more than 8 bits" in caplog.text


def test_what_crop_cuts_off_is_said_of_the_training_pictures(root, caplog):
    rows = prepared(root).split("train").rows.tolist()
    caplog.clear()
    for place, size in ((rows[2], (40, 6)), (rows[5], (8, 30)), (rows[7], (14, 6))):
        listed = sorted((root / "dark").iterdir()) + sorted((root / "light").iterdir())
        Image.new("L", size, 50).save(listed[place])
    name = listed[rows[2]].relative_to(root).as_posix()
    prepared(root)
    assert caplog.messages == [
        f"{root}: data.resize=crop cuts off more than half of 2 of 21 training pictures, the first {name}; "
        "data.resize=pad or data.resize=stretch keeps the whole image"
    ]
    caplog.clear()
    prepared(root, resize="pad")
    assert caplog.text == ""


def test_a_linked_root_and_linked_classes_are_read(root, tmp_path):
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "dark").symlink_to(root / "dark")
    (tmp_path / "linked" / "light").symlink_to(root / "light")
    (tmp_path / "to root").symlink_to(tmp_path / "linked")
    data = prepared(tmp_path / "to root")
    assert torch.equal(inputs_of(data, "train"), inputs_of(prepared(root), "train"))


def test_many_pictures_say_that_they_are_prepared(root, capsys):
    fill(root / "many", 500, 0)
    data = prepared(root)
    assert capsys.readouterr().err == "Preparing 530 pictures\n"
    assert sum(data.preprocessing["counts"].values()) == 530
