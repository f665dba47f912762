"""Score of one command over seeds, as a row of docs/results.md: mean, each seed, seconds of training.

python benchmarks/scores.py experiment=lenet5_mnist
python benchmarks/scores.py --seeds 1 2 3 4 5 --metric test/accuracy model=lenet5 data=mnist
"""

import argparse
import statistics
import tempfile

import nnkit


def train(overrides: list[str], seeds: list[int], metric: str) -> tuple[list[float], list[float]]:
    """Train once a seed; return the scores and the seconds of training, each printed as it comes."""
    scores, seconds = [], []
    for seed in seeds:
        with tempfile.TemporaryDirectory() as directory:
            result = nnkit.train([*overrides, f"seed={seed}", f"output_dir={directory}"])
        metrics = {**result.metrics, "test/error": 1 - result.metrics.get("test/accuracy", float("nan"))}
        if metric not in metrics:
            raise SystemExit(f"there is no {metric}; --metric takes {', '.join(metrics)}")
        scores.append(metrics[metric])
        seconds.append(result.seconds)
        print(f"seed {seed}: {metric} {scores[-1]:.4f}, training {seconds[-1]:.1f} s", flush=True)
    return scores, seconds


def row(command: str, scores: list[float], seconds: list[float]) -> str:
    """Return a row of a markdown table: command, mean, each score, the longest training."""
    each = ", ".join(f"{score:.4f}" for score in scores)
    return f"| {command} | {statistics.mean(scores):.4f} | {each} | {max(seconds):.0f} s |"


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
    scores, seconds = train(arguments.overrides, arguments.seeds, arguments.metric)
    print(row(f"`nnkit train {' '.join(arguments.overrides)}`", scores, seconds))


if __name__ == "__main__":
    main()
