"""`nnkit explain KEY [KEY=VALUE ...]`: the value of a key, what set it, what it takes, what it means, what to type."""

import sys

from nnkit.cli.parser import Given
from nnkit.cli.verbs import CONFIG_DIR, OUTPUT_DIR, OVERRIDES, Argument, Option, Verb
from nnkit.config.explanation import explain
from nnkit.config.places import SetBy
from nnkit.errors import UserError
from nnkit.ui.report import print_facts
from nnkit.ui.terminal import printable

VERB = Verb(
    "explain",
    (Argument("key", "KEY", "such as optimizer.lr, or a group such as model", complete="keys"), OVERRIDES),
    (Option("--run", "explain it in the config of a run", "RUN"), CONFIG_DIR, OUTPUT_DIR),
    (
        "Places are listed in the order in which they count: the last one set the value. Types, ranges and meanings "
        "are read from the source of the classes; nothing is imported or built.",
    ),
    (
        ("nnkit explain optimizer.lr", "value, file and line, type and range, meaning"),
        ("nnkit explain data.augment.shift experiment=lenet5_mnist", "what an experiment makes of it"),
        ("nnkit explain model", "the options of a group"),
        ("nnkit explain trainer.max_epochs --run last", "what a run was trained with"),
    ),
)


def run(given: Given) -> int:
    """Explain one key."""
    if "=" in given.key:
        key, _, value = given.key.partition("=")
        raise UserError(f"a key comes first, without a value\n    nnkit explain {key} {key}={value}")
    if given.run is None:
        found = explain(given.overrides, given.key, given.config_dir)
    else:
        if given.overrides:
            raise UserError(f"a run has its config: --run takes no {' '.join(given.overrides)}")
        from nnkit.runs.explained import explain_in_run

        found = explain_in_run(given.run, given.output_dir, given.key)
    value = f" = {found.value}" if found.value else ""
    sys.stdout.write(f"{printable(found.key + value)}\n")
    print_facts(
        (
            ("means", found.means),
            ("takes", [found.takes]),
            ("follows", [" -> ".join(found.follows)] if found.follows else []),
            ("set by", _aligned([_row(one, found.means) for one in found.settings])),
            ("there is", _aligned(found.inner)),
            ("to change", [text for text in (found.command, found.note) if text]),
        )
    )
    return 0


def _row(setting: SetBy, means: tuple[str, ...]) -> tuple[str, ...]:
    return (setting.place, setting.value, "" if setting.comment in means else setting.comment)


def _aligned(rows: list[tuple[str, ...]] | tuple[tuple[str, ...], ...]) -> list[str]:
    """Return rows as lines with their cells below one another; only the last cell may be long."""
    if not rows:
        return []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
