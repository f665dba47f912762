"""Processes that share weights, gradients and optimizer states train as one does, and save what one can open."""

import shutil
from pathlib import Path

import pytest
import samples
import together
from test_ends import WORDS, at_step, spoil
from test_equal_losses import QUICK, assert_close, history
from torch import nn

from nnkit.checkpoint.compare import run_differences
from nnkit.checkpoint.store import CheckpointStore
from nnkit.distributed.sharded import blocks_of

# Neither two nor three processes can divide these widths, and some parameters have fewer rows than there are processes.
MODELS = {
    "gpt": ["model=gpt", *samples.small("gpt"), "model.dim=10", "model.num_heads=2"],
    "transformer": [
        *["model=transformer", *samples.small("transformer"), "model.dim=10", "model.num_heads=2"],
        *["data.max_length=16", "data.max_tokens=60"],
    ],
    # The weights of its convolutions lie by channels.
    "cnn": ["model=cnn", *samples.small("cnn"), "model.norm=none"],
}
KINDS = {"gpt": "text", "transformer": "pairs", "cnn": "pictures"}
# A checkpoint after each second batch is taken in the middle of an accumulation window.
WINDOWS = [
    "trainer.accumulate_grad_batches=3",
    "trainer.val_check_interval=2",
    "trainer.gradient_clip_val=0.1",
]


def command(model, run, size, *more, steps=4, dropout=0):
    line = [
        *samples.words(KINDS[model]),
        *MODELS[model],
        f"model.dropout={dropout}",
        *QUICK,
        "scheduler=constant",
    ]
    return ["train", *line, f"trainer.max_steps={steps}", f"name={run}", f"trainer.devices={size}", *more]


def together_well(size, words):
    ended = together.run(size, words)
    assert [one.code for one in ended] == [0] * size, ended[0].said
    assert [one.said for one in ended[1:]] == [""] * (size - 1)
    return ended[0].said


def store_of(run):
    return CheckpointStore(Path("outputs", run, "checkpoints"))


@pytest.mark.parametrize(
    ("model", "size", "more"),
    [
        ("gpt", 3, [*WINDOWS, "trainer.activation_checkpointing=true"]),
        ("transformer", 2, ["trainer.gradient_clip_val=0.1", "optimizer=sgd"]),
        ("cnn", 2, []),
    ],
)
def test_losses_are_those_of_one_process(model, size, more, cli):
    code, _, err = cli(*command(model, "one", 1, *more))
    assert code == 0, err
    shared = command(model, "shared", size, *more, "trainer.strategy=fsdp")
    if model == "cnn":
        # Its kernels are drawn after the validation.
        shared = [word for word in shared if word != "logger=[]"]
    together_well(size, shared)
    assert_close(history("shared"), history("one"), within=1e-5)


def test_a_run_goes_on_exactly_and_on_from_the_middle_of_a_window(monkeypatch):
    """The files of the last checkpoint have changed places, so that the one before is used, from inside a window."""
    words = ["trainer.strategy=fsdp", *WINDOWS]
    together_well(2, command("gpt", "whole", 2, *words, dropout=0.3))
    together_well(2, command("gpt", "cut", 2, *words, dropout=0.3, steps=2))
    last, _ = store_of("cut").load()
    shards = [file.file for file in last.files if ".rank-" in file.file]
    assert shards == [f"{last.name}.rank-{rank}.safetensors" for rank in range(2)]
    folder = store_of("cut").directory
    (folder / shards[0]).rename(folder / "kept")
    (folder / shards[1]).rename(folder / shards[0])
    (folder / "kept").rename(folder / shards[1])
    said = together_well(2, ["resume", "cut", "trainer.max_steps=4"])
    assert f"{shards[0]} does not have the SHA-256 of its manifest" in said
    assert list(run_differences(Path("outputs/whole"), Path("outputs/cut"))) == []


def test_a_run_goes_on_with_other_numbers_of_processes_and_other_strategies(cli):
    """Each part of the run ends in the middle of an accumulation window or at its end."""
    code, _, err = cli(*command("transformer", "whole", 1, *WINDOWS, steps=5))
    assert code == 0, err
    together_well(1, command("transformer", "run", 1, *WINDOWS, steps=1))
    parts = [(2, "fsdp"), (2, "ddp"), (3, "fsdp"), (1, "fsdp")]
    for steps, (size, strategy) in enumerate(parts, 2):
        more = [f"trainer.max_steps={steps}", f"trainer.devices={size}", f"trainer.strategy={strategy}"]
        together_well(size, ["resume", "run", *more])
    trained = [[row for row in history(run) if row["split"] == "train"] for run in ("run", "whole")]
    assert_close(*trained, within=1e-5)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The working directory of a run of two processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("saved"))
        words = command("gpt", "run", 2, "trainer.strategy=fsdp", "trainer.precision=bf16-mixed")
        together_well(2, [*words, "callbacks.checkpoint.every_n_steps=1"])
        return Path.cwd()


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def swap(path):
    shutil.copy(path.with_name(path.name.replace("rank-1", "rank-0")), path)


@pytest.mark.parametrize("damage", [cut, swap, Path.unlink], ids=["cut", "swapped", "missing"])
def test_a_checkpoint_with_a_damaged_shard_is_passed_over(damage, saved, caplog):
    shutil.copytree(saved / "outputs", "outputs")
    last, before = store_of("run").manifests()
    damage(store_of("run").directory / f"{last.name}.rank-1.safetensors")
    assert store_of("run").load()[0] == before
    assert f"{last.name}.rank-1.safetensors" in caplog.text
    assert f"using {before.name} of step {before.step} instead" in caplog.text


def test_one_process_opens_what_two_have_saved(saved, cli):
    shutil.copytree(saved, ".", dirs_exist_ok=True)
    loss = next(row["test/loss"] for row in history("run") if row["split"] == "test")
    code, out, err = cli("test", "run")
    assert (code, f"{loss:.4f}" in out) == (0, True), err
    code, _, err = cli("generate", "run", "--prompt", "the ", "--length", "8")
    assert code == 0, err


def full_disk(rank):
    """Let the second process find no space for its second checkpoint."""
    from nnkit.files.atomic import WriteFault

    write, calls = CheckpointStore.write, []

    def fail(store, name, parts):
        calls.append(name)
        if rank == 1 and len(calls) == 2:
            raise WriteFault(f"{name}: no space left on device")
        return write(store, name, parts)

    CheckpointStore.write = fail


def test_a_full_disk_of_one_process_ends_all_and_leaves_the_checkpoint_before():
    words = command("gpt", "run", 2, "trainer.strategy=fsdp", "callbacks.checkpoint.every_n_steps=1")
    ended = together.run(2, words, before=full_disk)
    assert [one.code for one in ended] == [1, 1], ended[0].said
    assert "no space left on device" in ended[0].said
    assert "Traceback" not in ended[0].said + ended[1].said
    assert [finding.problem for finding in store_of("run").inspect()] == [""]
    assert store_of("run").load()[0].step == 1


def test_a_loss_that_is_not_finite_in_one_process_ends_all_with_its_sentence():
    ended = together.run(2, [*WORDS, "name=run", "trainer.strategy=fsdp"], before=at_step(4, spoil))
    assert [one.code for one in ended] == [1, 1], ended[0].said
    assert "the loss or a gradient is not finite at step 4" in ended[0].said
    assert ended[1].said == ""


def rows_of_the_second_process(rank, trainer):
    """Let some rows of one process's gradient be infinite, which the other process does not see."""
    from nnkit.distributed.sharded import local_rows

    task = trainer.lightning_module
    if rank == 1:
        task.on_after_backward = lambda: local_rows(task.network.head.linear.weight.grad).fill_(float("inf"))


def test_a_gradient_that_is_not_finite_in_the_rows_of_one_process_is_skipped_by_all():
    words = [*WORDS, "name=run", "trainer.strategy=fsdp", "callbacks.nan_guard.policy=skip"]
    ended = together.run(2, [*words, "trainer.max_steps=6"], before=at_step(5, rows_of_the_second_process))
    assert [one.code for one in ended] == [0, 0], ended[0].said
    assert "step 5 is skipped" in Path("outputs/run/logs/rank-1.log").read_text()
    assert "1 of 6 steps were skipped" in Path("outputs/run/train.log").read_text()


def test_blocks_are_what_the_lists_of_a_body_hold():
    lists = nn.ModuleList([nn.ModuleList([nn.Linear(1, 1)]), nn.Sequential(nn.ModuleList([nn.Tanh()]))])
    body = nn.Sequential(nn.Linear(1, 1), lists)
    assert blocks_of(body) == [lists[0][0], lists[1]]


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (["+callbacks=ema"], "callbacks.ema"),
        (["optimizer=muon"], "optimizer"),
        (["trainer.precision=16-mixed"], "trainer.precision"),
        (["trainer.compile=true"], "trainer.compile"),
        (["optimizer=sgd", "optimizer.fused=true"], "optimizer.fused"),
        (["model=mlp", "trainer.activation_checkpointing=true"], "trainer.activation_checkpointing"),
    ],
)
def test_what_cannot_be_shared_is_refused(words, key, cli):
    code, _, err = cli(
        "train", "model=mlp", "data=digits", "trainer.strategy=fsdp", "trainer.devices=2", *words
    )
    assert (code, key in err, Path("outputs").exists()) == (2, True, False), err
