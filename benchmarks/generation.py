"""Writing with the cache of keys and values beside reading everything again, and from many prompts at once."""

import random
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from lines import Group, Line, Setting
from measuring import Cost, timed

from nnkit.data.tokenizing.plain import Characters
from nnkit.decoding.sampling import Sampling, generate
from nnkit.embeds.tokens import Tokens
from nnkit.heads.language_model import LanguageModel
from nnkit.inference.generation import continuations
from nnkit.inference.many_prompts import continuations_of_many
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


def write_many(network: Network, prompts: list[list[int]], length: int, together: bool) -> Cost:
    """Return what it takes to write on from each prompt, one after the other or side by side."""
    tokenizer = Characters("".join(map(chr, range(32, 32 + VOCAB))), False)
    options: Any = {"length": length, "sampling": Sampling(0), "seeds": (0,)}
    if together:
        return timed(lambda: [*continuations_of_many(network, tokenizer, prompts, **options)])
    return timed(lambda: [[*continuations(network, tokenizer, prompt, **options)] for prompt in prompts])


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
    dice = random.Random(0)
    lengths = range(4, 8) if setting.quick else range(4, 61)
    prompts = [dice.choices(range(VOCAB), k=dice.choice(lengths)) for _ in range(setting.size(64, 4))]
    cases = {
        "prompts one by one": partial(write_many, network, prompts, setting.size(100, 4), False),
        "prompts side by side": partial(write_many, network, prompts, setting.size(100, 4), True),
    }
    yield from Group(cases, warm=1).measure(setting)
