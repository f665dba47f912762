"""One key changed, added or deleted: it has its default, or the mistake is found before anything is written."""

import pytest

from nnkit import config as configs

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
