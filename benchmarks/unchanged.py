"""What must stay equal when code is moved: metrics of ten short runs, what mistakes are answered with, start-up times.

python benchmarks/unchanged.py write before.json      # on the tree as it was
python benchmarks/unchanged.py compare before.json    # on the changed tree, same machine: 1 if it differs

Metrics are compared to the last digit, messages word for word. Times are printed side by side and judged by nobody.
"""

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "cli")]

# A model of each family, with data it takes.
FAMILIES = {
    "mlp": "table",
    "cnn": "pictures",
    "lenet5": "pictures",
    "rnn": "texts",
    "lstm": "text",
    "gru": "series",
    "transformer": "pairs",
    "transformer_encoder": "texts",
    "bert": "sentences",
    "gpt": "text",
}
FEW = [
    "trainer.num_threads=1",
    "trainer.accelerator=cpu",
    "trainer.max_steps=20",
    "callbacks=[checkpoint,ema,nan_guard]",
    "logger=[]",
    "seed=1",
]
STARTS = (["--help"], ["list", "model"], ["train", "--cfg", "job"])


def metrics() -> dict[str, dict[str, str]]:
    """Return the test metrics of a short run of each family, as they are written out whole."""
    import samples

    import nnkit

    found = {}
    for model, kind in FAMILIES.items():
        words = [f"model={model}", *samples.words(kind), *samples.small(model), *FEW, f"output_dir={model}"]
        result = nnkit.train(words, show=False)
        found[f"{model}, {kind}"] = {name: value.hex() for name, value in sorted(result.metrics.items())}
    return found


def messages() -> dict[str, str]:
    """Return the messages for the wrong command lines of the tests."""
    from test_wrong_command_lines import FOUR, LINES, SIX, TWO

    from nnkit.cli import main

    found = {}
    for line in (SIX, FOUR, TWO, *(line for line, _ in LINES)):
        said = io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            code = main(["train", *line.split()])
        found[line] = f"{code} {said.getvalue()}"
    return found


def starts() -> dict[str, float]:
    """Return the seconds of processor time that a few commands take, the least of five."""
    found = {}
    for words in STARTS:
        times = []
        for _ in range(5):
            before = os.times()
            subprocess.run([sys.executable, "-m", "nnkit", *words], check=True, capture_output=True)
            after = os.times()
            times.append(
                after.children_user + after.children_system - before.children_user - before.children_system
            )
        found[" ".join(words)] = round(min(times), 3)
    return found


def main() -> int:
    """Write what is so now, or compare with what was."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=["write", "compare"])
    parser.add_argument("file", type=Path)
    arguments = parser.parse_args()
    file, start = arguments.file.absolute(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        present = {"metrics": metrics(), "messages": messages(), "starts": starts()}
    if arguments.action == "write":
        file.write_text(json.dumps(present, indent=1, ensure_ascii=False), encoding="utf-8")
        print(f"{file}: {len(present['metrics'])} runs, {len(present['messages'])} messages")
        return 0
    earlier = json.loads(file.read_text(encoding="utf-8"))
    differing = 0
    for part in ("metrics", "messages"):
        for name in sorted({*earlier[part], *present[part]}):
            before, now = earlier[part].get(name), present[part].get(name)
            if before != now:
                differing += 1
                print(f"{part}, {name}:\n  before {before}\n  now    {now}")
    for name, seconds in present["starts"].items():
        print(f"{name}: {earlier['starts'].get(name)} s before, {seconds} s now, of processor time")
    print(f"{differing} differ; {time.monotonic() - start:.0f} s")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
