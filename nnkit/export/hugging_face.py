"""A run as a directory of Hugging Face, compared with `transformers` where that is installed."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nnkit import config as configs
from nnkit.export import comparison
from nnkit.files.json_limits import read_json
from nnkit.hugging_face import write_directory
from nnkit.layers.sequence import pool
from nnkit.network import Network

if TYPE_CHECKING:
    from nnkit.runs.session import Session

# Our arguments as theirs, for models of texts; those of pictures take one alone.
_TEXTS = {"inputs": "input_ids", "mask": "attention_mask", "second": "token_type_ids"}


def write(path: Path, session: Session) -> tuple[dict[str, str], tuple[str, ...]]:
    """Write the directory; return what is worth telling of it, and sentences on what is otherwise there.

    Args:
        path: The directory, which does not exist.
        session: What was opened of the run.

    Raises:
        ConfigError: If transformers has no such model; nothing is written then.
        Unequal: If it computes something else there; nothing is written then.
    """
    plain = configs.plain(session.config, resolve=True)
    parts = {group: plain[group] for group in ("model", "head", "data")}
    network = session.task.network
    with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as folder:
        made = Path(folder) / path.name
        notes = write_directory(
            made, **parts, state=network.state_dict(), preprocessing=session.data.preprocessing
        )
        said = _compared(made, session, headless=bool(notes))
        names = sorted(str(one.relative_to(made)) for one in made.rglob("*") if one.is_file())
        shutil.move(made, path)
    return {"files": ", ".join(names), "largest difference": said}, tuple(notes)


def _compared(made: Path, session: Session, *, headless: bool) -> str:
    """Return the largest difference between the run and `transformers`, as a text.

    Args:
        made: The directory.
        session: Of the run.
        headless: Whether their model stops at the features of the steps, so that what a head would read is compared.
    """
    try:
        import transformers as library
    except ImportError:
        return "not compared: transformers is not installed"
    transformers: Any = library
    before = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            (architecture,) = read_json(made / "config.json")["architectures"]
            model = getattr(transformers, architecture).from_pretrained(made).eval()
            samples = comparison.samples_of(session)
            run, own = (_mean, _vector) if headless else (_outputs, comparison.outputs_of)
            apart = comparison.difference(partial(run, model), partial(own, session.task.network), samples)
    finally:
        transformers.logging.set_verbosity(before)
    what = "the vectors of transformers and the run" if headless else "transformers and the run"
    return f"{apart:.2g}, {what}, {samples.described}"


def _called(model: Any, arguments: Mapping[str, Tensor]) -> Any:
    names = _TEXTS if model.main_input_name == "input_ids" else {"inputs": model.main_input_name}
    with torch.no_grad():
        return model(**{names[name]: tensor for name, tensor in arguments.items()})


def _outputs(model: Any, arguments: Mapping[str, Tensor]) -> list[Tensor]:
    outputs = _called(model, arguments)
    # Of BERT's two heads, tokens first.
    found = [outputs.get(name) for name in ("logits", "prediction_logits", "seq_relationship_logits")]
    return [one for one in found if one is not None]


def _mean(model: Any, arguments: Mapping[str, Tensor]) -> list[Tensor]:
    """Return the mean of what their model gives for each token, as Sentence-Transformers takes it."""
    return [pool(_called(model, arguments).last_hidden_state, arguments.get("mask"), "mean")]


def _vector(network: Network, arguments: Mapping[str, Tensor]) -> list[Tensor]:
    """Return what our head reads."""
    with torch.no_grad():
        return [network.vectors(arguments["inputs"], arguments.get("mask"), arguments.get("second"))]
