"""Workers share a sweep: each trial is run once, whoever is killed and whatever is down, and the table is the same."""

import json
import os
import shutil
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from postgres import postgres as postgres
from warm import Warm, command

from nnkit.sweep import leases, storage
from nnkit.sweep.directory import Definition, Sweep, Sweeper
from nnkit.sweep.leases import TAKEN, joined
from nnkit.sweep.search import Search
from nnkit.sweep.space import read_space
from nnkit.sweep.trials import DONE, STARTED, Outcome, TrialReport

pytestmark = pytest.mark.slow

SEEDS = (1, 2, 3, 4)
GRID = [
    "data=iris",
    "data.val_fraction=0.2",
    "model=mlp_small",
    "trainer.max_epochs=12",
    "logger=[]",
    "callbacks=[checkpoint]",
    "callbacks.checkpoint.every_n_steps=3",
    "trainer.num_threads=1",
    "seed=1,2,3,4",
]
SAME = ["results.csv", "results.json", *(f"seed={seed}/metrics.jsonl" for seed in SEEDS)]


def elsewhere(*words):
    """Run a command line as on a machine of its own: whether processes of other machines live, nobody can see."""
    name = f"machine-{os.getpid()}"
    leases.machine = lambda: name
    return command(*words)


def wait_for(condition, *processes):
    deadline = time.monotonic() + 120
    while not condition():
        assert all(one.poll() is None for one in processes), [one.said() for one in processes]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def noted(path):
    """Return the states that each worker has noted of each trial."""
    found = {}
    for file in Sweep(path).files():
        for line in file.read_text().splitlines():
            said = json.loads(line)
            found.setdefault(said["trial"], []).append((file.parent.name, said["state"]))
    return found


def running(path, worker):
    """Return whether a worker trains: a trial of it has come so far that it has a checkpoint."""
    return any(
        states[-1] == (states[-1][0], STARTED)
        and states[-1][0].split("-")[-2] == str(worker.pid)
        and any((path / trial / "checkpoints").glob("step-*[0-9].json"))
        for trial, states in noted(path).items()
    )


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The grid, run by one process."""
    folder = tmp_path_factory.mktemp("alone")
    words = ["train", "-m", *GRID, "name=grid", "hydra.launcher.n_jobs=1"]
    process = Warm(command, *words, cwd=folder, out=folder / "said.txt")
    code, said = process.wait()
    assert code == 0, said
    return folder / "outputs/sweeps/grid"


def begin(cli, *words):
    code, out, err = cli("train", "-m", *GRID, "name=grid", "hydra.launcher.n_jobs=0", *words)
    assert code == 0, err
    assert "is run by: nnkit worker outputs/sweeps/grid" in out
    return Path("outputs/sweeps/grid")


def check(path, alone):
    """Compare a sweep with that of one process: each trial done once, and every byte the same."""
    for trial, states in noted(path).items():
        assert [state for _, state in states].count(DONE) == 1, (trial, states)
    for name in SAME:
        assert (path / name).read_bytes() == (alone / name).read_bytes(), name


def worker(*words):
    return Warm(elsewhere, "worker", "grid", *words, "hydra.launcher.n_jobs=1")


def test_on_postgresql_a_killed_worker_and_a_stopped_database_change_nothing(cli, alone, postgres):
    url = f"hydra.sweeper.storage={postgres.url}"
    path = begin(cli, url, "hydra.launcher.lease=10")
    first, second = worker(url), worker(url)
    wait_for(lambda: running(path, first), first, second)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    postgres.stop()
    third = worker(url)
    time.sleep(1)
    postgres.start()
    for one in (second, third):
        code, said = one.wait()
        assert code == 0, said
        assert "grid: 1 setting" in one.printed()
    check(path, alone)
    killed = [
        trial for trial, states in noted(path).items() if [state for _, state in states].count(STARTED) > 1
    ]
    assert killed
    written = [file for file in Path().rglob("*") if file.is_file()]
    assert len(written) > 50
    assert not [file for file in written if postgres.password.encode() in file.read_bytes()]


def test_a_worker_that_is_stopped_gives_its_trial_back_at_once(cli, alone):
    path = begin(cli)
    first, second = worker(), worker()
    wait_for(lambda: running(path, first), first, second)
    os.kill(first.pid, signal.SIGTERM)
    code, said = first.wait()
    assert code == 143, said
    assert "continue with: nnkit worker outputs/sweeps/grid" in said
    code, said = second.wait()
    assert code == 0, said
    check(path, alone)
    stopped = [trial for trial, states in noted(path).items() if "stopped" in [state for _, state in states]]
    assert len(stopped) == 1
    # Whoever comes late finds nothing to do, and shows the table.
    code, out, err = cli("worker", "grid")
    assert code == 0, err
    assert "4 trials, 4 of them ended before" in out


def draw(path, asked, ran):
    """Be a worker of a search whose trials take no time."""
    with joined(Sweep(path), asked, apart=True) as (mine, held):
        search = Search(mine, asked, read_space(asked.axes).axes, mine.entries(), held)
        while search.waits():
            trial = next((one for one in search.offers() if held.take(one.name) == TAKEN), None)
            if trial is None:
                time.sleep(0.01)
                continue
            ran.append(trial.name)
            mine.note((trial, Outcome(STARTED)))
            value = float(trial.words[0].partition("=")[2])
            for step in (1, 2):
                search.report(trial, TrialReport(step, 1, 2, {"val/loss": value}, True))
            outcome = Outcome(DONE, "", {"val/loss": value}, 2)
            mine.note((trial, outcome))
            search.ended(trial, outcome)
            held.leave(trial.name, over=True)


@pytest.mark.parametrize("where", ["journal", "sqlite", "postgresql"])
def test_several_draw_from_one_study_and_each_setting_is_drawn_once(tmp_path, request, where):
    url = {"journal": None, "sqlite": f"sqlite:///{tmp_path / 'study.db'}"}.get(where)
    if where == "postgresql":
        url = request.getfixturevalue("postgres").url
    axes = ("optimizer.lr=tag(log,interval(1e-4,1e-1))", "seed=1,2")
    asked = Definition(("data=mnist",), axes, True, "val/loss", "min", 1, identity=f"drawn in {where}")
    asked = replace(asked, sweeper=Sweeper(n_trials=5, storage=url))
    path, ran = tmp_path / "wide", []
    path.mkdir()
    study = storage.StudyStore(path, url, "minimize")
    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(draw, path, asked, ran) for _ in range(3)]:
            done.result()
    assert set(Counter(ran).values()) == {1}
    assert len(ran) == 10
    assert len({name[:4] for name in ran}) == 5
    assert [one.state.name for one in study.trials()] == ["COMPLETE"] * 5
    assert set(Sweep(path).entries()) == set(ran)
    assert all(entry.outcome.state == DONE for entry in Sweep(path).entries().values())


def test_a_worker_says_what_is_other_than_where_the_sweep_was_begun(cli, caplog):
    path = begin(cli)
    written = json.loads((path / "sweep.json").read_text())
    written["versions"]["torch"] = "1.0"
    written["cpu_capability"] = "NONE"
    written["directory"] = "/nowhere"
    (path / "sweep.json").write_text(json.dumps(written))
    # Nothing is left to be run.
    sweep = Sweep(path)
    sweep.note(*((entry.trial, Outcome(DONE)) for entry in sweep.entries().values()))
    code, _, err = cli("worker", "grid")
    assert code == 0
    assert "torch 1.0 there" in err
    assert "instructions NONE there" in err
    assert "begun in /nowhere, which is not above it here" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["seed=5"], "seed=5: a worker runs the trials of the sweep as they are"),
        (["hydra.sweeper.n_trials=5"], "hydra.sweeper.n_trials: a worker runs the trials"),
        (["hydra.launcher.n_jobs=x"], "must be"),
        (["hydra.launcher.n_jobs=0"], "at least one trial"),
        (["hydra.sweeper.storage=sqlite:///other.db"], "was begun with"),
    ],
)
def test_what_a_worker_cannot_decide_is_refused(cli, words, said):
    path = Path("outputs/sweeps/grid")
    path.mkdir(parents=True)
    Sweep(path).define(Definition(tuple(GRID[:-1]), ("seed=1,2,3,4",), False, "val/loss", "min", 1))
    before = sorted(path.rglob("*"))
    code, _, err = cli("worker", "grid", *words)
    assert code == 2
    assert said in err
    assert sorted(path.rglob("*")) == before


def test_a_sweep_that_is_not_there_and_one_of_another_launcher(cli):
    code, _, err = cli("worker", "grdi")
    assert code == 2
    assert "no sweep 'grdi' below outputs/sweeps" in err
    path = Path("outputs/sweeps/grid")
    path.mkdir(parents=True)
    hydra = ("hydra/launcher=joblib",)
    Sweep(path).define(Definition((), ("seed=1",), False, "val/loss", "min", 1, hydra=hydra))
    code, _, err = cli("worker", "grid")
    assert code == 2
    assert "hydra/launcher=joblib, whose trials take no leases" in err
    shutil.rmtree(path)


def test_threads_are_typed_where_no_trial_runs_here(cli):
    words = [word for word in GRID if "num_threads" not in word]
    code, _, err = cli("train", "-m", *words, "name=grid", "hydra.launcher.n_jobs=0")
    assert code == 2
    assert "trainer.num_threads=4" in err
    assert not Path("outputs").exists()


def test_a_password_is_in_no_message(cli):
    for url in (
        "postgresql+nothing://me:secret@host/x",
        "postgresql+psycopg://me:secret@host/x?passfile=/etc/passwd",
        "postgresql+psycopg://me:se,cret@host/x",
        "postgres ql://me:secret@host/x",
    ):
        code, out, err = cli("train", "-m", *GRID, "name=grid", f"hydra.sweeper.storage={url}")
        assert code == 2, url
        assert "hydra.sweeper.storage" in err
        assert "secret" not in out + err
        assert "cret@" not in out + err
    assert not Path("outputs").exists()


@pytest.mark.skipif(find_spec("submitit") is None, reason="pip install submitit")
# A job outlives whoever submits it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_submitit_starts_a_worker_on_sqlite(cli):
    url = f"hydra.sweeper.storage=sqlite:///{Path.cwd() / 'sweep.db'}"
    quick = [*GRID[:3], "trainer.max_steps=2", *GRID[4:6], "trainer.num_threads=1", "seed=1,2"]
    assert cli("train", "-m", *quick, "name=grid", "hydra.launcher.n_jobs=0", url)[0] == 0
    code, _, err = cli("worker", "grid", url, "--submit", "1")
    assert code == 2
    assert "--job timeout_min=240" in err
    words = [url, "--submit", "1", "--cluster", "local", "--job", "timeout_min=9"]
    code, _, err = cli("worker", "grid", *words, "--job", "slurm_parttition=x")
    assert code == 2
    assert "parttition" in err
    code, out, err = cli("worker", "grid", *words)
    assert code == 0, err
    job, path = int(out.removeprefix("submitted to local: ").partition(";")[0]), Path("outputs/sweeps/grid")
    os.waitpid(job, 0)
    log = (path / f".submitit/{job}/{job}_0_log.out").read_text()
    assert "grid: 1 setting" in log, log
    assert [[state for _, state in states] for states in noted(path).values()] == [
        ["planned", STARTED, DONE]
    ] * 2


def test_what_submitit_would_write_down_holds_no_password(cli):
    pytest.importorskip("psycopg", reason="pip install psycopg[binary]")
    path, url = Path("outputs/sweeps/grid"), "postgresql+psycopg://me:secret@host/x"
    path.mkdir(parents=True)
    asked = Definition((), ("seed=1",), False, "val/loss", "min", 1, sweeper=Sweeper(storage=url))
    Sweep(path).define(asked)
    job = ["--submit", "1", "--job", "timeout_min=9"]
    code, out, err = cli("worker", "grid", f"hydra.sweeper.storage={url}", *job)
    assert code == 2
    assert "~/.pgpass" in err
    assert "secret" not in out + err
    assert not (path / ".submitit").exists()
