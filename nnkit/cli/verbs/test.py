"""`nnkit test RUN`: the best checkpoint on the test split, from the run directory alone, or on another file."""

from nnkit.cli.parser import Given
from nnkit.cli.verbs import OUTPUT_DIR, RUN, Argument, Verb

VERB = Verb(
    "test",
    (
        RUN,
        Argument(
            "path", "FILE", "file or folder with labels; without it, the run's own test split", required=False
        ),
    ),
    (OUTPUT_DIR,),
    (
        "Config, preprocessing and checkpoint come from the run directory; nothing else about the run is needed.",
        "A FILE is of the kind that the run was trained on: a table or texts with the column of the target, a folder "
        "with a folder of images for each class, pairs, a series. Its metrics are noted in tests.jsonl of the run.",
    ),
)


def run(given: Given) -> int:
    """Test the run."""
    from nnkit.runs.fit import test

    test(given.run, given.output_dir, given.path)
    return 0
