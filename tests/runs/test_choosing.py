"""Which way of computing is chosen, by a clock that the test moves."""

import math

import pytest

from nnkit.runs.choosing import SHARE, Figure, Length, UnusableError, Way, choose, measure

PLAIN, MEDIUM, SHORT = (
    Way("32-true", "highest"),
    Way("32-true", "medium"),
    Way("bf16-mixed", "highest"),
)
COMPILED = Way("bf16-mixed", "highest", True)
LONG = Length(100_000)


class Clock:
    """Steps that move a clock by what they are given, the last value again and again.

    Args:
        costs: Seconds of each step by way; an exception is raised.
        gathering: Seconds of gathering a batch.
    """

    def __init__(self, costs, gathering=0.0):
        self.now, self.gathering = 0.0, gathering
        self.costs = {way: [*of] if isinstance(of, list) else [of] for way, of in costs.items()}
        self.steps = []

    def gather(self, number):
        self.now += self.gathering

    def __call__(self, way, number):
        self.steps.append((way, number))
        cost = self.costs[way].pop(0) if len(self.costs[way]) > 1 else self.costs[way][0]
        if isinstance(cost, Exception):
            raise cost
        self.now += cost

    def measured(self, length=LONG):
        return measure(list(self.costs), self, length, lambda: self.now)

    def chosen(self, length=LONG):
        return choose(self.measured(length), length)


def test_the_fastest_is_chosen_and_its_figure_is_the_ratio_to_the_first():
    clock = Clock({PLAIN: 0.1, MEDIUM: 0.08, SHORT: 0.047})
    figures = clock.measured()
    assert choose(figures, LONG) == SHORT
    assert {way: round(one.ratio, 9) for way, one in figures.items()} == {PLAIN: 1, MEDIUM: 0.8, SHORT: 0.47}
    assert figures[SHORT].seconds == pytest.approx(0.047)


def test_a_clock_that_stands_still_chooses_nothing():
    assert Clock({PLAIN: 0.0, SHORT: 0.0}).chosen() == PLAIN


def test_a_short_step_is_timed_after_another_one_of_its_way():
    """After one of another way it takes longer, and of those the way that is slower in a run may be the faster one."""

    class Caches(Clock):
        def __call__(self, way, number):
            follows = bool(self.steps) and self.steps[-1][0] == way
            self.costs = {PLAIN: [0.002 if follows else 0.004], SHORT: [0.0021 if follows else 0.003]}
            super().__call__(way, number)

    assert Caches({PLAIN: 0.0, SHORT: 0.0}).chosen() == PLAIN


@pytest.mark.parametrize(("cost", "expected"), [(0.096, PLAIN), (0.094, SHORT), (0.2, PLAIN), (0.1, PLAIN)])
def test_a_gain_within_the_noise_changes_nothing(cost, expected):
    assert Clock({PLAIN: 0.1, SHORT: cost}).chosen() == expected


def test_the_more_exact_of_two_that_take_as_long_is_chosen():
    assert Clock({PLAIN: 0.1, MEDIUM: 0.050, SHORT: 0.049}).chosen() == MEDIUM


def test_a_step_is_compared_with_one_of_the_same_batch():
    """Later batches are longer, so that a median over all of them would compare short ones with long ones."""
    costs = [0.1 * n for n in range(1, 40)]
    figures = Clock({PLAIN: costs, SHORT: [0.0, *(0.5 * cost for cost in costs[2:])]}).measured(Length(10**6))
    assert figures[SHORT].ratio == pytest.approx(0.5)
    clock = Clock({PLAIN: 0.1, MEDIUM: 0.1, SHORT: 0.1})
    clock.measured()
    rounds = {number: [way for way, at in clock.steps if at == number] for number in range(2, 5)}
    assert set(map(tuple, rounds.values())) == {(PLAIN, MEDIUM, SHORT)}


def test_the_first_step_of_a_way_does_not_count():
    figures = Clock({PLAIN: [5.0, 0.1], SHORT: [7.0, 0.05]}).measured()
    assert figures[SHORT].ratio == pytest.approx(0.5)
    assert figures[SHORT].start == 0.0


@pytest.mark.parametrize("steps", [500, 1_000, 50_000])
def test_measuring_takes_its_share_of_the_run_at_most(steps):
    # Never clear, so that it goes on until the time is up.
    clock = Clock({PLAIN: 0.1, SHORT: [0.1, *[0.2, 0.05] * 50]})
    figures = clock.measured(Length(steps))
    # A round may begin before the time is up.
    assert clock.now <= SHARE * steps * 0.1 + 0.3
    assert (figures[SHORT].rounds == 25) == (steps == 50_000)


def test_it_stops_as_soon_as_it_is_clear():
    clock = Clock({PLAIN: 0.1, SHORT: 0.05})
    assert clock.measured()[SHORT].rounds == 5
    # 0.94 at times, 1.02 at others: not clear.
    clock = Clock({PLAIN: 0.1, SHORT: [0.1, *[0.094, 0.102] * 20]})
    assert clock.measured()[SHORT].rounds == 25


@pytest.mark.parametrize("length", [Length(100), Length(10**9, limit=10.0)])
def test_a_short_run_measures_nothing(length):
    clock = Clock({PLAIN: 0.1, SHORT: 0.01})
    assert clock.measured(length) == {}
    assert [way for way, _ in clock.steps] == [PLAIN, PLAIN]


@pytest.mark.parametrize(
    "costs", [[UnusableError("its loss is nan")], [0.01] * 3 + [UnusableError("its loss is nan")]]
)
def test_a_way_whose_loss_is_not_finite_is_out(costs):
    figures = Clock({PLAIN: 0.1, MEDIUM: 0.09, SHORT: costs}).measured()
    assert figures[SHORT] == Figure(unusable="its loss is nan")
    assert choose(figures, LONG) == MEDIUM
    alone = Clock({PLAIN: 0.1, SHORT: costs}).measured()
    assert choose(alone, LONG) == PLAIN


def test_where_the_first_way_cannot_be_computed_nothing_is_chosen():
    with pytest.raises(UnusableError, match="no such kernel"):
        Clock({PLAIN: [0.1, 0.1, UnusableError("no such kernel")], SHORT: 0.1}).measured()


@pytest.mark.parametrize(
    ("steps", "expected"),
    # 60 s of compiling are worth 0.05 s a step after 1,200 steps, and the 5 % that noise could be after somewhat more.
    [(1_000_000, COMPILED), (20_000, COMPILED), (1_250, SHORT), (1_000, SHORT)],
)
def test_the_time_of_compiling_counts_against_the_steps_that_are_left(steps, expected):
    figures = {
        SHORT: Figure(1.0, 1.0, 1.0, seconds=0.1, rounds=9),
        COMPILED: Figure(0.5, 0.5, 0.5, seconds=0.05, start=60.0, rounds=9),
    }
    assert choose(figures, Length(steps)) == expected
    assert choose(figures, Length(math.inf, limit=0.1 * steps)) == expected


def test_compiling_is_not_even_tried_in_a_run_of_minutes():
    costs = {SHORT: 0.1, COMPILED: [40.0, 0.05]}
    clock = Clock(costs)
    assert clock.measured(Length(9_000)) == {}
    assert COMPILED not in [way for way, _ in clock.steps]
    figures = Clock(costs).measured(Length(100_000))
    assert figures[COMPILED].start == pytest.approx(39.95)
    assert figures[COMPILED].ratio == pytest.approx(0.5)


def test_gathering_batches_is_no_part_of_a_step():
    figures = Clock({PLAIN: 0.1, SHORT: 0.05}, gathering=1.0).measured()
    assert (figures[PLAIN].seconds, figures[SHORT].seconds) == pytest.approx((0.1, 0.05))


@pytest.mark.parametrize(
    ("way", "usual", "expected"),
    [
        (PLAIN, "highest", "32-true"),
        (MEDIUM, "highest", "32-true, matmul_precision=medium"),
        (MEDIUM, "medium", "32-true"),
        (COMPILED, "highest", "bf16-mixed, compiled"),
    ],
)
def test_names(way, usual, expected):
    assert way.name(usual) == expected
