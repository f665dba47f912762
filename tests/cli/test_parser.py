"""What a verb declares is read, explained, completed and hinted at."""

from pathlib import Path

import pytest

from nnkit.cli import parser, verbs
from nnkit.cli.verbs import Argument, Option, Verb
from nnkit.cli.verbs.completion import candidates
from nnkit.errors import UserError

VERB = Verb(
    "bake",
    (Argument("cake", "CAKE"), Argument("words", "KEY=VALUE", required=False, many=True)),
    (
        Option("-n --number", "how many", "N", int, at_least=1, without=2),
        Option("--heat", "how hot", "T", float),
        Option("--taste", "of what", "apple|plum", choices=("apple", "plum")),
        Option("--into", "where", "DIR", Path),
        Option("--with-what", "may be repeated", "THING", many=True),
        Option("--burn", "a switch"),
        Option("--sugar", "sweet", sets="sugar", const=True),
        Option("--no-sugar", "not sweet", sets="sugar", const=False),
        Option("--about", "explain TOPIC", "TOPIC", choices=("all", "ovens"), const="all"),
    ),
)


def test_each_file_is_a_verb_that_is_listed():
    files = {path.stem for path in Path(verbs.__file__).parent.glob("[a-z]*.py")}
    assert set(verbs.VERBS) == files
    for name in files:
        module = parser.module_of(name)
        assert module.VERB.name == name
        assert callable(module.run)


@pytest.mark.parametrize("verb", verbs.VERBS)
def test_no_two_words_of_a_verb_are_alike(verb):
    declared = parser.module_of(verb).VERB
    names = [name for option in declared.all_options for name in option.names]
    assert len(set(names)) == len(names)
    assert {option.name for option in declared.all_options}.isdisjoint(one.name for one in declared.arguments)


def test_a_new_option_appears_everywhere_by_itself(cli, monkeypatch):
    module = parser.module_of("runs")
    probe = Option(
        "-z --zebra", "count the stripes", "plain|bold", choices=("plain", "bold"), without="plain"
    )
    monkeypatch.setattr(module, "VERB", module.VERB._replace(options=(*module.VERB.options, probe)))
    out = cli("runs", "--help")[1]
    assert "-z, --zebra plain|bold" in out
    assert "count the stripes (default: plain)" in out
    assert parser.parse(module.VERB, ["--zebra", "bold"]).zebra == "bold"
    assert parser.parse(module.VERB, []).zebra == "plain"
    assert "--zebra" in [found.word for found in candidates(["runs", "--z"])]
    assert [found.word for found in candidates(["runs", "-z", "b"])] == ["bold"]
    assert "did you mean --zebra?" in cli("runs", "--zebar")[2]
    assert "did you mean bold?" in cli("runs", "--zebra", "bould")[2]


def test_values_with_and_without_an_equals_sign_in_any_order():
    words = [
        "a=1",
        "--number=3",
        "pie",
        "--heat",
        "-2.5",
        "b=2",
        "--with-what",
        "x",
        "--with-what=",
        "--burn",
    ]
    given = parser.parse(VERB, words)
    assert (given.cake, given.words) == ("a=1", ["pie", "b=2"])
    assert (given.number, given.heat, given.with_what, given.burn) == (3, -2.5, ["x", ""], True)
    assert (given.taste, given.into, given.sugar, given.about) == (None, None, None, None)


def test_nothing_typed_is_the_default():
    given = parser.parse(VERB, ["pie"])
    assert (given.number, given.with_what, given.burn, given.words) == (2, [], False, [])


def test_the_last_of_two_counts_and_a_beginning_is_enough():
    given = parser.parse(VERB, ["pie", "--sugar", "--no-sugar", "--num", "4", "-n", "5", "--into", "oven"])
    assert (given.sugar, given.number, given.into) == (False, 5, Path("oven"))


def test_a_value_may_be_left_out_where_the_option_says_so():
    assert parser.parse(VERB, ["--about", "ovens", "pie"]).about == "ovens"
    given = parser.parse(VERB, ["--about", "pie"])
    assert (given.about, given.cake) == ("all", "pie")


def test_texts_that_begin_with_a_dash():
    given = parser.parse(VERB, ["-", "-5", "- a text", "--", "--burn"])
    assert (given.cake, given.words, given.burn) == ("-", ["-5", "- a text", "--burn"], False)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "bake needs CAKE"),
        (["pie", "--numbr", "3"], "bake has no option '--numbr', did you mean --number?"),
        (["pie", "--xyzzy"], "bake has no option '--xyzzy'; there is: --number, --heat"),
        (["pie", "-x"], "bake has no option '-x'"),
        (["pie", "--number", "x"], "--number must be a whole number, not 'x'"),
        (["pie", "--number=0"], "--number must be at least 1, not 0"),
        (["pie", "--heat", "hot"], "--heat must be a number, not 'hot'"),
        (["pie", "--taste", "aple"], "--taste must be one of apple, plum, not 'aple', did you mean apple?"),
        (["pie", "--number"], "--number needs a value: --number N"),
        (["pie", "--number", "--burn"], "--number needs a value"),
        (["pie", "--into", ""], "--into needs a value"),
        (["pie", "--burn=yes"], "--burn takes no value"),
    ],
)
def test_a_mistake_is_answered_with_what_to_type(words, sentence):
    with pytest.raises(UserError) as refused:
        parser.parse(VERB, words)
    assert sentence in str(refused.value)
    assert "nnkit bake CAKE [KEY=VALUE ...] [OPTION ...]; more: nnkit bake --help" in str(refused.value)


def test_all_mistakes_at_once(cli):
    code, out, err = cli("generate", "--lenght", "3", "--top-k=x", "--samples", "0", "--format", "xml")
    assert (code, out) == (2, "")
    for text in (
        "did you mean --length?",
        "--top-k must be",
        "--samples must be at least 1",
        "--format must be",
    ):
        assert text in err
    assert "Traceback" not in err


def test_a_word_too_many(cli):
    assert "test has no use for 'c': it is one word too many" in cli("test", "a", "b", "c")[2]


def test_help_comes_before_mistakes(cli):
    code, out, err = cli("resume", "--nonsense", "--help")
    assert (code, err) == (0, "")
    assert "--retry-failed" in out


def test_a_setting_with_dashes_is_answered_with_how_it_is_typed(cli):
    for verb in ("train", "check", "summary"):
        code, out, err = cli(verb, "--lr", "1e-3")
        assert (code, out) == (2, "")
        assert "settings are typed without dashes: optimizer.lr=1e-3" in err


@pytest.mark.parametrize("words", [["--cfg", "job"], ["--info"], ["--hydra-help"], ["--cfg=all"]])
def test_a_sweep_prints_no_config(cli, words):
    code, out, err = cli("train", "-m", "data=iris", *words)
    assert (code, out) == (2, "")
    assert "-m runs a sweep" in err
