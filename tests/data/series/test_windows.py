"""Windows of a series: what is in them, and what is never seen before its time."""

import json
import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from nnkit.batches import SeriesBatch
from nnkit.data.sampler import Draw
from nnkit.data.series.base import WindowedSeries
from nnkit.data.series.loaded import LoadedSeries, cut, fill_gaps
from nnkit.errors import UserError


class Ramp(WindowedSeries):
    """Two channels, each value of its own; the second one is forecast."""

    length = 100
    version = "a"

    def load(self):
        return LoadedSeries("ramp", ["up", "square"], ["square"], self.whole(), self.version)

    def whole(self):
        steps = np.arange(self.length, dtype=np.float64)
        return np.stack([1000 + steps, steps**2], axis=1)

    def read_file(self, item, *, with_targets=False):
        if item == "missing":
            raise UserError("no such file")
        return LoadedSeries("ramp", ["up", "square"], ["square"], self.whole()[: int(item)])


def prepared(kind=Ramp, **options):
    data = kind(**{"window": 7, "horizon": 3, **options})
    data.setup_data()
    return data


def everything(data, name):
    samples = data.split(name)
    return samples[Draw(None, torch.arange(len(samples)))]


def in_units(data, values, key="channels"):
    learnt = data.preprocessing["channels"][1:] if key == "target" else data.preprocessing["channels"]
    mean, std = (np.array([channel[name] for channel in learnt]) for name in ("mean", "std"))
    return values.double().numpy() * std + mean


@pytest.mark.parametrize(("window", "horizon", "stride"), [(7, 3, 1), (1, 1, 1), (7, 10, 4), (30, 5, 2)])
def test_each_window_is_what_a_loop_cuts_out(window, horizon, stride):
    data = prepared(window=window, horizon=horizon, stride=stride)
    whole, parts = data.whole(), {"train": (0, 70), "val": (70, 80), "test": (80, 100)}
    for name, (first, end) in parts.items():
        expected = [
            (whole[start - window : start], whole[start : start + horizon, 1])
            for start in range(window, 100)
            if first <= start and start + horizon <= end
        ][:: stride if name == "train" else 1]
        batch = everything(data, name)
        assert isinstance(batch, SeriesBatch)
        assert batch.inputs.dtype == batch.target.dtype == torch.float32
        assert batch.inputs.shape == (len(expected), window, 2)
        assert batch.target.shape == (len(expected), horizon)
        np.testing.assert_allclose(
            in_units(data, batch.inputs), np.stack([x for x, _ in expected]), atol=1e-2
        )
        targets = in_units(data, batch.target.unsqueeze(-1), "target")[..., 0]
        np.testing.assert_allclose(targets, np.stack([y for _, y in expected]), atol=1e-2)
        assert data.preprocessing["counts"][name] == len(expected)
    assert data.facts() == {"num_channels": 2, "num_outputs": horizon}


def test_the_outputs_of_a_step_stand_side_by_side():
    class Both(Ramp):
        def load(self):
            return replace(super().load(), targets=["square", "up"])

    data = prepared(Both)
    target = everything(data, "test").target[0].reshape(3, 2)
    learnt = data.preprocessing["target"]
    units = target.numpy() * np.array(learnt["std"]) + np.array(learnt["mean"])
    np.testing.assert_allclose(units, data.whole()[80:83, ::-1], atol=1e-2)
    assert data.facts()["num_outputs"] == 6


def test_training_sees_nothing_of_what_validation_and_test_forecast():
    class Other(Ramp):
        """The same series with another future."""

        def whole(self):
            values = super().whole()
            values[70:] = -5e6
            return values

    ours, theirs = prepared(), prepared(Other)
    assert ours.preprocessing["channels"] == theirs.preprocessing["channels"]
    for one, other in zip(everything(ours, "train"), everything(theirs, "train"), strict=True):
        assert torch.equal(one, other)
    # What is forecast in the test is no target of validation either.
    assert in_units(ours, everything(ours, "val").target, "target").max() < 80**2
    # The first steps that are forecast in a part are read from the part before.
    np.testing.assert_allclose(
        in_units(ours, everything(ours, "val").inputs[0])[:, 0], 1000 + np.arange(63, 70)
    )


def test_the_training_part_is_standardised_and_a_constant_channel_only_centred(caplog):
    class Flat(Ramp):
        def whole(self):
            values = super().whole()
            values[:70, 0] = 5.5
            return values

    data = prepared(Flat)
    assert "'up' has one value in the whole training part: it is not scaled" in caplog.text
    assert data.preprocessing["channels"][0] == {"name": "up", "mean": 5.5, "std": 1.0}
    batch = everything(data, "train")
    assert not batch.inputs[..., 0].any()
    squares = np.arange(70.0) ** 2
    np.testing.assert_allclose(data.preprocessing["target"]["mean"], [squares.mean()])
    np.testing.assert_allclose(data.preprocessing["target"]["std"], [squares.std()])


def test_no_part_for_validation_is_no_window_for_it():
    data = prepared(val_fraction=0.0)
    assert len(data.split("val")) == 0
    assert data.preprocessing["counts"] == {"train": 71, "val": 0, "test": 18}


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_a_series_too_short_is_told_how_long_it_must_be(part):
    options = {
        "train": {"window": 60, "horizon": 11, "val_fraction": 0.2},
        "val": {"horizon": 11},
        "test": {"horizon": 10, "test_fraction": 0.05},
    }[part]
    with pytest.raises(
        UserError, match=r"ramp has 100 steps, at least \d+ are needed.*(?s:.)*data\.horizon"
    ) as info:
        prepared(**options)
    needed = int(str(info.value).split("at least ")[1].split()[0])

    class Longer(Ramp):
        length = needed

    assert min(prepared(Longer, **options).preprocessing["counts"].values()) >= 1
    Longer.length = needed - 1
    with pytest.raises(UserError, match=f"at least {needed} are needed"):
        prepared(Longer, **options)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"window": 0}, "window"),
        ({"horizon": 0}, "horizon"),
        ({"stride": 0}, "stride"),
        ({"val_fraction": 1}, "val_"),
    ],
)
def test_arguments_out_of_range_are_refused(options, word):
    with pytest.raises(ValueError, match=word):
        Ramp(**options)


def test_a_restored_run_sees_the_same_windows_and_refuses_another_series(caplog):
    first = prepared(stride=2)
    second = Ramp(window=3, horizon=1, stride=1, test_fraction=0.5)
    caplog.clear()
    second.setup_data(json.loads(json.dumps(first.preprocessing)))
    assert second.facts() == first.facts()
    for name in ("train", "val", "test"):
        for one, other in zip(everything(first, name), everything(second, name), strict=True):
            assert torch.equal(one, other)
    assert not caplog.records
    third = Ramp()
    third.version = "b"
    third.setup_data(first.preprocessing)
    with pytest.raises(UserError, match="changed"):
        third.split("test")


def test_the_last_window_of_a_file_is_read_without_the_series(monkeypatch):
    first = prepared()
    data = Ramp()
    data.setup_data(json.loads(json.dumps(first.preprocessing)))
    monkeypatch.setattr(data, "load", None)
    answers = dict(data.read(["20", "6", "missing"]))
    batch = answers["20"]
    assert batch.inputs.shape == (1, 7, 2)
    np.testing.assert_allclose(in_units(first, batch.inputs[0]), data.whole()[13:20], atol=1e-2)
    assert batch.target.tolist() == [[0.0] * 3]
    assert batch.indices.tolist() == [0]
    assert answers["6"] == "6 has 6 rows, and the model reads the last 7"
    assert answers["missing"] == "no such file"


def test_gaps_are_filled_by_straight_lines_that_end_with_their_part():
    values = np.array([[0.0], [np.nan], [np.nan], [6.0], [np.nan], [10.0], [np.nan], [14.0]])
    np.testing.assert_array_equal(fill_gaps(values, [8])[:, 0], np.arange(0, 16, 2))
    # The gap in step 4 is the training part's last, and what comes in step 5 is not known there.
    np.testing.assert_array_equal(fill_gaps(values, [5, 6, 8])[:, 0], [0, 2, 4, 6, 6, 10, 12, 14])
    assert np.isnan(values).sum() == 4


def test_the_parts_cover_the_series_in_time_order():
    assert cut(10_000, 0.1, 0.2) == {"train": (0, 7000), "val": (7000, 8000), "test": (8000, 10_000)}
    assert cut(10, 0.01, 0.01) == {"train": (0, 8), "val": (8, 9), "test": (9, 10)}
    assert cut(10, 0.0, 0.0) == {"train": (0, 10), "val": (10, 10), "test": (10, 10)}


def test_what_is_prepared_is_said(caplog):
    caplog.set_level(logging.INFO)
    prepared()
    assert (
        "ramp: 100 steps of 2 channels; 61 windows to train on, 8 for validation, 18 for the test"
        in caplog.text
    )


def test_another_file_is_tested_on_by_every_window_that_it_holds():
    data = prepared(eval_batch_size=16)
    batches = [*data.labelled_batches("40")]
    assert [len(batch.indices) for batch in batches] == [16, 15]
    inputs, target = (torch.cat([getattr(batch, name) for batch in batches]) for name in ("inputs", "target"))
    whole = data.whole()
    expected = [(whole[start - 7 : start], whole[start : start + 3, 1]) for start in range(7, 38)]
    np.testing.assert_allclose(in_units(data, inputs), np.stack([x for x, _ in expected]), atol=1e-2)
    units = in_units(data, target.unsqueeze(-1), "target")[..., 0]
    np.testing.assert_allclose(units, np.stack([y for _, y in expected]), atol=1e-2)
    with pytest.raises(UserError, match="9 cannot be tested on: 9 steps, and 10 are needed"):
        list(data.labelled_batches("9"))
