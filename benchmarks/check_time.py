"""What `nnkit check` says a run takes against what it then takes, alternating, one thread.

python benchmarks/check_time.py
python benchmarks/check_time.py --processor-time     # on a machine that does other work
"""

import argparse
import json
import pydoc
import re
import subprocess
import sys
import tempfile
from pathlib import Path

FAMILIES = {
    "MLP on digits": ["model=mlp", "data=digits", "trainer.max_steps=1500"],
    "LeNet-5 on digits": ["model=lenet5", "data=digits", "trainer.max_steps=500"],
    "LSTM, language of a name": ["experiment=lstm_langid", "trainer.max_steps=150"],
    "GPT on a text file": ["model=gpt", "data=text_file", "data.path=book.txt", "trainer.max_steps=40"],
    "BERT on Python's documentation": ["experiment=bert_pydocs", "trainer.max_steps=20"],
    "Transformer on dates": ["experiment=transformer_dates", "data.num_pairs=5000", "trainer.max_steps=60"],
}
UNITS = {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
CHEAP = "import time; time.perf_counter = time.process_time; "
CODE = "import sys; from nnkit.cli import main; sys.exit(main(sys.argv[1:]))"


def run(words: list[str], folder: Path, code: str) -> str:
    """Return what a command of nnkit prints."""
    command = [sys.executable, "-c", code, *words, "trainer.num_threads=1"]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def estimate(words: list[str], folder: Path, code: str) -> float:
    """Return the seconds that `nnkit check` expects."""
    out = run(["check", *words], folder, code)
    found = re.search(r"run, about +([\d.]+) (ms|s|min|h):", out)
    if found is None:
        raise ValueError(f"no time in {out}")
    return float(found[1]) * UNITS[found[2]]


def real(words: list[str], folder: Path, code: str, number: int) -> float:
    """Return the seconds that the run's record names."""
    run(["train", *words, f"name={number}"], folder, code)
    return float(json.loads((folder / "outputs" / str(number) / "run.json").read_text())["seconds"])


def main() -> None:
    """Print one line of a markdown table for each family."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--processor-time", action="store_true", help="of both instead of the clock's")
    parser.add_argument("--only", nargs="*", default=list(FAMILIES), choices=list(FAMILIES))
    options = parser.parse_args()
    code = (CHEAP if options.processor_time else "") + CODE
    print("| family | estimated | real | estimated / real |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        text = pydoc.render_doc("builtins", renderer=pydoc.plaintext)
        (folder / "book.txt").write_text(text, encoding="utf-8")
        for number, name in enumerate(options.only):
            words = FAMILIES[name]
            expected, taken = estimate(words, folder, code), real(words, folder, code, number)
            print(f"| {name} | {expected:.1f} s | {taken:.1f} s | {expected / taken:.2f} |", flush=True)


if __name__ == "__main__":
    main()
