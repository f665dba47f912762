"""FAULTS class 17: the file of a received sweep makes `resume` write into no database outside its directory."""

import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from nnkit.errors import UserError
from nnkit.sweep.database import refuse_elsewhere
from nnkit.sweep.directory import Definition, Launcher, Sweep, Sweeper

ASKED = Definition(
    words=(
        "data=iris",
        "model=mlp",
        "model.hidden=[4]",
        "trainer.max_steps=2",
        "data.val_fraction=0.2",
        "logger=[]",
    ),
    axes=("optimizer.lr=interval(0.001,0.1)",),
    search=True,
    monitor="val/loss",
    mode="min",
    num_threads=1,
    launcher=Launcher(n_jobs=1),
    sweeper=Sweeper(n_trials=1),
)


@pytest.fixture
def database(tmp_path):
    """A database of the user's with one table."""
    path = tmp_path / "mine.db"
    with sqlite3.connect(path) as connection:
        connection.execute("create table accounts (name text)")
    connection.close()
    return path


def tables(path):
    connection = sqlite3.connect(path)
    names = [name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")]
    connection.close()
    return names


def received(url):
    path = Path("outputs/sweeps/received")
    path.mkdir(parents=True)
    Sweep(path).define(replace(ASKED, sweeper=Sweeper(n_trials=1, storage=url)))
    return path


@pytest.mark.parametrize("kind", ["absolute", "relative", "above", "link"])
def test_resume_writes_into_no_database_that_only_the_sweep_names(cli, database, kind):
    urls = {
        "absolute": f"sqlite:///{database}",
        "relative": "sqlite:///mine.db",
        "above": "sqlite:///outputs/sweeps/received/../../../mine.db",
        "link": "sqlite:///outputs/sweeps/received/study.db",
    }
    path = received(urls[kind])
    if kind == "link":
        (path / "study.db").symlink_to(database)
    before = {one.name for one in path.iterdir()}
    content = database.read_bytes()
    code, _, err = cli("resume", str(path))
    assert code == 2
    assert "lies outside the sweep's directory" in err
    assert f"nnkit resume {path} 'hydra.sweeper.storage=" in err
    assert database.read_bytes() == content
    assert tables(database) == ["accounts"]
    assert {one.name for one in path.iterdir()} == before


def test_a_server_is_not_called_either(cli):
    code, _, err = cli("resume", str(received("postgresql+pg8000://me:secret@example.org/x")))
    assert code == 2
    assert "secret" not in err


def test_a_storage_is_used_if_it_is_in_the_sweep_or_typed(tmp_path):
    path = received("sqlite:///outputs/sweeps/received/study.db")
    refuse_elsewhere(path, Sweep(path).definition().sweeper.storage)
    refuse_elsewhere(path, None)
    with pytest.raises(UserError, match="lies outside"):
        refuse_elsewhere(path, "sqlite:///study.db")
    # A name that begins like the directory's is another one.
    shutil.copytree(path, f"{path}2")
    with pytest.raises(UserError, match="lies outside"):
        refuse_elsewhere(path, f"sqlite:///{path}2/study.db")


def test_what_is_typed_is_obeyed(cli, database):
    url = f"sqlite:///{database}"
    code, _, err = cli("resume", str(received(url)), f"hydra.sweeper.storage={url}")
    assert code == 0, err
    assert "studies" in tables(database)
