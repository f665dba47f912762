"""Test NRMSE of forecasts of the Mackey-Glass series: nnkit over seeds, kernel ridge and linear autoregression.

The linear forecast reads the same windows, standardised in the same way, and gives all steps at once: one ridge
regression a step, fitted by least squares; the strength of the ridge is chosen on the validation part. Kernel ridge
regression (scikit-learn, Gaussian kernel) reads 3,000 of the training windows, evenly spaced; width and ridge are
chosen on the validation part.

python benchmarks/mackey_glass.py
python benchmarks/mackey_glass.py --seeds            # the references alone
python benchmarks/mackey_glass.py --seeds 1 experiment=lstm_mackey_glass trainer.max_epochs=5
"""

import argparse
import statistics
import tempfile
import time

import numpy as np
import torch
from sklearn.kernel_ridge import KernelRidge

import nnkit
from nnkit.data.base import DataModule, Split
from nnkit.data.sampler import Draw
from nnkit.runs.session import prepare_data

RIDGES = (0.0, 1e-6, 1e-4, 1e-2, 1.0, 100.0)
KERNEL_WINDOWS = 3000
KERNEL_RIDGES = (1e-12, 1e-10, 1e-8)
# Of the Gaussian kernel, exp(-gamma * squared distance).
GAMMAS = (0.03, 0.1, 0.3)


def windows(data: DataModule, part: Split) -> tuple[np.ndarray, np.ndarray]:
    """Return what is read, a column of ones beside it, and what is to be forecast."""
    samples = data.split(part)
    batch = samples[Draw(None, torch.arange(len(samples)))]
    read = batch.inputs.flatten(1).double().numpy()
    return np.hstack([read, np.ones((len(read), 1))]), batch.target.double().numpy()


def nrmse(said: np.ndarray, truth: np.ndarray) -> float:
    """Return the root mean squared error over the standard deviation of the targets."""
    return float(np.sqrt(np.square(said - truth).mean()) / truth.std())


def fit(read: np.ndarray, truth: np.ndarray, ridge: float) -> np.ndarray:
    """Return weights (inputs, steps); the ridge stands as rows below the windows, none for the constant."""
    if not ridge:
        return np.linalg.lstsq(read, truth, rcond=None)[0]
    rows = np.sqrt(ridge) * np.eye(read.shape[1])
    rows[-1] = 0
    below = np.zeros((len(rows), truth.shape[1]))
    return np.linalg.lstsq(np.vstack([read, rows]), np.vstack([truth, below]), rcond=None)[0]


def linear(data: DataModule) -> tuple[float, float, float]:
    """Return the test NRMSE of linear autoregression, the ridge chosen, and the seconds."""
    start = time.perf_counter()
    parts = {part: windows(data, part) for part in ("train", "val", "test")}
    fitted = {ridge: fit(*parts["train"], ridge) for ridge in RIDGES}
    scores = {ridge: nrmse(parts["val"][0] @ weights, parts["val"][1]) for ridge, weights in fitted.items()}
    best = min(scores, key=scores.__getitem__)
    return nrmse(parts["test"][0] @ fitted[best], parts["test"][1]), best, time.perf_counter() - start


def kernel_ridge(data: DataModule) -> tuple[float, str, float]:
    """Return the test NRMSE of kernel ridge regression, what was chosen, and the seconds."""
    start = time.perf_counter()
    read, truth = windows(data, "train")
    chosen = np.linspace(0, len(read) - 1, min(KERNEL_WINDOWS, len(read))).astype(int)
    scores = {}
    for gamma in GAMMAS:
        for ridge in KERNEL_RIDGES:
            model = KernelRidge(alpha=ridge, kernel="rbf", gamma=gamma).fit(read[chosen], truth[chosen])
            said, right = windows(data, "val")
            scores[nrmse(model.predict(said), right)] = (model, f"gamma {gamma:g}, ridge {ridge:g}")
    model, options = scores[min(scores)]
    said, right = windows(data, "test")
    return nrmse(model.predict(said), right), options, time.perf_counter() - start


def main() -> None:
    """Train once a seed and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3])
    parser.add_argument("overrides", nargs="*", default=["experiment=lstm_mackey_glass"])
    arguments = parser.parse_args()
    rows, scores, seconds = [], [], []
    for seed in arguments.seeds:
        with tempfile.TemporaryDirectory() as directory:
            result = nnkit.train([*arguments.overrides, f"seed={seed}", f"output_dir={directory}"])
        scores.append(result.metrics["test/nrmse"])
        seconds.append(result.seconds)
        rows.append((f"nnkit, seed {seed}", f"{scores[-1]:.4f}", f"{seconds[-1]:.1f} s"))
    if scores:
        rows.append(("nnkit, mean", f"{statistics.mean(scores):.4f}", f"{statistics.mean(seconds):.1f} s"))
    data = prepare_data(nnkit.compose(arguments.overrides).config)
    score, options, took = kernel_ridge(data)
    rows.append((f"kernel ridge, {KERNEL_WINDOWS:,} windows, {options}", f"{score:.4f}", f"{took:.1f} s"))
    score, ridge, took = linear(data)
    rows.append((f"linear autoregression, ridge {ridge:g}", f"{score:.4f}", f"{took:.1f} s"))
    print(f"nnkit train {' '.join(arguments.overrides)}")
    print("| forecast | test NRMSE | time |\n| --- | --- | --- |")
    for row in rows:
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
