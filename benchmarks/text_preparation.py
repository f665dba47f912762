"""Preparing text for language models: MB/s by tokenizer, peak memory, BPE beside the library's own, the second start.

python benchmarks/text_preparation.py
python benchmarks/text_preparation.py --megabytes 20

Each preparation is a process of its own with an empty cache; peak memory is that of the whole process, torch included,
and the tokens as they are mapped, a byte or two each, which the system may take back at any time.
The second start is `setup_data` and the three splits, with all in the cache. The ratio to the library is of encoding
one text, cut into the same pieces, in alternating turns; above 1 is faster than the library's encode_batch.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TURNS = 7
ENCODED = 4_000_000
CHILD = """
import json, resource, sys, time
from nnkit.data.text.long_text import TextFile
began = time.perf_counter()
data = TextFile(path=sys.argv[1], tokenizer=sys.argv[2])
data.setup_data()
for name in ("train", "val", "test"):
    data.split(name)
seconds = time.perf_counter() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([seconds, peak, data.learnt_tokenizer.vocab_size]))
"""
BASELINE = """
import resource, nnkit.data.text.long_text
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def write_text(path: Path, num_bytes: int) -> None:
    """Write lines of words of a Zipf-like frequency: 50,000 different ones, some of them not ASCII."""
    dice = random.Random(0)
    letters = "etaoinshrdlucmfwypvbgkjqxzäöéß"
    words = ["".join(dice.choices(letters, k=dice.randint(2, 10))) for _ in range(50_000)]
    weights = [1 / rank for rank in range(1, len(words) + 1)]
    blocks = []
    for _ in range(10):
        chosen = dice.choices(words, weights, k=100_000)
        lines = [" ".join(chosen[start : start + 12]) for start in range(0, len(chosen), 12)]
        blocks.append(("\n".join(lines) + "\n").encode())
    with path.open("wb") as file:
        while file.tell() < num_bytes:
            file.write(dice.choice(blocks))


def prepare(path: Path, kind: str, cache: str) -> tuple[float, float, int]:
    """Prepare a text in a process of its own; return seconds, peak memory in MB and the size of the vocabulary."""
    environment = {**os.environ, "NNKIT_CACHE": cache}
    command = [sys.executable, "-c", CHILD, str(path), kind]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    seconds, peak, vocab_size = json.loads(done.stdout)
    return seconds, peak, vocab_size


def bpe_ratio(text: str) -> float:
    """Return the library's seconds over ours for one text, the median of alternating turns."""
    from nnkit.data.tokenizing import learn_tokenizer, pieces

    tokenizer = learn_tokenizer("bpe", pieces(text[:1_000_000], 100_000), max_vocab=4096, with_unknown=False)
    library = tokenizer._library  # type: ignore[attr-defined]
    cut = list(pieces(text, 1 << 14))
    ratios = []
    for _ in range(TURNS):
        began = time.perf_counter()
        theirs = [encoding.ids for encoding in library.encode_batch(cut)]
        between = time.perf_counter()
        ours = tokenizer.encode(text)
        ratios.append((between - began) / (time.perf_counter() - between))
        assert len(ours) == sum(map(len, theirs))
    return statistics.median(ratios)


def main() -> None:
    """Print a table of preparations and the ratio of BPE."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=100, help="size of the text, in millions of bytes")
    megabytes = parser.parse_args().megabytes
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "text.txt"
        write_text(path, megabytes * 1_000_000)
        size = path.stat().st_size / 1e6
        base = subprocess.run([sys.executable, "-c", BASELINE], stdout=subprocess.PIPE, text=True, check=True)
        print(f"{size:.0f} MB of text; the imports alone take {float(base.stdout):.0f} MB of memory")
        print(
            f"{'tokenizer':12}{'vocabulary':>11}{'seconds':>9}{'MB/s':>7}{'peak MB':>9}{'second start, s':>17}"
        )
        for kind in ("characters", "bytes", "bpe"):
            cache = str(Path(folder) / kind)
            seconds, peak, vocab_size = prepare(path, kind, cache)
            again = prepare(path, kind, cache)[0]
            print(f"{kind:12}{vocab_size:11}{seconds:9.1f}{size / seconds:7.1f}{peak:9.0f}{again:17.3f}")
        with path.open(encoding="utf-8") as file:
            text = file.read(ENCODED)
    print(f"encoding with bpe: {bpe_ratio(text):.2f} x the speed of the library's own encode_batch")


if __name__ == "__main__":
    main()
