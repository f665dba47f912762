"""Nodes to objects: what is built, what is said against a config, and that trying leaves no trace."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import samples
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from nnkit.config import catalog, compose, examine
from nnkit.data.tables.base import TableData
from nnkit.data.tables.loading import TableSource
from nnkit.errors import ConfigError
from nnkit.factory import build, build_network, loss_target
from nnkit.factory.nodes import signature
from nnkit.network import Network
from nnkit.runs import preflight

OF_TABLES = {
    "targets",
    "val_fraction",
    "test_fraction",
    "batch_size",
    "eval_batch_size",
    "num_workers",
    "seed",
    "fold",
    "folds",
}


class Recorder(nn.Module):
    """Keeps what it was given; stands in for a user's class."""

    def __init__(
        self,
        size: int = 3,
        shape: tuple[int, ...] = (),
        options: dict[str, Any] | None = None,
        names: Sequence[str] = (),
        weight: Tensor | None = None,
        free=None,
    ) -> None:
        super().__init__()
        if size < 1:
            raise ValueError(f"size must be at least 1, not {size}")
        self.given = {"size": size, "shape": shape, "options": options, "names": names, "free": free}
        self.weight = weight


class Needs(nn.Module):
    def __init__(self, dim_in: int, width: int) -> None:
        super().__init__()


class Child(Recorder):
    def __init__(self, extra: int = 0, **arguments: Any) -> None:
        super().__init__(**arguments)


class Plain(TableData):
    """A data module with a constructor of its own."""

    def __init__(self, *, extra: int = 0, **common: Any) -> None:
        super().__init__(**common)
        self.extra = extra

    def source(self) -> TableSource:
        return TableSource(files={})


@dataclass(kw_only=True, eq=False)
class Options(TableData):
    """A data module that is a dataclass of its options; the seed of the split is none of them."""

    more: str = ""
    split_seed: int = field(default=3, init=False)


class Bare(nn.Module):
    pass


class Swallows(nn.Module):
    def __init__(self, a: int = 1, **anything: Any) -> None:
        super().__init__()


class Unresolvable(nn.Module):
    def __init__(self, a: int = 1, b: "NotThere" = None) -> None:  # noqa: F821
        super().__init__()


@pytest.fixture(autouse=True)
def trust(monkeypatch):
    """The classes above stand in a package the user trusts."""
    monkeypatch.setenv("NNKIT_TRUST", f"{__name__.split('.')[0]},samples")


def node(name, **arguments):
    config = OmegaConf.create(
        {"loss": {"_target_": f"{__name__}.{name}", **arguments}, "ten": 10, "nothing": None}
    )
    return config.loss


def problems(*overrides):
    composition, found = examine(list(overrides))
    return [*found, *preflight.problems(composition)]


# ------------------------------------------------------------------------------------------------------ building


def test_lenet5_has_the_papers_count_of_parameters():
    network = build_network(compose([]).config)
    assert isinstance(network, Network)
    assert sum(parameter.numel() for parameter in network.parameters()) == 61_706
    assert network(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_containers_are_plain_python():
    built = build(node("Recorder", shape=[3, 4], options={"a": [1, {"b": 2}]}, names=["x"], free=[1]), "loss")
    assert built.given == {
        "size": 3,
        "shape": (3, 4),
        "options": {"a": [1, {"b": 2}]},
        "names": ["x"],
        "free": [1],
    }
    kinds = [
        type(value) for value in (built.given["options"], built.given["options"]["a"], built.given["free"])
    ]
    assert kinds == [dict, list, list]


def test_references_are_filled_in():
    built = build(node("Recorder", size="${ten}", shape=["${ten}", 2], free="${nothing}"), "loss")
    assert built.given["size"] == 10
    assert built.given["shape"] == (10, 2)
    assert built.given["free"] is None


def test_numbers_become_a_tensor_where_one_is_wanted():
    assert torch.equal(build(node("Recorder", weight=[1, 2]), "loss").weight, torch.tensor([1.0, 2.0]))


def test_keys_that_nnkit_reads_itself_are_no_arguments():
    assert build(node("Recorder", takes=["real"]), "loss").given["size"] == 3


def test_the_constructors_complaint_names_the_key():
    with pytest.raises(ConfigError) as error:
        build(node("Recorder", size=0), "loss")
    (problem,) = error.value.problems
    assert (problem.key, problem.text) == ("loss.size", "size must be at least 1, not 0")


def test_all_that_is_wrong_with_a_node_is_said_at_once():
    with pytest.raises(ConfigError) as error:
        build(node("Recorder", size="a", shapes=[1], _partial_=True, names=3), "loss")
    keys = {problem.key: str(problem) for problem in error.value.problems}
    assert set(keys) == {"loss.size", "loss.shapes", "loss._partial_", "loss.names"}
    assert "did you mean loss.shape?" in keys["loss.shapes"]


def test_a_missing_argument_is_asked_for():
    with pytest.raises(ConfigError, match=r"loss.width: Needs needs it") as error:
        build(node("Needs"), "loss", dim_in=3)
    assert len(error.value.problems) == 1


def test_an_argument_that_nnkit_gives_is_refused():
    with pytest.raises(ConfigError, match=r"loss.dim_in: is given by nnkit itself"):
        build(node("Needs", dim_in=3, width=3), "loss", dim_in=3)


def test_a_reference_to_nothing_is_a_mistake_of_the_config():
    with pytest.raises(ConfigError, match="cannot be filled in"):
        build(node("Recorder", size="${nowhere}"), "loss")


@pytest.mark.parametrize(
    ("target", "names", "takes_any"),
    [
        (Recorder, {"size", "shape", "options", "names", "weight", "free"}, False),
        (Child, {"extra", "size", "shape", "options", "names", "weight", "free"}, False),
        (Plain, {"extra", "split_seed", *OF_TABLES}, False),
        (Options, {"more", *OF_TABLES}, False),
        (Bare, set(), False),
        (Swallows, {"a"}, True),
        (Unresolvable, {"a", "b"}, False),
        (nn.Linear, {"in_features", "out_features", "bias", "device", "dtype"}, False),
    ],
)
def test_the_signature_is_the_schema(target, names, takes_any):
    parameters, is_open = signature(target)
    assert (set(parameters), is_open) == (names, takes_any)


def test_hints_that_cannot_be_resolved_do_not_hide_the_others():
    with pytest.raises(ConfigError, match=r"loss.a: must be a whole number"):
        build(node("Unresolvable", a="x", b=3), "loss")


@pytest.mark.parametrize(
    ("overrides", "expected"), [([], "index"), (["loss=mse"], "one_hot"), (["data=diabetes"], "real")]
)
def test_the_task_gives_the_target_that_the_loss_prefers(overrides, expected):
    assert loss_target(compose(overrides).config) == expected


def test_a_loss_that_takes_nothing_the_task_gives_is_refused():
    with pytest.raises(ConfigError, match="class indices"):
        loss_target(compose(["data=diabetes", "loss=cross_entropy"]).config)


# ------------------------------------------------------------------------------------------------------ problems


def options_of(*groups):
    return [f"{group}={option}" for group in groups for option in catalog.options(group)]


# Options that are complete only with something of the user's.
COMPLETED = {f"data={name}": words for name, words in samples.NEEDED.items()}
PARTNERS = {
    "head=regressor": ["data=diabetes"],
    "task=regression": ["data=diabetes"],
    "task=multilabel": ["data=texts", "data.path=texts.csv"],
    "head=language_model": ["data=shakespeare"],
    "task=language_modeling": ["data=shakespeare"],
    "task=forecasting": ["data=mackey_glass"],
    "head=masked_lm": ["data=pydocs_pairs"],
    "task=masked_lm": ["data=pydocs_pairs"],
    "task=seq2seq": ["data=dates"],
    "task=translation": ["data=multi30k", "data.root=captions"],
}
# What goes with a model that does not take pictures.
BY_KIND = {"pairs": ["data=dates"], "sentences": ["data=pydocs_pairs"], "tokens": ["data=langid"]}


def partners_of(option):
    group, _, name = option.partition("=")
    kinds = catalog.kinds_of_model(name) if group == "model" else []
    if not kinds or "pictures" in kinds:
        return PARTNERS.get(option, [])
    return next(words for kind, words in BY_KIND.items() if kind in kinds)


@pytest.mark.parametrize(
    "option",
    options_of(
        "model", "data", "head", "task", "loss", "optimizer", "scheduler", "trainer", "experiment", "debug"
    ),
)
def test_what_ships_is_sound(option):
    assert problems(option, *COMPLETED.get(option, []), *partners_of(option)) == []


def test_every_callback_is_sound():
    assert problems(*(f"+callbacks={name}" for name in catalog.options("callbacks"))) == []


def test_looking_leaves_no_trace():
    composition = compose(["model=mlp", "model.dropout=0.5", "optimizer.lr=-1"])
    before, text = torch.get_rng_state(), composition.to_yaml()
    assert len(preflight.problems(composition)) == 1
    assert torch.equal(torch.get_rng_state(), before)
    assert composition.to_yaml() == text


def test_each_problem_says_where_its_value_comes_from(tmp_path):
    (tmp_path / "conf/optimizer").mkdir(parents=True)
    (tmp_path / "conf/optimizer/mine.yaml").write_text("_target_: torch.optim.SGD\nlr: a\nmomentumm: 0.9\n")
    found = {problem.key: problem for problem in problems("optimizer=mine", "loss.label_smoothing=3")}
    assert found["optimizer.lr"].where == "./conf/optimizer/mine.yaml:2"
    assert found["optimizer.momentumm"].where == "./conf/optimizer/mine.yaml:3"
    assert found["optimizer.momentumm"].hint == "did you mean optimizer.momentum?"
    assert found["loss.label_smoothing"].where == "command line"


def test_a_value_taken_from_another_key_is_that_keys_mistake():
    # The schedule's max_lr is ${optimizer.lr}, the trainer's max_epochs ${data.max_epochs}.
    found = problems("optimizer.lr=abc", "data.max_epochs=2.5")
    assert {problem.key for problem in found} == {"optimizer.lr", "data.max_epochs"}


def test_facts_that_are_not_known_yet_are_no_mistake():
    assert problems("data=csv", "data.path=x.csv", "task=regression") == []
    (problem,) = problems("data=csv", "data.path=x.csv", "data.num_classes=0")
    assert problem.key == "data.num_classes"


def test_a_wrong_number_of_class_weights_is_found_before_the_start():
    (problem,) = problems("loss.class_weights=[1,2]")
    assert problem.key.startswith("loss")
    assert problems("loss.class_weights=[1,1,1,1,1,1,1,1,1,2]") == []


def test_a_constructor_that_looks_at_values_is_left_alone(tmp_path, monkeypatch):
    text = "import torch\nfrom torch import nn\nclass Own(nn.Linear):\n    def __init__(self, dim_in: int) -> None:\n"
    text += "        super().__init__(dim_in, 4)\n        self.dim_out = 4 if self.weight.sum().item() < 99 else 0\n"
    (tmp_path / "mine_looking.py").write_text(text)
    monkeypatch.setenv("NNKIT_TRUST", "mine_looking")
    assert (
        problems(
            "model=mlp",
            "model._target_=mine_looking.Own",
            "~model.hidden",
            "~model.activation",
            "~model.dropout",
        )
        == []
    )
