"""What counting says of masked tokens and next sentences: the floor for BERT on Python's documentation.

python benchmarks/bert_baseline.py
"""

import argparse

import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression

import nnkit
from nnkit.batches import IGNORED, SentenceBatch
from nnkit.data.base import DataModule, Split
from nnkit.data.sampler import Draw
from nnkit.runs.session import prepare_data

# Epochs of training pairs that are counted over: each draws other pairs.
EPOCHS = 5


def drawn(data: DataModule, split: Split, epoch: int | None) -> SentenceBatch:
    """Return all pairs of a split as one batch.

    Args:
        data: Prepared data.
        split: Which.
        epoch: As in `Draw`.
    """
    samples = data.split(split)
    return samples[Draw(epoch, torch.arange(len(samples)))]


def token_guesses(data: DataModule) -> dict[str, float]:
    """Return the test accuracy of the most frequent token, and of that which most often follows the left one."""
    size = data.facts()["vocab_size"]
    after = np.zeros((size, size), np.int32)
    for epoch in range(EPOCHS):
        batch = drawn(data, "train", epoch)
        whole = torch.where(batch.target == IGNORED, batch.inputs, batch.target)
        both = batch.mask[:, 1:]
        np.add.at(after, (whole[:, :-1][both].numpy(), whole[:, 1:][both].numpy()), 1)
    # Marks are never hidden.
    after[:, :4] = 0
    batch = drawn(data, "test", None)
    hidden = batch.target != IGNORED
    target, left = batch.target[hidden].numpy(), batch.inputs[:, :-1][hidden[:, 1:]].numpy()
    return {
        "most frequent token": float((target == after.sum(0).argmax()).mean()),
        "most frequent after the left token": float((target == after.argmax(1)[left]).mean()),
    }


def halves(batch: SentenceBatch, size: int) -> list[np.ndarray]:
    """Return how often each token occurs in both halves of each pair, (pairs, vocab_size) each."""
    found = []
    for part in (0, 1):
        counts = np.zeros((len(batch.inputs), size), np.float32)
        rows, places = torch.nonzero(
            batch.mask & (batch.segments == part) & (batch.inputs > 3), as_tuple=True
        )
        np.add.at(counts, (rows.numpy(), batch.inputs[rows, places].numpy()), 1)
        found.append(counts)
    return found


def next_sentence_guess(data: DataModule) -> float:
    """Return the test accuracy of a threshold on the TF-IDF cosine of both halves, learnt from training pairs."""
    size = data.facts()["vocab_size"]
    batches = [drawn(data, "train", epoch) for epoch in range(EPOCHS)]
    counts = [halves(batch, size) for batch in batches]
    weights = TfidfTransformer(sublinear_tf=True).fit(np.concatenate([both[0] for both in counts]))

    def cosine(both: list[np.ndarray]) -> np.ndarray:
        first, second = (weights.transform(part) for part in both)
        return np.asarray(first.multiply(second).sum(1))

    inputs = np.concatenate([cosine(both) for both in counts])
    model = LogisticRegression(C=100).fit(inputs, np.concatenate([batch.next_label for batch in batches]))
    test = drawn(data, "test", None)
    return float(model.score(cosine(halves(test, size)), test.next_label))


def main() -> None:
    """Print the accuracies."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("overrides", nargs="*", default=["experiment=bert_pydocs"], help="as for nnkit train")
    data = prepare_data(nnkit.compose(parser.parse_args().overrides).config)
    for name, share in token_guesses(data).items():
        print(f"masked tokens, {name}: {share:.1%}")
    print(f"next sentences, cosine of TF-IDF: {next_sentence_guess(data):.1%}")


if __name__ == "__main__":
    main()
