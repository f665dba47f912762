"""A network as an ONNX file, run by onnxruntime: written from a run, and read back to predict with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from nnkit.errors import UserError
from nnkit.export.comparison import NAMES, Runner, arguments_of
from nnkit.export.description import read_described
from nnkit.export.program import first_line, quiet, traced, varying_shapes
from nnkit.factory import build_network, refuse_untrusted
from nnkit.factory.metrics import task_of
from nnkit.network import Network
from nnkit.runs.session import Session, make_session, prepare_data
from nnkit.ui import report

# Outputs of a network, the second one of those that score steps and their summary.
OUTPUTS = ("outputs", "summary")
# What one file of protobuf can hold.
_MAX_BYTES = 2**31 - 1
_MISSING = "needs onnx and onnxruntime, which are not installed\n    pip install 'nnkit[export]'"


def encode(network: Network, arguments: Mapping[str, Tensor]) -> bytes:
    """Return a network as the bytes of an ONNX file, weights included.

    Args:
        network: In evaluation mode.
        arguments: What it is called with, by name.

    Raises:
        UserError: If a package is missing, an operator has no counterpart in ONNX, or it is too large for one file.
    """
    size = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    if size > _MAX_BYTES:
        raise UserError(
            f"the weights have {size:,} bytes, and a file of ONNX holds at most {_MAX_BYTES:,}\n"
            "    --format safetensors or torch has no such limit"
        )
    _runtime()
    with quiet():
        program = traced(network, arguments)
        try:
            made = torch.onnx.export(
                program,
                (),
                kwargs=dict(arguments),
                output_names=_names(network, arguments),
                # For the names of what varies.
                dynamic_shapes=varying_shapes(network, arguments),
                verbose=False,
            )
        except ImportError as error:
            raise UserError(f"--format onnx {_MISSING}") from error
        # The exporter passes on whatever an operator of it raises.
        except Exception as error:
            raise UserError(f"ONNX cannot express this network: {first_line(error)}") from error
    assert made is not None
    content: bytes = made.model_proto.SerializeToString()
    return content


def _names(network: Network, arguments: Mapping[str, Tensor]) -> list[str]:
    with torch.no_grad():
        outputs = network(**arguments)
    return list(OUTPUTS if isinstance(outputs, tuple) else OUTPUTS[:1])


def _runtime() -> Any:
    try:
        import onnx  # noqa: F401
        import onnxruntime
    except ImportError as error:
        raise UserError(f"ONNX {_MISSING}") from error
    return onnxruntime


def runner(content: bytes) -> Runner:
    """Return what runs the bytes of an ONNX file.

    Raises:
        UserError: If a package is missing, the bytes are no network, or weights of it lie in another file.
    """
    runtime = _runtime()
    import onnx

    try:
        if _refers_elsewhere(onnx.load_from_string(content)):
            raise ValueError("its weights lie in other files, which are not read")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        # Errors are raised; what it logs besides is for its developers.
        options.log_severity_level = 4
        session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    # protobuf and onnxruntime raise classes of their own that share no base.
    except Exception as error:
        raise UserError(f"the ONNX file cannot be run: {first_line(error)}") from error

    def run(arguments: Mapping[str, Tensor]) -> list[Tensor]:
        given = {name: tensor.numpy() for name, tensor in arguments.items()}
        try:
            outputs = session.run(None, given)
        except Exception as error:
            raise UserError(f"the ONNX file cannot be run: {first_line(error)}") from error
        return [torch.from_numpy(one) for one in outputs]

    return run


def _refers_elsewhere(message: Any) -> bool:
    """Return whether a tensor anywhere in a message of ONNX has its values in another file."""
    if getattr(message, "external_data", None):
        return True
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            parts = value if field.is_repeated else [value]
            if any(_refers_elsewhere(part) for part in parts):
                return True
    return False


class ONNXNetwork(Network):
    """A network whose outputs an ONNX file computes; its own weights have no values.

    Args:
        network: One of the same architecture, on the meta device.
        run: Runs the file.
    """

    def __init__(self, network: Network, run: Runner) -> None:
        super().__init__(network.embed, network.body, network.head)
        self._run = run

    @override
    def forward(
        self,
        inputs: Tensor,
        mask: Tensor | None = None,
        second: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Any:
        """Map inputs to outputs; see `Network.forward`. Steps are scored everywhere: `where` must be None."""
        assert where is None
        given = zip(NAMES, (inputs, mask, second), strict=True)
        outputs = self._run({name: tensor for name, tensor in given if tensor is not None})
        return outputs[0] if len(outputs) == 1 else tuple(outputs)


def open_file(path: Path) -> Session:
    """Return a session that predicts with an ONNX file that `nnkit export` has written.

    Args:
        path: The file; its description is beside it.

    Raises:
        UserError: If one of both is missing, garbled or refused, they do not belong together, or the run writes texts,
            for which more is needed than outputs.
        ConfigError: If the config is refused.
    """
    content, known = read_described(path)
    config, shown = known.config, report.shorten(path)
    refuse_untrusted(config)
    config.trainer.compile = config.trainer.activation_checkpointing = False
    kind = task_of(config)
    if kind.writes is not None:
        raise UserError(
            f"{shown} scores tokens, and to write texts takes the run\n    nnkit generate RUN lets it write"
        )
    data = prepare_data(config, known.preprocessing)
    try:
        with torch.device("meta"):
            outline = build_network(config).eval()
            expected = outline(*kind.example_batch(config.data, 2, "meta").network_inputs())
    except (RuntimeError, NotImplementedError) as error:
        raise UserError(f"{shown}: its network cannot be outlined: {first_line(error)}") from error
    network = ONNXNetwork(outline, runner(content))
    found = network(**arguments_of(kind.example_batch(config.data, 2)))
    if getattr(found, "shape", None) != expected.shape:
        raise UserError(
            f"{shown} has outputs of other sizes than the network that {path.name}.json describes"
        )
    session = make_session(config, known.choices, data, network)
    session.task.eval()
    return session
