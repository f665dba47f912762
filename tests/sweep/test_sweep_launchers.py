"""Launchers of Hydra's ecosystem run a sweep: each trial is a run directory of its own, as with ours."""

import json
import os
import pickle
import signal
import time
from importlib.util import find_spec
from pathlib import Path
from threading import Thread

import pytest

import nnkit
from nnkit.config import catalog
from nnkit.sweep.directory import Sweep
from nnkit.sweep.trial import Job

pytestmark = pytest.mark.slow

TABLE = Path(nnkit.__file__).parent / "data" / "datasets" / "files" / "iris.csv"
FEW = [
    "model=mlp_small",
    "trainer.max_steps=2",
    "logger=[]",
    "callbacks=[checkpoint]",
    "trainer.num_threads=1",
]
QUICK = ["data=iris", *FEW]
SWEEP = Path("outputs/sweeps/mine")


def installed(launcher, plugin):
    absent = find_spec(f"hydra_plugins.{plugin}") is None
    return pytest.param(launcher, marks=pytest.mark.skipif(absent, reason=f"pip install {plugin}"))


def records(path=SWEEP):
    return {found.parent.name: json.loads(found.read_text()) for found in path.glob("*/run.json")}


def states(path=SWEEP):
    return {name: entry.outcome.state for name, entry in Sweep(path).entries().items()}


@pytest.mark.parametrize(
    "launcher",
    [
        "basic",
        installed("joblib", "hydra_joblib_launcher"),
        installed("submitit_local", "hydra_submitit_launcher"),
    ],
)
def test_every_trial_is_the_run_that_it_is_by_itself(cli, launcher):
    # An option file of the user's, which the other processes must find as well.
    Path("more/model").mkdir(parents=True)
    Path("more/model/mine.yaml").write_text(catalog.source("model", "mlp_small").read_text())
    words = ["data=iris", "model=mine", *FEW[1:]]
    # The others start a process for each trial, which takes seconds.
    seeds = [1, 2] if launcher == "basic" else [2]
    sweep = [f"seed=choice({','.join(map(str, seeds))})", f"hydra/launcher={launcher}", "name=mine"]
    code, out, err = cli("train", "-m", "--config-dir", "more", *words, *sweep)
    assert code == 0, err
    lines, names = out.splitlines(), [f"seed={seed}" for seed in seeds]
    assert lines[0] == f"outputs/sweeps/mine: {len(seeds)} trial{'s' if len(seeds) > 1 else ''}"
    assert sorted(line.split()[1] for line in lines[1 : len(seeds) + 1]) == names
    # What trials print goes to their logs.
    assert "checkpoint" not in out
    found = records()
    assert sorted(found) == names
    for seed in seeds:
        alone = nnkit.train([*QUICK, f"seed={seed}", "output_dir=alone"], show=False)
        assert found[f"seed={seed}"]["status"] == "done"
        assert found[f"seed={seed}"]["metrics"] == alone.metrics
        assert found[f"seed={seed}"]["command"] == ["nnkit", "train", *words, f"seed={seed}"]
        assert "last checkpoint" in (SWEEP / "logs" / f"seed={seed}.log").read_text()
    assert set(states().values()) == {"done"}
    assert (SWEEP / "results.csv").is_file()
    # Whatever else Hydra writes stands in the sweep's directory.
    assert sorted(path.name for path in Path().iterdir()) == ["alone", "more", "outputs"]
    assert sorted(
        path.name for path in Path("outputs").rglob("*") if path.is_dir() and path.name.isdigit()
    ) == [*sorted(path.name for path in (SWEEP / ".submitit").glob("[0-9]*"))]
    stop_workers(launcher)


def stop_workers(launcher):
    """joblib keeps its workers for the next call."""
    if launcher == "joblib":
        from joblib.externals.loky import get_reusable_executor

        get_reusable_executor().shutdown(wait=True)


def test_a_failing_trial_leaves_the_others_alone_and_finished_ones_are_passed_over(cli):
    Path("here.csv").write_text(TABLE.read_text())
    command = ["train", "-m", "data=csv", *FEW, "hydra/launcher=basic", "name=mine"]
    code, out, _ = cli(*command, "data.path=absent.csv,here.csv")
    assert code == 1
    assert "1/2 data.path=absent.csv failed  no such file: absent.csv" in out
    assert states() == {"data.path=absent.csv": "failed", "data.path=here.csv": "done"}
    before = records()["data.path=here.csv"]
    assert "absent.csv" in (SWEEP / "logs" / "data.path=absent.csv.log").read_text()
    Path("other.csv").write_text(TABLE.read_text())
    code, out, _ = cli(*command, "data.path=absent.csv,here.csv,other.csv")
    assert code == 1
    assert "3 trials, 2 of them ended before" in out
    assert states()["data.path=other.csv"] == "done"
    assert records()["data.path=here.csv"] == before
    # Our own launcher goes on with what another has begun.
    Path("absent.csv").write_text(TABLE.read_text())
    code, _, err = cli("resume", "outputs/sweeps/mine", "--retry-failed")
    assert code == 0, err
    assert set(states().values()) == {"done"}


def test_ctrl_c_stops_the_sweep_and_the_same_command_goes_on(cli):
    words = ["data=digits", *FEW, "trainer.max_steps=60", "callbacks.checkpoint.every_n_steps=1"]
    command = ["train", "-m", *words, "seed=1,2", "hydra/launcher=basic", "name=mine"]

    def interrupt():
        while not list(SWEEP.glob("seed=1/checkpoints/*.json")):
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGINT)

    Thread(target=interrupt, daemon=True).start()
    code, _, err = cli(*command)
    assert code == 130
    assert "continue with: nnkit resume outputs/sweeps/mine" in err
    assert states() == {"seed=1": "stopped", "seed=2": "planned"}
    code, _, err = cli(*command)
    assert code == 0, err
    assert {name: (record["step"], len(record.get("resumed", []))) for name, record in records().items()} == {
        "seed=1": (60, 1),
        "seed=2": (60, 0),
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["hydra/launcher=ray"], ["the launcher ray is not installed", "pip install hydra-ray-launcher"]),
        (["hydra/launcher=job_lib"], ["there is no launcher 'job_lib'"]),
        (["hydra/sweeper=optuna"], ["does not work with any Optuna of today", "hydra.sweeper.n_trials=30"]),
        (
            ["hydra/launcher=basic", "hydra.launcher.n_jobs=2", "hydra.sweeper.max_batch_size=two"],
            ["hydra.launcher.n_jobs: there is no such option", "max_batch_size: cannot be two"],
        ),
        (["hydra/launcher=basic", "hydra.run.dir=elsewhere"], ["hydra.run.dir: is no option of a sweep"]),
        (
            ["hydra/launcher=basic", "optimizer.lr=interval(0.1,1)"],
            ["optimizer.lr: Hydra's own sweeper cannot"],
        ),
        (["hydra/launcher=basic", "output_dir=a,b"], ["output_dir: belongs to the sweep as a whole"]),
        (["hydra/launcher=basic", "model.hidden=[4],[x]"], ["model.hidden: must be a list of whole numbers"]),
    ],
)
def test_mistakes_are_said_before_anything_is_written(cli, words, said):
    code, _, err = cli("train", "-m", *QUICK, "seed=1,2", *words)
    assert code == 2
    for sentence in said:
        assert sentence in err
    assert not list(Path().iterdir())


@pytest.mark.skipif(
    find_spec("hydra_plugins.hydra_joblib_launcher") is None, reason="needs joblib's launcher"
)
def test_what_a_launcher_cannot_read_of_its_own_settings_is_a_sentence(cli):
    code, _, err = cli(
        "train", "-m", *QUICK, "seed=1,2", "hydra/launcher=joblib", "hydra.launcher.n_jobs=all"
    )
    assert code == 2
    assert "hydra.launcher.n_jobs: cannot be all" in err
    assert not list(Path().iterdir())


def test_a_launcher_that_gives_up_leaves_a_sweep_that_goes_on(cli, monkeypatch):
    from hydra._internal.core_plugins.basic_launcher import BasicLauncher

    def launch(self, job_overrides, initial_job_idx):
        raise ConnectionError("no such cluster\nat all")

    monkeypatch.setattr(BasicLauncher, "launch", launch)
    command = ["train", "-m", *QUICK, "seed=1,2", "hydra/launcher=basic", "name=mine"]
    code, out, err = cli(*command)
    assert code == 1
    assert (
        "nnkit: the launcher gave up: ConnectionError: no such cluster\n    continue with: nnkit resume"
        in err
    )
    assert "2 not ended" in out
    assert states() == {"seed=1": "planned", "seed=2": "planned"}
    monkeypatch.undo()
    assert cli(*command)[0] == 0


def test_a_job_travels_as_plain_data():
    job = Job(SWEEP)
    assert pickle.loads(pickle.dumps(job)) == job
    assert b"hydra" not in pickle.dumps(job)


def test_hydras_flags_do_not_mix_with_a_sweep(cli):
    code, _, err = cli("train", "-m", *QUICK, "seed=1,2", "--info")
    assert code == 2
    assert "-m runs a sweep" in err
