"""The report that a training writes at its end: by default, of single runs, and at no cost to them."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest
import samples
import torch

import nnkit
from nnkit.callbacks.signals import Interrupted
from nnkit.checkpoint.compare import run_differences
from nnkit.errors import UserError

pytestmark = pytest.mark.usefixtures("reports")
SMALL = ["data=iris", "model=mlp", "trainer.max_epochs=2", "trainer.num_threads=1", "logger=[]"]


def test_a_training_writes_its_report_and_says_where(cli):
    code, out, err = cli("train", *SMALL, "name=mine")
    assert code == 0, err
    assert out.count("report: outputs/mine/report.html") == 1
    assert out.count("report.html") == 1
    html = Path("outputs/mine/report.html").read_text()
    assert "mlp on iris" in html
    assert "nnkit train data=iris model=mlp" in html
    assert "setosa" in html
    # The record is closed by then.
    assert "<dd>done</dd>" in html


def test_from_python_as_well_and_nothing_is_printed(capsys):
    result = nnkit.train([*SMALL, "name=mine"])
    assert (result.run.path / "report.html").is_file()
    assert capsys.readouterr().out == ""


def test_it_can_be_turned_off(cli):
    code, out, _ = cli("train", *SMALL, "name=mine", "report=false")
    assert code == 0
    assert "report" not in out
    assert not Path("outputs/mine/report.html").exists()


def test_a_page_that_cannot_be_drawn_does_not_undo_the_training(cli, monkeypatch):
    from nnkit.analysis.report import single

    def broken(*arguments):
        raise ZeroDivisionError("nothing to divide by\nand more")

    with monkeypatch.context() as patch:
        patch.setattr(single, "report", broken)
        code, out, err = cli("train", *SMALL, "name=mine")
    assert code == 0
    assert "test/accuracy" in out
    assert "the report could not be written: nothing to divide by" in err
    assert "try again with: nnkit report outputs/mine" in err
    assert "Traceback" not in err
    assert nnkit.load("outputs/mine").run.record()["status"] == "done"
    code, _, _ = cli("report", "outputs/mine")
    assert code == 0


def test_an_interrupted_run_has_none_until_it_has_ended(monkeypatch):
    from lightning.pytorch import Callback

    from nnkit.analysis.report import ending

    class Stopping(ending.Reporting):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            if trainer.global_step == 3:
                import os
                import signal

                os.kill(os.getpid(), signal.SIGINT)

    assert issubclass(Stopping, Callback)
    with monkeypatch.context() as patch:
        patch.setattr(ending, "Reporting", Stopping)
        with pytest.raises(Interrupted):
            nnkit.train([*SMALL, "name=mine"])
    assert not Path("outputs/mine/report.html").exists()
    nnkit.resume("outputs/mine")
    html = Path("outputs/mine/report.html").read_text()
    assert "it went on" in html


def test_a_run_that_is_done_is_left_alone():
    words = [*SMALL, "name=mine", "auto_resume=true"]
    nnkit.train(words)
    Path("outputs/mine/report.html").unlink()
    nnkit.train(words)
    assert not Path("outputs/mine/report.html").exists()


def test_the_run_is_the_same_with_and_without_a_report():
    words = [*SMALL, "model.dropout=0.2"]
    nnkit.train([*words, "name=with"])
    after = torch.get_rng_state()
    nnkit.train([*words, "name=without", "report=false"])
    assert torch.equal(after, torch.get_rng_state())
    assert [*run_differences(Path("outputs/with"), Path("outputs/without"))] == []


def test_modes_and_generators_stay_as_they_were():
    from nnkit.analysis.report.ending import write_report

    result = nnkit.train([*samples.words("text"), "model=gpt", *samples.small("gpt"), "trainer.max_steps=2"])
    session = result.session
    session.task.network.train()
    session.task.network.head.eval()
    before = torch.get_rng_state()
    write_report(result.run, session.task, session.data, Path("page.html"))
    assert torch.equal(before, torch.get_rng_state())
    assert session.task.network.training
    assert not session.task.network.head.training


def test_what_was_tested_is_not_computed_again(monkeypatch):
    from nnkit.analysis.report import samples as seen

    monkeypatch.setattr(seen, "look_at", lambda task, data: pytest.fail("the test is computed again"))
    result = nnkit.train(
        [*samples.words("pairs"), "model=seq2seq_lstm", "model.dim=8", "trainer.max_steps=2"]
    )
    html = (result.run.path / "report.html").read_text()
    assert "what is written" in html
    assert "all 8 test samples" in html


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_both_ways_to_see_the_samples_agree(precision):
    words = ["model=lenet5", "trainer.max_steps=5", "logger=[]", f"trainer.precision={precision}"]
    result = nnkit.train([*samples.words("pictures"), *words])
    at_the_end = (result.run.path / "report.html").read_text()
    from nnkit.analysis.report.ending import write_report

    run = nnkit.load(result.run)
    write_report(run.run, run.task, run.data, Path("page.html"))
    again = Path("page.html").read_text()
    assert at_the_end == again


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize(("kind", "model"), [("text", "gpt"), ("sentences", "bert_tiny")])
def test_what_is_resampled_has_the_precision_of_the_run(kind, model, precision, monkeypatch):
    from nnkit.analysis.report import single
    from nnkit.analysis.report.answers import intervals_of
    from nnkit.analysis.report.ending import write_report

    seen, report = [], single.report
    monkeypatch.setattr(
        single, "report", lambda run, task, data, found: seen.append(found) or report(run, task, data, found)
    )
    words = [
        *samples.words(kind),
        f"model={model}",
        *samples.small(model),
        "trainer.max_steps=8",
        "logger=[]",
    ]
    result = nnkit.train([*words, f"trainer.precision={precision}", "optimizer.lr=1e-2"])
    run = nnkit.load(result.run)
    write_report(run.run, run.task, run.data, Path("page.html"))
    at_the_end, again = (intervals_of(run.task, one) for one in seen)
    known = run.run.record()["metrics"]
    for name, interval in again.items():
        assert interval.value == pytest.approx(known[f"test/{name}"], rel=2e-6)
        assert interval == at_the_end[name]


def test_a_run_in_half_precision_has_a_report():
    words = ["data=diabetes", "model=mlp_small", "trainer.max_steps=3", "logger=[]"]
    result = nnkit.train([*words, "trainer.precision=bf16-true"])
    assert "Results" in (result.run.path / "report.html").read_text()
    assert {one.dtype for one in result.session.task.network.parameters()} == {torch.bfloat16}


def test_data_without_a_test_part_are_seen_by_their_validation_part():
    words = [*samples.words("text"), "data.test_fraction=0", "model=gpt", *samples.small("gpt")]
    try:
        result = nnkit.train([*words, "trainer.max_steps=3", "logger=[]"])
    except UserError as error:
        pytest.fail(str(error))
    html = (result.run.path / "report.html").read_text()
    assert "validation samples" in html
    assert "val bits per character" in html


def test_trials_of_a_sweep_write_none(cli):
    code, _, err = cli("train", "-m", *SMALL, "seed=1,2", "name=mine")
    assert code == 0, err
    assert len([*Path("outputs").rglob("run.json")]) == 2
    assert not [*Path("outputs").rglob("report.html")]


@pytest.mark.slow
def test_of_several_processes_the_first_one_writes_it():
    words = [*SMALL, "name=both", "trainer.devices=2", "trainer.accelerator=cpu"]
    done = subprocess.run(
        [sys.executable, "-m", "nnkit", "train", *words],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("report: outputs/both/report.html") == 1
    html = Path("outputs/both/report.html").read_text()
    assert "2" in html
    # Each process tests a share of each batch.
    assert "15 of 30 test samples" in html


def test_a_warning_is_a_warning_of_ours(caplog, monkeypatch):
    from nnkit.analysis.report import single

    monkeypatch.setattr(single, "report", lambda *arguments: 1 / 0)
    with caplog.at_level(logging.WARNING, "nnkit"):
        nnkit.train([*SMALL, "name=mine"])
    assert [record.name for record in caplog.records if "report" in record.message] == ["nnkit"]
