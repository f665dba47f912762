import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from nnkit.data.datasets.digits import Digits
from nnkit.data.sampler import Draw


def prepared(**options):
    data = Digits(**options)
    data.setup_data()
    return data


def test_the_shipped_pictures_are_scikit_learns():
    store = Digits().open()
    reference = load_digits()
    assert np.array_equal(np.round(store.pixels.numpy()[:, 0] / 255 * 16), reference.images)
    assert np.array_equal(store.targets.numpy(), reference.target)


def test_the_parts_have_the_stated_sizes_and_all_classes():
    data = prepared()
    assert data.preprocessing["counts"] == {"train": 1258, "val": 180, "test": 359}
    for name in ("train", "val", "test"):
        samples = data.split(name)
        counts = torch.bincount(samples[Draw(None, torch.arange(len(samples)))].target)
        assert counts.max() - counts.min() < 0.2 * counts.max()


def test_facts_are_those_of_the_config():
    assert prepared().facts() == {"num_classes": 10, "in_channels": 1, "height": 8, "width": 8}


@pytest.mark.parametrize("size", [8, 80])
def test_a_digit_written_to_a_file_is_read_back(tmp_path, size):
    data = prepared()
    picture = data.open().pixels[0, 0].numpy()
    image = Image.fromarray(picture).resize((size, size), Image.Resampling.NEAREST)
    image.save(tmp_path / "0.png")
    ((_, batch),) = data.read([str(tmp_path / "0.png")])
    levels = batch.inputs[0, 0] * 255 * data.preprocessing["std"][0] + 255 * data.preprocessing["mean"][0]
    if size == 8:
        torch.testing.assert_close(levels, torch.from_numpy(picture).float(), atol=0.01, rtol=0)
    else:
        assert np.corrcoef(levels.flatten().numpy(), picture.flatten())[0, 1] > 0.9


def test_nothing_is_written_to_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("NNKIT_CACHE", str(tmp_path / "cache"))
    prepared().split("train")
    assert not (tmp_path / "cache").exists()
