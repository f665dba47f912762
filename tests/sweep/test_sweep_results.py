"""What a sweep ends with: the table, the files, who won, and TensorBoard's page of settings."""

import csv
import json
import statistics
import sys

import pytest

from nnkit.errors import UserError
from nnkit.sweep.directory import Definition, Sweep
from nnkit.sweep.results import RESULTS_CSV, RESULTS_JSON, read_results, show_results, write_results
from nnkit.sweep.space import grid, read_space
from nnkit.sweep.trials import DONE, KILLED, PLANNED, PRUNED, RAISED, STARTED, STOPPED, Outcome

AXES = ("model=lenet5,mlp", "optimizer.lr=1e-3,3e-3", "seed=1,2,3")
GOOD = {"lenet5": 0.97, "mlp": 0.90}


def score(trial):
    """Return a value that depends on the trial alone."""
    words = dict(word.split("=") for word in trial.words)
    faster = 0.01 if words.get("optimizer.lr") == "0.003" else 0.0
    return GOOD.get(words.get("model"), 0.9) + faster + int(words.get("seed", 0)) / 1000


def done(trial):
    value = score(trial)
    metrics = {"val/accuracy": value, "test/accuracy": value - 0.02, "test/loss": 1 - value}
    return Outcome(DONE, "", metrics, 100)


@pytest.fixture
def make(tmp_path):
    def make_sweep(name="first", axes=AXES, mode="max", monitor="val/accuracy"):
        sweep = Sweep(tmp_path / "outputs" / "sweeps" / name)
        sweep.path.mkdir(parents=True)
        sweep.define(Definition(("data=mnist",), axes, False, monitor, mode, 1))
        return sweep, list(grid(read_space(axes).axes))

    return make_sweep


def test_trials_that_differ_in_their_seed_are_one_setting_and_the_best_comes_first(make):
    sweep, trials = make()
    sweep.note(*((trial, done(trial)) for trial in trials))
    results = read_results(sweep)
    assert [one.label for one in results.settings] == [
        "model=lenet5 optimizer.lr=0.003",
        "model=lenet5 optimizer.lr=0.001",
        "model=mlp optimizer.lr=0.003",
        "model=mlp optimizer.lr=0.001",
    ]
    first = results.settings[0].summary("val/accuracy")
    values = [0.981, 0.982, 0.983]
    assert (first.count, first.mean, first.deviation) == pytest.approx(
        (3, statistics.mean(values), statistics.stdev(values))
    )
    assert results.verdict.winner == "model=lenet5 optimizer.lr=0.003"
    assert results.all_done
    assert results.best.trial.name == "model=lenet5,optimizer.lr=0.003,seed=3"


def test_lower_is_better_where_the_definition_says_so(make):
    sweep, trials = make(mode="min", monitor="test/loss")
    sweep.note(*((trial, done(trial)) for trial in trials))
    assert read_results(sweep).verdict.winner == "model=lenet5 optimizer.lr=0.003"


def test_the_files_hold_every_digit_and_no_time(make):
    sweep, trials = make()
    sweep.note(*((trial, done(trial)) for trial in trials))
    write_results(sweep)
    with (sweep.path / RESULTS_CSV).open() as file:
        rows = list(csv.DictReader(file))
    assert [row["model"] for row in rows] == ["lenet5", "lenet5", "mlp", "mlp"]
    found = json.loads((sweep.path / RESULTS_JSON).read_text())
    for row, setting in zip(rows, found["settings"], strict=True):
        values = setting["metrics"]["val/accuracy"]["values"]
        assert values == [score(trial) for trial in trials if trial.name in setting["trials"]]
        assert (
            float(row["val/accuracy"])
            == setting["metrics"]["val/accuracy"]["mean"]
            == statistics.fmean(values)
        )
        assert float(row["val/accuracy low"]) < float(row["val/accuracy"]) < float(row["val/accuracy high"])
        assert row["trials"] == "done"
    text = (sweep.path / RESULTS_CSV).read_text() + (sweep.path / RESULTS_JSON).read_text()
    assert "2026" not in text


def test_an_interrupted_and_resumed_grid_ends_with_the_same_bytes(make):
    whole, trials = make("whole")
    whole.note(*((trial, Outcome(PLANNED)) for trial in trials))
    broken, _ = make("broken")
    broken.note(*((trial, Outcome(PLANNED)) for trial in trials))
    for trial in trials:
        whole.note((trial, Outcome(STARTED)), (trial, done(trial)))
    # Killed in the middle, then the rest in another order.
    for trial in trials[:5]:
        broken.note((trial, Outcome(STARTED)), (trial, Outcome(STOPPED, "stopped by SIGTERM", {}, 3)))
    for trial in reversed(trials):
        broken.note((trial, Outcome(STARTED)), (trial, done(trial)))
    for sweep in (whole, broken):
        write_results(sweep)
    for name in (RESULTS_CSV, RESULTS_JSON):
        assert (whole.path / name).read_bytes() == (broken.path / name).read_bytes()


def test_what_failed_is_said_with_where_to_look_and_what_to_type(make, capsys):
    sweep, trials = make()
    sweep.note(*((trial, done(trial)) for trial in trials[:-2]))
    sweep.note((trials[-2], Outcome(KILLED, "killed by SIGKILL")), (trials[-1], Outcome(RAISED, "it broke")))
    results = show_results(sweep)
    out = capsys.readouterr().out
    assert not results.all_done
    assert [len(one.entries) for one in results.settings] == [3, 3, 3, 3]
    assert results.settings[2].seeds == 1
    for line in (
        "model=mlp,optimizer.lr=0.003,seed=2   killed by SIGKILL",
        "model=mlp,optimizer.lr=0.003,seed=3   it broke",
        "1 killed, 1 failed",
        "has one seed only, run at least 2 more (of 12 trials: 2 failed)",
        "logs/TRIAL.log",
        "nnkit resume outputs/sweeps/first --retry-failed",
        "nnkit compare outputs/sweeps/first",
        "nnkit test outputs/sweeps/first/model=lenet5,optimizer.lr=0.003,seed=3",
    ):
        assert line in out
    assert write_results(sweep).failed == results.failed
    failed = json.loads((sweep.path / RESULTS_JSON).read_text())["failed"]
    assert failed[1] == {"trial": trials[-1].name, "state": "failed", "reason": "it broke"}


def test_a_retried_trial_has_failed_no_more(make):
    sweep, trials = make()
    sweep.note((trials[0], Outcome(KILLED, "killed by SIGKILL")))
    sweep.note((trials[0], Outcome(STARTED)), *((trial, done(trial)) for trial in trials))
    assert read_results(sweep).all_done


def test_pruned_settings_have_values_and_neither_win_nor_stand_in_the_way(make):
    sweep, trials = make(axes=("optimizer.lr=1,2,3", "seed=1,2"))
    sweep.note(
        *((trial, Outcome(PRUNED, "", {"val/accuracy": 0.99}, 10)) for trial in trials[:2]),
        *(
            (trial, Outcome(DONE, "", {"val/accuracy": 0.5 + place / 1e4}, 90))
            for place, trial in enumerate(trials[2:4])
        ),
        *(
            (trial, Outcome(DONE, "", {"val/accuracy": 0.8 + place / 1e4}, 90))
            for place, trial in enumerate(trials[4:])
        ),
    )
    results = read_results(sweep)
    assert results.settings[0].pruned
    assert results.settings[0].summary("val/accuracy").mean == 0.99
    assert results.verdict.winner == "optimizer.lr=3"


@pytest.mark.parametrize(
    ("outcome", "sentence"),
    [
        (
            Outcome(DONE, "", {"test/accuracy": 0.5}),
            "cannot tell: no trial ended with val/accuracy; data.val_fraction=0.2 holds a validation split out",
        ),
        (Outcome(KILLED), "cannot tell: no trial ended with val/accuracy (of 12 trials: 12 failed)"),
        (Outcome(PLANNED), "cannot tell: no trial ended with val/accuracy (of 12 trials: 12 not ended)"),
        (Outcome(DONE, "", {"val/accuracy": float("nan")}), "cannot tell: no setting has a value to compare"),
    ],
)
def test_nothing_to_judge_by(make, capsys, outcome, sentence):
    sweep, trials = make()
    sweep.note(*((trial, outcome) for trial in trials))
    show_results(sweep)
    write_results(sweep)
    assert sentence in capsys.readouterr().out.splitlines()
    json.loads((sweep.path / RESULTS_JSON).read_text(), parse_constant=pytest.fail)


def test_a_sweep_without_trials_and_one_without_a_definition(make, capsys):
    sweep, _ = make()
    show_results(sweep)
    write_results(sweep)
    assert "cannot tell" in capsys.readouterr().out
    (sweep.path / "sweep.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        show_results(sweep)


def test_folds_are_repetitions_like_seeds(make, capsys):
    sweep, trials = make(axes=("data.fold=0,1,2", "model=lenet5,mlp"))
    for place, trial in enumerate(trials):
        value = 0.9 + place / 100
        sweep.note((trial, Outcome(DONE, "", {"val/accuracy": value}, 100)))
    results = show_results(sweep)
    assert [one.choice for one in results.settings] == [{"model": "mlp"}, {"model": "lenet5"}]
    assert results.settings[0].values("val/accuracy") == pytest.approx([0.91, 0.93, 0.95])
    assert "model    folds   val/accuracy" in capsys.readouterr().out


def test_seeds_alone_and_long_numbers(make, capsys):
    sweep, trials = make(axes=("seed=1,2,3",))
    sweep.note(*((trial, done(trial)) for trial in trials))
    show_results(sweep)
    assert "there is one setting" in capsys.readouterr().out
    sweep, trials = make("long", axes=("optimizer.lr=0.00123412345,0.00123412346", "seed=1,2"))
    sweep.note(*((trial, done(trial)) for trial in trials))
    # In four digits they look the same.
    assert "optimizer.lr=0.00123412345 and optimizer.lr=0.00123412346" in read_results(sweep).verdict.sentence


def test_eighty_columns_are_enough(make, capsys, monkeypatch):
    sweep, trials = make()
    sweep.note(*((trial, done(trial)) for trial in trials))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "80")
    show_results(sweep)
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    # No cell is broken in two.
    assert any(
        "lenet5   0.003" in line and "0.9820 ± 0.001" in line and ".." in line for line in out.splitlines()
    )
    assert "also in results.csv: " in out


def test_tensorboard_finds_one_session_a_trial_with_its_settings_and_metrics(tmp_path, monkeypatch):
    from nnkit.config import compose
    from nnkit.runs.training import train

    words = [
        "data=iris",
        "model.hidden=[4]",
        "trainer.max_steps=2",
        "trainer.num_threads=1",
        "data.val_fraction=0.2",
    ]
    words += ["callbacks=[checkpoint]", f"output_dir={tmp_path}/sweep"]
    ended = {}
    for model, seed in (("mlp", 1), ("mlp", 2), ("mlp_3b1b", 1)):
        name = f"model={model},seed={seed}"
        result = train(compose([*words, f"model={model}", f"seed={seed}", f"name='{name}'"]), show=False)
        ended[name] = (model, seed, result.metrics)
    sessions = read_sessions(tmp_path / "sweep")
    assert set(sessions) == {f"{name}/tensorboard" for name in ended}
    for name, (model, seed, metrics) in ended.items():
        settings, shown = sessions[f"{name}/tensorboard"]
        assert (settings["model"].string_value, settings["seed"].number_value) == (model, seed)
        assert "val/accuracy" in shown
        assert shown == pytest.approx(metrics)


def read_sessions(directory):
    """Ask the part of TensorBoard's server that fills its page of settings."""
    from tensorboard import context
    from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
    from tensorboard.plugins import base_plugin
    from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups

    events = plugin_event_multiplexer.EventMultiplexer()
    events.AddRunsFromDirectory(str(directory))
    events.Reload()
    provider = data_provider.MultiplexerDataProvider(events, str(directory))
    backend = backend_context.Context(base_plugin.TBContext(data_provider=provider))
    every = [api_pb2.STATUS_UNKNOWN, api_pb2.STATUS_SUCCESS, api_pb2.STATUS_FAILURE, api_pb2.STATUS_RUNNING]
    request = api_pb2.ListSessionGroupsRequest(slice_size=100, allowed_statuses=every)
    answer = list_session_groups.Handler(context.RequestContext(), backend, "", request).run()
    return {
        group.name: (group.hparams, {one.name.tag: one.value for one in group.metric_values})
        for group in answer.session_groups
    }
