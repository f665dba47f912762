"""Leases: one owner at a time, whatever is killed, paused or slow, and whatever the clocks of machines say."""

import json
import multiprocessing
import threading
import time
from pathlib import Path

import pytest

from nnkit.errors import EnvironmentFault, UserError
from nnkit.files import locks
from nnkit.sweep import driver, trial
from nnkit.sweep import leases as module
from nnkit.sweep.database import LeaseTable
from nnkit.sweep.directory import Definition, Launcher, Sweep, Sweeper
from nnkit.sweep.leases import BUSY, CLOSED, TAKEN, LeaseFiles, Leases, joined, reopen
from nnkit.sweep.trials import DONE, PLANNED, RAISED, STARTED, Outcome, Trial

SECONDS = 60.0
TRIAL = Trial("seed=1", ("seed=1",))
GRID = Definition((), ("seed=1",), False, "val/loss", "min", 1, Launcher(lease=SECONDS))


class Clock:
    """The monotonic clock of one machine; clocks of two machines have nothing in common."""

    def __init__(self, now):
        self.now = now

    def __call__(self):
        return self.now


@pytest.fixture(params=["files", "table"])
def store(request, tmp_path):
    if request.param == "files":
        return LeaseFiles(tmp_path)
    return LeaseTable(tmp_path, f"sqlite:///{tmp_path / 'leases.db'}", "one")


@pytest.fixture
def process(store, tmp_path, monkeypatch):
    """Make processes on machines of their own, each with its clock, and what was ended in them."""
    monkeypatch.setattr(module, "machine", lambda: "here")

    def make(owner, now=0.0):
        clock, ended = Clock(now), []
        made = Leases(
            store,
            store,
            owner,
            tmp_path,
            SECONDS,
            lambda name, at_once: ended.append((name, at_once)),
            clock,
        )
        return made, clock, ended

    return make


def watch(observer, clock, name, seconds, every=1.0):
    """Look at a lease every second until it is taken; return after how many seconds."""
    for looked in range(int(seconds / every) + 1):
        if observer.take(name) == TAKEN:
            return looked * every
        clock.now += every
    return None


def test_a_trial_has_one_owner_until_it_is_given_back_or_over(process):
    first, second = process("first")[0], process("second")[0]
    assert first.take("a") == TAKEN
    assert (first.take("a"), second.take("a")) == (BUSY, BUSY)
    first.leave("a", over=False)
    assert second.take("a") == TAKEN
    assert (first.generation("a"), second.generation("a")) == (1, 2)
    second.leave("a", over=True)
    assert (first.take("a"), second.take("a"), process("third")[0].take("a")) == (CLOSED, CLOSED, CLOSED)
    assert first.take("a", again=True) == TAKEN


def test_of_many_that_reach_for_a_lease_at_once_one_gets_it(process):
    everyone, got, start = [process(f"p{number}")[0] for number in range(8)], [], threading.Barrier(8)

    def reach(one):
        start.wait()
        got.extend(name for name in map(str, range(20)) if one.take(name) == TAKEN)

    threads = [threading.Thread(target=reach, args=(one,)) for one in everyone]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got, key=int) == [str(number) for number in range(20)]


@pytest.mark.parametrize("now", [0.0, 1e9])
def test_a_lease_that_is_renewed_is_never_stale_whatever_the_clocks_say(process, now):
    (owner, clock, ended), (other, others, _) = process("owner", now), process("other", 5e8 - now)
    assert owner.take("a") == TAKEN
    # Ten times as long as a lease lasts.
    for _ in range(60):
        clock.now += SECONDS / 6
        others.now += SECONDS / 6
        owner.renew()
        assert other.take("a") == BUSY
    assert not ended


def test_a_lease_is_stale_when_the_observer_has_seen_it_stand_still_for_long_enough(process):
    owner, (other, clock, _) = process("owner")[0], process("other", 7.0)
    owner.take("a")
    assert watch(other, clock, "a", 200) == pytest.approx(SECONDS, abs=1)


def test_an_observer_that_could_not_look_has_seen_nothing(process):
    """As after an outage of the storage, which no owner could renew a lease in either."""
    owner, (other, clock, _) = process("owner")[0], process("other")
    owner.take("a")
    assert other.take("a") == BUSY
    clock.now += 1e6
    assert other.take("a") == BUSY
    owner.renew()
    assert watch(other, clock, "a", 200) == pytest.approx(SECONDS, abs=1)


def test_an_owner_that_cannot_renew_ends_its_trial_before_any_observer_can_take_it(process):
    (owner, clock, ended), (other, others, _) = process("owner"), process("other")

    def fail(*arguments):
        raise EnvironmentFault("down")

    owner.take("a")
    owner.beats = type("Down", (), {"read": fail, "replace": fail})()
    taken = None
    while taken is None:
        clock.now += 1
        others.now += 1
        owner.renew()
        if other.take("a") == TAKEN:
            taken = others.now
        if ended == [("a", False)]:
            assert owner.holds("a")
    assert ended == [("a", False), ("a", True)]
    assert not owner.holds("a")
    assert taken > SECONDS * 3 / 4


def test_an_owner_that_was_paused_ends_its_trial_when_it_wakes(process):
    (owner, _, ended), (other, clock, _) = process("owner"), process("other")
    owner.take("a")
    assert watch(other, clock, "a", 200) is not None
    # Its own clock may have stood still with it.
    owner.renew()
    assert ended == [("a", True)]
    assert not owner.holds("a")
    owner.leave("a", over=True)
    other.renew()
    assert other.holds("a")


def test_the_longest_time_that_anybody_was_told_counts(process):
    owner, (other, clock, _) = process("owner")[0], process("other")
    owner.take("a")
    other.seconds = 6.0
    assert watch(other, clock, "a", 200) == pytest.approx(SECONDS, abs=1)


def test_a_lease_of_a_process_of_this_machine_that_is_gone_is_free_at_once(tmp_path):
    sweep = Sweep(tmp_path)
    with joined(sweep, GRID, apart=True) as (mine, other):
        with joined(sweep, GRID, apart=True) as (theirs, leases):
            assert leases.take("a") == leases.take("b") == TAKEN
            theirs.note((Trial("a", ()), Outcome(STARTED)))
            assert other.take("a") == BUSY
            # As after a kill: nothing is given back.
            leases._held.clear()
        assert other.take("a") == TAKEN
        mine.note((Trial("a", ()), Outcome(DONE)))
    # A lock that does nothing proves nothing.
    assert json.loads((tmp_path / "leases/a.1").read_text())["locks"] is True
    assert len(list((tmp_path / "workers").iterdir())) == 2


def test_where_locks_do_nothing_nobody_is_thought_gone(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "is_held", lambda directory: False)
    store = LeaseFiles(tmp_path)
    first, second = (Leases(store, store, name, tmp_path, SECONDS) for name in ("first", "second"))
    assert (first.take("a"), second.take("a")) == (TAKEN, BUSY)


def test_a_lease_that_was_torn_or_comes_from_elsewhere_becomes_stale_like_others(process, store):
    other, clock, _ = process("other")
    for text in ("", "[]", '{"state": "held", "owner": "../../x", "machine": "here", "locks": true}'):
        name = f"name-{len(text)}"
        assert store.create(name, 1, text)
        assert watch(other, clock, name, 200) == pytest.approx(SECONDS, abs=1)


def test_a_directory_that_leads_elsewhere_is_refused(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep/leases").symlink_to(tmp_path / "outside")
    with pytest.raises(UserError, match="is a link"), joined(Sweep(tmp_path / "sweep"), GRID, apart=True):
        pass
    assert list((tmp_path / "outside").iterdir()) == []


def test_the_later_lease_knows_how_a_trial_stands(tmp_path):
    def part(name, generation):
        (tmp_path / "workers" / name).mkdir(parents=True, exist_ok=True)
        return Sweep(tmp_path, f"workers/{name}/trials.jsonl", lambda name: generation)

    plan, early, late = Sweep(tmp_path), part("z", 1), part("a", 2)
    second = Trial("seed=2", ("seed=2",))
    plan.note((TRIAL, Outcome(PLANNED)), (second, Outcome(PLANNED)))
    early.note((TRIAL, Outcome(STARTED)))
    late.note((TRIAL, Outcome(DONE, "", {"val/loss": 1.0})))
    # It was paused, and says late what counts no more.
    early.note((TRIAL, Outcome(RAISED, "no")))
    assert list(plan.entries()) == ["seed=1", "seed=2"]
    assert plan.entries()["seed=1"].outcome == Outcome(DONE, "", {"val/loss": 1.0})
    # A launcher that knows no leases goes on with it.
    part("a", 0).note((TRIAL, Outcome(STARTED)))
    assert plan.entries()["seed=1"].outcome.state == STARTED


def test_a_failed_trial_is_begun_again_by_whoever_comes_first(process, tmp_path):
    (first, *_), (second, *_) = process("first"), process("second")
    sweep = Sweep(tmp_path, generation=first.generation)
    first.take(TRIAL.name)
    sweep.note((TRIAL, Outcome(RAISED, "no")))
    first.leave(TRIAL.name, over=True)
    reopen(sweep, first, TRIAL)
    assert sweep.entries()[TRIAL.name].outcome == Outcome(PLANNED)
    assert second.take(TRIAL.name) == TAKEN


def test_sweeps_of_one_name_in_one_database_have_nothing_in_common(tmp_path):
    url = f"sqlite:///{tmp_path / 'leases.db'}"
    one, other = (LeaseTable(tmp_path, url, sweep) for sweep in ("one", "other"))
    assert one.create("a", 1, "x")
    assert not one.create("a", 1, "y")
    # The same attempt once more, as after a connection that broke before the answer.
    assert one.create("a", 1, "x")
    assert other.read("a", 1) is None
    assert other.create("a", 1, "z")
    one.replace("a", 1, "w")
    assert (one.read("a", 1), other.read("a", 1)) == ("w", "z")


def test_no_password_is_written_down(tmp_path):
    url = "postgresql+psycopg://me:secret@host:5432/studies?sslmode=require"
    asked = Definition((), ("seed=1",), False, "val/loss", "min", 1, sweeper=Sweeper(storage=url))
    Sweep(tmp_path).define(asked)
    assert "secret" not in Path(tmp_path / "sweep.json").read_text()
    kept = Sweep(tmp_path).definition().sweeper.storage
    assert kept == "postgresql+psycopg://me@host:5432/studies?sslmode=require"


def test_a_trial_that_hears_nothing_of_its_lease_ends(tmp_path):
    """As its worker is stopped, or waits for an answer of the network, and cannot end it."""
    heard, beats = multiprocessing.Pipe(duplex=False)
    begun = time.monotonic()
    for _ in range(3):
        beats.send_bytes(b".")
    trial._hear_beats(heard, 0.2)
    assert time.monotonic() - begun >= 0.2
    heard, beats = multiprocessing.Pipe(duplex=False)
    beats.close()
    trial._hear_beats(heard, 60.0)


def test_every_renewal_is_told_to_the_trial(process):
    owner, _, _ = process("owner")
    told = []
    owner.renewal = told.append
    owner.take("a")
    owner.renew()
    owner.renew()
    assert told == ["a", "a"]


@pytest.mark.parametrize("alive", [True, False])
def test_a_sweep_has_one_driver_also_where_its_lock_is_not_seen(process, tmp_path, alive, caplog):
    (first, *_), (second, *_) = process("first"), process("second")
    sweep, done = Sweep(tmp_path), threading.Event()
    first.seconds = second.seconds = 0.6
    first.clock = second.clock = time.monotonic
    driver._be_the_only_driver(sweep, GRID, first)

    def renew():
        while not done.wait(0.05):
            first.renew()

    thread = threading.Thread(target=renew)
    if alive:
        thread.start()
    try:
        if alive:
            with pytest.raises(UserError, match="is being run on another machine"):
                driver._be_the_only_driver(sweep, GRID, second)
        else:
            driver._be_the_only_driver(sweep, GRID, second)
    finally:
        done.set()
        if alive:
            thread.join()
    assert "was run on another machine" in caplog.text
