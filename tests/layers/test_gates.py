"""Written-out recurrent cells beside torch's fused ones."""

import pytest
import torch
from torch import nn

from nnkit.layers.gates import gates_of

GENERATOR = torch.Generator().manual_seed(0)


def inputs(width=5):
    return 2 * torch.randn(3, 11, width, generator=GENERATOR)


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("kind", "extra"), [
    (nn.LSTM, {}), (nn.GRU, {}), (nn.RNN, {"nonlinearity": "tanh"}), (nn.RNN, {"nonlinearity": "relu"}),
])  # fmt: skip
def test_states_are_those_of_the_fused_cell(kind, extra, layers, bias):
    cell = kind(5, 7, layers, bias=bias, batch_first=True, **extra).eval()
    x = inputs()
    begin = [torch.randn(layers, 3, 7, generator=GENERATOR) for _ in range(2)]
    for state in (None, tuple(begin) if kind is nn.LSTM else begin[0]):
        with torch.no_grad():
            fused, last = cell(x, state)
            found = gates_of(cell, x, state)
        torch.testing.assert_close(found[-1]["hidden"], fused, atol=1e-5, rtol=0)
        hidden = last[0] if kind is nn.LSTM else last
        for layer, of_layer in enumerate(found):
            torch.testing.assert_close(of_layer["hidden"][:, -1], hidden[layer], atol=1e-5, rtol=0)
            if kind is nn.LSTM:
                torch.testing.assert_close(of_layer["cell"][:, -1], last[1][layer], atol=1e-5, rtol=0)


def test_gates_of_an_lstm_obey_its_equations():
    cell = nn.LSTM(5, 7, batch_first=True)
    with torch.no_grad():
        gates = gates_of(cell, inputs())[0]
    before = torch.cat([torch.zeros(3, 1, 7), gates["cell"][:, :-1]], dim=1)
    written = gates["forget gate"] * before + gates["input gate"] * gates["candidate"]
    torch.testing.assert_close(written, gates["cell"])
    torch.testing.assert_close(gates["output gate"] * gates["cell"].tanh(), gates["hidden"])
    assert all(float(gates[f"{name} gate"].min()) > 0 and float(gates[f"{name} gate"].max()) < 1
               for name in ("input", "forget", "output"))  # fmt: skip


def test_a_cell_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="LSTM is no LSTM, GRU or RNN of one direction"):
        gates_of(nn.LSTM(5, 7, bidirectional=True, batch_first=True), inputs())
