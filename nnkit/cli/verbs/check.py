"""`nnkit check`: is this config sound? shapes, memory, time and disk; trains and downloads nothing."""

from nnkit import config as configs
from nnkit.cli.parser import Given
from nnkit.cli.verbs import CONFIG_DIR, OVERRIDES, Verb
from nnkit.ui.report import show, table

VERB = Verb(
    "check",
    (OVERRIDES,),
    (CONFIG_DIR,),
    (
        "Nothing is trained or downloaded.",
        "Exit codes: 0 sound; 2 a mistake in the config; 1 memory, disk or device do not suffice.",
    ),
)


def run(given: Given) -> int:
    """Check the config that the words compose; return 1 if this machine is too small for it."""
    composed = configs.examine(given.overrides, given.config_dir)
    from nnkit.analysis.requirements import examine
    from nnkit.runs.preflight import sound

    composition = sound(*composed)
    found = examine(composition)
    chosen = composition.choices
    title = "  ".join(f"{group}={chosen[group]}" for group in ("model", "data", "loss", "optimizer"))
    rows = [(f"{'!' if one.is_missed else ' '} {one.what}", one.result, one.note) for one in found]
    show(table(("  checked", "result", ""), rows, title))
    return 1 if any(one.is_missed for one in found) else 0
