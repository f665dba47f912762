"""`nnkit test RUN`: the best checkpoint on the test split, from the run directory alone."""

from nnkit.cli.parser import Given
from nnkit.cli.verbs import OUTPUT_DIR, RUN, Verb

VERB = Verb(
    "test",
    (RUN,),
    (OUTPUT_DIR,),
    (
        "Config, preprocessing and checkpoint come from the run directory; nothing else about the run is needed.",
    ),
)


def run(given: Given) -> int:
    """Test the run."""
    from nnkit.runs.fit import test

    test(given.run, given.output_dir)
    return 0
