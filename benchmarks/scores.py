"""Score of one command over seeds, as a row of docs/results.md: mean, each seed, seconds of training.

python benchmarks/scores.py experiment=lenet5_mnist
python benchmarks/scores.py --seeds 1 2 3 4 5 --metric test/accuracy model=lenet5 data=mnist
"""

import argparse
import statistics
import tempfile

import nnkit


def main() -> None:
    """Train once a seed and print the row."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument(
        "--metric", default="test/error", help="a logged metric, or test/error = 1 - accuracy"
    )
    parser.add_argument("overrides", nargs="+")
    arguments = parser.parse_args()
    scores, seconds = [], []
    for seed in arguments.seeds:
        with tempfile.TemporaryDirectory() as directory:
            result = nnkit.train([*arguments.overrides, f"seed={seed}", f"output_dir={directory}"])
        metrics = {**result.metrics, "test/error": 1 - result.metrics.get("test/accuracy", float("nan"))}
        scores.append(metrics[arguments.metric])
        seconds.append(result.seconds)
        print(f"seed {seed}: {arguments.metric} {scores[-1]:.4f}, training {seconds[-1]:.1f} s", flush=True)
    each = ", ".join(f"{score:.4f}" for score in scores)
    print(
        f"| `nnkit train {' '.join(arguments.overrides)}` | {statistics.mean(scores):.4f} | {each} | ", end=""
    )
    print(f"{max(seconds):.0f} s |")


if __name__ == "__main__":
    main()
