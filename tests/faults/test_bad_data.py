"""Data that cannot be learnt from are answered before the first step, with counts, exit 2, nothing written (class 13).

What each reader says of its files is tested in tests/data; this is what a user sees.
"""

import shutil
from pathlib import Path

import faulty
import numpy as np
import pytest
import torch
from faulty import TRAIN
from PIL import Image

from nnkit.batches import TableBatch
from nnkit.data.datasets.mnist import MNIST
from nnkit.data.loading import inspect
from nnkit.data.pictures import idx
from nnkit.errors import UserError

QUICK = [
    "trainer.max_epochs=1",
    "trainer.num_threads=1",
    "callbacks=[checkpoint,nan_guard]",
    "logger=[]",
    "name=run",
]
CSV = ["data=csv", "data.path=table.csv", "data.target=y", "model.hidden=[4]", *QUICK]
FOLDER = [
    "data=image_folder",
    "data.root=pictures",
    "data.height=8",
    "data.width=8",
    "model.channels=[4]",
    *QUICK,
]


@pytest.fixture(autouse=True)
def own_package(monkeypatch, tmp_path):
    faulty.install(monkeypatch)
    monkeypatch.setenv("NNKIT_CACHE", str(tmp_path / "cache"))


def refused(cli, *words):
    """Return what the command line is answered; nothing may be left of it."""
    code, out, err = cli("train", *words)
    assert code == 2, err
    assert "Traceback" not in err
    assert out == ""
    assert not Path("outputs").exists()
    return err


BAD = {
    "no sample": (["data.num_train=0"], "0 training, 20 validation and 20 test samples"),
    "NaN": (
        ["data.fault=not_a_number", "data.bad=[5,40]"],
        "the training samples cannot be used\n    2 of 64 have inputs that are NaN or infinite: samples 5, 40",
    ),
    "infinite": (
        ["data.fault=infinite", "data.bad=[63]"], "1 of 64 have inputs that are NaN or infinite: samples 63",
    ),
    "class": (
        ["data.fault=unknown_class", "data.bad=[1,2]"], "2 of 64 have a class outside 0 to 2, such as 7: samples 1, 2",
    ),
    "validation": (
        ["data.num_val=80", "data.fault=not_a_number", "data.bad=[70]"],
        "the validation samples cannot be used\n    1 of 80 have inputs that are NaN or infinite: samples 70",
    ),
    "test": (
        ["data.num_test=80", "data.fault=unknown_class", "data.bad=[70]"],
        "the test samples cannot be used\n    1 of 80 have a class outside 0 to 2",
    ),
    "many": (
        ["data.fault=not_a_number", f"data.bad={list(range(20))}".replace(" ", "")],
        "20 of 64 have inputs that are NaN or infinite: samples 0, 1, 2, 3, 4, 5, 6, 7 and 12 more",
    ),
}  # fmt: skip


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("fault", BAD)
def test_samples_of_the_users_own_data_are_looked_through(cli, fault, workers):
    options, words = BAD[fault]
    err = refused(cli, *TRAIN, "data.where=always", f"data.num_workers={workers}", *options)
    assert words in err


TABLES = {
    "no row": ("x,y\n", "holds column names but no rows"),
    "one row": ("x,y\n1,a\n", "has one class only, 'a': two are needed"),
    "two rows": ("x,y\n1,a\n2,b\n", "2 rows are too few: 3 are needed, 1 for the test part"),
    "no number": (
        "x,y\n" + "nan,a\ninf,b\n" * 9,
        "no column to learn from beside the target 'y' ('x': no value",
    ),
}


@pytest.mark.parametrize("table", TABLES)
def test_tables_that_teach_nothing_are_refused(cli, table):
    text, words = TABLES[table]
    Path("table.csv").write_text(text)
    assert words in refused(cli, *CSV)


def test_targets_whose_squares_are_infinite_are_refused(cli):
    Path("table.csv").write_text("x,y\n" + "".join(f"{row},{row}e300\n" for row in range(20)))
    err = refused(cli, *CSV, "task=regression")
    assert "data.target: column 'y' holds 19 numbers beyond 1e+18, such as 1.9e+301" in err


def test_cells_that_are_not_finite_are_counted_and_made_up_for(cli):
    rows = [f"{row % 7},{row % 5},{'ab'[row % 2]}" for row in range(40)]
    rows[3], rows[5], rows[8] = "nan,1,a", "inf,1,b", "-inf,nan,a"
    Path("table.csv").write_text("x,z,y\n" + "\n".join(rows))
    code, _, err = cli("train", *CSV)
    assert code == 0
    assert "column 'x': 2 infinite numbers count as missing" in err
    assert "missing in 40 rows: 'x' 3, 'z' 1;" in err


def pictures(count, level, name):
    folder = Path("pictures", name)
    folder.mkdir(parents=True)
    for number in range(count):
        values = np.full((8, 8), level + number / 100, dtype=np.float32)
        Image.fromarray(values).save(folder / f"{number}.tiff")
    return folder


def spoil(folder, number):
    values = np.full((8, 8), 0.5, dtype=np.float32)
    values[2, 3:5] = np.nan, np.inf
    Image.fromarray(values).save(folder / f"{number}.tiff")


def test_pictures_with_pixels_that_are_not_finite_are_named_and_left_out(cli):
    dark, _ = pictures(12, 0.1, "dark"), pictures(12, 0.8, "light")
    spoil(dark, 3)
    code, _, err = cli("train", *FOLDER)
    assert code == 0
    assert "left out are pictures that cannot be read: 1 (" in err
    assert "dark/3.tiff: 2 of 64 pixels are NaN or infinite" in err


def test_a_class_of_which_no_picture_can_be_read_is_refused(cli):
    dark, _ = pictures(2, 0.1, "dark"), pictures(40, 0.8, "light")
    spoil(dark, 0)
    spoil(dark, 1)
    assert "no picture of dark below pictures can be read" in refused(cli, *FOLDER)
    shutil.rmtree("pictures/light")
    assert "pictures" in refused(cli, *FOLDER)


def test_labels_of_picture_files_out_of_range_are_counted(cli):
    Path("root").mkdir()
    sizes = {"train": 40, "t10k": 10}
    for part, size in sizes.items():
        Path("root", f"{part}-images-idx3-ubyte").write_bytes(
            idx.serialise(np.zeros((size, 28, 28), np.uint8))
        )
        labels = np.arange(size, dtype=np.uint8) % 12
        Path("root", f"{part}-labels-idx1-ubyte").write_bytes(idx.serialise(labels))
    assert len(MNIST.published.files) == 4
    err = refused(cli, "data=mnist", "data.root=root", "data.verify=false", *QUICK)
    assert "6 of 40 labels of MNIST's training part lie outside 0 to 9; the largest is 11" in err


@pytest.mark.parametrize("samples", [1, 12])
def test_a_batch_larger_than_the_data_is_said_with_both_numbers(cli, samples):
    # Without batch norm, which cannot do with one sample.
    words = [word.replace("model=faulty", "model=mlp") for word in TRAIN]
    code, _, err = cli("train", *words, f"data.num_train={samples}", "data.batch_size=20")
    assert code == 0
    assert f"data.batch_size=20 is more than the number of training samples, {samples}:" in err


def batches(count, bad):
    for start in range(0, count, 10):
        indices = torch.arange(start, start + 10)
        inputs = torch.zeros(10, 2)
        inputs[torch.isin(indices, torch.tensor(bad))] = torch.nan
        yield TableBatch(inputs, torch.zeros(10, dtype=torch.int64), indices)


def test_of_many_samples_the_first_are_looked_at_and_that_is_said():
    with pytest.raises(UserError, match="1 of the first 10 of 1,000 have inputs"):
        inspect("training", 1000, batches(1000, [3, 500]), 3, seconds=0)
    inspect("training", 1000, batches(1000, [500]), 3, seconds=0)
    with pytest.raises(UserError, match=r"2 of 1,000 have inputs .*: samples 3, 500"):
        inspect("training", 1000, batches(1000, [3, 500]), 3)


def test_numbers_that_are_no_classes_are_not_counted_as_such():
    values = TableBatch(torch.zeros(3, 2), torch.tensor([[5.0], [-1.0], [9.0]]), torch.arange(3))
    inspect("training", 3, [values], 3)
    with pytest.raises(UserError, match="1 of 3 have target that are NaN"):
        inspect("training", 3, [values._replace(target=torch.tensor([[5.0], [torch.inf], [9.0]]))])


# What only training shows is a sentence too.


def test_a_class_out_of_range_that_only_training_meets(cli):
    code, _, err = cli("train", *TRAIN, "data.fault=unknown_class", "data.bad=[40]")
    assert code == 2
    assert "a sample has class 7, and the network has no such output" in err
    assert "Traceback" not in err


def test_a_single_sample_left_over_for_batch_norm(cli):
    code, _, err = cli("train", *TRAIN, "data.num_train=65")
    assert code == 2
    assert "a batch of one sample came to a layer that normalises over the batch" in err
    assert "data.batch_size" in err


def test_a_share_of_the_batches_that_is_less_than_one(cli):
    code, _, err = cli("train", *TRAIN, "trainer.limit_train_batches=0.01")
    assert code == 2
    assert "trainer.limit_train_batches: 0.01 of" in err
    assert "Traceback" not in err
    assert not Path("outputs").exists()


def test_a_validation_that_no_epoch_is_long_enough_for(cli):
    code, _, err = cli("train", *TRAIN, "trainer.val_check_interval=5000")
    assert code == 2
    assert "trainer.val_check_interval: an epoch has" in err
    assert "check_val_every_n_epoch=null" in err
    assert not Path("outputs").exists()
    code, _, err = cli(
        "train", *TRAIN, "trainer.val_check_interval=3", "trainer.check_val_every_n_epoch=null"
    )
    assert code == 0, err
