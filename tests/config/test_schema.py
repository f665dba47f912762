"""The schema of option files admits what nnkit takes and refuses what it refuses."""

import json
from functools import cache
from pathlib import Path

import pytest
import yaml

from nnkit.config import catalog, compose
from nnkit.config.composition import plain
from nnkit.config.explanation import _parsed
from nnkit.config.schema import DRAFT, schema

jsonschema = pytest.importorskip("jsonschema", reason="pip install 'nnkit[test]'")
FILES = sorted(catalog.conf_dir().rglob("*.yaml"))


@cache
def validator(part=""):
    made = schema(part)
    jsonschema.Draft202012Validator.check_schema(made)
    return jsonschema.Draft202012Validator(made)


def mistakes(text, part=""):
    found = jsonschema.exceptions.best_match(validator(part).iter_errors(_parsed(text)))
    return "" if found is None else f"{found.json_path}: {found.message[:300]}"


def test_it_says_which_draft_it_is():
    assert schema()["$schema"] == DRAFT == jsonschema.Draft202012Validator.META_SCHEMA["$id"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_shipped_file_is_admitted(path):
    text = path.read_text(encoding="utf-8")
    assert not mistakes(text)
    assert not mistakes(text, "experiment" if path.name == "train.yaml" else path.parent.name)


@pytest.mark.parametrize("option", catalog.options("experiment"))
def test_every_composed_config_is_admitted(option):
    config = plain(compose([f"experiment={option}"]).config)
    assert not [error.message for error in validator("config").iter_errors(config)]


def test_composed_configs_of_every_dataset_with_adapter_and_metrics_are_admitted():
    for words in (
        ["model=bert", "data=pydocs_topics", "adapter=lora", "init_from=run"],
        [
            "data=digits",
            "metrics=[auroc,top5]",
            "+callbacks=[ema,early_stopping]",
            "logger=[csv,mlflow,wandb]",
        ],
        [
            "data=table",
            "data.path=x.csv",
            "loss.class_weights=balanced",
            "optimizer=muon",
            "scheduler=plateau",
        ],
        ["data=series", "data.path=x.csv", "trainer.max_time=00:00:10:00", "trainer.devices=[0,1]"],
    ):
        errors = [
            error.message[:200] for error in validator("config").iter_errors(plain(compose(words).config))
        ]
        assert not errors, words


MODEL = "_target_: nnkit.models.mlp.MLP\n"
CNN = "_target_: nnkit.models.cnn.CNN\n"
ADAM = "_target_: torch.optim.AdamW\n"
MNIST = "_target_: nnkit.data.datasets.mnist.MNIST\nkind: pictures\n"
WRONG = {
    "an unknown argument of a model": ("model", f"{MODEL}hiddn: [300]\n"),
    "a text where a list of numbers is due": ("model", f"{MODEL}hidden: wide\n"),
    "a list of texts where numbers are due": ("model", f"{MODEL}hidden: [wide, narrow]\n"),
    "an activation that there is not": ("model", f"{MODEL}activation: rleu\n"),
    "a dropout of one": ("model", f"{MODEL}dropout: 1.0\n"),
    "a negative dropout": ("model", f"{MODEL}dropout: -0.1\n"),
    "a truth value where a number is due": ("model", f"{MODEL}dropout: true\n"),
    "an argument that nnkit gives": ("model", f"{MODEL}dim_in: 3\n"),
    "a class of nnkit that there is not": ("model", "_target_: nnkit.models.mlp.MPL\n"),
    "a class that is no path": ("model", "_target_: MLP\n"),
    "embeds that are a list": ("model", f"{MODEL}embeds: [pictures]\n"),
    "an unknown argument of an embed": (
        "model",
        f"{MODEL}embeds: {{pictures: {{_target_: nnkit.embeds.pixels.Pixels, in_channels: 1, sizes: 3}}}}\n",
    ),
    "a pooling that there is not": ("model", "_target_: nnkit.models.lenet5.LeNet5\npooling: min\n"),
    "a norm that is a number": ("model", f"{CNN}norm: 3\n"),
    "an unknown key without a class": ("model", "defaults: [mlp, _self_]\nwidht: 3\n"),
    "an option that there is not": ("model", "defaults: [mpl, _self_]\ndropout: 0.1\n"),
    "an override of a group that there is not": (
        "model",
        f"defaults: [{{override /lss@_global_.lss: mse}}]\n{MODEL}",
    ),
    "an override with an option that there is not": (
        "model",
        f"defaults: [{{override /loss@_global_.loss: mes}}]\n{MODEL}",
    ),
    "a rate that is a text": ("optimizer", f"{ADAM}lr: fast\n"),
    "a negative rate": ("optimizer", f"{ADAM}lr: -0.1\n"),
    "three betas": ("optimizer", f"{ADAM}betas: [0.9, 0.99, 0.999]\n"),
    "a beta of one": ("optimizer", f"{ADAM}betas: [0.9, 1.0]\n"),
    "an unknown argument of an optimizer": ("optimizer", f"{ADAM}momentum: 0.9\n"),
    "an interval that there is not": (
        "scheduler",
        "_target_: nnkit.optim.schedules.WarmupCosine\ninterval: batch\ntotal_steps: ${fit.total_steps}\n",
    ),
    "a batch of no samples": ("data", f"{MNIST}batch_size: 0\n"),
    "a batch of half a sample": ("data", f"{MNIST}batch_size: 0.5\n"),
    "an unknown augmentation": ("data", f"{MNIST}augment: {{shfit: 1}}\n"),
    "an augmentation of the wrong type": ("data", f"{MNIST}augment: {{flip: 1}}\n"),
    "a share above one": ("data", f"{MNIST}subset: 1.5\n"),
    "a fact that is a text": ("data", f"{MNIST}num_classes: ten\n"),
    "tasks that are a text": ("data", f"{MNIST}tasks: classification\n"),
    "a target that no loss takes": ("loss", "_target_: nnkit.losses.focal.Focal\ntakes: [indices]\n"),
    "a negative gamma": ("loss", "_target_: nnkit.losses.focal.Focal\ntakes: [index]\ngamma: -1\n"),
    "a precision that there is not": ("trainer", "_target_: lightning.pytorch.Trainer\nprecision: bf17\n"),
    "a strategy that nnkit does not take": (
        "trainer",
        "_target_: lightning.pytorch.Trainer\nstrategy: ddp_spawn\n",
    ),
    "an accelerator that there is not": (
        "trainer",
        "_target_: lightning.pytorch.Trainer\naccelerator: gpuu\n",
    ),
    "a trainer's argument that nnkit gives": (
        "trainer",
        "_target_: lightning.pytorch.Trainer\nlogger: true\n",
    ),
    "a callback without a class": ("callbacks", "ema:\n  decay: 0.9\n"),
    "a callback's policy that there is not": (
        "callbacks",
        "guard:\n  _target_: nnkit.callbacks.nan_guard.NanGuard\n  policy: panic\n",
    ),
    "a logger's argument that no config may give": (
        "logger",
        "t:\n  _target_: lightning.pytorch.loggers.TensorBoardLogger\n  save_dir: x\n",
    ),
    "a metric that is better neither way": (
        "metrics",
        "m:\n  _target_: torchmetrics.classification.Recall\n  fits: [classes]\n  better: up\n",
    ),
    "an experiment with an unknown group": ("experiment", "optimiser:\n  lr: 0.1\n"),
    "an experiment with an unknown key": ("experiment", "optimizer:\n  learning_rate: 0.1\n"),
    "an experiment whose seed is a text": ("experiment", "seed: lucky\n"),
    "an experiment whose seed is negative": ("experiment", "seed: -1\n"),
    "an experiment with an option that there is not": (
        "experiment",
        "defaults: [{override /model: lenet}]\nseed: 1\n",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_refused(name):
    group, text = WRONG[name]
    assert mistakes(text, group), "the schema of its group"
    assert mistakes(text), "the schema of all files"


def test_there_are_more_than_thirty():
    assert len(WRONG) > 30


def test_a_composed_config_without_a_group_or_with_another_key_is_refused():
    config = plain(compose([]).config)
    assert not [*validator("config").iter_errors(config)]
    for wrong in (
        {name: node for name, node in config.items() if name != "loss"},
        {**config, "sed": 1},
        {**config, "auto_resume": "yes"},
        {**config, "monitor": None},
        {**config, "freeze": "embed"},
    ):
        assert [*validator("config").iter_errors(wrong)]


def test_a_reference_stands_for_any_value():
    assert not mistakes(f"{ADAM}lr: ${{data.lr}}\nbetas: ['${{a}}', 0.9]\n", "optimizer")


def test_ones_own_options_and_classes_are_known():
    Path("conf/model").mkdir(parents=True)
    Path("mine").mkdir()
    Path("mine/own.py").write_text(
        "class Own:\n    def __init__(self, dim_in: int, wide: bool = False) -> None: ...\n", encoding="utf-8"
    )
    Path("conf/model/own.yaml").write_text("_target_: mine.own.Own\nwide: true\n", encoding="utf-8")
    own = jsonschema.Draft202012Validator(schema())
    assert own.is_valid(yaml.safe_load("defaults: [{override /model: own}]\nmodel: {wide: false}\n"))
    assert own.is_valid(yaml.safe_load("_target_: mine.own.Own\nwide: false\n"))
    assert not own.is_valid(yaml.safe_load("_target_: mine.own.Own\nwide: 3\n"))
    assert not own.is_valid(yaml.safe_load("_target_: mine.own.Own\nwidth: 3\n"))
    assert own.is_valid(yaml.safe_load("_target_: other.place.Model\nanything: 3\n"))


def test_descriptions_and_defaults_are_there_for_the_editor():
    made = schema("model")
    dropout = made["$defs"]["class.nnkit.models.mlp.MLP"]["properties"]["dropout"]
    assert dropout["description"].startswith("Probability")
    assert dropout["default"] == 0.0
    assert json.loads(json.dumps(made)) == made
