"""The guide names what there is, and every command it shows is right."""

import re
import shlex

import pytest

from nnkit.cli import main
from nnkit.cli.command import VERBS
from nnkit.cli.guide import print_guide, print_train_help
from nnkit.config import compose
from nnkit.runs import preflight


def shown_commands(capsys):
    print_guide(VERBS)
    print_train_help()
    text = capsys.readouterr().out
    return [
        shlex.split(found) for found in re.findall(r"^ +nnkit (\w+ \S.*?|train)(?:  +|$)", text, re.MULTILINE)
    ]


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_nnkit_alone_shows_every_verb_and_what_it_does(cli, words):
    code, out, err = cli(*words)
    assert (code, err) == (0, "")
    for verb, (_, about) in VERBS.items():
        assert re.search(rf"^ +{verb} +{re.escape(about)}$", out, re.MULTILINE)
    assert "outputs/" in out


def test_every_command_shown_can_be_typed(capsys):
    commands = shown_commands(capsys)
    assert len(commands) >= 8
    for verb, *words in commands:
        assert verb in VERBS
        if verb in ("train", "check"):
            assert preflight.problems(compose(words)) == []


def test_each_line_fits_a_terminal_of_eighty_columns(capsys):
    print_guide(VERBS)
    commands = [line for line in capsys.readouterr().out.splitlines() if line.startswith("    ")]
    assert max(map(len, commands)) <= 80


def test_a_misspelt_verb_is_answered_with_the_right_one(capsys):
    assert main(["tain"]) == 2
    assert "train" in capsys.readouterr().err
