"""Peak memory of an epoch of LeNet-5 on MNIST, against the textbook loop and what importing Lightning costs.

python benchmarks/memory.py
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from lenet5 import BATCH, COMMAND, all_of

import nnkit

# VmHWM: on Linux ru_maxrss of a child starts at what its parent had.
REPORT = """
import sys
if sys.platform == "linux":
    peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]
else:
    import resource
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 2**10
print(peak, file=sys.stderr)
"""
TEXTBOOK = f"""
import torch
from torch import nn
pixels, target = torch.load("FILE")
network = nn.Sequential(
    nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.MaxPool2d(2),
    nn.Conv2d(6, 16, 5), nn.Tanh(), nn.MaxPool2d(2),
    nn.Conv2d(16, 120, 5), nn.Tanh(), nn.Flatten(),
    nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10),
)
optimizer = torch.optim.Adam(network.parameters())
for batch in torch.randperm(len(target)).split({BATCH}):
    optimizer.zero_grad()
    nn.functional.cross_entropy(network(pixels[batch]), target[batch]).backward()
    optimizer.step()
"""


def peak(code: str) -> float:
    """Return the peak resident memory of a Python program in MiB."""
    command = [sys.executable, "-c", f"{code}\n{REPORT}"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(done.stderr.splitlines()[-1]) / 2**10


def main() -> None:
    """Print the four peaks and the ratio."""
    with tempfile.TemporaryDirectory() as directory:
        words = [*COMMAND, f"output_dir={directory}", "trainer.max_epochs=1"]
        session = nnkit.train([*words, "trainer.max_epochs=-1", "trainer.max_steps=1"]).session
        file = Path(directory) / "mnist.pt"
        torch.save(all_of(session.data.split("train")), file)
        loop = peak(TEXTBOOK.replace("FILE", str(file)))
        ours = peak(f"import nnkit\nnnkit.train({words!r}, show=True)")
    plain, lightning = peak("import torch"), peak("import lightning.pytorch")
    allowed = 1.2 * loop + lightning - plain
    print(f"textbook loop: {loop:.0f} MiB")
    print(f"nnkit train, everything on: {ours:.0f} MiB")
    print(f"import torch: {plain:.0f} MiB, import lightning.pytorch: {lightning:.0f} MiB")
    print(f"nnkit / (textbook + what importing Lightning costs): {ours / (loop + lightning - plain):.2f}")
    print(f"limit, 1.2 x textbook + Lightning's import: {allowed:.0f} MiB")


if __name__ == "__main__":
    main()
