"""A step of fine-tuning with LoRA and with BitFit beside one of all weights.

The network is of the size of all-MiniLM-L6-v2: BERT of 6 layers, width 384, 12 heads, a vocabulary of 30,522. Forward,
loss, backward, clipping and the optimizer's step are measured.
"""

from collections.abc import Iterator
from functools import partial

import torch
from lines import Group, Line, Setting
from measuring import Cost, timed
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_

import nnkit
from nnkit import config as configs
from nnkit.factory import build_network
from nnkit.runs.optimization import make_optimizer
from nnkit.runs.session import fix_arithmetic

LENGTH, CLASSES, VOCAB = 128, 15, 30_522
COMMAND = ["model=bert", "model.num_layers=6", "model.dim=384", "model.num_heads=12", "data=langid"]
KINDS: dict[str, list[str]] = {
    "all weights": [],
    "lora": ["adapter=lora", "init_from=none"],
    "bitfit": ["adapter=bitfit", "init_from=none"],
}


class Trained:
    """A network and its optimizer.

    Args:
        words: What is typed beside `COMMAND`.
    """

    def __init__(self, words: list[str]) -> None:
        config = nnkit.compose([*COMMAND, *words]).config
        configs.set_values(config.data, vocab_size=VOCAB, num_classes=CLASSES)
        fix_arithmetic(config)
        torch.manual_seed(0)
        self.network = build_network(config).train()
        self.optimizer = make_optimizer(config, self.network)
        self.trained = sum(p.numel() for p in self.network.parameters() if p.requires_grad)

    def step(self, tokens: torch.Tensor, mask: torch.Tensor, target: torch.Tensor) -> Cost:
        """Take a step and return what it took."""

        def work() -> None:
            self.optimizer.zero_grad()
            cross_entropy(self.network(tokens, mask), target).backward()
            clip_grad_norm_(self.network.parameters(), 1.0)
            self.optimizer.step()

        return timed(work)


def measure(setting: Setting) -> Iterator[Line]:
    """Yield a step of each, on texts of 128 tokens with a quarter of padding."""
    batch = setting.size(32, 2)
    tokens = torch.randint(VOCAB, (batch, LENGTH))
    mask = torch.ones_like(tokens, dtype=torch.bool)
    mask[:, LENGTH * 3 // 4 :] = False
    target = torch.randint(CLASSES, (batch,))
    cases = {}
    for name, words in KINDS.items():
        one = Trained(words)
        cases[f"{name}, {one.trained:,} trained"] = partial(one.step, tokens, mask, target)
    yield from Group(cases, warm=1).measure(setting)
