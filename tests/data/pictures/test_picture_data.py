import json
import logging

import numpy as np
import pytest
import torch
from PIL import Image

from nnkit.data.pictures.augment import Augment
from nnkit.data.pictures.base import PictureData, PictureSamples, PictureSet, picture_statistics
from nnkit.data.pictures.image_files import load, to_array
from nnkit.data.sampler import Draw
from nnkit.errors import UserError
from nnkit.losses.cross_entropy import CrossEntropy
from nnkit.tasks.classification import Classification

PIXELS = torch.randint(0, 256, (60, 3, 8, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
TARGETS = torch.arange(60) % 3


class Things(PictureData):
    fingerprint = "one"
    parts = None

    shape = (3, 8, 6)

    def open(self):
        return PictureSet(
            title="things",
            pixels=PIXELS,
            targets=TARGETS,
            statistics=torch.from_numpy(picture_statistics(PIXELS.numpy())),
            class_names=["a", "b", "c"],
            fingerprint=self.fingerprint,
            parts=self.parts or {"train": torch.arange(60)},
        )

    def read_picture(self, path):
        return torch.from_numpy(to_array(load(path, 3)))


def things(**options):
    data = Things(**options)
    data.setup_data()
    return data


def batch(samples, index, epoch=None):
    return samples[Draw(epoch, torch.tensor(index))]


def test_a_batch_is_the_pictures_normalised():
    samples = PictureSamples(PIXELS, TARGETS, [0.5, 0.4, 0.3], [0.2, 0.3, 0.4])
    inputs, target, index = batch(samples, [3, 59, 3])
    mean, std = torch.tensor([0.5, 0.4, 0.3]).view(-1, 1, 1), torch.tensor([0.2, 0.3, 0.4]).view(-1, 1, 1)
    expected = (PIXELS[[3, 59, 3]].double() / 255 - mean) / std
    torch.testing.assert_close(inputs.double(), expected, atol=1e-5, rtol=0)
    assert inputs.dtype == torch.float32
    assert target.tolist() == [0, 2, 0]
    assert index.tolist() == [3, 59, 3]


def test_a_split_is_a_view_of_the_whole_by_rows():
    samples = PictureSamples(PIXELS, TARGETS, [0.0] * 3, [1.0] * 3, rows=torch.tensor([7, 40]))
    assert len(samples) == 2
    inputs, target, index = batch(samples, [1])
    torch.testing.assert_close(inputs[0], PIXELS[40] / 255)
    assert (target.tolist(), index.tolist()) == ([1], [1])


def test_mixed_pictures_are_sums_of_two_and_keep_both_classes():
    augment, index = Augment(mixup=1.0, cutout=3, flip=True), list(range(20, 32))
    mixed = PictureSamples(PIXELS, TARGETS, [0.5] * 3, [0.3] * 3, augment=augment, seed=4)
    alone = PictureSamples(
        PIXELS, TARGETS, [0.5] * 3, [0.3] * 3, augment=Augment(cutout=3, flip=True), seed=4
    )
    share, other = augment.pairing(4, 2, torch.tensor(index))
    one, plain = batch(mixed, index, epoch=2), batch(alone, index, epoch=2)
    torch.testing.assert_close(one.inputs, share * plain.inputs + (1 - share) * plain.inputs[other])
    assert torch.equal(one.target, plain.target) and torch.equal(one.second, plain.target[other])
    assert one.share.tolist() == pytest.approx([share] * 12)
    assert one.indices.tolist() == index
    # Pictures that are evaluated are themselves.
    assert batch(mixed, index)._fields == ("inputs", "target", "indices")


@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 5.0]])
def test_the_loss_of_mixed_pictures_is_that_of_mixed_targets(weights):
    samples = PictureSamples(PIXELS, TARGETS, [0.5] * 3, [0.3] * 3, augment=Augment(mixup=1.0), seed=4)
    one = batch(samples, list(range(12)), epoch=2)
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(144, 3))
    task = Classification(
        3, network=network, loss=CrossEntropy(class_weights=weights), target="index",
        make_optimizer=None, make_scheduler=None,
    )  # fmt: skip
    loss, totals = task.score(one)
    soft = torch.zeros(12, 3)
    for row in range(12):
        soft[row, one.target[row]] += one.share[row]
        soft[row, one.second[row]] += 1 - one.share[row]
    weight = torch.tensor(weights or [1.0] * 3)
    each = -(soft * weight * network(one.inputs).log_softmax(1)).sum(1)
    expected = each.sum() / weight[one.target].sum()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(totals["loss"][0] / totals["loss"][1], expected.detach())
    right = (network(one.inputs).argmax(1) == one.target).float().mean()
    torch.testing.assert_close((totals["accuracy"][0] / totals["accuracy"][1]).float(), right)


def test_only_training_pictures_are_changed():
    augment, before = Augment(shift=1), PIXELS.clone()
    samples = PictureSamples(PIXELS, TARGETS, [0.0] * 3, [1.0] * 3, augment=augment, seed=4)
    index = list(range(20))
    plain = batch(samples, index).inputs
    torch.testing.assert_close(plain, PIXELS[:20] / 255)
    changed = batch(samples, index, epoch=2).inputs
    expected = augment(PIXELS[:20], 4, 2, torch.arange(20)) / 255
    torch.testing.assert_close(changed, expected)
    assert not torch.equal(changed, plain)
    assert torch.equal(PIXELS, before)


def test_the_training_split_is_normalised_to_mean_0_and_std_1():
    data = things()
    train = data.split("train")
    inputs = batch(train, list(range(len(train)))).inputs
    torch.testing.assert_close(inputs.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(inputs.std(dim=(0, 2, 3), correction=0), torch.ones(3), atol=1e-5, rtol=0)


def rows(data, name):
    samples = data.split(name)
    inputs = batch(samples, list(range(len(samples)))).inputs
    return {tuple(picture.flatten().tolist()) for picture in inputs}


def test_the_parts_are_disjoint_even_over_classes_and_stated():
    data = things()
    assert data.preprocessing["counts"] == {"train": 42, "val": 6, "test": 12}
    parts = [rows(data, name) for name in ("train", "val", "test")]
    assert [len(part) for part in parts] == [42, 6, 12]
    assert len(set.union(*parts)) == 60
    for name, count in (("train", 14), ("val", 2), ("test", 4)):
        target = batch(data.split(name), list(range(3 * count))).target
        assert torch.bincount(target).tolist() == [count] * 3


def test_the_split_depends_on_split_seed_not_on_seed():
    assert rows(things(seed=1), "val") == rows(things(seed=2), "val")
    assert rows(things(split_seed=1), "val") != rows(things(split_seed=2), "val")


def test_parts_that_the_dataset_fixes_stay():
    data = Things()
    data.parts = {"train": torch.arange(30), "test": torch.arange(50, 60)}
    data.setup_data()
    assert data.preprocessing["counts"] == {"train": 27, "test": 10, "val": 3}


def test_no_validation_is_allowed():
    data = things(val_fraction=0.0)
    assert data.preprocessing["counts"]["val"] == 0
    assert len(data.split("val")) == len(data.val_dataloader()) == 0


def test_a_subset_is_an_even_share_of_the_same_training_part():
    whole, half = things(), things(subset=0.5)
    assert half.preprocessing["counts"] == {"train": 21, "val": 6, "test": 12}
    target = batch(half.split("train"), list(range(21))).target
    assert torch.bincount(target).tolist() == [7, 7, 7]
    # The normalisation differs, so pictures are compared by number.
    assert set(half.split("train").rows.tolist()) < set(whole.split("train").rows.tolist())
    assert torch.equal(half.split("val").rows, whole.split("val").rows)
    with pytest.raises(UserError, match=r"data.subset: 0.01 of 42 training pictures is less than one"):
        things(subset=0.01)


def test_preprocessing_is_json_and_restores_the_very_same_data():
    first = things(split_seed=3)
    second = Things(split_seed=8)
    second.setup_data(json.loads(json.dumps(first.preprocessing)))
    assert second.facts() == first.facts() == {"num_classes": 3, "in_channels": 3, "height": 8, "width": 6}
    for name in ("train", "val", "test"):
        index = list(range(6))
        assert torch.equal(batch(first.split(name), index).inputs, batch(second.split(name), index).inputs)


def test_classes_out_of_range_are_counted(monkeypatch):
    targets = TARGETS.clone()
    targets[[7, 30]] = torch.tensor([-1, 3])
    monkeypatch.setitem(globals(), "TARGETS", targets)
    with pytest.raises(
        UserError, match="2 of 60 pictures have a class outside 0 to 2, such as -1: pictures 7, 30"
    ):
        things()


def test_data_that_changed_since_are_refused():
    data = Things()
    data.setup_data(things().preprocessing | {"fingerprint": "another"})
    with pytest.raises(
        UserError, match=r"things has changed since this run was prepared: its SHA-256 was another,"
    ):
        data.split("test")
    data.setup_data(things().preprocessing | {"class_names": ["a", "b", "z"]})
    with pytest.raises(
        UserError, match=r"things has changed .*: its classes were a, b, z, now they are a, b, c"
    ):
        data.split("test")


def test_an_epoch_through_the_loader_gives_every_picture_once():
    data = things(batch_size=5)
    batches = list(data.train_dataloader())
    assert sorted(torch.cat([b.indices for b in batches]).tolist()) == list(range(42))
    assert [len(b.indices) for b in batches] == [5] * 8 + [2]


def test_worker_processes_give_the_same_batches():
    options = {"batch_size": 16, "augment": {"shift": 1}}
    alone = list(things(**options).train_dataloader())
    shared = list(things(num_workers=1, **options).train_dataloader())
    for one, other in zip(alone, shared, strict=True):
        assert torch.equal(one.inputs, other.inputs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"subset": 0}, r"subset must lie in \(0, 1\] or be null, not 0"),
        ({"val_fraction": 1.0}, "val_fraction"),
        ({"test_fraction": -0.1}, "test_fraction"),
        ({"augment": {"shift": 6}}, "augment.shift must be smaller than the pictures of 8x6"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_arguments_out_of_range_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        Things(**options)


def test_a_folder_of_new_pictures_keeps_sub_folders_and_order(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("new/b/2.png", "new/b/10.png", "new/a/x.png", "new/c.png", "far/1.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(PIXELS[0].permute(1, 2, 0).numpy()).save(tmp_path / name)
    (tmp_path / "new/b/3.heic").write_text("")
    (tmp_path / "new/d").symlink_to(tmp_path / "far")
    inside = ["a/x.png", "b/10.png", "b/2.png", "c.png", "d/1.png"]
    data = things(batch_size=8)
    assert [name for name, _ in data.read(["new/"])] == [f"new/{name}" for name in inside]
    assert caplog.messages == ["new/: left out are .heic files, which are not read: 1 (new/b/3.heic)"]
    assert [name for name, _ in data.read(["~/new/c.png", "~/new"])] == [
        "~/new/c.png",
        *(f"~/new/{name}" for name in inside),
    ]
    assert [name for name, _ in data.read(["new/../new"])] == [f"new/../new/{name}" for name in inside]


def test_class_folders_of_new_pictures_are_their_targets(tmp_path):
    data = things(batch_size=8)
    for name in ("new/b/1.png", "new/c/deep/2.png", "new/other/3.png", "new/4.png", "b/5.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(PIXELS[0].permute(1, 2, 0).numpy()).save(tmp_path / name)
    (read,) = data.read_batches([str(tmp_path / "new"), str(tmp_path / "b")], 8)
    assert [name.rpartition("/")[2] for name in read.names] == ["4.png", "1.png", "2.png", "3.png", "5.png"]
    assert read.batch.target.tolist() == [-1, 1, 2, -1, -1]
    assert read.labelled.tolist() == [False, True, True, False, False]
    (batch,) = data.labelled_batches(str(tmp_path / "new"))
    assert batch.target.tolist() == [1, 2]


def test_files_and_folders_are_read_and_the_bad_ones_reported(tmp_path, caplog):
    data = things()
    good = PIXELS[5].permute(1, 2, 0).numpy()
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").mkdir()
    Image.fromarray(good).save(tmp_path / "folder" / "a.png")
    (tmp_path / "folder" / "b.png").write_bytes(b"")
    Image.fromarray(np.zeros((8, 6, 3), np.uint8)).save(tmp_path / "c.png")
    items = [tmp_path / "none.png", tmp_path / "folder", tmp_path / "empty", tmp_path / "c.png"]
    with caplog.at_level(logging.WARNING, "nnkit"):
        results = dict(data.read([str(item) for item in items]))
    assert list(results) == [
        str(tmp_path / name) for name in ("none.png", "folder/a.png", "folder/b.png", "empty", "c.png")
    ]
    assert results[str(tmp_path / "none.png")] == "there is no such file"
    assert results[str(tmp_path / "folder" / "b.png")] == "the file is empty"
    assert results[str(tmp_path / "empty")] == "the folder holds no pictures"
    samples = PictureSamples(PIXELS, TARGETS, data.preprocessing["mean"], data.preprocessing["std"])
    read = results[str(tmp_path / "folder" / "a.png")]
    assert torch.equal(read.inputs, batch(samples, [5]).inputs)
    assert (read.target.tolist(), read.indices.tolist()) == ([-1], [0])
    assert "c.png is blank" in caplog.text and "a.png" not in caplog.text
