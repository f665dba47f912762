"""Share of training that a checkpoint every 100 steps costs: LeNet-5 with Adam on MNIST, batch 64, one epoch.

python benchmarks/checkpoint_cost.py

Counts the wall time the training thread spends in saving, and the processor time of the thread that writes.
"""

import tempfile
import time

import nnkit
from nnkit.callbacks.checkpoint import Checkpointing
from nnkit.checkpoint.plugin import StoreIO

COMMAND = ["model=lenet5", "data=mnist", "optimizer=adam", "scheduler=constant", "trainer.max_epochs=1"]


def main() -> None:
    """Train once with the clock around every save, and print the shares."""
    saving, writing = [], []
    save, write = Checkpointing.save, StoreIO._write

    def timed_save(self: Checkpointing, *arguments: object, **keywords: object) -> None:
        start = time.perf_counter()
        save(self, *arguments, **keywords)
        saving.append(time.perf_counter() - start)

    def timed_write(self: StoreIO) -> None:
        start = time.thread_time()
        write(self)
        writing.append(time.thread_time() - start)

    Checkpointing.save, StoreIO._write = timed_save, timed_write
    with tempfile.TemporaryDirectory() as directory:
        every = ["callbacks.checkpoint.every_n_steps=100", f"output_dir={directory}"]
        seconds = nnkit.train([*COMMAND, *every], show=True).seconds
    print(f"{len(saving)} checkpoints in {seconds:.1f} s of training")
    print(f"training thread: {sum(saving) / seconds:.2%}")
    print(f"training thread and writer's processor time: {(sum(saving) + sum(writing)) / seconds:.2%}")


if __name__ == "__main__":
    main()
