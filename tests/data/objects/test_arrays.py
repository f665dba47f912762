"""NumPy files as data: the inputs and targets that reach the network, splits of their own, what is refused."""

import logging
import pickle

import numpy as np
import pytest
import torch

from nnkit.data.objects.arrays import Arrays
from nnkit.data.objects.files import role_of
from nnkit.data.sampler import Draw
from nnkit.errors import ConfigError, UserError


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def opened(**options):
    data = Arrays(**options)
    data.setup_data()
    return data


def batch(data, split):
    samples = data.split(split)
    return samples[Draw(None, torch.arange(len(samples)))]


def save(path="a.npz", **arrays):
    np.savez(path, **arrays)
    return path


def rng():
    return np.random.default_rng(0)


def test_vectors_are_standardised_by_the_training_samples():
    x = rng().normal(50, 4, (100, 3))
    x[:, 2] = 7
    y = rng().integers(0, 2, 100)
    data = opened(path=save(x=x, y=y), val_fraction=0.2)
    rows = {name: data._arranged[2][name].numpy() for name in ("train", "val", "test")}
    assert [len(part) for part in rows.values()] == [60, 20, 20]
    mean, std = x[rows["train"]].mean(0), x[rows["train"]].std(0)
    std[2] = 1
    for name, part in rows.items():
        found = batch(data, name)
        np.testing.assert_allclose(found.inputs.numpy(), (x[part] - mean) / std, atol=1e-6)
        assert found.target.tolist() == y[part].tolist()
    assert (data.facts()["num_features"], data.facts()["num_classes"]) == (3, 2)
    assert data.preprocessing["class_names"] == ["0", "1"]
    again = Arrays(path="a.npz", val_fraction=0.3)
    again.setup_data(data.preprocessing)
    assert torch.equal(batch(again, "val").inputs, batch(data, "val").inputs)


def test_seconds_since_1970_keep_their_digits():
    x = 1.7e9 + np.arange(100.0)[:, None]
    data = opened(path=save(x=x, y=np.arange(100) % 2), val_fraction=0, test_fraction=0.2)
    inputs = batch(data, "train").inputs[:, 0]
    assert len(inputs.unique()) == 80


def test_bytes_of_pictures_with_channels_last_are_turned_and_said(caplog):
    x = rng().integers(0, 256, (40, 5, 6, 3), dtype=np.uint8)
    with caplog.at_level(logging.WARNING):
        data = opened(path=save(x=x, y=np.arange(40) % 4), kind_of_input="pictures")
    assert "taken as height, width and channels" in caplog.text
    rows = data._arranged[2]["train"].numpy()
    turned = np.moveaxis(x[rows], -1, 1) / 255
    mean, std = (statistic(turned, (0, 2, 3), keepdims=True) for statistic in (np.mean, np.std))
    np.testing.assert_allclose(batch(data, "train").inputs.numpy(), (turned - mean) / std, atol=1e-5)
    np.testing.assert_allclose(data.preprocessing["mean"], mean.ravel())
    facts = data.facts()
    assert [facts[name] for name in ("in_channels", "height", "width", "num_features")] == [3, 5, 6, None]


def test_nothing_is_scaled_where_that_is_not_wanted():
    x = rng().integers(0, 256, (40, 5, 6), dtype=np.uint8)
    data = opened(path=save(x=x, y=np.arange(40) % 4), kind_of_input="pictures", standardize=False)
    rows = data._arranged[2]["test"].numpy()
    np.testing.assert_allclose(batch(data, "test").inputs.numpy(), x[rows, None] / 255, atol=1e-7)
    x = rng().normal(9, 3, (40, 7, 2))
    data = opened(path=save(x=x, y=np.arange(40) % 4), kind_of_input="series", standardize=False)
    rows = data._arranged[2]["test"].numpy()
    np.testing.assert_array_equal(batch(data, "test").inputs.numpy(), x[rows].astype(np.float32))
    assert (data.facts()["window"], data.facts()["num_channels"]) == (7, 2)


def test_arrays_named_for_splits_are_these_splits():
    x = np.arange(20.0)[:, None]
    path = save(x_train=x, y_train=np.arange(20) % 2, x_test=x[:6] + 100, y_test=np.arange(6) % 2)
    data = opened(path=path, standardize=False, val_fraction=0.25)
    assert batch(data, "test").inputs[:, 0].tolist() == [100, 101, 102, 103, 104, 105]
    inner = batch(data, "train").inputs[:, 0].tolist() + batch(data, "val").inputs[:, 0].tolist()
    assert sorted(inner) == list(range(20)) and len(data.split("val")) == 5


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("x", ("train", "inputs")),
        ("X_train", ("train", "inputs")),
        ("train_images", ("train", "inputs")),
        ("y_valid", ("val", "targets")),
        ("test.labels", ("test", "targets")),
        ("weights", None),
        ("x_train_test", None),
    ],
)
def test_usual_names_tell_what_an_array_is(name, role):
    assert role_of(name) == role


def test_names_and_files_may_be_given():
    x, y = rng().normal(size=(30, 2)), np.array(["no", "yes", "yes"] * 10)
    data = opened(path=save(points=x, answer=y), inputs="points", target="answer")
    assert data.preprocessing["class_names"] == ["no", "yes"]
    np.savez("new.npz", points=x[:2] + 1, answer=y[:2])
    (_, first), (_, second) = data.read(["new.npz"])
    read = torch.cat([first.inputs, second.inputs]).numpy() * data.preprocessing["std"]
    np.testing.assert_allclose(read + data.preprocessing["mean"], x[:2] + 1, atol=1e-5)
    assert torch.cat([first.target, second.target]).tolist() == [0, 1]
    np.save("x.npy", x)
    np.save("y.npy", y)
    files = opened(inputs_path="x.npy", target_path="y.npy")
    assert torch.equal(batch(files, "train").inputs, batch(data, "train").inputs)
    with pytest.raises(ConfigError) as caught:
        opened(path="a.npz", inputs="point", target="answer")
    assert "did you mean data.inputs=points?" in caught.value.problems[0].hint


def test_real_targets_are_standardised_and_known_in_the_users_units():
    y = rng().normal(1000, 50, (100, 2))
    data = opened(path=save(x=rng().normal(size=(100, 3)), y=y), targets=("real",))
    rows = data._arranged[2]["train"].numpy()
    np.testing.assert_allclose(data.preprocessing["target"]["mean"], y[rows].mean(0))
    np.testing.assert_allclose(data.preprocessing["target"]["std"], y[rows].std(0))
    expected = (y[rows] - y[rows].mean(0)) / y[rows].std(0)
    np.testing.assert_allclose(batch(data, "train").target.numpy(), expected, atol=1e-5)
    assert data.facts()["num_outputs"] == 2 and data.facts()["num_classes"] is None


def test_one_hot_classes_and_labels():
    x, labels = rng().normal(size=(60, 2)), rng().integers(0, 2, (60, 3))
    data = opened(path=save(x=x, y=np.eye(3)[np.arange(60) % 3]))
    rows = data._arranged[2]["train"]
    assert batch(data, "train").target.tolist() == (rows % 3).tolist()
    data = opened(path=save(x=x, y=labels), targets=("multi",))
    rows = data._arranged[2]["train"]
    assert batch(data, "train").target.tolist() == labels[rows].tolist()
    assert data.facts()["num_classes"] == 3


def test_files_are_predicted_with_what_was_learnt():
    x, y = rng().normal(50, 4, (60, 3)), np.arange(60) % 3 + 5
    data = opened(path=save(x=x, y=y))
    assert data.preprocessing["class_names"] == ["5", "6", "7"]
    np.savez("new.npz", x=x[:4], y=[5, 7, 8, 6])
    np.save("one.npy", x[0])
    np.save("odd.npy", x[:, :2])
    np.save("empty.npy", x[:0])
    read = list(data.read(["new.npz", "one.npy", "odd.npy", "empty.npy"]))
    assert [name for name, _ in read[:5]] == ["new.npz:1", "new.npz:2", "new.npz:3", "new.npz:4", "one.npy:1"]
    # A class that no training sample has is none.
    assert [found.target.item() for _, found in read[:5]] == [0, 2, -1, 1, -1]
    rows = data._arranged[2]["train"].numpy()
    expected = (x[:4] - x[rows].mean(0)) / x[rows].std(0)
    np.testing.assert_allclose(torch.cat([found.inputs for _, found in read[:4]]), expected, atol=1e-6)
    assert read[5] == (
        "odd.npy",
        "odd.npy holds an array of the shape (60, 2), expected is (samples, 3)",
    )
    assert read[6] == ("empty.npy", "empty.npy holds no samples")


def test_another_file_of_the_same_name_is_noticed():
    x, y = rng().normal(size=(60, 3)), np.arange(60) % 3
    data = opened(path=save(x=x, y=y))
    save(x=x + 1, y=y)
    again = Arrays(path="a.npz")
    again.setup_data(data.preprocessing)
    with pytest.raises(UserError, match=r"a.npz has changed since this run was prepared"):
        again.split("train")


X, Y = np.zeros((20, 2)) + np.arange(20)[:, None], np.arange(20) % 2


@pytest.mark.parametrize(
    ("arrays", "options", "words"),
    [
        ({"x": X, "y": Y[:19]}, {}, r"shapes \(20, 2\) and \(19,\): one a sample"),
        ({"x": X}, {}, "holds no inputs and targets to train on"),
        ({"a": X, "b": Y}, {}, "holds 'a', 'b': none is named for the inputs"),
        ({"x": X, "X": X, "y": Y}, {}, "'x' and 'X' may both be the inputs of train"),
        ({"x": X + np.inf, "y": Y}, {}, "20 of 20 inputs hold NaN or infinite numbers: samples 0, 1"),
        ({"x": X[:, :, None], "y": Y}, {}, r"shape \(2, 1\), expected is \(features\).*\n.*data.kind=series"),
        ({"x": X, "y": Y}, {"kind_of_input": "pictures"}, r"\n    type data.kind=table \(features\)"),
        ({"x": X, "y": Y * 0}, {}, "all targets are 0: there is nothing to tell apart"),
        ({"x": X, "y": Y + 0.5}, {}, "target 0.5 of sample 0 is no class"),
        ({"x": X, "y": np.full(20, np.inf)}, {}, "20 targets are NaN or infinite"),
        ({"x": np.zeros((90, 1)), "y": np.arange(90)}, {}, "90 samples have 90 different targets"),
        ({"x": X, "y": np.stack([Y, Y], 1)}, {}, "a class is one number, and targets are vectors of 2"),
        ({"x": X, "y": Y.astype(str)}, {"targets": ("real",)}, "targets are texts such as '0'"),
        ({"x": X, "y": Y}, {"targets": ("multi",)}, "labels are vectors of 0 and 1"),
        ({"x": X, "y": Y, "x_test": X[:, :1], "y_test": Y}, {}, "of the test split have the shape"),
        ({"x": X.astype(str), "y": Y}, {}, "inputs must be numbers, not <U"),
        ({"x": X.astype(complex), "y": Y}, {}, "holds complex128, not numbers or texts"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused_with_the_reason(arrays, options, words):
    with pytest.raises((UserError, ConfigError), match=words):
        opened(path=save(**arrays), **options)


def test_no_file_runs_code(tmp_path):
    np.save("x.npy", np.array([print, 1], dtype=object), allow_pickle=True)
    np.save("y.npy", Y)
    with pytest.raises(UserError, match=r"x.npy holds Python objects"):
        opened(inputs_path="x.npy", target_path="y.npy")
    (tmp_path / "b.npz").write_bytes(pickle.dumps({"x": 1}))
    with pytest.raises(UserError, match=r"b.npz (cannot be read|holds Python objects)"):
        opened(path="b.npz")
    torch.save((torch.zeros(3, 2), torch.zeros(3)), "data.pt")
    with pytest.raises(UserError, match="convert it") as caught:
        opened(path="data.pt")
    command = next(line for line in str(caught.value).splitlines() if "python -c" in line)
    # The command that is recommended works.
    exec(command.split('"')[1], {})
    assert list(np.load("data.npz")) == ["x", "y"]
