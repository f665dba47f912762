"""Every family trained and seen from inside: what is shown is what the network computes."""

import numpy as np
import pytest
import torch
from inspected import RUNS, in_folder, seen

from nnkit.analysis.pages.page import page

WITH_ATTENTION = {
    "vit_tiny",
    "transformer_encoder",
    "bert_tiny",
    "gpt",
    "llama",
    "transformer",
    "seq2seq_lstm",
}
WITH_LENS = WITH_ATTENTION - {"seq2seq_lstm"}
WITH_GATES = {"rnn", "lstm", "gru", "bilstm", "seq2seq_lstm", "forecast"}


@pytest.fixture(params=RUNS)
def name(request):
    return request.param


@pytest.fixture
def run(name, monkeypatch):
    return in_folder(name, monkeypatch)


@pytest.fixture
def found(run, name):
    return seen(name)


def of_input(found, ending):
    return [
        one for name, one in found.arrays.items() if name.startswith("input 1/") and name.endswith(ending)
    ]


def test_arrays_have_an_axis_a_dimension_and_a_label_a_place(found):
    assert len(found.arrays) > 3
    for one in found.arrays.values():
        assert len(one.axes) == one.values.ndim == len(one.shape)
        for axis, labels in one.labels.items():
            assert len(labels) == one.shape[one.axes.index(axis)], one.name
        assert np.isfinite(one.values).all()


def test_rows_of_attention_are_shares_of_one(name, found):
    weights = of_input(found, "weights")
    assert bool(weights) == (name in WITH_ATTENTION)
    for one in weights:
        assert one.axes == ("head", "query", "key")
        np.testing.assert_allclose(one.values.sum(-1), 1, atol=1e-5)
        assert one.values.min() >= 0
        if name in ("gpt", "llama"):
            assert np.triu(one.values, 1).max() == 0


def test_what_the_network_says_is_what_it_puts_out(run, name, found):
    outcome = found.outcomes["input 1"]
    sample = run.task.first_sample(next(iter(run.data.val_dataloader())))
    with torch.no_grad():
        sample = run.task.completed(sample, run.data)
        outputs = run.network(*sample.network_inputs())
    outputs = outputs[0] if isinstance(outputs, tuple) else outputs
    if name == "forecast":
        outputs = run.task.in_units(outputs)
    torch.testing.assert_close(outcome.scores.reshape(outputs.shape).to(outputs.dtype), outputs)
    if outcome.probabilities is not None:
        shares = outcome.probabilities.sum(-1)
        torch.testing.assert_close(shares, torch.ones_like(shares))


def test_the_lens_of_the_last_layer_is_the_output(run, name, found):
    from nnkit.analysis.inspection.capture import capture

    sample = run.task.first_sample(next(iter(run.data.val_dataloader())))
    seen = capture(run.task, sample, run.data)
    assert bool(seen.lens) == (name in WITH_LENS)
    if seen.lens:
        last = [*seen.lens.values()][-1]
        torch.testing.assert_close(last.scores, seen.outcome.scores, atol=1e-5, rtol=1e-5)
        assert ("input 1/logit lens" in found.figures) == (len(seen.lens) > 1)


def test_written_out_states_are_those_of_the_fused_cells(run, name):
    from nnkit.analysis.inspection.capture import capture, recording, recurrent_cells

    sample = run.task.first_sample(next(iter(run.data.val_dataloader())))
    cells = recurrent_cells(run.network)
    assert bool(cells) == (name in WITH_GATES)
    seen = capture(run.task, sample, run.data)
    with torch.no_grad(), recording([cell for cell, _ in cells.values()]) as calls:
        run.network(*seen.sample.network_inputs())
    hidden = {gate.name: gate for gate in seen.gates if gate.name.endswith("hidden")}
    for title, (cell, is_reversed) in cells.items():
        layer = f" layer {cell.num_layers}" if cell.num_layers > 1 else ""
        states = calls[cell][0][1][0][0]
        states = states.flip(0) if is_reversed else states
        found = hidden[f"{title}{layer} hidden".strip()]
        np.testing.assert_allclose(found.values, states.T.numpy(), atol=1e-5)


def test_every_figure_has_a_title_and_named_axes(found):
    assert len(found.figures) > 4
    for name, figure in found.figures.items():
        assert figure.get_suptitle(), name
        named = [axes for axes in figure.axes if axes.get_xlabel() or axes.get_ylabel()]
        visible = [axes for axes in figure.axes if axes.axison]
        assert named == visible, name


def test_the_page_has_every_figure_and_loads_nothing(found):
    html = page(found)
    assert html.count("<svg") == len(found.figures)
    assert len(html.encode()) < 3_000_000
    assert "<script" not in html
    for attribute in ("src=", 'href="http', "url(http", "@import"):
        assert attribute not in html, attribute
