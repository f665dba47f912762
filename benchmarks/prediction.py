"""Pictures a second of `nnkit predict`, beside a loop by hand that decodes in threads and predicts 64 at a time.

python benchmarks/prediction.py
python benchmarks/prediction.py --pictures 2000 --rounds 1

Both print one JSON object a picture with its three most probable classes. Each is a process of its own, in turns; what
the same process takes for a single picture is taken off, so that imports and loading do not count. The loop by hand
takes its network and normalisation from the run.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

BY_HAND = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import numpy as np, torch
from PIL import Image
import nnkit
run = nnkit.load(sys.argv[1])
network, learnt = run.network, run.data.preprocessing
mean, std, names = 255 * learnt["mean"][0], 255 * learnt["std"][0], learnt["class_names"]
def decode(path):
    with Image.open(path) as image:
        return torch.from_numpy(np.asarray(image.convert("L"), dtype=np.float32))
paths = sorted(Path(sys.argv[2]).iterdir())
with torch.inference_mode(), ThreadPoolExecutor(8) as pool:
    for first in range(0, len(paths), 64):
        chunk = paths[first : first + 64]
        batch = (torch.stack(list(pool.map(decode, chunk))).unsqueeze(1) - mean) / std
        values, places = network(batch).softmax(-1).topk(3)
        for path, row, at in zip(chunk, values.tolist(), places.tolist()):
            top = [{"label": names[one], "probability": round(value, 6)} for one, value in zip(at, row)]
            print(json.dumps({"item": str(path), **top[0], "top": top}))
"""


def seconds(folder: Path, *words: str) -> tuple[float, float]:
    """Return the seconds of a process by the clock, and those of processor time."""
    start = time.perf_counter()
    with (folder / "out.txt").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, *words], cwd=folder, stdout=out, stderr=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{words} failed")
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime


def draw(folder: Path, count: int) -> None:
    """Write grey pictures like digits: strokes on black, 28 x 28."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number in range(count):
        pixels = np.zeros((28, 28), np.uint8)
        for row, column in generator.integers(4, 23, (12, 2)):
            pixels[row : row + 3, column : column + 3] = generator.integers(128, 255)
        Image.fromarray(pixels).save(folder / f"{number:06d}.png")


def main() -> None:
    """Train for a few steps, predict in turns, and print a row for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    train = "-m nnkit train model=lenet5 data=mnist trainer.max_steps=20 trainer.limit_val_batches=1"
    train += " trainer.limit_test_batches=1 logger=[] name=digits"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        seconds(folder, *train.split())
        draw(folder / "one", 1)
        draw(folder / "many", arguments.pictures)
        commands = {
            "nnkit predict": lambda place: ("-m", "nnkit", "predict", "digits", place),
            "by hand": lambda place: ("-c", BY_HAND, "outputs/digits", place),
        }
        wall: dict[str, list[float]] = {name: [] for name in commands}
        cpu: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(arguments.rounds):
            for name, words in commands.items():
                one, many = seconds(folder, *words("one")), seconds(folder, *words("many"))
                wall[name].append(many[0] - one[0])
                cpu[name].append(many[1] - one[1])
    print(f"{arguments.pictures:,} pictures, {arguments.threads} threads, {arguments.rounds} rounds\n")
    print("| | pictures a second | us of processor time each |\n|---|---|---|")
    for name in commands:
        rate = arguments.pictures / statistics.median(wall[name])
        each = 1e6 * statistics.median(cpu[name]) / arguments.pictures
        print(f"| {name} | {rate:,.0f} | {each:.0f} |")
    ratios = [hand / ours for ours, hand in zip(wall["nnkit predict"], wall["by hand"], strict=True)]
    print(f"\nspeed beside the loop by hand: {statistics.median(ratios):.2f} (goal 0.9)")


if __name__ == "__main__":
    main()
