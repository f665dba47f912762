"""Write the golden runs of the present release: python tests/golden/make.py, in a clone without changes."""

import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path

from lightning.pytorch import Callback

import nnkit
from nnkit.callbacks.signals import Interrupted
from nnkit.checkpoint.formats import FORMAT
from nnkit.runs import fit as fitting

FOLDER = Path(f"v{FORMAT}")
COMMAND = [
    "data=iris", "data.val_fraction=0.2", "data.batch_size=20", "model=mlp", "model.hidden=[8]", "model.dropout=0.1",
    "trainer.num_threads=1", "trainer.max_epochs=4", "trainer.log_every_n_steps=2", "callbacks=[checkpoint]",
    "logger=[]", f"output_dir={FOLDER}",
]  # fmt: skip
STOP_AT = 8


class _Stop(Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):  # type: ignore[no-untyped-def]
        if trainer.global_step + 1 == STOP_AT:
            os.kill(os.getpid(), signal.SIGINT)


def main() -> None:
    """Train one run to its end and stop another in the middle of an epoch."""
    # The path of this clone has no place in what is kept.
    os.chdir(Path(__file__).parent)
    shutil.rmtree(FOLDER, ignore_errors=True)
    nnkit.train([*COMMAND, "name=finished"])
    build_all = fitting.build_all
    fitting.build_all = lambda group, *given, **named: [*build_all(group, *given, **named), _Stop()]
    with suppress(Interrupted):
        nnkit.train([*COMMAND, "name=stopped"])
    for path in [*FOLDER.glob("*/.lock"), *FOLDER.glob("*/train.log")]:
        path.unlink()


if __name__ == "__main__":
    main()
