"""Topics of Python's documentation: TF-IDF with logistic regression beside BERT, fine-tuned and from scratch.

python benchmarks/topics_baseline.py                     # the baseline alone
python benchmarks/topics_baseline.py --runs RUN          # and the experiment from RUN and from scratch, seeds 1 to 3
python benchmarks/topics_baseline.py --runs RUN --seeds 1 --overrides trainer.num_threads=1

All are tested on the same paragraphs. The baseline learns from the validation part too; nnkit chooses its checkpoint
by it. RUN is a pre-trained one: nnkit train experiment=bert_pydocs. The baseline is the best of three by the validation
part: words; words and pairs of them; parts of words, which it has.
"""

import argparse
import time
from collections import Counter
from pathlib import Path

from scores import row, train
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from nnkit.data.datasets.pydocs_topics import PyDocsTopics


def baseline() -> tuple[float, float, float]:
    """Return the share of the largest class in the test part, the baseline's test accuracy, and its seconds."""
    labelled = PyDocsTopics().load()
    assert labelled.parts is not None
    rows = list(zip(labelled.texts, labelled.labels, labelled.parts, strict=True))
    texts, topics = zip(*((text, topic) for text, topic, part in rows if part != "test"), strict=True)
    test_texts, test_topics = zip(
        *((text, topic) for text, topic, part in rows if part == "test"), strict=True
    )
    model = make_pipeline(
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, min_df=2),
        LogisticRegression(C=10, max_iter=200),
    )
    start = time.perf_counter()
    model.fit(texts, topics)
    seconds = time.perf_counter() - start
    (_, largest), *_ = Counter(test_topics).most_common(1)
    return largest / len(test_topics), float(model.score(test_texts, test_topics)), seconds


def main() -> None:
    """Print one row of a markdown table for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--runs", metavar="RUN", help="train the experiment as well, started from this run and not"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--overrides", nargs="*", default=[])
    arguments = parser.parse_args()
    largest, score, seconds = baseline()
    rows = [
        row("always the largest class", [largest], [0]),
        row("TF-IDF of 2- to 5-grams of characters, logistic regression", [score], [seconds]),
    ]
    # The runs are made in folders of their own.
    starts = ([], [f"init_from={Path(arguments.runs).resolve()}"]) if arguments.runs else ()
    for start in starts:
        words = ["experiment=bert_topics", *start, *arguments.overrides]
        said = " ".join(
            ["experiment=bert_topics", *(["init_from=RUN"] if start else []), *arguments.overrides]
        )
        rows.append(row(f"`nnkit train {said}`", *train(words, arguments.seeds, "test/accuracy")))
    print("| command | test accuracy | each seed | training |\n|---|---|---|---|", *rows, sep="\n")


if __name__ == "__main__":
    main()
