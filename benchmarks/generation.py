"""Writing with the cache of keys and values against reading everything again for each token, alternating in one run.

python benchmarks/generation.py
"""

import argparse
import statistics
import time

import torch

from nnkit.decoding.sampling import Sampling, generate
from nnkit.embeds.tokens import Tokens
from nnkit.heads.language_model import LanguageModel
from nnkit.models.gpt import GPT
from nnkit.network import Network

VOCAB, DIM = 96, 128


def seconds(network: Network, length: int, cached: bool) -> float:
    """Return the seconds it takes to write this many tokens after one."""
    read = [torch.zeros(1, 1, dtype=torch.int64)]

    def again(tokens: torch.Tensor, state: None) -> tuple[torch.Tensor, None]:
        read[0] = tokens if tokens is read[0] else torch.cat([read[0], tokens], dim=1)
        return network.step(read[0])[0], None

    step = network.step if cached else again
    start = time.perf_counter()
    for _ in generate(step, read[0], length, Sampling(), torch.Generator().manual_seed(0)):
        pass
    return time.perf_counter() - start


def main() -> None:
    """Print a row for each length."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    lengths = (64, 128, 256, 512)
    body = GPT(DIM, dim=DIM, max_len=max(lengths))
    network = Network(Tokens(VOCAB, dim=DIM, std=0.02), body, LanguageModel(DIM, VOCAB, tied=True)).eval()
    seconds(network, 16, cached=True)
    print(f"{'tokens':>6} {'cache, s':>9} {'ms a token':>11} {'again, s':>9} {'ratio':>6}")
    for length in lengths:
        pairs = [
            (seconds(network, length, True), seconds(network, length, False)) for _ in range(arguments.rounds)
        ]
        cached, again = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(b / a for a, b in pairs)
        print(
            f"{length:>6} {cached:>9.3f} {cached / length * 1e3:>11.2f} {again:>9.3f} {ratio:>6.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
