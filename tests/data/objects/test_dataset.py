"""A Dataset of the user's own as data: it trains, tests, resumes exactly and predicts, and odd ones are refused."""

import sys
from functools import partial

import numpy as np
import pytest
import torch
from exactness import assert_same_end, cut
from torch.utils.data import Dataset, IterableDataset

import nnkit
from nnkit.checkpoint.store import CheckpointStore
from nnkit.config import compose, examine
from nnkit.data.objects.dataset import PairDataset
from nnkit.data.sampler import Draw
from nnkit.errors import ConfigError, UserError
from nnkit.factory import refuse_untrusted
from nnkit.runs import preflight
from nnkit.runs.resuming import resume

SPIRALS = """
import torch
from torch.utils.data import Dataset


class Spirals(Dataset):
    classes = ["left", "right"]

    def __init__(self, size: int = 80, seed: int = 0):
        self.y = torch.arange(size) % 2
        angle = torch.arange(size) / size * 6 + 3 * self.y
        self.x = torch.stack([angle * angle.cos(), angle * angle.sin()], 1) + seed

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], self.y[i]
"""


class Rows(Dataset):
    """Samples from a list, or from what a function returns."""

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, number):
        found = self.rows[number]
        return found() if callable(found) else found


def opened(rows, **options):
    data = PairDataset(dataset=partial(Rows, rows), **options)
    data.setup_data()
    return data


def whole(data, split):
    samples = data.split(split)
    return samples[Draw(None, torch.arange(len(samples)))]


def rows_of(size, shape=(2,)):
    generator = torch.Generator().manual_seed(0)
    return [(torch.randn(shape, generator=generator), number % 2) for number in range(size)]


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "spirals_of_mine.py").write_text(SPIRALS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NNKIT_TRUST", "spirals_of_mine")
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    sys.modules.pop("spirals_of_mine", None)


MINE = ["data=dataset", "data.dataset._target_=spirals_of_mine.Spirals"]
TINY = [
    "model.hidden=[4]",
    "trainer.max_epochs=2",
    "trainer.num_threads=1",
    "logger=[]",
    "data.batch_size=32",
]


def test_a_dataset_of_pairs_trains_tests_resumes_exactly_and_predicts(project):
    words = [*MINE, *TINY, "callbacks=[checkpoint]", "callbacks.checkpoint.every_n_steps=1", "name=whole"]
    result = nnkit.train([*words, "+data.dataset.size=90"])
    assert result.metrics["test/accuracy"] == result.metrics["test/accuracy"]
    points = CheckpointStore(result.run.checkpoints).manifests()
    stopped = cut(result.run, points[1], "cut")
    resume("cut", show=False)
    assert_same_end(result.run, stopped)
    loaded = nnkit.load("whole")
    import spirals_of_mine

    points = spirals_of_mine.Spirals(6).x
    np.save("new.npy", points.numpy())
    found = loaded.predict(["new.npy"])
    assert {one.label for one in found} <= {"left", "right"}
    learnt = loaded.data.preprocessing
    scaled = (points - torch.tensor(learnt["mean"])) / torch.tensor(learnt["std"])
    expected = loaded.network(scaled).softmax(1).max(1).values.tolist()
    assert [one.probability for one in found] == pytest.approx(expected, abs=1e-6)


def test_a_config_may_name_a_dataset_only_in_a_trusted_package(project, monkeypatch):
    config = compose(MINE).config
    refuse_untrusted(config)
    monkeypatch.setenv("NNKIT_TRUST", "")
    with pytest.raises(ConfigError, match=r"spirals_of_mine.Spirals is outside the packages"):
        refuse_untrusted(config)
    config.data.dataset._target_ = "nnkit.data.objects.base.ArraySamples"
    with pytest.raises(ConfigError, match="ArraySamples is no dataset for a config to name"):
        refuse_untrusted(config)


@pytest.mark.parametrize(
    ("words", "key", "text"),
    [
        (["+data.dataset.size=many"], "data.dataset.size", "must be a whole number"),
        (["+data.dataset.colour=1"], "data.dataset.colour", "Spirals takes no such argument"),
        (["data.dataset._target_=spirals_of_mine.Spiral"], "data.dataset._target_", "is no class"),
        (["data.dataset._target_=null"], "data", "dataset must name a class of yours"),
        (
            ["data.fold=0", "data.test_dataset._target_=spirals_of_mine.Spirals"],
            "data.fold",
            "makes one fold",
        ),
    ],
)
def test_wrong_words_are_refused_before_anything_is_read(project, words, key, text):
    composition, problems = examine([*MINE, *words])
    problems = [*problems, *preflight.problems(composition)]
    assert [problem.key for problem in problems] == [key]
    assert text in problems[0].text


def test_an_argument_that_is_not_listed_is_given_with_a_plus(project):
    _, (problem,) = examine([*MINE, "data.dataset.size=10"])
    assert problem.hint.endswith("to give it one: +data.dataset.size=10")


def test_datasets_of_their_own_are_the_splits():
    test = partial(Rows, [(torch.full((2,), 9.0), 1)] * 3)
    data = opened(rows_of(40), test_dataset=test, standardize=False)
    assert whole(data, "test").inputs.tolist() == [[9, 9]] * 3
    assert len(data.split("train")) + len(data.split("val")) == 40


def test_samples_reach_the_network_as_they_are_but_for_the_scale():
    rows = rows_of(50, (3, 4, 4))
    data = opened(rows, kind_of_input="pictures")
    numbers = data._arranged[2]["train"].tolist()
    inputs = torch.stack([rows[number][0] for number in numbers]).double()
    mean, std = inputs.mean((0, 2, 3), keepdim=True), inputs.std((0, 2, 3), keepdim=True, correction=0)
    batch = whole(data, "train")
    torch.testing.assert_close(batch.inputs, ((inputs - mean) / std).float())
    assert batch.target.tolist() == [rows[number][1] for number in numbers]


def test_changed_samples_are_noticed():
    rows = rows_of(30)
    data = opened(rows)
    again = PairDataset(dataset=partial(Rows, [(rows[0][0] + 1, rows[0][1]), *rows[1:]]))
    again.setup_data(data.preprocessing)
    with pytest.raises(UserError, match="has changed since this run was prepared"):
        again.split("train")


def raises():
    raise KeyError("no such picture")


GOOD = rows_of(20)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "has no samples"),
        ([*GOOD, (torch.zeros(3), 1)], r"input of sample 20 has the shape \(3,\), that of sample 0 \(2,\)"),
        ([*GOOD, (torch.zeros(2), [1, 2])], "the target of sample 20 has the shape"),
        ([*GOOD, torch.zeros(2)], "sample 20 is a Tensor, not a pair"),
        ([*GOOD, (torch.zeros(2), 1, 2)], "sample 20 is 3 values, not a pair"),
        ([*GOOD, {"x": 1, "y": 2}], "sample 20 is a dict, not a pair"),
        ([*GOOD, ("a text", 1)], "sample 20 is a str and int: an input must be a tensor"),
        ([*GOOD, raises], "sample 20 cannot be read: KeyError: 'no such picture'"),
        ([*GOOD, lambda: (torch.rand(2), 1)], "sample 20 is another one each time"),
        (
            [*GOOD, (torch.tensor([1.0, torch.nan]), 1)],
            "1 of 21 inputs hold NaN or infinite numbers: samples 20",
        ),
    ],
)
def test_odd_samples_are_refused_by_number(rows, words):
    with pytest.raises(UserError, match=words):
        opened(rows)


def test_other_datasets_are_refused():
    class Stream(IterableDataset):
        def __iter__(self):
            yield from GOOD

    with pytest.raises(UserError, match="Stream is no map-style dataset: it needs __len__"):
        PairDataset(dataset=Stream).setup_data()
    with pytest.raises(UserError, match="Rows cannot be made: TypeError"):
        PairDataset(dataset=Rows).setup_data()
    named = Rows([(torch.zeros(2), 2), *GOOD])
    named.classes = ["a", "b"]
    with pytest.raises(UserError, match="target 2 is outside of the 2 classes that `classes` names"):
        PairDataset(dataset=lambda: named).setup_data()
