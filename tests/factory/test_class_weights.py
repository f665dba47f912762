"""Weights of classes by name and from their counts: what the loss gets, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import nn

import nnkit
from nnkit import config as configs
from nnkit.checkpoint.store import CheckpointStore
from nnkit.errors import ConfigError
from nnkit.factory.class_weights import resolved
from nnkit.losses.cross_entropy import CrossEntropy
from nnkit.losses.focal import Focal
from nnkit.runs import preflight
from nnkit.runs.reopen import open_run
from nnkit.runs.resuming import resume

COUNTS = {"mid": 56, "most": 256, "rare": 8}
LEARNT = {"class_names": [*COUNTS], "class_counts": [*COUNTS.values()], "num_train_samples": 320}
CSV = ["data=csv", "data.path=rows.csv", "data.target=kind", "trainer.num_threads=1", "logger=[]"]


def weights(*words, learnt=LEARNT):
    return resolved(configs.compose(["data=csv", "data.path=rows.csv", *words]).config, learnt)


def write_rows():
    rows = ["a,b,kind"]
    rows += [f"{n % 7},{n % 5},{'rare' if n % 40 == 0 else 'most' if n % 4 else 'mid'}" for n in range(400)]
    Path("rows.csv").write_text("\n".join(rows), encoding="utf-8")


@pytest.mark.parametrize("loss", ["cross_entropy", "focal"])
def test_balanced_is_scikit_learns_formula(loss):
    labels = np.repeat([0, 1, 2], LEARNT["class_counts"])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert weights(f"loss={loss}", "loss.class_weights=balanced") == pytest.approx(expected.tolist())


def test_balanced_decisions_weigh_a_class_by_what_is_outside_of_it():
    # As XGBoost's scale_pos_weight and torch's example of pos_weight.
    assert weights("loss=bce", "loss.class_weights=balanced") == [264 / 56, 64 / 256, 312 / 8]


def test_weights_by_name_leave_the_others_at_one():
    assert weights("loss.class_weights={rare: 10}") == [1, 1, 10]
    assert weights("loss.class_weights={3: 2.5, true: 0}", learnt={"class_names": ["1", "3", "true"]}) == [
        1,
        2.5,
        0,
    ]
    assert weights("loss.class_weights=[1,2,3]") is None
    assert weights() is None


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("{rara: 10, moist: 2}", ["'rara'", "did you mean rare?", "'moist'", "did you mean most?"]),
        ("{mid: 0, most: 0, rare: 0}", ["all classes weigh 0"]),
    ],
)
def test_names_are_held_against_the_classes(typed, said):
    with pytest.raises(ConfigError) as error:
        weights(f"loss.class_weights={typed}")
    for text in said:
        assert text in str(error.value)


def test_balanced_needs_a_training_sample_of_each_class():
    with pytest.raises(ConfigError, match="none of the training samples are in 'rare'"):
        weights("loss.class_weights=balanced", learnt={**LEARNT, "class_counts": [64, 256, 0]})
    with pytest.raises(ConfigError, match="are in 'most'"):
        weights("loss=bce", "loss.class_weights=balanced", learnt={**LEARNT, "class_counts": [5, 320, 8]})
    with pytest.raises(ConfigError, match="do not tell how often"):
        weights("loss.class_weights=balanced", learnt={"class_names": ["a", "b"]})


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        ("balancd", "weights by name such as {rare: 10}, or balanced, not 'balancd'"),
        ("[0,0,0]", "must not all be 0"),
        ("[1,-2,1]", "must not be negative and must be finite, and -2"),
        ("{rare: -2}", "must not be negative and must be finite, and -2"),
        ("{rare: many}", "must hold numbers, not 'many'"),
        ("[1,.inf,1]", "must hold numbers"),
    ],
)
def test_weights_without_sense_are_refused_before_the_data_are_read(typed, text):
    composed, found = configs.examine(["data=iris", "optimizer.lr=-1", f"loss.class_weights={typed}"])
    problems = {problem.key: problem.text for problem in [*found, *preflight.problems(composed)]}
    assert text in problems["loss.class_weights"]
    assert "optimizer.lr" in problems


def test_a_run_with_balanced_weights_keeps_them_when_it_is_resumed_and_opened():
    write_rows()
    words = ["callbacks=[checkpoint]", "scheduler=constant", "loss.class_weights=balanced"]
    run = nnkit.train([*CSV, *words, "trainer.max_steps=5"]).run
    resume(str(run.path), ".", ["trainer.max_steps=8"], show=False)
    counts = run.record()["class_counts"]
    assert run.record()["class_names"] == ["mid", "most", "rare"]
    expected = torch.tensor([sum(counts) / (3 * count) for count in counts])
    _, state = CheckpointStore(run.checkpoints).load("last")
    assert torch.equal(state["state_dict"]["loss.weight"], expected)
    Path("rows.csv").unlink()
    assert torch.equal(open_run(run).session.task.loss.weight, expected)


def test_a_batch_that_weighs_nothing_has_a_loss_of_0_and_no_gradient():
    scores, target = torch.randn(6, 3, requires_grad=True), torch.tensor([0, 0, 2, 1, 1, 2])
    given = [0.0, 1.0, 2.0]
    expected = nn.CrossEntropyLoss(weight=torch.tensor(given), label_smoothing=0.1)(scores, target)
    for loss in (
        CrossEntropy(class_weights=given, label_smoothing=0.1),
        Focal(gamma=0.0, class_weights=given),
    ):
        value = loss(scores[:2], target[:2])
        (slope,) = torch.autograd.grad(value, scores)
        assert value.item() == 0
        assert torch.equal(slope, torch.zeros(6, 3))
    torch.testing.assert_close(
        CrossEntropy(class_weights=given, label_smoothing=0.1)(scores, target), expected
    )
