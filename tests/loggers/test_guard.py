"""A logger that raises is named and switched off; the training and its test metrics are not touched."""

import json
import logging
from pathlib import Path

import pytest
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

import nnkit
from nnkit.loggers import Guarded

WORDS = ["data=iris", "model=mlp", "model.hidden=[4]", "trainer.max_epochs=2", "trainer.num_threads=1"]
WORDS += ["callbacks=[checkpoint]", "trainer.log_every_n_steps=2", "name=run"]
FAULTY = '''
from lightning.pytorch.loggers import Logger


class Faulty(Logger):
    """Writes its metrics into the folder it is given, and raises where it is told."""

    name, version = "faulty", ""

    def __init__(self, save_dir: str, at: str = "", file: str = "own.txt") -> None:
        self.at, self.path = at, f"{save_dir}/{file}"
        self.meet("construction")

    def meet(self, where):
        if self.at == where:
            raise KeyError(f"broken at {where}")

    @property
    def experiment(self):
        self.meet("experiment")

    def log_metrics(self, metrics, step=None):
        self.meet("log_metrics")
        if "test/loss" in metrics:
            self.meet("test metrics")
        with open(self.path, "a") as file:
            file.writelines(f"{step} {name}\\n" for name in metrics)

    def log_hyperparams(self, params):
        self.meet("log_hyperparams")

    def finalize(self, status):
        self.meet("finalize")
'''
PLACES = ["construction", "experiment", "log_metrics", "log_hyperparams", "test metrics", "finalize"]


@pytest.fixture
def own_logger(monkeypatch):
    Path("own_loggers.py").write_text(FAULTY)
    monkeypatch.setenv("NNKIT_TRUST", "own_loggers")


@pytest.mark.parametrize("place", PLACES)
def test_a_logger_that_raises_costs_nothing_but_itself(cli, own_logger, place):
    words = [*WORDS, "logger=[csv]", f"+logger.mine={{_target_: own_loggers.Faulty, at: {place}}}"]
    code, out, err = cli("train", *words)
    assert code == 0, err
    assert "test/accuracy" in out
    assert "Traceback" not in err
    # Once, however often it would have raised.
    assert err.count("logger.mine is switched off") == 1
    assert f"broken at {place}" in err
    record = json.loads(Path("outputs/run/run.json").read_text())
    assert record["status"] == "done"
    assert "test/accuracy" in record["metrics"]
    assert "test/accuracy" in Path("outputs/run/csv/metrics.csv").read_text().splitlines()[0]


def test_a_logger_of_the_users_own_gets_all_points_and_its_own_arguments(cli, own_logger):
    code, _, err = cli(
        "train", *WORDS, "logger=[]", "+logger.mine={_target_: own_loggers.Faulty, file: mine.txt}"
    )
    assert code == 0, err
    assert "switched off" not in err
    logged = Path("outputs/run/mine.txt").read_text().split()[1::2]
    rows = [json.loads(line) for line in Path("outputs/run/metrics.jsonl").read_text().splitlines()]
    assert logged.count("train/loss") == sum(row["split"] == "train" for row in rows)
    assert {"test/accuracy", "train/loss_epoch"} <= set(logged)


def test_the_own_place_of_a_logger_may_be_given(cli, own_logger):
    Path("elsewhere").mkdir()
    words = ["logger=[]", "+logger.mine={_target_: own_loggers.Faulty, save_dir: elsewhere}"]
    code, _, err = cli("train", *WORDS, *words)
    assert code == 0, err
    assert Path("elsewhere/own.txt").exists()


def test_every_logger_that_raises_is_named_and_the_others_go_on(cli, own_logger):
    loggers = [
        f"+logger.x{number}={{_target_: own_loggers.Faulty, at: {at}}}" for number, at in enumerate(PLACES)
    ]
    code, _, err = cli("train", *WORDS, "logger=[tensorboard]", *loggers)
    assert code == 0, err
    assert [err.count(f"logger.x{number} is switched off") for number in range(len(PLACES))] == [1] * len(
        PLACES
    )
    assert list(Path("outputs/run/tensorboard").glob("events*"))


def test_a_guarded_logger_looks_like_the_one_inside(tmp_path, caplog):
    guarded = Guarded("logger.x", lambda: CSVLogger(str(tmp_path), name="", version="csv"))
    assert isinstance(guarded, CSVLogger)
    assert isinstance(guarded, Logger)
    assert not isinstance(guarded, TensorBoardLogger)
    assert guarded.log_dir == str(tmp_path / "csv")
    assert not hasattr(guarded, "nothing_of_the_kind")
    assert not caplog.records
    guarded.log_metrics({"a": "x"}, step="y")
    guarded.log_metrics({"a": object()}, step=None)
    guarded.experiment.metrics = None
    guarded.save()
    guarded.log_metrics({"a": 1.0}, step=1)
    with caplog.at_level(logging.WARNING):
        assert guarded.experiment.add_scalar("a", 1.0) is None
    assert not isinstance(guarded, CSVLogger)


def test_the_config_of_a_logger_is_still_checked(cli, own_logger):
    for word, said in (
        ("+logger.mine={_target_: own_loggers.Faulty, att: x}", "logger.mine.at"),
        ("+logger.mine={_target_: own_loggers.Faulty, at: 3}", "must be text"),
        ("+logger.csv.flush_logs_every_n_step=3", "flush_logs_every_n_steps"),
        ("logger.csv.flush_logs_every_n_steps=often", "must be a whole number"),
    ):
        code, _, err = cli("train", *WORDS, "logger=[csv]", word)
        assert code == 2, word
        assert said in err
    assert not Path("outputs").exists()
    assert nnkit.compose([*WORDS, "logger=[]"]).config.get("logger") in ({}, None)
