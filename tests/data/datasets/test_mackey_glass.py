"""The Mackey-Glass series, held against SciPy's integration."""

import json

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from nnkit.data.datasets.mackey_glass import MackeyGlass, integrate
from nnkit.data.sampler import Draw
from nnkit.errors import UserError


def reference(num_steps, tau):
    """Integrate stretches of one delay each, in which the delayed value is a known function of time."""
    pieces = []

    def value(time):
        if time <= 0:
            return 1.2
        return pieces[min(int(time // tau), len(pieces) - 1)](time)[0]

    last = [1.2]
    while len(pieces) * tau < num_steps:
        start = len(pieces) * tau
        found = solve_ivp(
            lambda time, x: 0.2 * value(time - tau) / (1 + value(time - tau) ** 10) - 0.1 * x,
            (start, start + tau),
            last,
            method="DOP853",
            rtol=1e-9,
            atol=1e-11,
            dense_output=True,
        )
        pieces.append(found.sol)
        last = found.y[:, -1]
    return np.array([value(float(time)) for time in range(num_steps)])


@pytest.mark.parametrize("tau", [17.0, 6.5])
def test_the_series_is_that_of_another_integration(tau):
    np.testing.assert_allclose(integrate(150, tau, warm_up=0), reference(150, tau), rtol=0, atol=1e-7)


def test_a_warm_up_is_the_same_curve_later():
    np.testing.assert_array_equal(integrate(50, 17.0, warm_up=30), integrate(80, 17.0, warm_up=0)[30:])


def test_a_delay_of_one_step_is_close_to_none():
    # Without a delay x climbs to where 0.2 / (1 + x^10) = 0.1, which is 1.
    assert integrate(1, 0.1, warm_up=400)[0] == pytest.approx(1, abs=1e-9)


def small(**options):
    data = MackeyGlass(**{"num_steps": 400, "window": 16, "horizon": 5, **options})
    data.setup_data()
    return data


def series(data):
    samples = data.split("train")
    targets = samples[Draw(None, torch.arange(len(samples)))].target[:, 0]
    learnt = data.preprocessing["target"]
    return targets.double().numpy() * learnt["std"][0] + learnt["mean"][0]


def test_noise_is_the_same_for_all_seeds_and_as_strong_as_asked_for():
    quiet, noisy, again = small(), small(noise=0.05, seed=1), small(noise=0.05, seed=2)
    assert noisy.preprocessing == again.preprocessing
    difference = series(noisy) - series(quiet)
    assert difference.std() == pytest.approx(0.05, rel=0.15)
    assert abs(difference.mean()) < 0.01


def test_the_global_generator_is_not_touched():
    before = torch.get_rng_state()
    small(noise=0.1)
    assert torch.equal(before, torch.get_rng_state())


def test_facts_and_a_restored_run():
    data = small()
    assert data.facts() == {"num_channels": 1, "num_outputs": 5}
    for options, refused in (({}, False), ({"tau": 20.0}, True), ({"num_steps": 401}, True)):
        other = MackeyGlass(**{"num_steps": 400, **options})
        other.setup_data(json.loads(json.dumps(data.preprocessing)))
        if refused:
            with pytest.raises(
                UserError,
                match=r"series has changed .* data\.noise or the integration is another",
            ):
                other.split("test")
        else:
            assert len(other.split("test")) == 76


@pytest.mark.parametrize(
    "options", [{"tau": 0}, {"tau": 17.05}, {"noise": -1}, {"noise": np.nan}, {"num_steps": 0}]
)
def test_arguments_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        MackeyGlass(**options)


def test_a_file_with_one_column_of_numbers_can_be_forecast(tmp_path):
    data = small()
    one, two, short = (tmp_path / f"{name}.csv" for name in ("one", "two", "short"))
    values = integrate(20, 17.0)
    one.write_text(
        "date,blood\n" + "".join(f"2020-01-{day + 1:02},{x:.6f}\n" for day, x in enumerate(values))
    )
    two.write_text("a,b\n1,2\n3,4\n")
    short.write_text("a\n1\n2\n")
    answers = dict(data.read(map(str, (one, two, short))))
    learnt = data.preprocessing["target"]
    units = answers[str(one)].inputs[0, :, 0].double().numpy() * learnt["std"][0] + learnt["mean"][0]
    np.testing.assert_allclose(units, values[-16:], atol=1e-5)
    assert "has 2 columns of numbers, the model reads one: a, b" in answers[str(two)]
    assert answers[str(short)].endswith("has 2 rows, and the model reads the last 16")
