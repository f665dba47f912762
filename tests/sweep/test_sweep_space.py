"""The space of a sweep: what is read, what is refused, what trials are called."""

import itertools

import pytest

from nnkit.config.overrides import parse
from nnkit.errors import ConfigError
from nnkit.sweep.space import grid, read_space, repeated_apart
from nnkit.sweep.trials import Trial, numbered_name, trial_name


def test_words_with_several_values_are_axes_and_the_rest_is_fixed():
    space = read_space(["model=lenet5,mlp", "data=mnist", "optimizer.lr=1e-3,3e-3", "seed=1,2,3", "+a.b=x"])
    assert space.fixed == ("data=mnist", "+a.b=x")
    assert [axis.key for axis in space.axes] == ["model", "optimizer.lr", "seed"]
    assert not space.has_interval
    others, (seeds,) = repeated_apart(space.axes)
    assert [axis.key for axis in others] == ["model", "optimizer.lr"]
    assert seeds.choices == ("1", "2", "3")


@pytest.mark.parametrize(
    ("word", "choices"),
    [
        ("x=1,2,3", ("1", "2", "3")),
        ("x=range(1,4)", ("1", "2", "3")),
        ("x=range(4,1,-1)", ("4", "3", "2")),
        ("x=range(0.1,0.35,0.1)", ("0.1", "0.2", "0.30000000000000004")),
        ("x=choice(a,b)", ("a", "b")),
        ("x=sort(3,1,2)", ("1", "2", "3")),
        ("x=[1,2],[3]", ("[1,2]", "[3]")),
        ("x='a,b',c", ("'a,b'", "c")),
        ("x={a:1},{a:2}", ("{a:1}", "{a:2}")),
        ("x=null,true", ("null", "True")),
        ("+x=1,2", ("1", "2")),
    ],
)
def test_values_are_read_as_hydra_reads_them(word, choices):
    (axis,) = read_space([word]).axes
    assert axis.choices == choices
    assert axis.word == word
    # Each is a word that a single run takes.
    assert parse([f"{axis.key}={choice}" for choice in choices]).problems == ()


def test_intervals():
    lr, width, decay = read_space(
        ["lr=tag(log,interval(1e-4,1e-1))", "width=int(interval(8,64))", "decay=interval(-1,1)"]
    ).axes
    assert (lr.low, lr.high, lr.log, lr.integer, lr.choices) == (1e-4, 1e-1, True, False, None)
    assert (width.low, width.high, width.log, width.integer) == (8, 64, False, True)
    assert (decay.low, decay.high, decay.log, decay.integer) == (-1, 1, False, False)
    logarithmic = read_space(["width=int(tag(log,interval(8,64)))"]).axes[0]
    assert (logarithmic.log, logarithmic.integer) == (True, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["x=1,2,1,2"], "1,2,1,2 lists 1 and 2 more than once"),
        (["x=interval(3,3)"], "is empty: the first number must be below the second"),
        (["x=interval(5,1)"], "is empty"),
        (["x=interval(0,inf)"], "has no end"),
        (["x=interval(0,nan)"], "is empty"),
        (["x=tag(log,interval(0,1))"], "a logarithm needs an interval above 0, not one from 0"),
        (["x=tag(log,interval(-1,1))"], "a logarithm needs an interval above 0"),
        (["x=tag(wide,interval(1,2))"], "tag 'wide' is not known"),
        (["x=tag(log,range(1,100))"], "a tag belongs to an interval"),
        (["x=tag(log,choice(1,2))"], "a tag belongs to an interval"),
        (["x=tag(log,1,2)"], "cannot read tag(log,1,2)"),
        (["model=interval(1,2)"], "list some, as in model=A,B"),
        (["seed=interval(1,5)"], "list them, as in seed=1,2,3"),
        (["x=range(3,1)"], "range(3,1) holds no value"),
        (["x=range(0,1,0)"], "must not be zero"),
        (["x=range(0,1000000000)"], "more than 10,000 values"),
        (["x=choice()"], "cannot read choice()"),
        (["x=log(1e-4,1e-1)"], "tag(log,interval(1e-4,1e-1))"),
        (["x=glob(*)"], "a pattern fits no options here"),
        (["x=1,2", "x=3,4"], "x=1,2 and x=3,4 contradict each other"),
        (["x=1,2", "x=3"], "x=1,2 and x=3 contradict each other"),
        (["x=interval(1,2)", "++x=3"], "contradict each other"),
        (["model=lenet5,mlp", "model=gpt"], "contradict each other"),
        (["x=1,2", "~x"], "contradict each other"),
    ],
)
def test_what_is_no_space_is_refused_with_a_sentence(words, said):
    with pytest.raises(ConfigError) as caught:
        read_space(words)
    assert said in str(caught.value)


def test_all_mistakes_come_together():
    with pytest.raises(ConfigError) as caught:
        read_space(["a=interval(2,1)", "b=1,2", "nonsense", "b=3", "c=range(1,1)", "model=lenet5,mlp"])
    assert [problem.key for problem in caught.value.problems] == ["", "a", "c", "b"]


def test_a_grid_is_every_combination_the_last_axis_fastest():
    axes = read_space(["model=lenet5,mlp", "lr=range(1,4)", "seed=1,2"]).axes
    trials = list(grid(axes))
    expected = itertools.product(
        ["model=lenet5", "model=mlp"], ["lr=1", "lr=2", "lr=3"], ["seed=1", "seed=2"]
    )
    assert [trial.words for trial in trials] == list(expected)
    assert trials[0].name == "model=lenet5,lr=1,seed=1"
    assert len({trial.setting for trial in trials}) == 6


@pytest.mark.parametrize(
    "words",
    [
        ("x=a/b",),
        ("x=../../etc",),
        ("x='a b'",),
        ("x=\u00e9t\u00e9",),
        ("x=" + "y" * 500,),
        ("x=" + "\u00e9" * 200,),
        ("model=a", "x=" + "9" * 160),
    ],
)
def test_a_name_is_one_directory_whatever_the_words(tmp_path, words):
    name = trial_name(words)
    (tmp_path / name).mkdir()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert len(f"{numbered_name(words, 9999)}.log".encode()) < 200


def test_names_differ_where_words_do():
    words = ["x=a b", "x=a_b", "x=a/b", "x=a:b", "x=" + "y" * 300, "x=" + "y" * 301]
    assert len({trial_name([word]) for word in words}) == len(words)
    assert numbered_name(["x=1"], 7) == "0007,x=1"


def test_the_name_of_a_drawn_setting_is_short():
    words = ("optimizer.lr=0.003162", "+model.dropout=0.1372", "data.target='\u4ef7\u683c'", "seed=1")
    assert numbered_name(words, 7) == "0007,lr=0.003162,dropout=0.1372,target=价格,seed=1"
    assert numbered_name(("a.x=1", "b.x=2"), 0) == "0000,a.x=1,b.x=2"
    assert len(numbered_name([f"model.x{n}={n}" for n in range(30)], 3)) < 50


def test_a_trial_of_before_keeps_its_name():
    words = ("optimizer.lr=0.0031622776601683795",)
    earlier = Trial("0007,optimizer.lr=0.0031622776601683795", words)
    assert numbered_name(words, 7, [earlier]) == earlier.name
    assert numbered_name(words, 8, [earlier]) != earlier.name
