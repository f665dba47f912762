"""Start from another run's weights: embed and body must fit, the head need not."""

from __future__ import annotations

from pathlib import Path

from nnkit import report
from nnkit.checkpoint.store import CheckpointStore
from nnkit.errors import UserError
from nnkit.network import Network
from nnkit.run import find_run

_PREFIX = "network."


def take_weights(network: Network, spec: str, output_dir: Path) -> list[str]:
    """Load the best weights of a run into a network, and say what was taken and what stays fresh.

    Args:
        network: Freshly built; changed in place.
        spec: Run directory, its unique prefix, or "last".
        output_dir: Where runs are looked for.

    Returns:
        Names of the tensors that stay as they were.

    Raises:
        UserError: If there is no such run, or a tensor of embed or body is missing there or has another shape.
    """
    run = find_run(spec, output_dir)
    _, checkpoint = CheckpointStore(run.checkpoints).load("best")
    there = {
        name.removeprefix(_PREFIX): tensor
        for name, tensor in checkpoint["state_dict"].items()
        if name.startswith(_PREFIX)
    }
    here = network.state_dict()
    taken = {
        name: there[name]
        for name, tensor in here.items()
        if name in there and there[name].shape == tensor.shape
    }
    left = [name for name in here if name not in taken]
    wrong = [name for name in left if not name.startswith("head.")]
    if wrong:
        shapes = [
            f"{name}: {tuple(there[name].shape) if name in there else 'missing'} there, {tuple(here[name].shape)} here"
            for name in wrong
        ]
        raise UserError(
            f"init_from: the weights of {run.path} do not fit this model\n    " + "\n    ".join(shapes)
        )
    network.load_state_dict({**here, **taken})
    fresh = f"; fresh: {', '.join(left)}" if left else ""
    report.console().print(f"weights from {report.shorten(run.path)}: {len(taken)} tensors taken{fresh}")
    return left
