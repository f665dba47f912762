"""Lines of progress: seconds of an epoch, also of one that goes on where a run was resumed."""

import io
import re

import pytest
from exactness import cut
from rich.console import Console

import nnkit
from nnkit.callbacks.progress import Progress, line_of
from nnkit.checkpoint.store import CheckpointStore
from nnkit.runs.resuming import resume

WORDS = [
    "data=digits", "model=mlp", "data.subset=0.25", "trainer.max_epochs=2", "trainer.num_threads=1", "logger=[]",
    "callbacks=[checkpoint,progress]", "callbacks.checkpoint.every_n_steps=1", "callbacks.checkpoint.keep_last=99",
    "name=whole",
]  # fmt: skip


def test_the_epoch_in_which_a_run_goes_on_takes_seconds_of_its_own(capsys):
    whole = nnkit.train(WORDS).run
    middle = CheckpointStore(whole.checkpoints).manifests()[-3]
    assert middle.epoch == 0
    cut(whole, middle, "cut")
    capsys.readouterr()
    resume("cut")
    lines = re.findall(r"^epoch (\d)/2 .* ([\d.]+) s$", capsys.readouterr().out, re.MULTILINE)
    assert lines
    assert all(float(seconds) < 100 for _, seconds in lines)


PARTS = {
    "epoch": "epoch 10/100", "step": "step 12340", "train/loss": "train/loss 0.1234",
    "train/accuracy": "train/accuracy 0.9876", "val/loss": "val/loss 0.2345", "val/accuracy": "val/accuracy 0.9765",
    "val/f1": "val/f1 0.9712", "val/more": "val/more 1", "time": "12.3 s",
}  # fmt: skip


def test_without_a_width_a_line_holds_five_metrics_and_the_monitored_one_is_among_them():
    line = line_of(PARTS, "val/more")
    assert line == (
        "epoch 10/100  step 12340  train/loss 0.1234  train/accuracy 0.9876  val/loss 0.2345  "
        "val/accuracy 0.9765  val/more 1  12.3 s"
    )


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (80, "epoch 10/100  train/loss 0.1234  val/accuracy 0.9765  12.3 s"),
        (60, "epoch 10/100  train/loss 0.1234  val/accuracy 0.9765  12.3 s"),
        (54, "epoch 10/100  train/loss 0.1234  val/accuracy 0.9765"),
        (40, "epoch 10/100  train/loss 0.1234"),
        (5, "epoch 10/100"),
    ],
)
def test_what_matters_most_stays_where_there_is_little_room(width, line):
    found = line_of(PARTS, "val/accuracy", width)
    assert len(found) <= max(width, len("epoch 10/100"))
    assert found == line
    # Whole parts only.
    assert set(found.split("  ")) <= set(PARTS.values())


@pytest.mark.parametrize("width", [80, 60])
@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_breaks_no_line_and_a_file_gets_all_of_it(width, terminal):
    progress, written = Progress(), io.StringIO()
    progress.console = Console(file=written, width=width, force_terminal=terminal, color_system=None)
    progress._parts, progress._monitor = dict(PARTS), "val/accuracy"
    progress._print()
    (line,) = written.getvalue().splitlines()
    assert line == line_of(PARTS, "val/accuracy", width if terminal else None)
