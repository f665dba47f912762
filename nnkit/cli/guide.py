"""What `nnkit` and `nnkit train --help` say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from nnkit.ui.terminal import show

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.padding import Padding

_EXAMPLES = (
    ("nnkit train", "LeNet-5 on MNIST, tested at the end"),
    ("nnkit train model=mlp data=iris seed=1", "choose options, set values"),
    ("nnkit check model=cnn data=digits", "sound? and what will it cost?"),
    ("nnkit predict last digit.png", "apply the latest run to a picture"),
    ('nnkit generate last --prompt "ROMEO:"', "let a language model write on"),
    ("nnkit list model", "what there is to choose from"),
)
_WORDS = (
    ("GROUP=OPTION", "choose an option, such as model=mlp or data=digits; `nnkit list` has them all"),
    ("GROUP.KEY=VALUE", "set a value, such as optimizer.lr=1e-3; `nnkit show GROUP/OPTION` has the keys"),
    ("+GROUP=OPTION", "add one where several are chosen: +callbacks=ema; ~callbacks.ema takes it away"),
    ("-m, --multirun", "a sweep, one run for each combination: nnkit train -m model=lenet5,mlp seed=1,2,3"),
    ("hydra.launcher.KEY=VALUE", "with -m: n_jobs runs at a time, memory_limit=4GB for each"),
    (
        "hydra.sweeper.KEY=VALUE",
        "with -m: n_trials settings of a space such as optimizer.lr=interval(0.001,0.1)",
    ),
    ("--cfg job", "print the composed config and train nothing; --resolve fills in references"),
    ("--config-dir DIR", "find option files in DIR as well"),
    ("--info, --hydra-help", "what Hydra says about itself"),
    ("-h, --help", "this page"),
)
_TRAIN_EXAMPLES = (
    ("nnkit train data=csv data.path=houses.csv data.target=price", ""),
    ("nnkit train model=mlp model.hidden=[300,100] trainer.max_epochs=20 name=wide", ""),
    ("nnkit train +callbacks=ema optimizer=sgd optimizer.lr=0.1 seed=1", ""),
)
_PLACES = (
    "Runs go to outputs/MODEL-DATA/TIME, or to outputs/NAME with name=NAME. A RUN on the command line is "
    "such a directory, the beginning of its name, or: last. Option files in ./conf come before nnkit's own.\n"
    "Tab completion: nnkit completion --help     One verb: nnkit VERB --help"
)
_EXIT_CODES = (
    "Exit codes: 0 done; 2 a mistake in what was typed, and nothing is written; 1 the environment (network, "
    "disk, GPU); 130 Ctrl-C and 143 SIGTERM, after which `nnkit resume last` goes on."
)


def print_guide(verbs: Mapping[str, tuple[str, str]]) -> None:
    """Print the one page that gets a user going.

    Args:
        verbs: What nnkit can do: module and one-line description by verb.
    """
    _heading("nnkit", "trains neural networks from a config: one command, every family, exact resume.")
    _section("Try", _EXAMPLES)
    _section("Verbs", [(verb, about) for verb, (_, about) in verbs.items()])
    _note(_PLACES)


def print_train_help() -> None:
    """Print how `nnkit train` is used."""
    _heading(
        "nnkit train",
        "[GROUP=OPTION ...] [GROUP.KEY=VALUE ...]   trains a model and tests its best checkpoint.",
    )
    _section("Words", _WORDS)
    _section("Try", _TRAIN_EXAMPLES)
    _note(_EXIT_CODES)


def _heading(name: str, text: str) -> None:
    from rich.text import Text

    show("", _indented(Text.assemble((name, "bold cyan"), "  ", text)), "")


def _section(title: str, rows: Iterable[tuple[str, str]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 3, 0, 0))
    table.add_column(style="cyan", no_wrap=True)
    table.add_column()
    for left, right in rows:
        table.add_row(Text(left), Text(right))
    show(_indented(Text(title, style="bold")), _indented(table, 4), "")


def _note(text: str) -> None:
    from rich.text import Text

    show(_indented(Text(text, style="dim")), "")


def _indented(part: RenderableType, by: int = 2) -> Padding:
    from rich.padding import Padding

    return Padding(part, (0, 0, 0, by))
