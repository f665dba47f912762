"""A search: what it asks, what it learns, what it ends early, and that a kill changes none of it."""

import logging
import math
import sys
from dataclasses import replace
from itertools import count
from pathlib import Path

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from nnkit.errors import ConfigError, EnvironmentFault, UserError
from nnkit.sweep import driver, plan
from nnkit.sweep.directory import Definition, Sweep, Sweeper
from nnkit.sweep.leases import TAKEN, LeaseFiles, Leases, reopen
from nnkit.sweep.search import Search
from nnkit.sweep.space import read_space
from nnkit.sweep.study import draw, drawn_text, few_digits
from nnkit.sweep.trials import (
    DONE,
    FAILED,
    PRUNED,
    RAISED,
    STARTED,
    STOPPED,
    Outcome,
    TrialReport,
    numbered_name,
    values,
)

LR = "optimizer.lr=tag(log,interval(1e-4,1e-1))"
WIDTH = "model.dim=int(interval(8,64))"
VALIDATIONS = 4
# Seconds that a search would have waited for its storage.
waits = []
numbers = count()


def definition(*axes, **sweeper):
    settings = Sweeper(**{"n_trials": 12, **sweeper})
    return Definition(("data=mnist",), axes or (LR, WIDTH), True, "val/loss", "min", 1, sweeper=settings)


class Driven(Search):
    """A search in the one process that drives it; it takes the trials of those before it, which were killed."""

    def next(self):
        taken = (trial for trial in self.offers() if self._leases.take(trial.name) == TAKEN)
        return next(taken, None)


def open_search(sweep, asked, retry_failed=False, **injected):
    axes, store = read_space(asked.axes).axes, sweep.path.parent / f"{sweep.path.name} leases"
    store.mkdir(exist_ok=True, parents=True)
    leases = Leases(LeaseFiles(store), LeaseFiles(store), f"process-{next(numbers)}", store, 60.0)
    leases._locks = True
    for entry in sweep.settled().values() if retry_failed else ():
        if entry.outcome.state in FAILED:
            reopen(sweep, leases, entry.trial)
    return Driven(sweep, asked, axes, sweep.settled(), leases, sleep=waits.append, **injected)


def loss(trial, validation):
    """Return a bowl around lr = 3e-3 and 40, which is reached in four validations."""
    found = values(trial)
    away = (math.log10(float(found["optimizer.lr"])) + 2.5) ** 2
    away += ((int(found.get("model.dim", 40)) - 40) / 40) ** 2
    return 0.1 * int(found.get("seed", 0)) + away + 1 / validation


class Killed(Exception):
    pass


class Clock:
    """Kills the driver at the n-th thing it does."""

    def __init__(self, last=10**9):
        self.left = last

    def tick(self):
        self.left -= 1
        if self.left < 0:
            raise Killed


def drive(sweep, asked, clock=None, score=loss, **options):
    """Run a search as the driver does, one trial at a time; a trial that goes on says again what it has said."""
    clock = clock or Clock()
    sweep.path.mkdir(parents=True, exist_ok=True)
    search = open_search(sweep, asked, **options)
    while (trial := search.next()) is not None:
        clock.tick()
        sweep.note((trial, Outcome(STARTED)))
        outcome = run(search, trial, score, clock)
        sweep.note((trial, outcome))
        clock.tick()
        search.ended(trial, outcome)
        clock.tick()
    assert search.next() is None
    return search


def run(search, trial, score, clock):
    value = None
    for validation in range(1, VALIDATIONS + 1):
        clock.tick()
        value = score(trial, validation)
        if isinstance(value, Outcome):
            return value
        said = TrialReport(100 * validation, validation, 100 * VALIDATIONS, {"val/loss": value}, True)
        stop = search.report(trial, said)
        clock.tick()
        if stop and search.definition.sweeper.pruner is not None:
            return Outcome(PRUNED, "", {"val/loss": value}, said.step)
    return Outcome(DONE, "", {"val/loss": value}, 100 * VALIDATIONS)


@pytest.fixture
def sweep(tmp_path):
    path = tmp_path / "wide"
    path.mkdir()
    return Sweep(path)


@pytest.fixture(autouse=True)
def no_waiting():
    waits.clear()
    return waits


def study_of(sweep):
    """Open the study as anybody would who knows Optuna."""
    journal = JournalStorage(JournalFileBackend(str(sweep.path / "study.journal")))
    return optuna.load_study(study_name=sweep.path.name, storage=journal)


def told(sweep):
    return [
        (one.number, one.state.name, one.params, one.value, one.intermediate_values)
        for one in study_of(sweep).trials
    ]


def states(sweep):
    return {name: entry.outcome.state for name, entry in sweep.settled().items()}


@pytest.mark.parametrize("pruner", [None, "median", "hyperband", "patient"])
def test_others_read_the_study(sweep, pruner):
    drive(sweep, definition(pruner=pruner, n_trials=14))
    study = study_of(sweep)
    assert study.direction.name == "MINIMIZE"
    assert len(study.trials) == 14
    for one, (name, entry) in zip(study.trials, sweep.settled().items(), strict=True):
        said = values(entry.trial)
        assert name.startswith(f"{one.number:04},lr=")
        assert one.params == {
            "optimizer.lr": float(said["optimizer.lr"]),
            "model.dim": int(said["model.dim"]),
        }
        assert (one.state == TrialState.PRUNED) == (entry.outcome.state == PRUNED)
        assert one.value == entry.outcome.metrics["val/loss"]
    assert pruner is None or any(one.state == TrialState.PRUNED for one in study.trials) == (
        pruner != "patient"
    )


@pytest.mark.parametrize("pruner", ["median", "hyperband"])
def test_pruning_saves_steps_and_spares_the_best(tmp_path, pruner):
    found = {}
    for kind in (None, pruner):
        sweep = Sweep(tmp_path / str(kind))
        drive(sweep, definition(pruner=kind, sampler="random", n_trials=16))
        ends = [entry.outcome for entry in sweep.settled().values()]
        best = min(end.metrics["val/loss"] for end in ends if end.state == DONE)
        found[kind] = sum(end.step for end in ends), best
    assert found[pruner][0] < 0.8 * found[None][0]
    assert found[pruner][1] == found[None][1]


def test_patient_lets_a_trial_go_on_that_still_gets_better(sweep, tmp_path):
    def worsening(trial, validation):
        return loss(trial, 1) + 0.01 * validation

    def bettering(trial, validation):
        return loss(trial, 1) - 0.01 * validation

    drive(sweep, definition(pruner="patient", patience=1), score=bettering)
    assert PRUNED not in states(sweep).values()
    other = Sweep(tmp_path / "other")
    drive(other, definition(pruner="patient", patience=1), score=worsening)
    assert PRUNED in states(other).values()


def test_a_guided_search_beats_a_random_one(tmp_path):
    best = {}
    for sampler in ("tpe", "random"):
        sweep = Sweep(tmp_path / sampler)
        drive(sweep, definition(sampler=sampler, n_trials=30))
        best[sampler] = study_of(sweep).best_value
    assert best["tpe"] < best["random"]


@pytest.mark.parametrize("pruner", [None, "median", "hyperband"])
def test_a_search_that_is_killed_anywhere_ends_like_one_that_is_not(tmp_path, pruner):
    whole = Sweep(tmp_path / "a" / "same")
    asked = definition(pruner=pruner, n_trials=13)
    drive(whole, asked)
    for interval in (13, 29):
        sweep = Sweep(tmp_path / str(interval) / "same")
        for _ in range(1000):
            try:
                drive(sweep, asked, Clock(interval))
                break
            except Killed:
                continue
        assert told(sweep) == told(whole)
        assert states(sweep) == states(whole)


def test_a_kill_between_the_two_writes_of_an_end_is_healed(sweep):
    asked = definition(n_trials=2)
    search = open_search(sweep, asked)
    first = search.next()
    sweep.note((first, Outcome(STARTED)))
    # The status file knows; the study does not.
    sweep.note((first, Outcome(DONE, "", {"val/loss": 0.5})))
    search = open_search(sweep, asked)
    assert study_of(sweep).trials[0].value == 0.5
    second = search.next()
    sweep.note((second, Outcome(STARTED)))
    search.ended(second, Outcome(DONE, "", {"val/loss": 0.25}))
    # The study knows; the status file does not: the run goes on to its end, and the study stays as it is.
    search = open_search(sweep, asked)
    assert search.next() == second
    search.ended(second, Outcome(DONE, "", {"val/loss": 0.125}))
    assert search.next() is None
    assert [one.value for one in study_of(sweep).trials] == [0.5, 0.25]


@pytest.fixture
def told_to_stop(sweep):
    """Return a sweep that was killed right after its sixth trial was told to stop, and that trial."""
    search = open_search(sweep, definition(pruner="median", n_trials=6))
    for _ in range(5):
        trial = search.next()
        sweep.note((trial, Outcome(STARTED)))
        outcome = run(search, trial, lambda trial, validation: 1.0, Clock())
        sweep.note((trial, outcome))
        search.ended(trial, outcome)
    trial = search.next()
    sweep.note((trial, Outcome(STARTED)))
    assert search.report(trial, TrialReport(100, 1, 400, {"val/loss": 2.0}))
    return sweep, trial


def test_the_word_to_stop_holds_after_a_kill(told_to_stop):
    sweep, trial = told_to_stop
    search = open_search(sweep, definition(pruner="median", n_trials=6))
    assert search.next() == trial
    assert search.report(trial, TrialReport(100, 1, 400, {"val/loss": 0.0}))


@pytest.mark.parametrize("alive", [True, False])
def test_a_trial_that_was_told_to_stop_is_pruned_whoever_says_how_it_ended(told_to_stop, alive):
    sweep, trial = told_to_stop
    ended = Outcome(DONE, "", {"val/loss": 2.0})
    if alive:
        # Its checkpoint says that it is over, so it ends without a further validation.
        search = open_search(sweep, definition(pruner="median", n_trials=6))
        assert search.next() == trial
        sweep.note((trial, ended))
        search.ended(trial, ended)
    else:
        # Its run had ended, which is then all that is known.
        sweep.note((trial, ended))
        assert open_search(sweep, definition(pruner="median", n_trials=6)).next() is None
    assert states(sweep)[trial.name] == PRUNED
    assert study_of(sweep).trials[5].state == TrialState.PRUNED


def test_seeds_are_no_part_of_the_space(sweep):
    asked = definition(LR, "seed=1,2,3", n_trials=3)
    search = drive(sweep, asked)
    names = list(sweep.entries())
    assert [name[:4] for name in names] == ["0000"] * 3 + ["0001"] * 3 + ["0002"] * 3
    assert [name[-6:] for name in names] == ["seed=1", "seed=2", "seed=3"] * 3
    assert search.total() == 9
    for one in study_of(sweep).trials:
        assert list(one.params) == ["optimizer.lr"]
        ends = [
            end.outcome.metrics["val/loss"]
            for name, end in sweep.entries().items()
            if name[:4] == f"{one.number:04}"
        ]
        assert one.value == pytest.approx(sum(ends) / 3)
        assert len(one.intermediate_values) == VALIDATIONS


def test_no_further_seed_of_a_setting_that_failed_or_was_pruned(sweep):
    def score(trial, validation):
        number, seed = int(trial.name[:4]), values(trial)["seed"]
        if (number, seed) == (0, "2"):
            return Outcome(RAISED, "ValueError: no")
        return math.nan if number == 1 else loss(trial, validation)

    asked = definition(LR, "seed=1,2,3", n_trials=3, pruner="median")
    search = drive(sweep, asked, score=score)
    assert [(name[:4], name[-1]) for name in sweep.entries()] == [
        ("0000", "1"),
        ("0000", "2"),
        ("0001", "1"),
        ("0002", "1"),
        ("0002", "2"),
        ("0002", "3"),
    ]
    assert search.total() == 6
    first, second, third = study_of(sweep).trials
    assert (first.state, second.state, third.state) == (
        TrialState.FAIL,
        TrialState.PRUNED,
        TrialState.COMPLETE,
    )
    assert "seed=2: failed: ValueError: no" in first.user_attrs["why"]


def test_seeds_run_one_after_the_other_beside_other_settings(sweep):
    asked = definition(LR, "seed=1,2", n_trials=2)
    search = open_search(sweep, asked)
    first, other = search.next(), search.next()
    assert (first.name[:4], other.name[:4]) == ("0000", "0001")
    assert search.next() is None
    search.ended(first, Outcome(DONE, "", {"val/loss": 1.0}))
    assert values(search.next()) == {**values(first), "seed": "2"}


def test_failed_trials_are_begun_again_if_asked(sweep):
    def fails(trial, validation):
        return Outcome(RAISED, "ValueError: no") if trial.name.startswith("0002") else loss(trial, validation)

    asked = definition(n_trials=4)
    drive(sweep, asked, score=fails)
    assert open_search(sweep, asked).next() is None
    (broken,) = [name for name, state in states(sweep).items() if state in FAILED]
    drive(sweep, asked, retry_failed=True, score=fails)
    drive(sweep, asked, retry_failed=True)
    assert states(sweep)[broken] == DONE
    assert len(states(sweep)) == 4
    tries = [one for one in study_of(sweep).trials if one.user_attrs.get("repeats", one.number) == 2]
    assert [one.state for one in tries] == [TrialState.FAIL, TrialState.FAIL, TrialState.COMPLETE]
    assert tries[0].params == tries[2].params
    # None of them counts beyond the setting that it repeats.
    more = replace(asked, sweeper=replace(asked.sweeper, n_trials=5))
    drive(sweep, more)
    assert len(states(sweep)) == 5
    assert open_search(sweep, more).next() is None


def test_more_trials_go_on_where_the_search_ended(sweep, tmp_path):
    asked = definition(n_trials=13)
    whole = Sweep(tmp_path / "whole" / "wide")
    drive(whole, asked)
    drive(sweep, definition(n_trials=5))
    drive(sweep, asked)
    assert told(sweep) == told(whole)


def test_parallel_trials_differ(sweep):
    asked = definition(n_trials=16)
    search = open_search(sweep, asked)
    for _ in range(12):
        trial = search.next()
        search.ended(trial, Outcome(DONE, "", {"val/loss": loss(trial, 4)}))
    running = [search.next() for _ in range(4)]
    assert len({trial.words for trial in running}) == 4
    assert search.next() is None
    assert search.next() is None


def test_time_is_up(sweep):
    now = [100.0]
    search = open_search(sweep, definition(n_trials=None, timeout=60.0), clock=lambda: now[0])
    assert search.next() is not None
    assert search.total() is None
    now[0] += 60
    assert search.next() is None
    assert search.next() is None


def test_what_has_no_value_is_never_best(sweep):
    ends = [
        Outcome(DONE, "", {"val/loss": math.nan}),
        Outcome(DONE, "", {"val/loss": -math.inf}),
        Outcome(DONE, "", {"val/accuracy": 0.5}),
        Outcome("out of memory", "more than 4GB"),
        Outcome(DONE, "", {"val/loss": 3.0}),
    ]
    search = open_search(sweep, definition(n_trials=6))
    for end in ends:
        search.ended(search.next(), end)
    interrupted = search.next()
    search.ended(interrupted, Outcome(STOPPED, "Ctrl-C"))
    study = study_of(sweep)
    assert study.best_value == 3.0
    assert [one.state.name for one in study.trials] == ["FAIL"] * 4 + ["COMPLETE", "RUNNING"]
    assert [one.user_attrs["why"].partition(" ")[2] for one in study.trials[:3]] == [
        "ended with val/loss = nan",
        "ended with val/loss = -inf",
        "ended without val/loss",
    ]


@pytest.mark.parametrize("pruner", ["median", "hyperband", "patient"])
def test_a_metric_that_has_left_the_numbers_ends_its_trial(sweep, pruner):
    search = open_search(sweep, definition(pruner=pruner))
    trial = search.next()
    assert not search.report(trial, TrialReport(100, 1, 400, {"val/loss": 0.5}))
    assert search.report(trial, TrialReport(200, 2, 400, {"val/loss": math.nan}))


@pytest.mark.parametrize("pruner", ["median", "hyperband"])
def test_nobody_is_judged_while_learning_rates_climb(sweep, pruner):
    search = open_search(sweep, definition(pruner=pruner, n_trials=10))
    for _ in range(6):
        trial = search.next()
        for step in (10, 20, 100):
            search.report(trial, TrialReport(step, 1, 100, {"val/loss": 1.0}))
        search.ended(trial, Outcome(DONE, "", {"val/loss": 1.0}))
    trials = [search.next() for _ in range(4)]
    assert not any(search.report(trial, TrialReport(10, 1, 100, {"val/loss": 2.0})) for trial in trials)
    assert any(search.report(trial, TrialReport(20, 1, 100, {"val/loss": 2.0})) for trial in trials)


def test_trials_are_compared_at_equal_parts_of_their_length(sweep):
    search = open_search(sweep, definition(pruner="median", n_trials=20))
    for _ in range(6):
        trial = search.next()
        assert not search.report(trial, TrialReport(50, 1, 100, {"val/loss": 1.0}))
        search.ended(trial, Outcome(DONE, "", {"val/loss": 1.0}))
    # Twice as many steps, as with half the batch size.
    assert search.report(search.next(), TrialReport(100, 1, 200, {"val/loss": 2.0}))
    # At its end a trial costs nothing more.
    assert not search.report(search.next(), TrialReport(200, 2, 200, {"val/loss": 2.0}))


def test_the_higher_the_better(sweep):
    asked = replace(definition(n_trials=2), monitor="val/accuracy", mode="max")
    search = open_search(sweep, asked)
    for value in (0.5, 0.9):
        search.ended(search.next(), Outcome(DONE, "", {"val/accuracy": value}))
    assert study_of(sweep).best_value == 0.9
    with pytest.raises(UserError, match="is there to maximize, and not to minimize"):
        open_search(sweep, definition(n_trials=2))


def test_every_kind_of_axis_is_drawn_within_its_values(sweep):
    axes = (
        "optimizer.lr=tag(log,interval(1e-5,1e-1))",
        "optimizer.weight_decay=interval(0,0.5)",
        "model.dim=int(tag(log,interval(1,1000)))",
        "model.dropout=range(0.1,0.5,0.1)",
        "data.batch_size=range(16,129,16)",
        "+model.depth=shuffle(range(1,4))",
        "model=lenet5,mlp",
        "model.sizes=[1,2],[3]",
    )
    asked = definition(*axes, sampler="random", n_trials=25)
    drive(sweep, asked, score=lambda trial, validation: 1.0)
    drawn = {
        name: set() for name in ("model.dropout", "data.batch_size", "model.depth", "model", "model.sizes")
    }
    for entry in sweep.entries().values():
        found = values(entry.trial)
        assert 1e-5 <= float(found["optimizer.lr"]) <= 1e-1
        assert 1 <= int(found["model.dim"]) <= 1000
        for name, seen in drawn.items():
            seen.add(found[name])
    assert drawn["model.dropout"] == {"0.1", "0.2", "0.30000000000000004", "0.4"}
    assert drawn["data.batch_size"] <= {str(number) for number in range(16, 129, 16)}
    assert drawn["model.depth"] == {"1", "2", "3"}
    assert drawn["model"] == {"lenet5", "mlp"}
    assert drawn["model.sizes"] == {"[1,2]", "[3]"}
    # All is read back as it was, though the order of a shuffle is another.
    assert open_search(sweep, asked).next() is None


def test_a_search_needs_an_end_and_something_to_search(sweep):
    with pytest.raises(ConfigError) as caught:
        open_search(sweep, definition("seed=1,2", n_trials=None))
    assert "a search needs an end" in str(caught.value)
    assert "nothing to search" in str(caught.value)
    assert list(sweep.path.iterdir()) == []


def test_another_space_is_another_sweep(sweep):
    drive(sweep, definition(n_trials=2))
    with pytest.raises(UserError, match=r"searches another space: model\.dim differs"):
        open_search(sweep, definition(LR, "model.dim=int(interval(8,32))"))


def test_a_study_of_another_sweep_is_left_alone(sweep, tmp_path):
    drive(sweep, definition(n_trials=2))
    (sweep.path / "trials.jsonl").unlink()
    with pytest.raises(UserError, match="holds trials of another sweep"):
        open_search(sweep, definition(n_trials=2))


def test_a_study_that_is_gone_is_said(sweep):
    drive(sweep, definition(n_trials=2))
    (sweep.path / "study.journal").unlink()
    with pytest.raises(UserError, match="is not in the study"):
        open_search(sweep, definition(n_trials=2))


def test_optuna_says_nothing_on_the_terminal(sweep, capfd):
    drive(sweep, definition(pruner="hyperband", n_trials=3))
    assert capfd.readouterr() == ("", "")


def failing(monkeypatch, times):
    """Let the first appends to the journal fail; each leaves half a line, as a full disk does."""
    left, append = [times], JournalFileBackend.append_logs

    def append_logs(self, logs):
        if left[0] > 0:
            left[0] -= 1
            with Path(self._file_path).open("ab") as file:
                file.write(b'{"op_code": 4, "stud')
            raise OSError(28, "No space left on device")
        append(self, logs)

    monkeypatch.setattr(JournalFileBackend, "append_logs", append_logs)


@pytest.mark.parametrize("moment", ["begin", "ask", "report", "end"])
def test_a_storage_that_is_down_for_a_while_is_asked_again(
    sweep, tmp_path, monkeypatch, no_waiting, caplog, moment
):
    asked = definition(n_trials=3, pruner="median")
    whole = Sweep(tmp_path / "whole" / "wide")
    drive(whole, asked)
    with caplog.at_level(logging.WARNING, "nnkit"), monkeypatch.context() as patch:
        if moment == "begin":
            failing(patch, 3)
        search = open_search(sweep, asked)
        if moment == "ask":
            failing(patch, 3)
        trial = search.next()
        sweep.note((trial, Outcome(STARTED)))
        if moment == "report":
            failing(patch, 3)
        outcome = run(search, trial, loss, Clock())
        sweep.note((trial, outcome))
        if moment == "end":
            failing(patch, 3)
        search.ended(trial, outcome)
    drive(sweep, asked)
    assert told(sweep) == told(whole)
    assert no_waiting == [1.0, 2.0, 4.0]
    (record,) = caplog.records
    assert record.getMessage().endswith("No space left on device; it is tried again")


def test_a_storage_that_stays_down_ends_the_sweep_which_can_go_on(sweep, tmp_path, monkeypatch, no_waiting):
    asked = definition(n_trials=3)
    sweep.define(asked)
    whole = Sweep(tmp_path / "whole" / "wide")
    drive(whole, asked)
    search = open_search(sweep, asked)
    with monkeypatch.context() as patch:
        failing(patch, 99)
        with pytest.raises(EnvironmentFault) as caught:
            search.next()
    assert "No space left on device" in str(caught.value)
    assert f"go on with: nnkit resume {sweep.path}" in str(caught.value)
    assert no_waiting == sorted(no_waiting)
    drive(sweep, asked)
    assert told(sweep) == told(whole)


def test_a_write_that_failed_after_it_was_made_is_not_made_twice(sweep, monkeypatch):
    search = open_search(sweep, definition(n_trials=2))
    append, failed = JournalFileBackend.append_logs, []

    def append_logs(self, logs):
        append(self, logs)
        if not failed:
            failed.append(True)
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(JournalFileBackend, "append_logs", append_logs)
    assert search.next().name.startswith("0000")
    assert len(study_of(sweep).trials) == 1


def test_a_database_does_as_well_and_holds_several_sweeps(sweep, tmp_path):
    url = f"sqlite:///{tmp_path / 'study.db'}"
    asked = definition(n_trials=4, pruner="hyperband", storage=url)
    whole = Sweep(tmp_path / "whole" / "wide")
    drive(whole, definition(n_trials=4, pruner="hyperband"))
    for _ in range(100):
        try:
            drive(sweep, asked, Clock(12))
            break
        except Killed:
            continue
    drive(Sweep(tmp_path / "other"), replace(asked, sweeper=replace(asked.sweeper, n_trials=1)))
    study = optuna.load_study(study_name="wide", storage=url)
    assert [one.params for one in study.trials] == [params for _, _, params, _, _ in told(whole)]
    assert [one.value for one in study.trials] == [value for *_, value, _ in told(whole)]
    assert not (sweep.path / "study.journal").exists()
    with pytest.raises(UserError, match="another sweep"):
        open_search(Sweep(tmp_path / "elsewhere" / "wide"), asked)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("study.db", "is no URL of a database"),
        ("redis://host/0", "redis is none of sqlite"),
        ("mssql+pyodbc:///?odbc_connect=DRIVER=/tmp/x.so", "mssql is none of"),
        ("mysql+pyodbc://me@host/x", "pyodbc is no driver"),
        ("sqlite+pysqlcipher:///x.db", "pysqlcipher is no driver"),
        ("mysql+pymysql://me@host/x?local_infile=1", "option local_infile is not taken"),
        ("sqlite:///x.db?plugin=evil", "option plugin is not taken"),
        ("sqlite://", "is in memory"),
        ("sqlite:///:memory:", "is in memory"),
        ("sqlite:///nowhere/study.db", "there is no directory nowhere"),
        ("postgresql+pyodbc://me:secret@host/x", "postgresql+pyodbc://me:***@host/x: pyodbc is no driver"),
    ],
)
def test_a_storage_that_cannot_work_is_said_before_anything_is_written(sweep, url, said):
    with pytest.raises(ConfigError) as caught:
        open_search(sweep, definition(storage=url))
    assert "hydra.sweeper.storage: " in str(caught.value)
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)
    assert list(sweep.path.iterdir()) == []


def test_a_driver_that_is_not_installed_is_named(sweep, monkeypatch):
    monkeypatch.setitem(sys.modules, "pg8000", None)
    with pytest.raises(ConfigError) as caught:
        open_search(sweep, definition(storage="postgresql+pg8000://me:secret@host/x"))
    assert "me:***@host/x needs the package pg8000, which is not installed" in str(caught.value)
    assert "pip install pg8000" in str(caught.value)
    assert list(sweep.path.iterdir()) == []


def test_a_start_that_was_refused_leaves_the_name_free(tmp_path):
    path = tmp_path / "new"
    with pytest.raises(ConfigError):
        driver.run(Sweep(path), definition(storage="redis://host/0"))
    assert not path.exists()
    # Killed right before the definition was written.
    open_search(Sweep(path), definition())
    with Sweep(path).locked():
        plan.check_place(path)
    (path / "notes.txt").touch()
    with pytest.raises(UserError, match="is no sweep"):
        plan.check_place(path)


def test_a_journal_from_elsewhere_is_data(sweep, tmp_path):
    other = tmp_path / "other.txt"
    other.write_text("mine\n")
    (sweep.path / "study.journal").symlink_to(other)
    with pytest.raises(UserError, match="is a link"):
        open_search(sweep, definition())
    assert other.read_text() == "mine\n"
    (sweep.path / "study.journal").unlink()
    for garbled in (
        "garbled\nmore\n",
        '{"op_code": 99, "worker_id": ""}\n',
        '{"op_code": 0}\n',
        "[" * 100_000 + "\n\n",
    ):
        (sweep.path / "study.journal").write_text(garbled)
        with pytest.raises(UserError, match="holds no study that can be read"):
            open_search(sweep, definition())


@pytest.mark.parametrize(
    ("value", "low", "high", "shown"),
    [
        (0.0031622776601683795, 1e-4, 1e-1, "0.003162"),
        (0.30000000000000004, 0.0, 0.5, "0.3"),
        (1.2345678e-05, 1e-6, 1.0, "1.235e-05"),
        # The ends belong to the interval, whatever their digits, and a narrow one still has values.
        (0.123456789, 0.1234567, 0.5, "0.1235"),
        (0.12341, 0.123411, 0.5, "0.123411"),
        (100.00017, 100.0001, 100.0005, "100.0001700"),
        (0.0, 0.0, 1.0, "0"),
    ],
)
def test_a_drawn_number_has_few_digits(value, low, high, shown):
    assert few_digits(value, FloatDistribution(low, high)) == float(shown)


def test_what_is_drawn_is_what_is_written_and_trained_with():
    space = {"optimizer.lr": FloatDistribution(1e-4, 1e-1, log=True)}
    drawn = draw([], space, "minimize", Sweeper(n_trials=1))["optimizer.lr"]
    (axis,) = read_space(["optimizer.lr=tag(log,interval(1e-4,1e-1))"]).axes
    written = drawn_text(axis, drawn)
    assert float(written) == drawn
    assert len(written) <= len("0.001234")
    assert f"lr={written}" in numbered_name([f"optimizer.lr={written}"], 0)
