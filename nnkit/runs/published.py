"""A published model in a directory of Hugging Face, as a network that can be applied without being trained."""

from __future__ import annotations

from pathlib import Path

from nnkit import config as configs
from nnkit.data.tokenizing import Tokenizer, tokenizer_from
from nnkit.errors import UserError
from nnkit.factory import build_network
from nnkit.hugging_face import Directory
from nnkit.network import Network
from nnkit.runs.transfer import source_of
from nnkit.ui import report


def open_texts(path: Path) -> tuple[Network, Tokenizer]:
    """Return the network of a directory, in evaluation mode, its head fresh, and its tokenizer.

    Args:
        path: The directory.

    Raises:
        ConfigError: If it is no such directory, or a file of it cannot be trusted.
        UserError: If its model reads no texts, or it has no tokenizer.
    """
    directory = Directory(path)
    spec = directory.learnt.get("tokenizer")
    if spec is None:
        where = report.shorten(path)
        raise UserError(
            f"{where} has no tokenizer, and what is embedded from a directory is texts\n"
            f"    nnkit train model={directory.family.option} data=... init_from={where} makes a run of it"
        )
    tokenizer = tokenizer_from(spec)
    # Any data of texts in classes will do: nothing of them is read.
    config = configs.compose([f"model={directory.family.option}", "data=langid"]).config
    configs.set_values(config, init_from=str(path))
    configs.set_values(config.data, vocab_size=tokenizer.vocab_size)
    source = source_of(config)
    assert source is not None
    network = build_network(config).eval()
    taken, _, _ = source.take(network, with_head=False)
    network.load_state_dict(taken.tensors, strict=False)
    return network, tokenizer
