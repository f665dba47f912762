"""A published model in a directory of Hugging Face, as a network that can be applied without being trained."""

from __future__ import annotations

import logging
from pathlib import Path

from nnkit import config as configs
from nnkit.data.tokenizing import tokenizer_from
from nnkit.errors import UserError
from nnkit.factory import build_network
from nnkit.hugging_face import PICTURES, Directory
from nnkit.inference.embedding import TEXTS, Reader, SentenceTexts
from nnkit.network import Network, Pooling
from nnkit.runs.transfer import DirectorySource, source_of
from nnkit.suggest import some_of
from nnkit.ui import report

_logger = logging.getLogger("nnkit")


def open_published(path: Path, pooling: Pooling) -> tuple[Network, Reader, int]:
    """Return the network of a directory, its head fresh, what reads its items, and how many of them at once.

    Args:
        path: The directory; its model reads texts or pictures.
        pooling: What is to be read of a sequence; see `Network.vectors`.

    Raises:
        ConfigError: If it is no such directory, or a file of it cannot be trusted.
        UserError: If its model reads texts and it has no tokenizer, or it lacks weights that the pooling needs.
    """
    directory = Directory(path)
    return _open_pictures(directory, pooling) if directory.family.sizes else _open_texts(directory, pooling)


def _open_pictures(directory: Directory, pooling: Pooling) -> tuple[Network, Reader, int]:
    reader = directory.pictures()
    if not (directory.path / PICTURES).exists():
        _logger.warning(
            "%s has no %s: pictures are %s, and their values, 0 to 1, become -1 to 1",
            report.shorten(directory.path),
            PICTURES,
            reader.described,
        )
    return _network(directory, pooling, "image_folder", num_classes=1), reader, reader.at_once


def _open_texts(directory: Directory, pooling: Pooling) -> tuple[Network, Reader, int]:
    spec = directory.learnt.get("tokenizer")
    if spec is None:
        where = report.shorten(directory.path)
        raise UserError(
            f"{where} has no tokenizer, and its model, {directory.family.model_type}, reads texts\n"
            "    fetch the directory again, with tokenizer.json or vocab.txt"
        )
    tokenizer = tokenizer_from(spec)
    most = directory.settings.get("model.max_len")
    facts = {"vocab_size": tokenizer.vocab_size} | ({"max_length": most} if most else {})
    network = _network(directory, pooling, "langid", **facts)
    return network, SentenceTexts(tokenizer, network.max_len), TEXTS


def _network(directory: Directory, pooling: Pooling, data: str, **facts: int) -> Network:
    """Return the network; of the data, whose head stays fresh, nothing is read."""
    config = configs.compose([f"model={directory.family.option}", f"data={data}"]).config
    configs.set_values(config, init_from=str(directory.path))
    configs.set_values(config.data, **facts)
    source = source_of(config)
    assert isinstance(source, DirectorySource)
    source.check(config, with_head=False)
    network = build_network(config).eval()
    taken, _, _ = source.take(network, with_head=False)
    network.load_state_dict(taken.tensors, strict=False)
    if pooling == "summary" and (lacking := [name for name in taken.fresh if not name.startswith("head.")]):
        where = report.shorten(directory.path)
        raise UserError(
            f"{where} has nothing for {some_of(lacking, 2)}, through which its summary goes\n"
            "    --pooling mean or --pooling first takes the features themselves"
        )
    return network
