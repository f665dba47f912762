import numpy as np
import pytest
import torch

from nnkit.data.datasets.breast_cancer import BreastCancer
from nnkit.data.datasets.diabetes import Diabetes
from nnkit.data.datasets.iris import Iris
from nnkit.data.datasets.wine import Wine
from nnkit.data.sampler import Draw
from nnkit.data.tables.base import SHIPPED

datasets = pytest.importorskip("sklearn.datasets")

SETS = {"iris": Iris, "wine": Wine, "breast_cancer": BreastCancer, "diabetes": Diabetes}


def opened(name):
    targets = ["real"] if name == "diabetes" else ["index", "one_hot"]
    data = SETS[name](targets=targets, val_fraction=0.0, test_fraction=0.0)
    data.setup_data()
    samples = data.split("train")
    return data, samples[Draw(None, torch.arange(len(samples)))]


@pytest.mark.parametrize("name", SETS)
def test_features_are_sklearns(name):
    options = {"scaled": False} if name == "diabetes" else {}
    original = getattr(datasets, f"load_{name}")(**options)
    data, batch = opened(name)
    columns = data.preprocessing["columns"]
    assert [column["name"] for column in columns] == list(original.feature_names)
    mean, std = (np.array([column[key] for column in columns]) for key in ("mean", "std"))
    np.testing.assert_allclose(mean, original.data.mean(axis=0))
    scores = ((original.data - mean) / std).clip(-10, 10)
    np.testing.assert_allclose(batch.inputs.numpy(), scores, atol=1e-5)


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer"])
def test_classes_are_sklearns(name):
    original = getattr(datasets, f"load_{name}")()
    data, batch = opened(name)
    names = data.preprocessing["class_names"]
    assert [names[target] for target in batch.target] == [
        original.target_names[target] for target in original.target
    ]


def test_diabetes_has_sklearns_targets():
    data, batch = opened("diabetes")
    scale = data.preprocessing["target"]
    units = batch.target[:, 0] * scale["std"][0] + scale["mean"][0]
    np.testing.assert_allclose(units.numpy(), datasets.load_diabetes().target, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "targets", "task"), [("iris", ["real"], "classification"), ("diabetes", ["index"], "regression")]
)
def test_the_wrong_task_is_refused(name, targets, task):
    with pytest.raises(ValueError, match=f"task={task}"):
        SETS[name](targets=targets)


def test_the_files_are_small_and_their_licences_named():
    files = [path for path in SHIPPED.iterdir() if path.suffix != ".md"]
    assert sum(path.stat().st_size for path in files) < 200_000
    licences = (SHIPPED / "LICENSES.md").read_text()
    for path in files:
        assert f"## {path.name}" in licences


def test_folds_of_a_shipped_table_hold_each_class_in_proportion():
    counts = []
    for fold in range(3):
        data = Iris(fold=fold, folds=3)
        data.setup_data()
        counts.append(torch.bincount(data.split("test").targets()).tolist())
    assert np.sum(counts, axis=0).tolist() == [50, 50, 50]
    assert {count for fold in counts for count in fold} <= {16, 17}
