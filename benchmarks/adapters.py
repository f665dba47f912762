"""A step of fine-tuning with LoRA and with BitFit beside one of all weights: CPU seconds, alternating in one run.

python benchmarks/adapters.py --rounds 5

The network is of the size of all-MiniLM-L6-v2: BERT of 6 layers, width 384, 12 heads, a vocabulary of 30,522. Forward,
loss, backward, clipping and the optimizer's step are measured, on texts of 128 tokens.
"""

import argparse
import statistics
import time

import torch
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

    def step(self, tokens: torch.Tensor, mask: torch.Tensor, target: torch.Tensor) -> float:
        """Take a step and return the CPU seconds."""
        start = time.process_time()
        self.optimizer.zero_grad()
        cross_entropy(self.network(tokens, mask), target).backward()
        clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        return time.process_time() - start


def main() -> None:
    """Print the median of each, and its ratio to that of all weights."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=32)
    given = parser.parse_args()
    tokens = torch.randint(VOCAB, (given.batch, LENGTH))
    # A quarter of each text is padding.
    mask = torch.ones_like(tokens, dtype=torch.bool)
    mask[:, LENGTH * 3 // 4 :] = False
    target = torch.randint(CLASSES, (given.batch,))
    networks = {name: Trained(words) for name, words in KINDS.items()}
    seconds: dict[str, list[float]] = {name: [] for name in networks}
    for number in range(given.rounds + 1):
        for name, one in networks.items():
            taken = one.step(tokens, mask, target)
            if number:
                seconds[name].append(taken)
    for name, one in networks.items():
        ratios = [mine / whole for mine, whole in zip(seconds[name], seconds["all weights"], strict=True)]
        print(
            f"{name:12} {one.trained:12,} trained  {statistics.median(seconds[name]):.3f} s  "
            f"{statistics.median(ratios):.2f} x"
        )


if __name__ == "__main__":
    main()
