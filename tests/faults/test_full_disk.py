"""Class 6: what cannot be written or read is said in a sentence, and the good checkpoint stays."""

import os
import re
import resource

import pytest
import torch
from exactness import assert_same_end
from failing_os import EIO, ENOSPC, FULL, FailingOs, WatchedOs
from short_run import SHORT_RUN
from warm import Warm, command

from nnkit.checkpoint.formats import FORMAT
from nnkit.checkpoint.plugin import StoreIO
from nnkit.checkpoint.store import CheckpointStore
from nnkit.data.datasets.iris import Iris
from nnkit.errors import EnvironmentFault
from nnkit.files.layout import METRICS
from nnkit.runs.resuming import resume
from nnkit.runs.run import Run


def limited(*words):
    """Run a command line where no file may grow beyond 20,000 bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    return command(*words)


def assert_a_sentence(err, *parts):
    """Standard error is one message, without a traceback."""
    assert err.startswith("nnkit: ")
    assert "Traceback" not in err
    for part in parts:
        assert re.search(part, err), err


def test_a_failed_write_is_raised_where_the_run_trains_and_the_good_checkpoint_stays(store, operating):
    store.save(1)
    io = StoreIO(store, lambda: None)
    operating(FailingOs(1, ENOSPC, lambda name, path: name == "write"))
    facts = {"step": 2, "epoch": 0, "monitor": None, "score": None, "best": None, "keep": 2}
    io.save_checkpoint({"w": torch.zeros(1), "nnkit": {"format": FORMAT}}, "step-000002", facts)
    with pytest.raises(
        EnvironmentFault,
        match=r"step-000002\.safetensors .*bytes.*No space left.*the last good checkpoint stands",
    ):
        io.flush()
    io.teardown()
    assert store.loaded("last") == 1
    assert not store.litter()


def test_a_limit_on_file_sizes_ends_a_run_with_a_sentence_and_without_the_limit_it_goes_on(
    halfway, undisturbed
):
    code, said = Warm(limited, "resume", halfway.path, err="said.txt").wait()
    assert code == 1
    assert_a_sentence(said, r"step-000010\.state\.json cannot be written \(2\d,\d{3} bytes\): File too large")
    store = CheckpointStore(halfway.checkpoints)
    assert store.load("last")[0].step == 8
    assert not list(halfway.checkpoints.glob("*.tmp"))
    assert not list(halfway.checkpoints.glob("step-000010*"))
    assert halfway.status() == "failed"
    resume(str(halfway.path), show=False)
    assert_same_end(undisturbed, halfway)


@pytest.mark.parametrize("line", [1, 4])
def test_a_log_that_cannot_be_written_ends_the_run_with_a_sentence(
    cli, operating, undisturbed, tmp_path, line
):
    operating(FailingOs(line, FULL, lambda name, path: path.name == METRICS))
    code, _, err = cli("train", *SHORT_RUN, "name=full")
    assert code == 1
    assert_a_sentence(err, rf"full/{METRICS} cannot be written \(\d+ bytes\): No space left on device")
    operating(WatchedOs())
    run = Run(tmp_path / "outputs" / "full")
    assert run.status() != "done"
    resume(str(run.path), show=False)
    assert_same_end(undisturbed, run)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_disk_that_is_full_at_the_start_takes_no_name(cli, operating, tmp_path, number):
    operating(FailingOs(number, FULL))
    code, _, err = cli("train", *SHORT_RUN, "name=full")
    assert code == 1
    assert_a_sentence(err, r"full/\w+\.\w+ cannot be written \([\d,]+ bytes\): No space left on device")
    assert not list((tmp_path / "outputs" / "full").glob("*.tmp"))
    operating(WatchedOs())
    code, _, err = cli("train", *SHORT_RUN, "name=full")
    assert code == 0, err


def test_a_read_error_is_said_and_the_older_checkpoint_used(halfway, operating, undisturbed, warned):
    operating(FailingOs(1, EIO, lambda name, path: name == "read" and path.name == "step-000008.safetensors"))
    resume(str(halfway.path), show=False)
    assert_same_end(undisturbed, halfway)
    assert any(
        re.search(r"step-000008\.safetensors cannot be read: Input/output error", text) for text in warned
    )
    assert any(re.search(r"using step-000006 of step 6", text) for text in warned)


@pytest.mark.parametrize("operation", ["open", "read"])
def test_a_log_that_cannot_be_read_ends_resume_with_a_sentence(cli, halfway, operating, operation):
    operating(FailingOs(1, EIO, lambda name, path: name == operation and path.name == METRICS))
    code, _, err = cli("resume", halfway.path)
    assert code == 1
    assert_a_sentence(err, rf"halfway/{METRICS} cannot be read: Input/output error")
    assert CheckpointStore(halfway.checkpoints).load("last")[0].step == 8


@pytest.fixture
def no_data(monkeypatch):
    """Loading data is an error."""

    def prepare(self):
        raise AssertionError("the data are loaded although nothing can be written")

    monkeypatch.setattr(Iris, "prepare", prepare)


@pytest.mark.parametrize("place", ["taken", "taken/below"])
def test_an_output_dir_that_is_a_file_is_refused_before_data_are_loaded(cli, tmp_path, no_data, place):
    (tmp_path / "taken").write_text("mine")
    code, _, err = cli("train", *SHORT_RUN, f"output_dir={place}")
    assert code == 2
    assert_a_sentence(err, "output_dir: taken is a file, a directory is needed")
    assert (tmp_path / "taken").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_output_dir_that_cannot_be_written_is_refused_before_data_are_loaded(cli, tmp_path, no_data):
    (tmp_path / "locked").mkdir(mode=0o500)
    code, _, err = cli("train", *SHORT_RUN, "output_dir=locked/outputs")
    assert code == 1
    assert_a_sentence(err, "output_dir: locked cannot be written")
