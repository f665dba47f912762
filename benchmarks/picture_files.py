"""Many small PNG files: prepared for training, and predicted beside a bare loop that decodes in threads."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from lines import Group, Limit, Line, Setting
from measuring import PREDICT, beside_loop, program
from PIL import Image

import nnkit

_SIZE = ["data.height=32", "data.width=32", "data.in_channels=3"]
_DECODE = """
from concurrent.futures import ThreadPoolExecutor
from PIL import Image
import numpy as np
from pathlib import Path
def pixels(path):
    return np.asarray(Image.open(path).convert("RGB"))
paths = sorted(Path(sys.argv[1]).rglob("*.png"))
"""
_READ = "with ThreadPoolExecutor(2) as pool:\n    array = np.stack([*pool.map(pixels, paths, chunksize=64)])"
_PREPARE = """
from nnkit.data.pictures.image_folder import ImageFolder
def work():
    data = ImageFolder(root=sys.argv[1], height=32, width=32, in_channels=3)
    data.setup_data()
    data.split("train")
"""
_LOOP = (
    _DECODE
    + """
import torch, nnkit
run = nnkit.load("run", output_dir=sys.argv[2])
network, names = run.network.eval(), run.task.class_names
def work():
    with ThreadPoolExecutor(2) as pool, open(sys.argv[3], "w") as file, torch.inference_mode():
        for start in range(0, len(paths), 64):
            array = np.stack([*pool.map(pixels, paths[start : start + 64])])
            inputs = torch.from_numpy(array).permute(0, 3, 1, 2).float() / 255
            shares, classes = network((inputs - 0.5) / 0.25).softmax(-1).max(-1)
            for path, share, number in zip(paths[start:], shares.tolist(), classes.tolist()):
                file.write(json.dumps({"item": str(path), "label": names[number], "probability": share}) + "\\n")
"""
)


def write_pictures(folder: Path, count: int) -> None:
    """Write noise of 32x32 pixels as PNG files, in two classes."""
    random = np.random.default_rng(0)
    for number in range(count):
        path = folder / ("even", "odd")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path, compress_level=1)


def preparing(setting: Setting) -> Iterator[Line]:
    """Yield the first start on a folder of pictures, and the second, beside decoding all in two threads."""
    folder, count, cache = setting.folder / "files", setting.size(50_000, 60), setting.folder / "cache"
    write_pictures(folder, count)
    fresh = iter(range(1_000))

    def first() -> object:
        environment = {"NNKIT_CACHE": str(setting.folder / f"empty-{next(fresh)}")}
        return program("work()", str(folder), imports=_PREPARE, environment=environment)

    second = partial(
        program, "work()", str(folder), imports=_PREPARE, environment={"NNKIT_CACHE": str(cache)}
    )
    second()
    cases = {
        "decoded in two threads": partial(program, _READ, str(folder), imports=_DECODE),
        "data=image_folder, first start": first,
        "data=image_folder, second start": second,
    }
    limits = {"data=image_folder, first start": Limit(6.0 * count / 50_000, "wall")}
    yield from Group(cases, limits, count=count, unit="files").measure(setting)


def predicting(setting: Setting) -> Iterator[Line]:
    """Yield predictions of a folder by a small CNN; the bare loop batches 64 and writes JSON."""
    folder, count, outputs = setting.folder / "files", setting.size(10_000, 60), setting.folder / "outputs"
    write_pictures(folder, count)
    words = ["model=cnn", "data=image_folder", f"data.root={folder}", *_SIZE, "trainer.max_steps=2"]
    nnkit.train([*words, "logger=[]", f"output_dir={outputs}", "name=run"])
    cases = beside_loop("bare loop", _LOOP, folder, outputs)
    yield from Group(cases, {PREDICT: Limit(1.11)}, count=count, unit="files").measure(setting)
