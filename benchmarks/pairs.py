"""Target and source tokens a second of the Transformer on pairs: batches of like length against shuffled ones.

Both train the same model on the same pairs with the same number of pairs in a batch, alternating in one run; tokens of
padding are not counted.

python benchmarks/pairs.py --rounds 3 experiment=transformer_cmudict
"""

import argparse
import json
import statistics
import tempfile

import nnkit


def speed(overrides: list[str], buckets: bool, steps: int) -> float:
    """Train for some steps; return the tokens a second, padding left out."""
    words = [*overrides, f"data.buckets={str(buckets).lower()}", f"trainer.max_steps={steps}"]
    words += ["trainer.limit_val_batches=1", "trainer.limit_test_batches=1", "task.max_decoded=1"]
    with tempfile.TemporaryDirectory() as directory:
        result = nnkit.train([*words, f"output_dir={directory}"])
        lines = (result.run.path / "timing.jsonl").read_text().splitlines()
    loader = result.session.data.train_dataloader()
    tokens = 0
    for _, batch in zip(range(steps), loader, strict=False):
        tokens += int(batch.mask.sum()) + int((batch.target >= 0).sum())
    return tokens / sum(json.loads(line)["seconds"] for line in lines)


def main() -> None:
    """Print the ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("overrides", nargs="+")
    arguments = parser.parse_args()
    ratios = []
    for number in range(arguments.rounds):
        like, shuffled = (speed(arguments.overrides, buckets, arguments.steps) for buckets in (True, False))
        ratios.append(like / shuffled)
        print(
            f"round {number + 1}: {like:,.0f} tokens/s of like length, {shuffled:,.0f} shuffled", flush=True
        )
    print(f"like length / shuffled: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
