"""What a sweep shows while it runs."""

import io
import itertools
import logging
import sys
import tracemalloc
from pathlib import Path

import pytest
from rich.console import Console

from nnkit.sweep.directory import Definition, Launcher
from nnkit.sweep.display import Display, LiveTable, PlainLines, make_display
from nnkit.sweep.trials import (
    DONE,
    OUT_OF_MEMORY,
    PRUNED,
    RAISED,
    STOPPED,
    Entry,
    Outcome,
    Trial,
    TrialReport,
)

PATH = Path("outputs/sweeps/mine")


def definition(n_jobs=2):
    return Definition((), ("seed=1,2",), False, "val/accuracy", "max", 1, Launcher(n_jobs=n_jobs))


def trial(number):
    return Trial(f"model=mlp,seed={number}", ("model=mlp", f"seed={number}"))


class Clock:
    """A clock that goes when it is told."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def table():
    """A table on a terminal of 80 x 24 signs whose clock stands still, and what it last looked like."""
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=24, color_system=None)
    clock = Clock()
    view = LiveTable(definition(), PATH, console, clock)

    def picture():
        paper = Console(file=io.StringIO(), force_terminal=True, width=80, height=24, color_system=None)
        paper.print(view.render())
        return paper.file.getvalue()

    view.picture, view.clock = picture, clock
    yield view
    view.close()


def test_a_line_for_each_trial_that_ends():
    file = io.StringIO()
    clock = Clock()
    view = PlainLines(definition(), PATH, file, clock)
    before = {trial(1).name: Entry(trial(1), Outcome(DONE)), trial(2).name: Entry(trial(2), Outcome(STOPPED))}
    view.begin(before, 12)
    for number, outcome in (
        (2, Outcome(DONE, metrics={"val/accuracy": 0.98, "test/accuracy": 0.97})),
        (3, Outcome(RAISED, "ValueError: no\nsuch thing")),
        (4, Outcome(STOPPED, "stopped by SIGINT")),
    ):
        view.started(trial(number))
        clock.now += 12.34
        view.progress(trial(number), TrialReport(1, 1, 10))
        view.ended(trial(number), outcome)
    view.close()
    assert file.getvalue().splitlines() == [
        "outputs/sweeps/mine: 12 trials, 1 of them ended before",
        "2/12 model=mlp,seed=2 done  val/accuracy 0.98  12.3 s",
        "3/12 model=mlp,seed=3 failed  ValueError: no such thing  12.3 s",
        "model=mlp,seed=4 stopped  stopped by SIGINT  12.3 s",
    ]


def test_a_failed_trial_that_is_tried_again_counts_once():
    file = io.StringIO()
    view = PlainLines(definition(), PATH, file)
    view.begin({trial(n).name: Entry(trial(n), Outcome(RAISED, "why")) for n in (1, 2)}, 2)
    view.started(trial(2))
    view.ended(trial(2), Outcome(DONE))
    assert file.getvalue().splitlines()[-1].startswith("2/2 model=mlp,seed=2 done")


def test_orders_to_the_terminal_are_no_part_of_a_name(table):
    evil = Trial("\x1b[2J\x1b]0;x\x07[red]model[/red]\nx", ("model=\x1b[2J",))
    file = io.StringIO()
    plain = PlainLines(definition(), PATH, file)
    plain.begin({}, 1)
    plain.started(evil)
    plain.ended(evil, Outcome(RAISED, "\x1b[2Jboom"))
    table.begin({}, 2)
    table.started(evil)
    running = table.picture()
    table.ended(evil, Outcome(RAISED, "\x1b[2Jboom"))
    for text in (file.getvalue(), running, table.picture()):
        assert "\x1b[2J" not in text
        assert "\x07" not in text
        assert "[red]model[/red]" in text
    assert len(file.getvalue().splitlines()) == 2


def test_the_table_shows_every_trial_of_a_small_sweep_and_the_time_left(table):
    table.begin({}, 6)
    table.started(trial(1))
    table.started(trial(2))
    for number, first in ((1, 0), (2, 50)):
        # The second was interrupted at step 50 and is resumed there.
        table.progress(trial(number), TrialReport(first, 1, 100))
    table.clock.now += 10
    table.progress(trial(1), TrialReport(20, 3, 100, {"val/accuracy": 0.91234, "val/loss": 0.3}))
    table.progress(trial(2), TrialReport(70, 8, 100))
    one, two = (line for line in table.picture().splitlines() if line.startswith("running"))
    assert one.split() == ["running", "model=mlp,seed=1", "3", "20/100", "0.9123", "40", "s", "left"]
    assert two.split() == ["running", "model=mlp,seed=2", "8", "70/100", "15", "s", "left"]
    table.clock.now += 15
    table.ended(trial(2), Outcome(DONE, "", {"val/accuracy": 0.5}, 100))
    table.started(trial(3))
    table.ended(trial(3), Outcome(OUT_OF_MEMORY, "killed by the system"))
    text = table.picture()
    assert "outputs/sweeps/mine  6 trials: 1 running, 1 done, 1 out of memory, 3 to come" in text
    assert ["done", "model=mlp,seed=2", "100", "0.5", "25.0", "s"] in [
        line.split() for line in text.splitlines()
    ]
    assert "out of memory  model=mlp,seed=3  killed by the system" in text


def test_of_a_thousand_trials_those_that_run_fail_or_ended_last_are_shown(table):
    table.begin({}, 1000)
    for number in range(990):
        table.started(trial(number))
        table.ended(trial(number), Outcome(RAISED, "boom") if number in (5, 700) else Outcome(DONE))
    for number in range(990, 994):
        table.started(trial(number))
    text = table.picture()
    assert "4 running, 988 done, 2 failed, 6 to come" in text
    assert len(text.splitlines()) <= 24
    for number in (5, 700, *range(981, 994)):
        assert f"seed={number} " in text
    for number in range(994, 1100):
        table.started(trial(number))
    assert "and 92 more" in table.picture()
    assert len(table.picture().splitlines()) <= 24


@pytest.mark.parametrize("n_jobs", [1, 2, 5])
def test_the_time_left_is_what_a_simulation_of_the_rest_takes(n_jobs):
    clock = Clock()
    tally = Display(definition(n_jobs), PATH, clock)
    tally.begin({}, 30)
    names = itertools.count()
    # All trials take 100 steps of 0.1 s, so that what is left can be told exactly where slots run in step.
    for _ in range(2):
        wave = [trial(next(names)) for _ in range(n_jobs)]
        for one in wave:
            tally.started(one)
            tally.progress(one, TrialReport(0, 1, 100))
        clock.now += 10
        for one in wave:
            tally.ended(one, Outcome(DONE))
    assert tally.seconds_left() == pytest.approx((30 - 2 * n_jobs) * 10 / n_jobs)
    wave = [trial(next(names)) for _ in range(n_jobs)]
    for one in wave:
        tally.started(one)
        tally.progress(one, TrialReport(0, 1, 100))
    clock.now += 4
    for one in wave:
        tally.progress(one, TrialReport(40, 1, 100))
    assert tally.seconds_left() == pytest.approx(6 + (30 - 3 * n_jobs) * 10 / n_jobs)


def test_nothing_is_promised_before_anything_is_known():
    tally = Display(definition(2), PATH, Clock())
    tally.begin({}, None)
    assert tally.seconds_left() is None
    tally.started(trial(1))
    tally.progress(trial(1), TrialReport(3, 1, None))
    assert tally.seconds_left() is None
    other = Display(definition(2), PATH, Clock())
    other.begin({}, 3)
    assert other.seconds_left() is None
    other.started(trial(1))
    assert other.seconds_left() is None


def test_memory_does_not_grow_with_the_trials(table):
    def trials(first, last):
        for number in range(first, last):
            table.started(trial(number))
            table.progress(trial(number), TrialReport(1, 1, 2))
            table.ended(trial(number), Outcome((DONE, PRUNED, RAISED)[number % 3], "why" * 20))

    table.begin({}, 10_000)
    trials(0, 400)
    tracemalloc.start()
    try:
        trials(400, 800)
        before = tracemalloc.get_traced_memory()[0]
        trials(800, 2000)
        assert tracemalloc.get_traced_memory()[0] - before < 50_000
    finally:
        tracemalloc.stop()


def test_the_terminal_is_left_as_it_was():
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=24, color_system=None)
    streams = sys.stdout, sys.stderr
    view = LiveTable(definition(), PATH, console)
    view.begin({}, 2)
    view.started(trial(1))
    assert "\x1b[?25l" in console.file.getvalue()
    view.close()
    view.close()
    assert console.file.getvalue().endswith("\x1b[?25h\r\x1b[1A\x1b[2K" + "\x1b[1A\x1b[2K" * 4)
    assert (sys.stdout, sys.stderr) == streams


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_warning_stands_above_the_table_or_in_the_file_it_is_sent_to(monkeypatch, is_terminal):
    errors = io.StringIO()
    errors.isatty = lambda: is_terminal
    monkeypatch.setattr(sys, "stderr", errors)
    handler = logging.StreamHandler()
    logger = logging.getLogger("nnkit")
    logger.addHandler(handler)
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=24, color_system=None)
    view = LiveTable(definition(), PATH, console)
    view.begin({}, 2)
    logger.warning("the storage does not answer")
    view.close()
    logger.warning("afterwards")
    logger.removeHandler(handler)
    shown = console.file.getvalue()
    assert ("the storage does not answer\n" in shown) == is_terminal
    assert errors.getvalue() == ("" if is_terminal else "the storage does not answer\n") + "afterwards\n"


def test_events_draw_nothing_by_themselves():
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=24, color_system=None)
    view = LiveTable(definition(), PATH, console)
    view.begin({}, 1000)
    try:
        for number in range(200):
            view.started(trial(number))
            view.ended(trial(number), Outcome(DONE))
        assert console.file.getvalue().count("outputs/sweeps/mine") < 20
    finally:
        view.close()
    assert "200 done" in console.file.getvalue()


def test_a_pipe_gets_lines_and_a_terminal_a_table(monkeypatch):
    assert isinstance(make_display(definition(), PATH, io.StringIO()), PlainLines)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert isinstance(make_display(definition(), PATH, io.StringIO()), PlainLines)
    monkeypatch.delenv("FORCE_COLOR")
    monkeypatch.setenv("TERM", "xterm")
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    assert isinstance(make_display(definition(), PATH, terminal), LiveTable)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(make_display(definition(), PATH, terminal), PlainLines)
