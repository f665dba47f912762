"""Whatever ends one process ends all, with the right exit codes; the run then goes on exactly."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
import together
from safetensors.torch import load_file

from nnkit.checkpoint.store import CheckpointStore

WORDS = [
    *["train", "model=mlp", "data=digits", "data.subset=0.25", "data.batch_size=16", "trainer.max_epochs=2"],
    *["trainer.accelerator=cpu", "trainer.num_threads=1", "logger=[]", "trainer.log_every_n_steps=3"],
    *["model.dropout=0.3", "trainer.devices=2"],
]
# Seconds in which all must have ended.
MOST = 30


def weights(run):
    store = CheckpointStore(Path("outputs", run, "checkpoints"))
    manifest = store.load("last")[0]
    return load_file(store.directory / f"{manifest.name}.safetensors"), manifest.step


def history(run):
    return Path("outputs", run, "metrics.jsonl").read_bytes()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A run of two processes with dropout that nothing has disturbed."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("undisturbed"))
    ended = together.run(2, [*WORDS, "name=whole"])
    assert [one.code for one in ended] == [0, 0], ended[0].said
    found = weights("whole"), history("whole")
    os.chdir(before)
    return found


def at_step(step, act):
    """Return what makes one of the processes act once it has taken so many steps."""
    from lightning.pytorch import Trainer

    def begin(rank):
        fit = Trainer.fit

        def watched(trainer, *args, **more):
            from lightning.pytorch import Callback

            class Act(Callback):
                def on_train_batch_end(self, trainer, *rest):
                    if trainer.global_step == step:
                        act(rank, trainer)

            trainer.callbacks.insert(0, Act())
            return fit(trainer, *args, **more)

        Trainer.fit = watched

    return begin


def send(number, to):
    def act(rank, trainer):
        if rank == to:
            os.kill(os.getpid(), number)

    return act


def assert_goes_on_exactly(run, undisturbed, size=2):
    ended = together.run(size, ["resume", run])
    assert [one.code for one in ended] == [0] * size, ended[0].said
    (expected, step), lines = undisturbed
    found, last = weights(run)
    assert last == step
    assert found.keys() == expected.keys()
    assert all(found[name].equal(expected[name]) for name in expected)
    assert history(run) == lines


@pytest.mark.parametrize("to", [0, 1])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=lambda one: one.name)
def test_a_signal_to_one_process_ends_all_and_the_run_goes_on_exactly(number, to, undisturbed):
    begun = time.monotonic()
    words = [*WORDS, "name=run", "callbacks.checkpoint.every_n_steps=4"]
    ended = together.run(2, words, before=at_step(10, send(number, to)))
    assert time.monotonic() - begun < 60 + MOST
    if number == signal.SIGKILL:
        codes = [75, 75]
        codes[to] = -signal.SIGKILL
        assert [one.code for one in ended] == codes
        if to == 1:
            assert "process 1 of the run has ended and gave no reason" in ended[0].said
            assert "nnkit resume" in ended[0].said
    else:
        assert [one.code for one in ended] == [128 + number] * 2
        assert ended[0].said.count("stopped by") == 1
        record = json.loads(Path("outputs/run/run.json").read_text())
        assert (record["status"], record["step"]) == ("stopped", 11)
    assert ended[1].said == ""
    assert_goes_on_exactly("run", undisturbed)


def test_usr1_to_one_process_saves_and_all_go_on(undisturbed):
    words = [*WORDS, "name=run"]
    ended = together.run(2, words, before=at_step(5, send(signal.SIGUSR1, 1)))
    assert [one.code for one in ended] == [0, 0]
    assert "SIGUSR1: the run is saved at step 6" in Path("outputs/run/train.log").read_text()
    (expected, _), lines = undisturbed
    assert all(found.equal(expected[name]) for name, found in weights("run")[0].items())
    assert history("run") == lines


def spoil(rank, trainer):
    """Let the loss of one process be infinite at the next step, and its gradients finite."""
    if rank == 1:
        trainer.lightning_module.loss.register_forward_hook(lambda module, args, out: out + float("inf"))


def test_a_loss_that_is_not_finite_in_one_process_ends_all_with_its_sentence():
    ended = together.run(2, [*WORDS, "name=run"], before=at_step(4, spoil))
    assert [one.code for one in ended] == [1, 1]
    assert "the loss or a gradient is not finite at step 4" in ended[0].said
    assert "batch: training samples" in ended[0].said
    assert ended[1].said == ""
    assert json.loads(Path("outputs/run/run.json").read_text())["status"] == "failed"


def no_data(rank, trainer):
    from nnkit.errors import EnvironmentFault

    if rank == 1:
        raise EnvironmentFault("picture 7 cannot be read")


def full_disk(rank, trainer):
    from nnkit.files.atomic import WriteFault

    if rank == 0:
        raise WriteFault("no space left on device")


@pytest.mark.parametrize(
    ("act", "said"),
    [(no_data, "picture 7 cannot be read"), (full_disk, "no space left on device")],
    ids=["data", "disk"],
)
def test_what_fails_in_one_process_ends_all_and_the_first_says_why(act, said):
    ended = together.run(2, [*WORDS, "name=run"], before=at_step(4, act))
    assert [one.code for one in ended] == [1, 1]
    assert said in ended[0].said
    assert "Traceback" not in ended[0].said
    assert ended[1].said == ""
    record = json.loads(Path("outputs/run/run.json").read_text())
    assert (record["status"], record["error"]) == ("failed", said)
