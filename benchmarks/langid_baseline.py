"""Language identification: TF-IDF character n-grams with logistic regression beside nnkit's recurrent networks.

python benchmarks/langid_baseline.py                # the baseline alone
python benchmarks/langid_baseline.py --runs         # and the three experiments, seeds 1 to 3
python benchmarks/langid_baseline.py --runs --seeds 1 --overrides trainer.num_threads=1

All are tested on the same names. The baseline has nothing to choose by the validation part, so it learns from that as
well; nnkit chooses its checkpoint by it.
"""

import argparse
import time

from scores import row, train
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from nnkit.data.datasets.langid import collect_names, split_of

EXPERIMENTS = ("rnn_langid", "gru_langid", "lstm_langid")


def baseline() -> tuple[float, float]:
    """Return the baseline's test accuracy and the seconds of its training."""
    names = collect_names()
    test = [name for name in names if split_of(name.concept) == "test"]
    rest = [name for name in names if split_of(name.concept) != "test"]
    model = make_pipeline(
        TfidfVectorizer(analyzer="char", ngram_range=(1, 4), sublinear_tf=True, lowercase=False),
        LogisticRegression(C=100, max_iter=1000),
    )
    start = time.perf_counter()
    model.fit([name.text for name in rest], [name.language for name in rest])
    seconds = time.perf_counter() - start
    return float(model.score([name.text for name in test], [name.language for name in test])), seconds


def main() -> None:
    """Print one row of a markdown table for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", action="store_true", help="train the experiments as well")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--overrides", nargs="*", default=[])
    arguments = parser.parse_args()
    score, seconds = baseline()
    rows = [row("TF-IDF of 1- to 4-grams of characters, logistic regression", [score], [seconds])]
    for experiment in EXPERIMENTS if arguments.runs else ():
        words = [f"experiment={experiment}", *arguments.overrides]
        rows.append(row(f"`nnkit train {' '.join(words)}`", *train(words, arguments.seeds, "test/accuracy")))
    print("| command | test accuracy | each seed | training |\n|---|---|---|---|", *rows, sep="\n")


if __name__ == "__main__":
    main()
