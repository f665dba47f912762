"""From a command to what it answers, and to the first step of a training, beside importing Lightning alone."""

from collections.abc import Iterator
from functools import partial

from lines import Group, Limit, Line, Setting
from measuring import command, program

# What follows the first step is not counted: the process ends there.
_FIRST_STEP = """
from nnkit.cli import main
import nnkit.runs.fit
from lightning.pytorch.loops import _TrainingEpochLoop
def first(self, *arguments):
    finish()
    os._exit(0)
_TrainingEpochLoop.advance = first
main(sys.argv[1:])
"""
_TRAIN = ["train", "model=cnn", "data=digits", "trainer.max_steps=1", "trainer.limit_test_batches=1"]


def measure(setting: Setting) -> Iterator[Line]:
    """Yield the import, the first step, and commands that train nothing."""
    cases = {
        "import lightning.pytorch": partial(program, "import lightning.pytorch"),
        "nnkit train to its first step": partial(
            program, _FIRST_STEP, *_TRAIN, f"output_dir={setting.folder}"
        ),
        "nnkit --help": partial(command, "--help"),
        "nnkit list": partial(command, "list"),
        "nnkit train --cfg job": partial(command, *_TRAIN, "--cfg", "job"),
    }
    limits = {"nnkit train to its first step": Limit(1.15)}
    # The first round writes the caches.
    yield from Group(cases, limits, warm=1).measure(setting)
