"""Pictures in TensorBoard: read back from the event file."""

import io
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import nnkit
from nnkit.callbacks.tensorboard import TensorBoardPictures
from nnkit.runs.reopen import open_run
from nnkit.tasks.drawing import first_kernels
from nnkit.ui import figures

WORDS = ["callbacks=[checkpoint,pictures]", "trainer.max_epochs=2", "trainer.num_threads=1"]


def images(run):
    """Return (step, pixels) of every picture by its name."""
    with warnings.catch_warnings():
        # TensorBoard's own imports warn of what they use.
        warnings.simplefilter("ignore")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(run.path / "tensorboard"), size_guidance={"images": 0})
        events.Reload()
    return {
        name: [
            (event.step, np.asarray(Image.open(io.BytesIO(event.encoded_image_string))))
            for event in events.Images(name)
        ]
        for name in events.Tags()["images"]
    }


def test_a_classification_of_pictures_has_all_three(monkeypatch):
    drawn = []
    grid = figures.image_grid
    monkeypatch.setattr(
        figures,
        "image_grid",
        lambda tiles, captions=(), side=84: drawn.append((tiles, captions)) or grid(tiles, captions, side),
    )
    result = nnkit.train(
        ["data=digits", "model=mlp", "model.hidden=[12]", *WORDS, "callbacks.pictures.num_wrong=3"]
    )
    found = images(result.run)
    assert set(found) == {"val/confusion", "first_layer", "val/wrong"}
    assert [step for step, _ in found["val/confusion"]][-1] == 80
    kernels, (tiles, captions) = drawn[-2][0], drawn[-1]
    assert len(kernels) == 12
    assert kernels[0].shape == (8, 8, 3)
    # The wrong ones are the first ones of the validation part, in its order and in its own grey values.
    session = open_run(result.run, "last").session
    data = result.session.data
    batch = next(iter(data.val_dataloader()))
    with torch.inference_mode():
        said = session.task(batch.inputs).argmax(-1)
    wrong = (said != batch.target).nonzero().squeeze(-1)[:3].tolist()
    assert captions == [(f"true {batch.target[row]}", f"said {said[row]}") for row in wrong]
    learnt = data.preprocessing
    grey = (batch.inputs[wrong[0], 0] * learnt["std"][0] + learnt["mean"][0]) * 255
    assert np.abs(tiles[0][..., 0] - grey.numpy()).max() <= 0.51


def test_a_table_has_its_confusion_only(monkeypatch):
    counts = []
    draw = figures.confusion_matrix
    monkeypatch.setattr(
        figures,
        "confusion_matrix",
        lambda confusion, names: counts.append((confusion, names)) or draw(confusion, names),
    )
    result = nnkit.train(["data=iris", "data.val_fraction=0.2", *WORDS])
    assert set(images(result.run)) == {"val/confusion"}
    confusion, names = counts[-1]
    assert confusion.sum() == 30
    assert names == ["setosa", "versicolor", "virginica"]


def test_a_regression_has_its_scatter(monkeypatch):
    points = []
    draw = figures.scatter
    monkeypatch.setattr(
        figures,
        "scatter",
        lambda truth, predicted: points.append((truth, predicted)) or draw(truth, predicted),
    )
    result = nnkit.train(["data=diabetes", "data.val_fraction=0.2", *WORDS])
    assert set(images(result.run)) == {"val/predicted_over_true"}
    truth, predicted = points[-1]
    data = result.session.data
    batch = next(iter(data.val_dataloader()))
    scale = data.preprocessing["target"]
    assert truth == pytest.approx((batch.target[:, 0] * scale["std"][0] + scale["mean"][0]).numpy(), rel=1e-5)
    # The metrics of the same validation agree with the points.
    mae = np.abs(truth - predicted).mean()
    rows = [line for line in (result.run.path / "metrics.jsonl").read_text().splitlines() if '"val"' in line]
    assert f'"val/mae": {mae:.4g}'[:14] in rows[-1]


def test_short_epochs_do_not_all_get_their_pictures():
    words = ["data=iris", "data.val_fraction=0.2", "callbacks=[checkpoint,pictures]", "trainer.max_epochs=40"]
    steps = [step for step, _ in images(nnkit.train(words).run)["val/confusion"]]
    assert len(steps) < 20
    assert (steps[0], steps[-1]) == (steps[-1] // 40, 40 * steps[0])


def test_every_n_epochs(monkeypatch):
    monkeypatch.setattr(TensorBoardPictures, "max_share", 1e9)
    words = ["data=iris", "data.val_fraction=0.2", "callbacks=[checkpoint,pictures]", "trainer.max_epochs=6"]
    steps = [
        step
        for step, _ in images(nnkit.train([*words, "callbacks.pictures.every_n_epochs=2"]).run)[
            "val/confusion"
        ]
    ]
    assert [step // steps[0] for step in steps] == [1, 3, 5, 6]


def test_without_tensorboard_nothing_is_gathered_or_drawn(monkeypatch):
    monkeypatch.setattr(TensorBoardPictures, "show", lambda *arguments: pytest.fail("it was drawn"))
    result = nnkit.train(["data=iris", "data.val_fraction=0.2", *WORDS, "logger=[]"])
    assert result.metrics


def test_kernels_of_a_convolution_a_linear_layer_and_none():
    shape = torch.Size((3, 4, 4))
    convolution = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Flatten(), nn.Linear(20, 2))
    assert np.array_equal(first_kernels(convolution, shape), convolution[0].weight.detach().numpy())
    linear = nn.Sequential(nn.Flatten(), nn.Linear(48, 100))
    found = first_kernels(linear, shape)
    assert found.shape == (64, 3, 4, 4)
    assert np.array_equal(found[7].ravel(), linear[1].weight[7].detach().numpy())
    assert first_kernels(nn.Linear(47, 5), shape) is None
    assert first_kernels(nn.Linear(48, 5), torch.Size((48,))) is None
    assert first_kernels(nn.ReLU(), shape) is None


@pytest.mark.parametrize("arguments", [{"num_wrong": -1}, {"every_n_epochs": 0}])
def test_numbers_out_of_range(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        TensorBoardPictures(**arguments)
