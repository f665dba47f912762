"""What is typed in any language reaches the config as it stands, and hints can be typed as they are printed."""

import shlex

import pytest

from nnkit.config import compose
from nnkit.config.overrides import parse
from nnkit.errors import ConfigError
from nnkit.suggest import absent, typed


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("data.drop=[用户编号]", ["用户编号"]),
        ("data.drop=[用户 编号, prix-net, été, it's, a#b]", ["用户 编号", "prix-net", "été", "it's", "a#b"]),
        ("data.drop=['a,b', 价格(元,角), 价格（元）]", ["a,b", "价格(元,角)", "价格（元）"]),
        ("+data.names={价格: [1, é], plain: ü}", {"价格": [1, "é"], "plain": "ü"}),
        ("data.target=价格", "价格"),
        ("data.path=数据/表 1.csv", "数据/表 1.csv"),
        ("data.path=${oc.env:HOME}/数据.csv", "${oc.env:HOME}/数据.csv"),
        ("data.x=[[é],[]]", [["é"], []]),
        ("data.path=x{é", "x{é"),
    ],
)
def test_words_of_any_language_are_read_as_they_are_typed(line, value):
    (override,) = parse([line]).overrides
    assert override.value() == value
    # What is kept of the line says the same when it is read again.
    (again,) = parse([override.input_line]).overrides
    assert (again.key_or_group, again.value()) == (override.key_or_group, value)


@pytest.mark.parametrize("line", ["data.target=价格,面积", "data.target=choice(价格,面积)"])
def test_a_sweep_runs_over_words_of_any_language(line):
    (override,) = parse([line], sweep=True).overrides
    words = [f"data.target={one}" for one in override.sweep_string_iterator()]
    assert [parse([word]).overrides[0].value() for word in words] == ["价格", "面积"]


@pytest.mark.parametrize("line", ["trainer.max_épochs=1", "data/x.y=1", "~optimizer.é"])
def test_a_key_that_hydra_cannot_read_is_an_unknown_key(line):
    with pytest.raises(ConfigError) as error:
        compose([line])
    assert [problem.text for problem in error.value.problems] == ["there is no such key"]


def test_a_config_holds_lists_of_any_language():
    config = compose(["data=csv", "data.path=数据/表.csv", "data.drop=[用户编号, 城 市]"]).config
    assert list(config.data.drop) == ["用户编号", "城 市"]


@pytest.mark.parametrize(
    "value", ["价格", "a b", "a,b", "it's", 'say "x"', "null", "[x]", ["用户编号", "城 市", "a,b"]]
)
def test_what_is_to_be_typed_can_be_typed(value):
    (word,) = shlex.split(typed("data.drop", value))
    assert parse([word]).overrides[0].value() == value


def test_the_hints_of_several_values_can_be_typed():
    (problem,) = parse(["data.drop=用户编号,城 市"]).problems
    _, one_list, text = problem.hint.split("; ")
    (word,) = shlex.split(one_list.removeprefix("one list: "))
    assert parse([word]).overrides[0].value() == ["用户编号", "城 市"]
    (word,) = shlex.split(text.removeprefix("one text: "))
    assert parse([word]).overrides[0].value() == "用户编号,城 市"


def test_a_misspelt_column_is_hinted_at_within_its_list():
    problem = absent("data.drop", "x.csv", "用户编码", ["用户编号", "面积"], given=["用户编码", "面积"])
    assert problem.hint.startswith("did you mean data.drop=[用户编号,面积]?")


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("data.target=2020_01", "2020_01"),
        ("data.target=true", "true"),
        ("data.target=[y1,2020_01,1e5]", ["y1", "2020_01", "1e5"]),
        ("data.drop=[Sale Price ($),007,12]", ["Sale Price ($)", "007", "12"]),
        ("data.missing=[n/a,-999,'',1.0]", ["n/a", "-999", "", "1.0"]),
        ("data.missing=[]", []),
        ("data.target=null", None),
        ("data.delimiter=\t", "\t"),
    ],
)
def test_names_and_words_of_the_data_stay_as_they_are_typed(line, value):
    (override,) = parse([line]).overrides
    assert override.value() == value
    (again,) = parse([override.input_line]).overrides
    assert again.value() == value
