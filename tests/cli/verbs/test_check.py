"""`nnkit check`: a config is checked, and nothing is trained, fetched or written."""

import re
from pathlib import Path

import pytest
import samples

from nnkit.analysis import timing
from nnkit.analysis.requirements import format_bytes, format_duration, why_made_up
from nnkit.config import compose
from nnkit.data.download import fetch


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    """Steps are not measured, the network is not there, and the cache is empty."""

    def no_network(*arguments, **options):
        raise AssertionError("the network was asked")

    monkeypatch.setenv("NNKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fetch.urllib.request, "urlopen", no_network)
    monkeypatch.setattr(fetch.subprocess, "run", no_network)
    monkeypatch.setattr(timing, "measure_pace", lambda *arguments: timing.Pace(0.01))


def rows(out):
    lines = [re.split(r"  +", line.strip().removeprefix("! ")) for line in out.splitlines() if line.strip()]
    return {line[0]: line[1:] for line in lines}


def test_classes_have_their_order_their_counts_and_their_weights(cli):
    words = ["data=iris", "loss.class_weights={virginica: 10}"]
    found = rows(cli("check", *words)[1])
    assert found["classes"] == ["3: setosa 40, versicolor 40, virginica 40", "training samples of each"]
    assert found["class weights"] == ["setosa 1, versicolor 1, virginica 10"]
    code, _, err = cli("check", "data=iris", "loss.class_weights={virginia: 10}")
    assert (code, "did you mean virginica?" in err) == (2, True)


def test_a_sound_config_on_a_fresh_machine(cli):
    code, out, err = cli("check", "model=lenet5", "data=mnist")
    found = rows(out)
    assert (code, err) == (0, "")
    assert found["shapes"] == ["64 x 1 x 28 x 28 -> 64 x 10"]
    assert found["parameters"] == ["61,706 trained"]
    # 60,000 of which a twelfth is held out, in batches of 64, for the five epochs of conf/data/mnist.yaml.
    assert found["epoch, about"] == ["8.6 s: 860 batches of 10 ms", "55,000 training samples"]
    assert found["run, about"][0] == "43 s: 4,300 steps"
    assert found["time"] == ["measured on a made-up batch", "data not at hand"]
    assert "4 checkpoints of 723 KiB in outputs" in found["disk, about"]
    assert list(Path.cwd().iterdir()) == []


def test_texts_that_are_not_at_hand_are_taken_as_long_as_they_may_be():
    config = compose(["data=langid"]).config
    assert why_made_up(config) == "data not at hand: every text taken as long as max_length"


def test_where_the_data_are_at_hand_nothing_is_made_up(cli):
    assert "time" not in rows(cli("check", "data=iris")[1])


@pytest.mark.parametrize(
    ("words", "steps"),
    [
        (["trainer.max_steps=100"], "100 steps"),
        (["trainer.max_epochs=2", "trainer.accumulate_grad_batches=3"], "574 steps"),
        (["trainer.max_epochs=2", "data.subset=0.5"], "860 steps"),
    ],
)
def test_the_length_of_the_run(cli, words, steps):
    assert rows(cli("check", *words)[1])["run, about"][0].endswith(steps)


def test_a_batch_larger_than_the_data_is_worth_a_word(cli):
    code, out, _ = cli("check", "data=iris", "data.batch_size=500")
    assert code == 0
    assert rows(out)["batch size"] == ["500 is more than there are training samples"]
    assert rows(out)["epoch, about"][1] == "120 training samples"


def test_too_little_memory_and_disk(cli):
    code, out, _ = cli("check", "model=mlp", "model.hidden=[1000000,1000000]")
    assert code == 1
    assert "! memory, about" in out
    assert "! disk, about" in out
    assert "too little" in out
    assert "epoch" not in out


def test_without_checkpoints_no_disk_is_needed(cli):
    assert rows(cli("check", "data=iris", "callbacks=[]")[1])["disk"][0].startswith("no checkpoints")


@pytest.mark.parametrize(
    ("words", "exit_code", "hint"),
    [
        (["optimizer.lr=-1", "seed=x"], 2, "optimizer.lr"),
        (["data=iris", "loss=mse", "loss.reduction=none"], 2, "not one"),
        (["model.embeds.pictures.size=20"], 2, "body.c5"),
        (["monitor=val/acc"], 2, "val/accuracy"),
        (["output_dir=taken"], 2, "taken is a file"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_written(cli, words, exit_code, hint):
    Path("taken").write_text("")
    code, out, err = cli("check", *words)
    assert (code, out) == (exit_code, "")
    assert hint in err
    assert [path.name for path in Path.cwd().iterdir()] == ["taken"]


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (20 * 2**20, "20 MiB"), (2**50, "1024 TiB")],
)
def test_sizes(size, text):
    assert format_bytes(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.00021, "0.21 ms"),
        (0.0079, "7.9 ms"),
        (0.32, "0.32 s"),
        (62.4, "62 s"),
        (600, "10 min"),
        (9000, "2.5 h"),
    ],
)
def test_durations(seconds, text):
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    "word",
    [
        "~data.max_length",
        "~data.batch_size",
        "~trainer.gradient_clip_algorithm",
        "~trainer.gradient_clip_val",
    ],
)
def test_a_deleted_key_has_its_default(cli, word):
    words = ["model=lstm", *samples.small("lstm"), *samples.words("texts"), "data.max_length=24"]
    code, out, err = cli("check", *words, word)
    assert code == 0, err
    assert "run, about" in out


def test_no_more_checkpoints_are_counted_than_there_are_steps(cli):
    words = ["data=iris", "model=mlp", "trainer.max_steps=4", "callbacks.checkpoint.keep_last=1000000000"]
    code, out, _ = cli("check", *words)
    assert code == 0
    assert "5 checkpoints of" in out
