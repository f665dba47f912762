"""Mistakes in the words of a sweep: all at once, exit 2, nothing written."""

from pathlib import Path

import pytest

from nnkit.errors import ConfigError
from nnkit.sweep.space import num_bytes, read_options

QUICK = ["data=iris", "model=mlp_small", "trainer.max_steps=2", "logger=[]", "callbacks=[checkpoint]"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["seed=1,2,3,x,5"], ["seed: must be a whole number"]),
        (
            ["head=classifier,clasifier", "optimizer.lr=1,-1"],
            ["did you mean head=classifier", "optimizer.lr"],
        ),
        (["optimizer.lr=interval(1e-3,1e-1)"], ["say how many", "hydra.sweeper.n_trials=30"]),
        (["optimizer.lr=interval(1,0.1)", "hydra.sweeper.n_trials=2"], ["is empty"]),
        (["optimizer.lr=tag(log,interval(0,1))", "hydra.sweeper.n_trials=2"], ["above 0"]),
        (["optimizer.lr=interval(-1,1)", "hydra.sweeper.n_trials=2"], ["optimizer.lr"]),
        (["monitor=val/acuracy", "seed=1,2"], ["val/acuracy"]),
        (["seed=1,2", "hydra.launcher.njobs=2"], ["did you mean hydra.launcher.n_jobs"]),
        (["seed=1,2", "hydra.launcher.n_jobs=many"], ["must be a whole number"]),
        (["seed=1,2", "hydra.launcher.n_jobs=-1"], ["at least 0"]),
        (["seed=1,2", "hydra.launcher.memory_limit=lots"], ["is no size"]),
        (["seed=1,2", "hydra.sweeper.pruner=median"], ["this is a grid"]),
        (["seed=1,2", "hydra.sweep.dir=elsewhere"], ["no option of a sweep"]),
        (["seed=1,2", "name=a,b"], ["belongs to the sweep as a whole"]),
        (["seed=1,2", "name=a/b"], ["plain name"]),
        (["seed=1,2", "seed=3,4"], ["contradict each other"]),
        (["hydra.sweeper.n_trials=3"], ["nothing to search"]),
        (
            ["seed=1,2", "hydra.launcher.n_jobs=1,2"],
            ["1,2 is several values, and the sweep as a whole has one"],
        ),
        (
            ["optimizer.lr=interval(0.1,1", "hydra.sweeper.n_trials=3"],
            ["optimizer.lr: cannot read interval(0.1,1"],
        ),
    ],
)
def test_a_mistake_is_said_before_the_first_trial_and_nothing_is_written(cli, words, said):
    code, _, err = cli("train", "-m", *QUICK, *words)
    assert code == 2, err
    for text in said:
        assert text in err
    assert "Traceback" not in err
    assert not list(Path().iterdir())


def test_a_directory_that_is_no_sweep_is_left_alone(cli):
    Path("outputs/sweeps/mine").mkdir(parents=True)
    Path("outputs/sweeps/mine/notes.txt").write_text("mine")
    code, _, err = cli("train", "-m", *QUICK, "seed=1,2", "name=mine")
    assert code == 2
    assert "exists already and is no sweep" in err
    assert [path.name for path in Path("outputs/sweeps/mine").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("text", "size"),
    [("4GB", 4 * 10**9), ("1.5 GiB", 3 * 2**29), ("500mb", 5 * 10**8), ("200000000", 2 * 10**8)],
)
def test_sizes(text, size):
    assert num_bytes(text) == size


@pytest.mark.parametrize("text", ["", "4 potatoes", "-4GB", "1KB"])
def test_what_is_no_size(text):
    with pytest.raises(ValueError, match=r"size|less than"):
        num_bytes(text)


def test_settings_are_taken_out_of_the_words():
    settings = read_options(["seed=1,2", "hydra.launcher.n_jobs=3", "hydra.sweeper.sampler=random"])
    assert settings.words == ("seed=1,2",)
    assert (settings.launcher.n_jobs, settings.sweeper.sampler) == (3, "random")
    with pytest.raises(ConfigError, match="tpe"):
        read_options(["hydra.sweeper.sampler=magic"])


def test_a_search_on_data_without_a_validation_part_is_refused_and_a_grid_says_what_is_missing(cli):
    words = [*QUICK, "optimizer.lr=interval(1e-3,1e-2)", "hydra.sweeper.n_trials=2"]
    code, _, err = cli("train", "-m", *words)
    assert code == 2
    assert "data.val_fraction=0.2" in err
    assert not list(Path().iterdir())
    code, out, _ = cli("train", "-m", *QUICK, "seed=1,2", "name=blind")
    assert code == 0
    assert (
        "cannot tell: no trial ended with val/accuracy; data.val_fraction=0.2 holds a validation split out"
        in out
    )
