"""Recurrent cells written out step by step: the gates that torch's fused cells compute and do not show."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

# Of one layer by name, (batch, time, dim) each.
Gates = dict[str, Tensor]


def gates_of(
    cell: nn.RNNBase, inputs: Tensor, state: Tensor | tuple[Tensor, Tensor] | None = None
) -> list[Gates]:
    """Compute every gate and state of a stack of recurrent layers from its weights.

    Args:
        cell: An `nn.LSTM`, `nn.GRU` or `nn.RNN` of one direction, the batch first, in evaluation mode.
        inputs: What it was called with, (batch, time, width).
        state: The state it began with, as torch takes it; None: zeros.

    Returns:
        For each layer: of an LSTM "input gate", "forget gate", "candidate", "output gate", "cell" and "hidden"; of a
        GRU "reset gate", "update gate", "candidate" and "hidden"; of an Elman network "hidden".

    Raises:
        ValueError: If the cell is of another kind.
    """
    steps = {"LSTM": _lstm, "GRU": _gru, "RNN_TANH": _elman, "RNN_RELU": _elman}
    if cell.mode not in steps or cell.bidirectional or not cell.batch_first or cell.proj_size:
        raise ValueError(
            f"{type(cell).__name__} is no LSTM, GRU or RNN of one direction with the batch first"
        )
    parts = () if state is None else state if isinstance(state, tuple) else (state,)
    found = []
    for layer in range(cell.num_layers):
        begin = [part[layer] for part in parts] or [inputs.new_zeros(len(inputs), cell.hidden_size)] * 2
        gates = steps[cell.mode](cell, layer, inputs, begin)
        inputs = gates["hidden"]
        found.append(gates)
    return found


def _products(
    cell: nn.RNNBase, layer: int, inputs: Tensor, hidden: Tensor, count: int
) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """Return W x + b and U h + c, cut into `count` parts, (batch, dim) each."""

    def product(values: Tensor, name: str) -> Sequence[Tensor]:
        weight, bias = getattr(cell, f"weight_{name}_l{layer}"), getattr(cell, f"bias_{name}_l{layer}", None)
        return nn.functional.linear(values, weight, bias).chunk(count, dim=-1)

    return product(inputs, "ih"), product(hidden, "hh")


def _stacked(steps: Sequence[Gates]) -> Gates:
    return {name: torch.stack([step[name] for step in steps], dim=1) for name in steps[0]}


def _lstm(cell: nn.RNNBase, layer: int, inputs: Tensor, begin: Sequence[Tensor]) -> Gates:
    hidden, memory = begin
    steps = []
    for x in inputs.unbind(1):
        of_input, of_hidden = _products(cell, layer, x, hidden, 4)
        # torch's weights hold the gates in the order i, f, g, o.
        i, f, g, o = (a + b for a, b in zip(of_input, of_hidden, strict=True))
        i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
        memory = f * memory + i * g  # c_t: what is kept of the cell, and what is written to it
        hidden = o * memory.tanh()  # h_t: what the cell shows
        names = ("input gate", "forget gate", "candidate", "output gate", "cell", "hidden")
        steps.append(dict(zip(names, (i, f, g, o, memory, hidden), strict=True)))
    return _stacked(steps)


def _gru(cell: nn.RNNBase, layer: int, inputs: Tensor, begin: Sequence[Tensor]) -> Gates:
    hidden = begin[0]
    steps = []
    for x in inputs.unbind(1):
        of_input, of_hidden = _products(cell, layer, x, hidden, 3)
        # torch's weights hold them in the order r, z, n.
        r, z = ((of_input[place] + of_hidden[place]).sigmoid() for place in (0, 1))
        # The reset gate acts behind the product with the hidden state, as in torch (Cho et al. 2014 have it before).
        n = (of_input[2] + r * of_hidden[2]).tanh()
        hidden = (1 - z) * n + z * hidden  # an update gate of 1 keeps the state
        names = ("reset gate", "update gate", "candidate", "hidden")
        steps.append(dict(zip(names, (r, z, n, hidden), strict=True)))
    return _stacked(steps)


def _elman(cell: nn.RNNBase, layer: int, inputs: Tensor, begin: Sequence[Tensor]) -> Gates:
    hidden = begin[0]
    steps = []
    for x in inputs.unbind(1):
        (of_input,), (of_hidden,) = _products(cell, layer, x, hidden, 1)
        total = of_input + of_hidden
        hidden = total.tanh() if cell.mode == "RNN_TANH" else total.relu()
        steps.append({"hidden": hidden})
    return _stacked(steps)
