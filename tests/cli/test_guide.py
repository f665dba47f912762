"""The guide names what there is, and every command it shows is right."""

import re
import shlex

import pytest

from nnkit.cli import main, parser
from nnkit.cli.verbs import VERBS
from nnkit.config import compose
from nnkit.runs import preflight

EXAMPLES = [words for verb in VERBS for words, _ in parser.module_of(verb).VERB.examples]


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_nnkit_alone_shows_every_verb_and_what_it_does(cli, words):
    code, out, err = cli(*words)
    assert (code, err) == (0, "")
    for verb, about in VERBS.items():
        assert re.search(rf"^ +{verb} +{re.escape(about)}$", out, re.MULTILINE)
    assert "outputs/" in out


def test_every_command_shown_can_be_typed(cli):
    shown = re.findall(r"^ +(nnkit (?:\w+ \S.*?|train))(?:  +|$)", cli("--help")[1], re.MULTILINE)
    # What stands behind a > is for the shell.
    commands = [
        shlex.split(line.partition(" > ")[0]) for line in [*shown, *EXAMPLES] if line.startswith("nnkit")
    ]
    assert len(commands) >= 20
    for _, verb, *words in commands:
        parser.parse(parser.module_of(verb).VERB, words)
        if verb in ("train", "check"):
            assert preflight.problems(compose(words)) == []


def test_each_line_fits_a_terminal_of_eighty_columns(cli):
    commands = [line for line in cli()[1].splitlines() if line.startswith("    ")]
    assert max(map(len, commands)) <= 80


def test_a_misspelt_verb_is_answered_with_the_right_one(capsys):
    assert main(["tain"]) == 2
    assert "train" in capsys.readouterr().err
