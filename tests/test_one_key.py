"""One key changed, added or deleted: it has its default, or the mistake is found before anything is written."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import samples
from torch import nn

from nnkit import config as configs
from nnkit.errors import EnvironmentFault
from nnkit.machine import memory

pytestmark = pytest.mark.slow

SMALL = ["data=digits", "model=mlp", "model.hidden=[4]", "trainer.max_steps=2", "callbacks=[]", "logger=[]"]
READ = [
    "precision",
    "num_threads",
    "matmul_precision",
    "devices",
    "accelerator",
    "limit_val_batches",
    "compile",
]


@pytest.mark.parametrize("name", [*READ, "max_steps"])
def test_a_deleted_key_of_the_trainer_has_its_default(name):
    whole = configs.compose(["data=digits"])
    without = configs.compose(["data=digits", f"~trainer.{name}"])
    assert without.config.trainer[name] == whole.config.trainer[name]


def test_a_deleted_key_of_the_trainer_trains(cli):
    words = [f"~trainer.{name}" for name in READ]
    code, _, err = cli("train", *SMALL, *words)
    assert code == 0, err


def test_a_deleted_batch_size_is_the_one_of_the_class(cli):
    code, out, err = cli("check", *SMALL, "~data.batch_size")
    assert code == 0, err
    assert "32 x 1 x 8 x 8" in out


def test_a_tilde_in_the_output_directory_is_the_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert configs.compose(["output_dir=~/runs"]).config.output_dir == str(tmp_path / "runs")


@pytest.mark.parametrize("verb", ["test", "resume", "doctor", "generate", "predict"])
def test_a_run_of_nobody_is_a_sentence(verb, cli):
    code, _, err = cli(verb, "~nosuchuser/run", *(["x"] if verb == "predict" else []))
    assert code == 2
    assert "there is no user 'nosuchuser'" in err


@pytest.mark.parametrize("verb", ["check", "train"])
def test_a_share_of_the_batches_that_is_none_is_found_by_check_too(verb, cli, tmp_path):
    for key in ("overfit_batches", "limit_train_batches", "limit_val_batches"):
        code, _, err = cli(verb, *SMALL, f"trainer.{key}=0.001")
        assert code == 2
        assert f"trainer.{key}: 0.001 of" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", ["check", "train"])
@pytest.mark.parametrize(("run", "said"), [("nosuch", "no run"), ("''", "it names nothing")])
def test_a_run_to_start_from_that_is_not_there_is_found_by_check_too(verb, run, said, cli, tmp_path):
    code, _, err = cli(verb, *SMALL, f"init_from={run}")
    assert code == 2
    assert said in err
    assert list(tmp_path.iterdir()) == []


def test_check_finds_a_validation_that_never_comes(cli):
    code, _, err = cli("check", *SMALL, "+callbacks=early_stopping", "data.val_fraction=0")
    assert code == 2
    assert "nothing is held out for validation" in err


def test_a_number_of_classes_that_the_file_does_not_have_is_found_by_check(cli, tmp_path):
    tmp_path.joinpath("rows.csv").write_text("a,kind\n" + "".join(f"{n},{n % 3}\n" for n in range(60)))
    words = ["data=csv", "data.path=rows.csv", "data.target=kind", "model=mlp", "data.num_classes=7"]
    code, _, err = cli("check", *words)
    assert code == 2
    assert "data.num_classes: 7 was given, the data have 3" in err


TEXTS = ["trainer.max_steps=1", "callbacks=[]", "logger=[]"]


@pytest.mark.parametrize("verb", ["check", "train"])
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["model=gpt", "model.dim=1000000000", "model.num_heads=1"], 2, "more numbers than any memory holds"),
        (["model=gpt", "model.num_layers=1000000"], 2, "more than 5,000 tensors of weights"),
        (["model=lstm", "model.num_layers=1000000"], 2, "more than 5,000 tensors of weights"),
        (["model=gpt", "model.max_len=1000000000"], 1, None),
    ],
)
def test_a_size_that_no_machine_has_room_for_is_said_at_once(verb, words, code, said, cli, tmp_path):
    place = tmp_path / "here"
    found, out, err = cli(verb, *samples.words("text"), *TEXTS, *words, f"output_dir={place}")
    assert found == code, err
    assert (said or {"check": "too little", "train": "memory does not suffice"}[verb]) in out + err
    assert not place.exists()


@pytest.mark.parametrize(
    ("words", "key"), [(["data=mackey_glass"], "num_steps"), (["data=dates"], "num_pairs")]
)
def test_a_dataset_that_no_machine_has_room_for_is_refused(words, key, cli):
    code, _, err = cli("check", *words, f"data.{key}=1000000000000")
    assert code == 2
    assert f"data.{key}: {key} must lie between" in err


def test_more_tensors_than_fit_into_memory_are_not_filled(monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda device: 4 * 1000 * 5)
    with memory.bounded():
        kept = [nn.Linear(10, 100, bias=False) for _ in range(5)]
    with (
        pytest.raises(EnvironmentFault, match="the weights take more than 24,000 bytes, and 20,000 are free"),
        memory.bounded(),
    ):
        kept += [nn.Linear(10, 100, bias=False) for _ in range(7)]
    assert len(kept) == 5


def test_a_batch_larger_than_the_data_is_the_data(cli):
    code, out, err = cli("check", *SMALL, "data.batch_size=1000000000000")
    assert code == 0, err
    assert "1258 x 1 x 8 x 8" in out
    assert "1000000000000 is more than there are training samples" in out


def test_no_changed_key_ends_in_a_traceback_or_is_found_too_late(tmp_path):
    command = [
        sys.executable,
        Path(__file__).parent / "one_key_fuzz.py",
        "--few",
        "--mutations",
        "300",
        "--jobs",
        "1",
    ]
    done = subprocess.run([*command, "--into", tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    # Each key that 300 of them change.
    assert int(re.search(r"(\d+)  in all", done.stdout)[1]) > 150
