"""The page on a sweep: its table, intervals, what each axis explains, and the command of the best trial."""

import numpy as np
import pytest

from nnkit.analysis.pages.page import page
from nnkit.analysis.report.trials import importance, sweep_report
from nnkit.sweep.directory import Definition, Sweep
from nnkit.sweep.space import grid, read_space
from nnkit.sweep.trials import DONE, RAISED, Outcome

AXES = ("model=lenet5,mlp", "optimizer.lr=1e-3,3e-3", "seed=1,2,3")


def score(words):
    return 0.9 + 0.05 * (words["model"] == "lenet5") + int(words["seed"]) / 1000


@pytest.fixture
def sweep(tmp_path):
    made = Sweep(tmp_path / "outputs" / "sweeps" / "first")
    made.path.mkdir(parents=True)
    made.define(Definition(("data=mnist",), AXES, False, "val/accuracy", "max", 1))
    for trial in grid(read_space(AXES).axes):
        words = dict(word.split("=") for word in trial.words)
        if words["model"] == "mlp" and words["seed"] == "3":
            made.note((trial, Outcome(RAISED, "<script>alert(1)</script>")))
            continue
        made.note((trial, Outcome(DONE, "", {"val/accuracy": score(words)}, 100)))
        run = made.run_of(trial).path
        run.mkdir(exist_ok=True)
        rows = [
            f'{{"step": {step}, "split": "val", "val/accuracy": {score(words) * step / 9}}}'
            for step in (3, 6, 9)
        ]
        (run / "metrics.jsonl").write_text("\n".join(rows))
    return made


def test_an_axis_explains_the_variance_between_the_means_of_its_values():
    words = [{"a": a, "b": b} for a in "xy" for b in "12" for _ in range(2)]
    scores = [
        2.0 * (one["a"] == "x") + 0.5 * (one["b"] == "1") + noise
        for one, noise in zip(words, [0, 0.2] * 4, strict=True)
    ]
    whole = np.sum((np.array(scores) - np.mean(scores)) ** 2)
    found = importance(scores, words)
    assert list(found) == ["a", "b"]
    assert found["a"] == pytest.approx(8 * 1.0**2 / whole)
    assert found["b"] == pytest.approx(8 * 0.25**2 / whole)
    assert importance([1.0, 1.0], [{"a": "1"}, {"a": "2"}]) == {}


def test_numbers_of_which_there_are_many_are_compared_by_quarters():
    words = [{"lr": str(number)} for number in range(1, 41)]
    found = importance([float(number > 20) for number in range(1, 41)], words)
    assert found["lr"] == pytest.approx(1)
    # One by one, each value would explain itself.
    chance = np.random.default_rng(0).random(40).tolist()
    assert importance(chance, words)["lr"] < 0.4


def test_the_page_has_settings_axes_curves_failures_and_the_best_trial(sweep):
    found = sweep_report(sweep)
    sections = {section.title: section for section in found.sections}
    assert list(sections) == ["Settings", "Axes", "Learning curves", "Failed trials", "The best trial"]
    table = sections["Settings"].tables[0]
    assert len(table.rows) == 4
    assert table.rows[0][:2] == ["lenet5", "0.001"]
    assert "0.9520 ± 0.001" in table.rows[0]
    assert "95 % interval" in table.headers
    axes = sections["Axes"]
    assert [one.title for one in axes.tables] == ["model", "optimizer.lr"] or axes.tables[0].title == "model"
    assert axes.tables[0].rows[0][0] == "lenet5"
    assert sections["Learning curves"].figures.keys() == {"accuracy"}
    assert (
        "nnkit train data=mnist model=lenet5 optimizer.lr=0.001 seed=3"
        in sections["The best trial"].commands[0].text
    )
    html = page(found)
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert html.count("<svg") == len(found.figures) == 2


def test_a_sweep_is_reported_from_the_command_line(sweep, cli, tmp_path):
    code, out, err = cli("report", sweep.path)
    assert code == 0, err
    assert out.startswith("report: outputs/sweeps/first/report.html")
    assert "sweep first" in (sweep.path / "report.html").read_text()
    code, out, _ = cli("report", "first", "--out", "page.html")
    assert code == 0
    assert (tmp_path / "page.html").is_file()


def test_a_sweep_of_which_nothing_has_ended_has_a_page(tmp_path):
    made = Sweep(tmp_path / "none")
    made.path.mkdir()
    made.define(Definition(("data=mnist",), AXES, False, "val/accuracy", "max", 1))
    html = page(sweep_report(made))
    assert "No trial has been planned yet" in html
    assert "No trial has ended with val/accuracy" in html
