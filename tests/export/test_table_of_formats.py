"""docs/export.md says of each family which formats hold it; every cell is tried."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import nnkit
from nnkit.config import catalog
from nnkit.errors import ConfigError, UserError
from nnkit.export import comparison, program
from nnkit.export.writing import FORMATS
from nnkit.factory import build_network
from nnkit.factory.metrics import task_of
from nnkit.hugging_face import write_directory

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

PAGE = Path(__file__).parents[2] / "docs" / "export.md"
DATA = {"pictures": "digits", "texts": "langid", "next tokens": "shakespeare", "pairs of texts": "dates"}
SMALL = {"dim": 8, "num_layers": 1, "num_heads": 2, "num_kv_heads": 2, "hidden": None}
SMALL |= {"depths": [1, 1], "channels": [4, 8], "patch_size": 4}
REFUSED = {
    "one length": (UserError, "would read texts of one length only"),
    "no counterpart": (ConfigError, "has no counterpart of|stem: resnet has large only"),
}


def rows():
    """Yield the model, the kind of data, and the cell of each format."""
    lines = PAGE.read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("| family |"))
    formats = re.findall(r"`(\w+)`", lines[start])
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        names, kind, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        for name in re.findall(r"`(\w+)`", names):
            yield name, kind, dict(zip(formats, cells, strict=True))


def small(name, kind):
    """Return a network of a family in a small size, and its config."""
    config = nnkit.compose([f"model={name}", f"data={DATA[kind]}"]).config
    for key, value in SMALL.items():
        if key in config.model and (key != "hidden" or "num_heads" in config.model):
            config.model[key] = value
    for key in ("source_vocab_size", "vocab_size", "num_classes"):
        if key in config.data and config.data[key] is None:
            config.data[key] = 30
    return build_network(config).eval(), config


def batches(config):
    """Return batches of other sizes, and for texts other lengths, than the one that is traced."""
    whole = task_of(config).example_batch(config.data, 4)
    arguments = comparison.arguments_of(whole)
    are_texts = arguments["inputs"].ndim == 2 and not arguments["inputs"].is_floating_point()
    yield arguments
    yield {name: tensor[:1, :5] if are_texts else tensor[:1] for name, tensor in arguments.items()}


# A model of each class; the others are sizes of these.
TRIED = ("lenet5", "lenet5_1998", "cnn", "resnet18", "resnet20", "vit", "mlp", "lstm", "gru", "rnn")
TRIED += ("transformer_encoder", "bert", "gpt", "llama", "transformer", "seq2seq_lstm")
CASES = [pytest.param(*row, id=f"{row[0]}-{row[1]}") for row in rows() if row[0] in TRIED]


@pytest.mark.parametrize(("name", "kind", "cells"), CASES)
def test_every_cell_holds(name, kind, cells, tmp_path):
    network, config = small(name, kind)
    example = comparison.arguments_of(task_of(config).example_batch(config.data, program.TRACED))
    for form, cell in cells.items():
        if form == "huggingface":
            refused_or(cell, lambda: write(tmp_path / "made", network, config))
            assert (tmp_path / "made").exists() == (cell == "yes")
            continue
        content = refused_or(cell, lambda form=form: FORMATS[form].encode(network, example))
        if content is not None:
            run = FORMATS[form].runner(content, SimpleNamespace(config=config))
            for arguments in batches(config):
                for one, other in zip(run(arguments), comparison.outputs_of(network, arguments), strict=True):
                    torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def write(path, network, config):
    plain = nnkit.config.plain(config, resolve=True)
    parts = {group: plain[group] for group in ("model", "head", "data")}
    write_directory(path, **parts, state=network.state_dict(), preprocessing={})
    return path


def refused_or(cell, make):
    """Return what is made, or None where the cell says that it is refused, and it is."""
    if cell == "yes":
        return make()
    kind, text = REFUSED[cell]
    with pytest.raises(kind, match=text):
        make()
    return None


def test_every_model_has_a_row():
    there = {path.stem for path in (catalog.conf_dir() / "model").glob("*.yaml")}
    assert {name for name, _, _ in rows()} == there
    tried = {small_target(name) for name in TRIED}
    assert tried == {small_target(name) for name in there}


def small_target(name):
    text = (catalog.conf_dir() / "model" / f"{name}.yaml").read_text()
    found = re.search(r"^_target_: (\S+)", text, re.MULTILINE)
    # A preset names the file that it rests on.
    return found[1] if found else small_target(re.search(r"^ *- (\w+)$", text, re.MULTILINE)[1])
