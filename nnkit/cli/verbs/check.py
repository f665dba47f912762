"""`nnkit check`: is this config sound? shapes, memory, time and disk; trains and downloads nothing."""

import argparse

from nnkit import config as configs
from nnkit.ui.terminal import show, table


def main(arguments: list[str]) -> int:
    """Check the config the arguments compose; return 1 if this machine is too small for it."""
    parser = argparse.ArgumentParser(
        prog="nnkit check",
        description="Check a config: its keys, shapes, memory, time and disk space; train and download nothing.",
        epilog="Exit codes: 0 sound; 2 a mistake in the config; 1 memory, disk or device do not suffice.",
    )
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="as for nnkit train: model=lenet5")
    parser.add_argument("--config-dir", metavar="DIR", help="a directory with more option files")
    given = parser.parse_args(arguments)
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
