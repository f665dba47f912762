"""Peak memory of an epoch of LeNet-5, beside the textbook loop and what the imports take."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
import workloads
from lines import Group, Line, Setting
from measuring import Cost, program

_TEXTBOOK = f"""
sys.path.insert(0, {str(Path(__file__).parent)!r})
import torch, textbook
pixels, target = torch.load(sys.argv[1])
network = textbook.lenet5()
optimizer = torch.optim.Adam(network.parameters())
for batch in torch.randperm(len(target)).split(64):
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(network(pixels[batch]), target[batch]).backward()
    optimizer.step()
"""
_OURS = "import nnkit\nnnkit.train(sys.argv[1:], show=True)"


def measure(setting: Setting) -> Iterator[Line]:
    """Yield the peaks: the training set as float32 in memory, nnkit's as bytes in a mapped file, and the imports."""
    work = workloads.lenet5(setting.materials)
    file, count = setting.folder / "digits.pt", setting.size(55_000, 640)
    torch.save((torch.rand(count, 1, 28, 28), torch.randint(10, (count,))), file)
    length = [f"trainer.max_steps={count // work.batch}", f"output_dir={setting.folder}"]
    cases: dict[str, partial[Cost]] = {
        "textbook loop": partial(program, _TEXTBOOK, str(file)),
        "nnkit": partial(program, _OURS, *work.words, *length),
        "import torch": partial(program, "import torch"),
        "import lightning.pytorch": partial(program, "import lightning.pytorch"),
    }
    yield from Group(cases, warm=1).measure(setting)
