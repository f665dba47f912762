"""Every family trained, seen from inside and reported: the page has what its task asks for, with the run's numbers."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from inspected import RUNS, in_folder, seen

from nnkit.analysis.pages.page import page
from nnkit.analysis.report.samples import look_at
from nnkit.analysis.report.single import report

PICTURES = {"lenet5", "lenet5_1998", "cnn", "resnet20", "mlp_3b1b", "vit_tiny"}
TEXTS = {"rnn", "lstm", "gru", "bilstm", "transformer_encoder"}
CLASSES = PICTURES | TEXTS | {"mlp"}
LANGUAGE = {"gpt", "llama"}
WRITING = {"transformer", "seq2seq_lstm"}
_made = {}


@pytest.fixture(params=RUNS)
def name(request):
    return request.param


@pytest.fixture
def run(name, monkeypatch):
    return in_folder(name, monkeypatch)


def made(name, run):
    if name not in _made:
        looked = look_at(run.task, run.data)
        found = report(run.run, run.task, run.data, looked)
        _made[name] = looked, found, page(found)
    return _made[name]


def test_sections_are_those_of_the_task(name, run):
    _, found, html = made(name, run)
    titles = {section.title for section in found.sections}
    assert {"Results", "Learning curves", "From inside", "Environment", "Do it again"} <= titles
    assert ({"Classes", "Calibration"} <= titles) == (name in CLASSES)
    assert ("Forecasts" in titles) == (name == "forecast")
    assert ("Written on" in titles) == (name in LANGUAGE)
    assert ("Samples" in titles) == (name in WRITING)
    assert ("Most certain mistakes" in titles) == (name in CLASSES | LANGUAGE | {"bert_tiny"})
    assert {"loss", "learning rate"} <= found.sections[1].figures.keys()
    assert len([one for one in found.sections if one.minor]) in (2, 3)
    # Inspected before: the same run is seen by both.
    assert seen(name).figures
    assert "<script" not in html
    assert len(html.encode()) < 3_000_000
    for attribute in ('href="http', "url(http", "@import", 'src="http'):
        assert attribute not in html


def test_every_figure_of_a_report_has_a_title_and_named_axes(name, run):
    _, found, html = made(name, run)
    assert html.count("<svg") == len(found.figures) > 2
    for title, figure in found.figures.items():
        assert figure.get_suptitle(), title
        visible = [axes for axes in figure.axes if axes.axison]
        assert [axes for axes in visible if axes.get_xlabel() or axes.get_ylabel()] == visible, title
    names = re.findall(r'\bid="([^"]+)"', html)
    assert len(names) == len(set(names))


def test_metrics_of_the_samples_seen_are_those_of_the_run(name, run):
    looked, found, html = made(name, run)
    assert len(looked.indices) == looked.total
    known = run.run.record()["metrics"]
    rows = {row[0]: row for row in found.tables[0].rows}
    assert rows.keys() >= known.keys()
    intervals = 0
    for metric, value in known.items():
        assert float(rows[metric][1]) == pytest.approx(value, rel=1e-3, abs=1e-4)
        if rows[metric][2]:
            low, high = map(float, rows[metric][2].split(" to "))
            # The metrics of what was resampled are the metrics of the test, not of something else.
            assert low - 1e-3 <= value <= high + 1e-3
            intervals += 1
    assert intervals >= 1
    assert run.run.record()["versions"]["torch"] in html


def test_the_metrics_that_are_resampled_are_computed_as_the_task_does(name, run):
    from nnkit.analysis.report.answers import intervals_of

    looked, _, _ = made(name, run)
    with torch.inference_mode():
        if name not in WRITING:
            for batch in run.data.in_order(run.data.split(looked.split)):
                run.task.evaluate(batch)
            expected = {key: float(value) for key, value in run.task.results().items()}
        else:
            expected = {key.partition("/")[2]: one for key, one in run.run.record()["metrics"].items()}
    found = intervals_of(run.task, looked)
    assert found
    for metric, interval in found.items():
        assert interval.value == pytest.approx(expected[metric], rel=1e-4, abs=1e-6), metric


def test_classes_and_mistakes_are_those_of_a_forward_pass(name, run):
    if name not in CLASSES:
        pytest.skip("no classes")
    looked, found, _ = made(name, run)
    sections = {section.title: section for section in found.sections}
    shares, truth = [], []
    with torch.no_grad():
        for batch in run.data.in_order(run.data.split(looked.split)):
            shares.append(run.network.head.probabilities(run.network(*batch.network_inputs())))
            truth.append(batch.target)
    order = np.argsort(looked.indices)
    assert sorted(looked.indices) == [*range(looked.total)]
    shares, truth = torch.cat(shares).numpy(), torch.cat(truth).numpy()
    np.testing.assert_allclose(looked.predictions, shares, atol=1e-6)
    wrong = shares.argmax(1) != truth
    text = sections["Most certain mistakes"].texts[0]
    assert text.startswith(f"{wrong.sum()} of {len(truth)} answers" if wrong.any() else "None of")
    if wrong.any():
        most = np.where(wrong, shares.max(1), 0).argmax()
        section = sections["Most certain mistakes"]
        said = section.thumbs[0].lines[0] if section.thumbs else section.tables[0].rows[0][1]
        assert f"{run.task.class_names[shares[most].argmax()]}, {shares[most].max():.1%}" in said
        assert bool(section.thumbs) == (name in PICTURES)
    rows = sections["Classes"].tables[0].rows
    assert sum(int(row[4]) for row in rows) == len(truth) == len(order)


def test_language_models_write_on_alike_each_time(name, run):
    if name not in LANGUAGE:
        pytest.skip("writes nothing on")
    looked, found, _ = made(name, run)
    (section,) = [one for one in found.sections if one.title == "Written on"]
    again = report(run.run, run.task, run.data, looked)
    (other,) = [one for one in again.sections if one.title == "Written on"]
    assert section.commands == other.commands
    assert all("\u2502" in one.text for one in section.commands)


def test_what_is_written_stands_beside_what_was_to_be_written(name, run):
    if name not in WRITING:
        pytest.skip("writes no answers")
    _, found, _ = made(name, run)
    (section,) = [one for one in found.sections if one.title == "Samples"]
    table = section.tables[0]
    assert list(table.headers) == ["read", "written", "true"]
    pairs = dict(line.split("\t") for line in Path("pairs.tsv").read_text().splitlines())
    for read, _, true in table.rows:
        assert pairs[read] == true
