"""The verbs, one file each, and how a verb declares the words it takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

# Verb -> what it does. The verb's module has a `VERB` and `run(given) -> exit code`; it is imported when it is typed.
VERBS = {
    "train": "train a model, then test its best checkpoint",
    "resume": "continue a stopped run or sweep exactly; --verify proves it",
    "worker": "take trials of a sweep, beside workers on other machines",
    "doctor": "what is in a run directory, is it sound, what to type next",
    "test": "test the best checkpoint of a run",
    "predict": "apply a run to pictures, tables, texts or series",
    "embed": "vectors of texts, pictures or rows, and the nearest of each",
    "inspect": "a run from inside: layers, maps, attention, gates, on one page",
    "report": "a run on one page: curves, intervals, mistakes, commands",
    "export": "a trained network as ONNX, .pt2, safetensors, Hugging Face",
    "generate": "let a run write on from a prompt, or one text from another",
    "summary": "layers, shapes and parameters of a network",
    "check": "is this config sound? shapes, memory, time, disk",
    "list": "what there is: models, datasets, losses, ...",
    "show": "print a config file, such as model/lenet5",
    "explain": "a key: its value, what set it, what it takes and means",
    "schema": "a JSON schema, by which editors complete and check files",
    "copy": "copy a config file into ./conf to change it",
    "runs": "the runs in outputs/",
    "compare": "runs and sweeps side by side, with charts",
    "serve": "a page to draw, type or fill in, and an endpoint for programs",
    "board": "TensorBoard for a run, a sweep or all of outputs/",
    "completion": "print the tab completion for bash, zsh or fish",
}


class Argument(NamedTuple):
    """A word without dashes in front.

    Attributes:
        name: The attribute that holds it when it is parsed.
        metavar: What it is called in help.
        help: What it is, one line.
        required: Whether it must be typed.
        many: Whether it takes all words that are left.
        choices: The words it may be; empty for any.
        complete: What TAB offers, a key of `nnkit.cli.verbs.completion.COMPLETERS`; empty for files.
        forms: How it may be typed and what that means, in place of `metavar` and `help`.
    """

    name: str
    metavar: str
    help: str = ""
    required: bool = True
    many: bool = False
    choices: tuple[str, ...] = ()
    complete: str = ""
    forms: tuple[tuple[str, str], ...] = ()

    @property
    def default(self) -> Any:
        """Its value where it is not typed."""
        return [] if self.many else None


class Option(NamedTuple):
    """A word with dashes in front, with or without a value.

    Attributes:
        flags: How it is typed, such as "--top-k" or "-m --multirun".
        help: What it does, one line.
        metavar: What its value is called in help; empty if it takes none.
        convert: Makes the value out of what was typed; a ValueError refuses it.
        choices: The texts that the value may be; empty for any.
        at_least: The smallest number that the value may be.
        many: Whether it may be repeated; its value is then a list.
        without: Its value where it is not typed.
        const: Its value where it is typed without one; an option with a `metavar` and a `const` may go without.
        sets: The attribute that holds it when it is parsed; empty: named like the option.
        section: The heading below which help lists it.
    """

    flags: str
    help: str
    metavar: str = ""
    convert: Callable[[str], Any] = str
    choices: tuple[str, ...] = ()
    at_least: int | None = None
    many: bool = False
    without: Any = None
    const: Any = None
    sets: str = ""
    section: str = "Options"

    @property
    def names(self) -> list[str]:
        """The words it may be typed as, the longest one last."""
        return self.flags.split()

    @property
    def name(self) -> str:
        """The attribute that holds it when it is parsed."""
        return self.sets or self.names[-1].lstrip("-").replace("-", "_")

    @property
    def default(self) -> Any:
        """Its value where it is not typed."""
        return [] if self.many else self.without if self.metavar or self.sets else False


HELP = Option("-h --help", "this page")


class Verb(NamedTuple):
    """What can be typed after one verb; help, parsing, completion and hints are made from it.

    Attributes:
        name: The verb.
        arguments: Words without dashes, in order.
        options: Words with dashes.
        notes: Paragraphs below the options in help.
        examples: Commands, each with what it does.
    """

    name: str
    arguments: tuple[Argument, ...] = ()
    options: tuple[Option, ...] = ()
    notes: tuple[str, ...] = ()
    examples: tuple[tuple[str, str], ...] = ()

    @property
    def all_options(self) -> tuple[Option, ...]:
        """The options of the verb, and the one that every verb has."""
        return (*self.options, HELP)

    @property
    def all_words(self) -> tuple[Argument | Option, ...]:
        """All that can be typed."""
        return (*self.arguments, *self.all_options)


# What several verbs take.
RUN = Argument("run", "RUN", "run directory, the beginning of its name, or: last", complete="runs")
FORMS = (
    ("GROUP=OPTION", "choose an option, such as model=mlp or data=digits; `nnkit list` has them all"),
    ("GROUP.KEY=VALUE", "set a value, such as optimizer.lr=1e-3; `nnkit show GROUP/OPTION` has the keys"),
    ("+GROUP=OPTION", "add one where several are chosen: +callbacks=ema; ~callbacks.ema takes it away"),
)
OVERRIDES = Argument("overrides", "KEY=VALUE", required=False, many=True, complete="settings", forms=FORMS)
OPTION_FILE = Argument(
    "option", "GROUP/OPTION", "such as model/lenet5; or: train, the defaults", complete="option files"
)
CONFIG_DIR = Option("-cd --config-dir", "find option files in DIR as well", "DIR", Path)
OUTPUT_DIR = Option("--output-dir", "where runs are looked for", "DIR", Path, without=Path("outputs"))
