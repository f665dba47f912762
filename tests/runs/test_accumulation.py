"""An accumulation window takes the step of one large batch, however unequal its batches are."""

import math

import pytest
import samples
import torch
from exactness import assert_same_end, cut

import nnkit
from nnkit.checkpoint.store import CheckpointStore
from nnkit.runs.resuming import resume
from nnkit.runs.session import prepare_data

BASE = [
    "trainer.num_threads=1", "trainer.precision=64-true", "trainer.max_epochs=2", "trainer.limit_test_batches=1",
    "optimizer=sgd", "optimizer.lr=0.1", "scheduler=constant", "logger=[]",
    "callbacks=[checkpoint]",
]  # fmt: skip
PICTURES = ["data=digits", "data.subset=0.25", "model=mlp", "model.hidden=[16]"]
WEIGHTED = ["loss.class_weights=[1,9,0.1,2,3,1,5,1,0.5,4]"]
CASES = {
    "classification": (PICTURES, None),
    "class weights": ([*PICTURES, *WEIGHTED], None),
    "class weights and label smoothing": ([*PICTURES, *WEIGHTED, "loss.label_smoothing=0.1"], None),
    "focal": ([*PICTURES, "loss=focal", *WEIGHTED], None),
    "one-hot targets": ([*PICTURES, "loss=mse"], None),
    "a sum in place of a mean": ([*PICTURES, "loss=mse", "+loss.reduction=sum", "optimizer.lr=0.001"], None),
    "regression": (["data=diabetes", "model=mlp", "model.hidden=[16]", "optimizer.lr=0.01"], None),
    "language modeling": (["model=gpt", *samples.small("gpt")], "text"),
    "labelled texts": (["model=lstm", *samples.small("lstm")], "texts"),
    "seq2seq": (["model=seq2seq_lstm", *samples.small("seq2seq_lstm")], "pairs"),
    "masked LM": (["model=bert", *samples.small("bert")], "sentences"),
    "series": (["model=lstm", *samples.small("lstm")], "series"),
    "clipping": ([*PICTURES, "trainer.gradient_clip_val=0.01"], None),
    "NaN guard": ([*PICTURES, "callbacks=[checkpoint,nan_guard]", "callbacks.nan_guard.policy=skip"], None),
    "muon": (["model=gpt", *samples.small("gpt"), "optimizer=muon", "optimizer.lr=0.01"], "text"),
}


def combined(words):
    """Return words without those that a later one overrides."""
    return list({word.partition("=")[0]: word for word in words}.values())


def num_samples(words):
    """Return the number of training samples."""
    return prepare_data(nnkit.compose(words).config).num_train_samples()


def trained(words, name):
    """Return what training ends with: its weights, the losses of its epochs, and the steps taken."""
    result = nnkit.train([*words, f"name={name}"])
    return CheckpointStore(result.run.checkpoints).load("last")[1], result


def assert_same_weights(one, other):
    """Compare final states but for the sums that are logged."""
    one, other = one["state_dict"], other["state_dict"]
    assert one.keys() == other.keys()
    for name in one.keys() - {"window", "epoch_totals"}:
        torch.testing.assert_close(
            one[name], other[name], rtol=1e-6, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.parametrize("case", CASES)
def test_a_window_equals_one_large_batch(case):
    extra, kind = CASES[case]
    given = samples.words(kind) if kind else []
    words = combined([*given, *BASE, *extra])
    words += [f"model.{name}=0" for name in nnkit.compose(words).config.model if "dropout" in name]
    count = num_samples(words)
    # The last batch is smaller.
    size = math.ceil(count / 8) + 1
    large, _ = trained([*words, f"data.batch_size={count}"], "large")
    batches = math.ceil(count / size)
    one, result = trained(
        [*words, f"data.batch_size={size}", f"trainer.accumulate_grad_batches={batches}"], "one"
    )
    assert count % size
    assert result.run.record()["step"] == 2
    assert_same_weights(one, large)


def test_a_shorter_window_at_the_end_of_an_epoch_is_not_scaled_down():
    # 8 batches: windows of 3, 3 and 2; one large batch after the other in the same order.
    words = combined([*PICTURES, *BASE, "trainer.max_epochs=1"])
    count = num_samples(words)
    size = math.ceil(count / 8)
    small, result = trained([*words, f"data.batch_size={size}", "trainer.accumulate_grad_batches=3"], "small")
    large, _ = trained([*words, f"data.batch_size={3 * size}"], "large")
    assert math.ceil(count / size) % 3
    assert result.run.record()["step"] == 3
    assert_same_weights(small, large)


def test_limited_batches_end_a_window():
    words = combined([*PICTURES, *BASE, "trainer.max_epochs=1", "data.batch_size=16"])
    whole, result = trained(
        [*words, "trainer.accumulate_grad_batches=4", "trainer.limit_train_batches=3"], "whole"
    )
    assert result.run.record()["step"] == 1
    large, _ = trained([*combined([*words, "data.batch_size=48"]), "trainer.limit_train_batches=1"], "large")
    assert_same_weights(whole, large)


@pytest.mark.parametrize(("precision", "workers"), [("32-true", 1), ("bf16-mixed", 0)])
def test_a_run_saved_inside_a_window_of_unequal_batches_goes_on_exactly(precision, workers):
    given = samples.words("pairs")
    words = [
        *given, "model=transformer", *samples.small("transformer"), "trainer.num_threads=1", "logger=[]",
        f"trainer.precision={precision}", f"data.num_workers={workers}", "trainer.max_epochs=1", "data.batch_size=6",
        "trainer.accumulate_grad_batches=3", "trainer.val_check_interval=4", "trainer.limit_test_batches=1",
        "callbacks.checkpoint.every_n_steps=1", "callbacks.checkpoint.keep_last=99", "name=whole",
    ]  # fmt: skip
    whole = nnkit.train(words).run
    store = CheckpointStore(whole.checkpoints)
    inside = [one for one in store.manifests() if store.state(one)["nnkit"]["gradients"] is not None]
    assert inside
    for manifest in [inside[0], store.manifests()[1]]:
        stopped = cut(whole, manifest, "cut")
        resume("cut", show=False)
        assert_same_end(whole, stopped)
