"""FAULTS class 20: what stands in the environment is read, and its value reaches no file and no complaint about it."""

import random

import pytest

SECRET = "hunter2-of-the-test"
WORDS = ["data=csv", "data.target=label", "model=mlp", "model.hidden=[4]", "data.val_fraction=0.2"]
WORDS += ["trainer.max_epochs=2", "trainer.num_threads=1", "scheduler=constant", "name=run"]
CALLBACKS = "callbacks=[checkpoint,progress,nan_guard,throughput,pictures,early_stopping,ema]"


@pytest.fixture
def secret_file(tmp_path, monkeypatch):
    """A table whose path is the secret: a value that is needed from the first step to the last."""
    path = tmp_path / f"{SECRET}.csv"
    numbers = random.Random(0)
    rows = [(numbers.random(), numbers.random()) for _ in range(120)]
    path.write_text("a,b,label\n" + "".join(f"{a:.3f},{b:.3f},{'p' if a > b else 'q'}\n" for a, b in rows))
    monkeypatch.setenv("NNKIT_SECRET", str(path))
    return path


def leaks(folder):
    return [path for path in folder.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]


def test_no_file_of_a_run_holds_it_whatever_is_done_with_the_run(cli, secret_file, tmp_path):
    """Event files, checkpoints and hidden files included."""
    assert cli("train", *WORDS, CALLBACKS, "data.path=${oc.env:NNKIT_SECRET}")[0] == 0
    assert "${oc.env:NNKIT_SECRET}" in (tmp_path / "outputs/run/config.yaml").read_text()
    assert list((tmp_path / "outputs/run/tensorboard").iterdir())
    for words in (
        ["test", "run"],
        ["resume", "run", "trainer.max_epochs=3"],
        ["resume", "run", "--verify", "--steps", "4"],
        ["predict", "run", str(secret_file), "--output", "predictions.jsonl"],
        ["doctor", "run"],
        ["runs"],
    ):
        assert cli(*words)[0] == 0, words
    assert leaks(tmp_path / "outputs") == []
    (tmp_path / "outputs/run/config.yaml").unlink()
    cli("doctor", "run", "--repair")
    assert leaks(tmp_path / "outputs") == []


def test_it_is_printed_only_where_that_is_asked_for(cli, secret_file):
    words = ["train", *WORDS, "data.path=${oc.env:NNKIT_SECRET}", "--cfg", "job"]
    assert SECRET not in "".join(cli(*words)[1:])
    assert SECRET in cli(*words, "--resolve")[1]


KEYS = [
    "optimizer.lr",
    "optimizer.betas",
    "model.hidden",
    "model.activation",
    "trainer.precision",
    "seed",
    "monitor",
]
KEYS += [
    "trainer.num_threads",
    "data.batch_size",
    "loss.class_weights",
    "optimizer._target_",
    "trainer.accelerator",
]
KEYS += ["scheduler.anneal_strategy", "callbacks.progress", "head", "model.embeds.table.num_features"]
KEYS += ["data.tasks", "data.max_epochs", "loss.takes"]


WORDS_OF_MISTAKES = [f"{key}=${{oc.env:NNKIT_SECRET}}" for key in KEYS]
WORDS_OF_MISTAKES += ["model.hidden=[${oc.env:NNKIT_SECRET}]", "optimizer.betas='a${oc.env:NNKIT_SECRET}'"]


@pytest.mark.parametrize("word", WORDS_OF_MISTAKES)
def test_a_mistake_is_said_without_it(cli, monkeypatch, word):
    monkeypatch.setenv("NNKIT_SECRET", "hunter2'\\of the test")
    code, out, err = cli("train", "data=iris", "model=mlp", "scheduler=onecycle", word)
    assert code == 2
    assert word.partition(".")[0].partition("=")[0] in err
    assert "hunter2" not in out + err
