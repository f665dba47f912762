"""Forecasting: metrics against NumPy, and a run from training to prediction."""

import csv
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import nnkit
from nnkit.batches import SeriesBatch
from nnkit.cli.verbs import predict as verb
from nnkit.data.sampler import Draw
from nnkit.tasks.forecasting import Forecasting
from nnkit.tasks.predictions import Estimates

QUICK = [
    "trainer.num_threads=1",
    "trainer.max_epochs=2",
    "logger=[]",
    "callbacks=[checkpoint]",
    "data.batch_size=32",
]
MEAN, STD = [100.0, -3.0, 5.0], [10.0, 0.5, 1.0]


class Shifted(nn.Module):
    """Returns what the last channels of the window hold."""

    def forward(self, inputs):
        return inputs.flatten(1)


def task(mean=MEAN, std=STD):
    return Forecasting(
        target_mean=mean,
        target_std=std,
        network=Shifted(),
        loss=nn.MSELoss(),
        target="real",
        make_optimizer=None,
        make_scheduler=None,
    )


def test_metrics_are_those_of_numpy_over_batches_of_unequal_size():
    rng = np.random.default_rng(0)
    said, truth = rng.normal(size=(2, 37, 4, 3)).astype(np.float32)
    truth[..., 2] = 0.25
    scored = task()
    for start, end in ((0, 16), (16, 32), (32, 37)):
        target = torch.tensor(truth[start:end]).flatten(1)
        scored.evaluate(SeriesBatch(torch.tensor(said[start:end]), target, torch.arange(start, end)))
        assert scored.last_outputs.shape == (end - start, 4, 3)
    results = {name: value.item() for name, value in scored.results().items()}
    units, real = said.astype(float) * STD + MEAN, truth.astype(float) * STD + MEAN
    error = units - real
    # The third series never moves: it has no deviation to be measured by.
    nrmse = [np.sqrt((error[..., one] ** 2).mean()) / real[..., one].std() for one in (0, 1)]
    assert results["nrmse"] == pytest.approx(np.mean(nrmse), rel=1e-5)
    assert results["mse"] == pytest.approx((error**2).mean(), rel=1e-5)
    assert results["rmse"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-5)
    assert results["mae"] == pytest.approx(np.abs(error).mean(), rel=1e-5)
    assert results["loss"] == pytest.approx(((said - truth) ** 2).mean(), rel=1e-5)
    assert set(results) == set(Forecasting.metrics)


def test_results_are_cleared_and_the_sums_are_no_buffers():
    scored = task([0.0], [2.0])
    batch = SeriesBatch(torch.ones(2, 3), torch.tensor([[1.0, 2, 3], [2, 3, 4]]), torch.arange(2))
    scored.evaluate(batch)
    first = scored.results()
    scored.evaluate(batch)
    assert scored.results() == first
    assert set(dict(scored.named_buffers())) == {"window", "epoch_totals"}
    assert not {"mean", "std"} & set(scored.state_dict())


def test_always_saying_the_mean_has_an_nrmse_of_one_and_a_still_series_none():
    truth = torch.randn(50, 6, generator=torch.Generator().manual_seed(1))
    scored = task([4.0], [3.0])
    scored.evaluate(SeriesBatch(truth.mean().expand(50, 6), truth, torch.arange(50)))
    assert scored.results()["nrmse"].item() == pytest.approx(1, abs=1e-5)
    scored.evaluate(SeriesBatch(torch.zeros(5, 6), torch.ones(5, 6), torch.arange(5)))
    assert np.isnan(scored.results()["nrmse"].item())


def test_forecasts_are_in_the_users_units_step_by_step():
    said = torch.tensor([[0.0, 1.0, 2.0, 1.0, 0.0, 0.0]])
    assert task()(said).tolist() == [[[100, -2.5, 7], [110, -3, 5]]]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs")
    steps = np.arange(300)
    lines = ["date,temperature,load"]
    for step in steps:
        day = np.datetime64("2020-01-01") + step
        lines.append(f"{day},{20 + 5 * np.sin(step / 3):.4f},{1000 + 300 * np.cos(step / 3):.3f}")
    path = folder / "power.csv"
    path.write_text("\n".join(lines) + "\n")
    words = [f"data.path={path}", "data.window=12", "data.horizon=3", *QUICK, f"output_dir={folder}"]
    nnkit.train(["data=series", "name=power", *words, "trainer.max_epochs=4"])
    return folder


def test_a_run_is_tested_again_with_the_same_metrics(cli, outputs):
    record = json.loads((outputs / "power" / "run.json").read_text())
    code, out, _ = cli("test", "power", "--output-dir", outputs)
    assert code == 0
    assert "test/nrmse" in out
    loaded = nnkit.load("power", outputs)
    samples = loaded.data.split("test")
    batch = samples[Draw(None, torch.arange(len(samples)))]
    target = loaded.data.preprocessing["target"]
    with torch.inference_mode():
        error, truth = (
            (values.double().numpy().reshape(-1, 3, 2) * target["std"])
            for values in (loaded.network(batch.inputs) - batch.target, batch.target)
        )
    nrmse = (np.sqrt((error**2).mean((0, 1))) / truth.std((0, 1))).mean()
    assert record["metrics"]["test/nrmse"] == pytest.approx(nrmse, rel=1e-4)


def test_a_run_is_tested_on_every_window_of_another_file(cli, outputs):
    lines = (outputs / "power.csv").read_text().splitlines()
    Path("later.csv").write_text("\n".join([lines[0], *lines[100:160]]) + "\n")
    code, _, _ = cli("test", "power", "later.csv", "--output-dir", outputs)
    note = json.loads((outputs / "power" / "tests.jsonl").read_text().splitlines()[-1])
    values = np.array([[float(cell) for cell in line.split(",")[1:]] for line in lines[100:160]])
    loaded = nnkit.load("power", outputs)
    scale = loaded.data.preprocessing["channels"]
    mean, std = (np.array([channel[key] for channel in scale]) for key in ("mean", "std"))
    windows = np.stack([values[start - 12 : start] for start in range(12, 58)])
    truth = np.stack([values[start : start + 3] for start in range(12, 58)])
    with torch.inference_mode():
        scores = loaded.network(torch.tensor((windows - mean) / std, dtype=torch.float32))
    error = scores.double().numpy().reshape(-1, 3, 2) * std + mean - truth
    assert code == 0
    assert note["metrics"]["test/mae"] == pytest.approx(np.abs(error).mean(), rel=1e-4)


def test_the_steps_after_a_file_are_forecast_from_the_command_line(cli, outputs):
    lines = (outputs / "power.csv").read_text().splitlines()
    Path("recent.csv").write_text("\n".join([lines[0], *lines[40:60]]) + "\n")
    Path("short.csv").write_text("\n".join(lines[:5]) + "\n")
    code, out, err = cli("predict", "power", "recent.csv", "short.csv", "--output-dir", outputs)
    assert code == 2
    assert "short.csv has 4 rows, and the model reads the last 12" in err
    answers = [*map(json.loads, out.splitlines())]
    assert [(row["item"], row["step"], row["date"]) for row in answers] == [
        ("recent.csv", 1, "2020-02-29"),
        ("recent.csv", 2, "2020-03-01"),
        ("recent.csv", 3, "2020-03-02"),
    ]
    window = np.array([[float(cell) for cell in line.split(",")[1:]] for line in lines[48:60]])
    loaded = nnkit.load("power", outputs)
    scale = loaded.data.preprocessing["channels"]
    mean, std = (np.array([channel[key] for channel in scale]) for key in ("mean", "std"))
    with torch.inference_mode():
        scores = loaded.network(torch.tensor((window - mean) / std, dtype=torch.float32).unsqueeze(0))
    expected = scores.double().numpy().reshape(3, 2) * std + mean
    names = ["temperature", "load"]
    assert [list(row["values"]) for row in answers] == [names] * 3
    np.testing.assert_allclose([list(row["values"].values()) for row in answers], expected, rtol=1e-5)
    (forecast,) = loaded.predict(["recent.csv"])
    np.testing.assert_allclose(
        np.stack([forecast.values[name] for name in names], axis=1), expected, rtol=1e-5
    )
    assert forecast.described == {"step": (1, 2, 3), "date": tuple(row["date"] for row in answers)}
    code, _, _ = cli("predict", "power", "recent.csv", "--output", "said.csv", "--output-dir", outputs)
    with Path("said.csv").open(newline="") as file:
        rows = [*csv.DictReader(file)]
    assert (code, list(rows[0])) == (0, ["item", "step", "date", *names])
    assert [(row["step"], row["date"]) for row in rows] == [
        (str(row["step"]), row["date"]) for row in answers
    ]
    code, out, _ = cli("predict", "power", "recent.csv", "--format", "table", "--output-dir", outputs)
    shown = [line.split() for line in out.splitlines() if "recent.csv" in line]
    assert [line[1:3] for line in shown] == [[str(row["step"]), row["date"]] for row in answers]
    code, _, err = cli("predict", "power", "recent.csv", "--keep", "date", "--output-dir", outputs)
    assert (code, "the series and the time stand beside each forecast" in err) == (2, True)


def test_a_wide_table_has_a_line_for_each_column(capsys):
    names = [f"load[t+{step}]" for step in range(1, 11)]
    shown = verb.Shown()
    shown.write(["recent.csv"], Estimates(names, np.full((1, len(names)), 0.5)), None)
    shown.close()
    shown = [
        line.split()[0] for line in capsys.readouterr().out.splitlines() if line.strip() and "─" not in line
    ]
    assert shown == ["item", *names]


@pytest.mark.parametrize("model", ["rnn", "gru", "mlp"])
def test_other_models_forecast_too_and_better_than_the_mean(model):
    words = ["data=mackey_glass", "data.num_steps=600", "data.window=24", "data.horizon=2", *QUICK]
    result = nnkit.train([f"model={model}", *words, "trainer.max_epochs=8", "optimizer.lr=1e-2"])
    assert result.metrics["test/nrmse"] < 0.6


@pytest.mark.parametrize(
    "words", [["task=regression"], ["task=classification"], ["head=classifier"], ["model=lenet5"]]
)
def test_what_does_not_fit_a_series_is_refused(cli, words):
    code, _, err = cli("train", "data=mackey_glass", *words)
    assert code == 2
    assert words[0].split("=")[1] in err
    assert not Path("outputs").exists()


def test_forecasts_are_drawn_beside_what_came():
    with warnings.catch_warnings():
        # TensorBoard's own imports warn of what they use.
        warnings.simplefilter("ignore")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    words = ["data=mackey_glass", "data.num_steps=600", "data.window=24", "data.horizon=5"]
    words += ["trainer.num_threads=1", "trainer.max_epochs=2"]
    result = nnkit.train([*words, "callbacks=[checkpoint,pictures]", "logger=[tensorboard]"])
    events = EventAccumulator(str(result.run.path / "tensorboard"), size_guidance={"images": 0})
    events.Reload()
    assert events.Tags()["images"] == ["val/forecast"]
