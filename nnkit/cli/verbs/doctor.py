"""`nnkit doctor RUN`: what is in a run directory, what of it is sound, and what to type next."""

from nnkit.cli.parser import Given
from nnkit.cli.verbs import OUTPUT_DIR, RUN, Option, Verb
from nnkit.ui.report import show, table

VERB = Verb(
    "doctor",
    (RUN,),
    (Option("--repair", "write a lost config.yaml again"), OUTPUT_DIR),
    (
        "Every checkpoint is read and its hash compared with its manifest. Nothing is changed, unless --repair is "
        "given: that writes a config.yaml that is lost or garbled again, from the newest valid checkpoint. "
        "Exit codes: 0 sound; 1 something is damaged or missing.",
    ),
)


def run(given: Given) -> int:
    """Examine a run; return 1 if something is damaged."""
    from rich.text import Text

    from nnkit.runs.doctor import advice, examine, find_damaged, repair

    found = find_damaged(given.run, given.output_dir)
    report = examine(found)
    if given.repair:
        repair(found, report)
        report = examine(found)
    # As text: brackets are no markup here.
    show(
        table(("  what", "result", ""), report.rows, str(found.path)), Text(f"next: {advice(found, report)}")
    )
    return 1 if report.problems else 0
