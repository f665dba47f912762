"""Writing with the cache of keys and values beside reading everything again for each token."""

from collections.abc import Iterator
from functools import partial

import torch
from lines import Group, Line, Setting
from measuring import Cost, timed

from nnkit.decoding.sampling import Sampling, generate
from nnkit.embeds.tokens import Tokens
from nnkit.heads.language_model import LanguageModel
from nnkit.models.gpt import GPT
from nnkit.network import Network

VOCAB, DIM = 96, 128


def write(network: Network, length: int, cached: bool) -> Cost:
    """Return what it takes to write this many tokens after one."""
    read = [torch.zeros(1, 1, dtype=torch.int64)]

    def again(tokens: torch.Tensor, state: None) -> tuple[torch.Tensor, None]:
        read[0] = tokens if tokens is read[0] else torch.cat([read[0], tokens], dim=1)
        return network.step(read[0])[0], None

    step = network.step if cached else again
    return timed(lambda: [*generate(step, read[0], length, Sampling(), torch.Generator().manual_seed(0))])


def measure(setting: Setting) -> Iterator[Line]:
    """Yield both for texts of several lengths, by a GPT of 4 layers and width 128."""
    torch.manual_seed(0)
    lengths = (8, 16) if setting.quick else (64, 128, 256, 512)
    body = GPT(DIM, dim=DIM, max_len=max(lengths))
    network = Network(Tokens(VOCAB, dim=DIM, std=0.02), body, LanguageModel(DIM, VOCAB, tied=True)).eval()
    for length in lengths:
        cases = {
            "read again": partial(write, network, length, False),
            "with the cache": partial(write, network, length, True),
        }
        yield from Group(cases, series="tokens", at=length, warm=1).measure(setting)
