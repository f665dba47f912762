"""Every YAML is composed, built, trained, saved, loaded and resumed the day it lands."""

from pathlib import Path

import pytest
import samples
import torch

import nnkit
from nnkit import config as configs
from nnkit.analysis.shapes import network_layers
from nnkit.checkpoint.store import CheckpointStore
from nnkit.config import catalog
from nnkit.inference.prediction import Unreadable
from nnkit.runs import preflight
from nnkit.runs.fit import test as run_test
from nnkit.runs.reopen import open_run

CONF = Path(__file__).parent.parent / "conf"
# The kinds of input that datasets of the tests have; each stands for one kind and one task.
INPUTS = {kind: {"text": "tokens", "texts": "tokens"}.get(kind, kind) for kind in samples.KINDS}
QUICK = [
    "trainer.max_steps=2",
    "trainer.num_threads=1",
    "logger=[]",
    "callbacks=[checkpoint]",
]


def options(group):
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def pairs():
    """Every model beside every kind of data that it takes; test_every_pair.py looks at the others."""
    for model in options("model"):
        for name, kind in INPUTS.items():
            if kind in catalog.read("model", model)["embeds"]:
                yield model, name


def fitting(words):
    """Compose a config; None if it is refused."""
    composition, problems = configs.examine(words)
    if composition is None or problems or preflight.problems(composition):
        return None
    return composition


def compose_and_check(words):
    composition = configs.compose(words)
    assert preflight.problems(composition) == []
    return composition


def test_each_yaml_opens_with_what_it_is():
    for path in CONF.rglob("*.yaml"):
        lines = path.read_text(encoding="utf-8").splitlines()
        assert next(line for line in lines if not line.startswith("# @package")).startswith("# "), path


def _outputs(network, inputs):
    outputs = network(*inputs)
    return outputs if isinstance(outputs, tuple) else (outputs,)


REGRESSIONS = [(model, "diabetes") for model, data in pairs() if data == "table"]
# One model of each dataset is tested once more: how the others are tested is the affair of their task.
TESTED_AGAIN = {data: model for model, data in reversed([*pairs(), *REGRESSIONS])}


# What is read back is its own config each time.
@pytest.mark.usefixtures("a_config_is_judged_once")
@pytest.mark.parametrize(("model", "data"), [*pairs(), *REGRESSIONS])
def test_each_model_trains_saves_loads_and_tests(model, data):
    chosen = ["data=diabetes"] if data == "diabetes" else samples.words(data)
    words = [f"model={model}", *chosen, *samples.small(model), *QUICK]
    composition = fitting(words)
    if composition is None:
        # A model that brings a head or a loss for classes is refused on a regression, and the other way round; one
        # that looks ahead where the next token is predicted.
        assert data in ("diabetes", "text")
        pytest.skip(f"{model} is refused on {data}")
    result = nnkit.train(composition)
    opened = open_run(result.run, "last")
    inputs = next(iter(opened.session.data.test_dataloader())).network_inputs()
    with torch.no_grad():
        # Some networks put out several tensors.
        for one, other in zip(
            *(_outputs(session.task.eval().network, inputs) for session in (result.session, opened.session)),
            strict=True,
        ):
            assert torch.equal(one, other)
    assert result.run.status() == "done"
    before = {name: value for name, value in result.metrics.items() if name.startswith("test/")}
    if model == TESTED_AGAIN[data]:
        assert run_test(str(result.run.path)) == before
    for answer in nnkit.load(result.run).predict([samples.item(data)]):
        assert not isinstance(answer, Unreadable)


@pytest.mark.parametrize("model", ["rnn", "lstm", "gru"])
def test_a_body_that_looks_ahead_is_refused_where_the_next_token_is_predicted(model):
    words = [f"model={model}", *samples.words("text"), "model.bidirectional=true"]
    problems = preflight.problems(configs.compose(words))
    assert [problem.key for problem in problems] == ["model.bidirectional"]
    assert "looks ahead" in problems[0].text
    assert fitting([f"model={model}", *samples.words("texts"), "model.bidirectional=true"])


@pytest.mark.parametrize("model", ["bert", "bilstm", "transformer_encoder"])
def test_a_model_that_looks_ahead_is_refused_as_a_language_model(model):
    problems = preflight.problems(configs.compose([f"model={model}", *samples.words("text")]))
    assert len(problems) == 1
    assert "looks ahead" in problems[0].text


@pytest.mark.parametrize("model", ["bert_base", "gpt2", "tinyllama", "transformer_base"])
def test_a_model_in_its_papers_size_is_walked_through_without_values(model):
    kind = next(kind for kind in ("sentences", "pairs", "text") if INPUTS[kind] in _takes(model))
    config = configs.compose([f"model={model}", *samples.words(kind)]).config
    for name in ("vocab_size", "source_vocab_size"):
        if name in config.data:
            config.data[name] = 1000
    layers = network_layers(config)
    assert layers[-1].output[-1] in (2, 1000)
    assert sum(layer.trainable for layer in layers) > 4e7


def _takes(model):
    return catalog.read("model", model)["embeds"]


def test_more_tokens_than_the_model_reads_are_refused():
    problems = preflight.problems(configs.compose(["model=gpt", *samples.words("text"), "model.max_len=8"]))
    assert [problem.key for problem in problems] == ["data.block_size"]
    assert "12 tokens are more than the model reads" in problems[0].text


@pytest.mark.parametrize("loss", options("loss"))
def test_each_loss_trains_or_is_refused_with_a_reason(loss):
    accepted = []
    for data in ("digits", "diabetes"):
        words = [f"data={data}", f"loss={loss}", *QUICK]
        composition, problems = configs.examine(words)
        problems = [*problems, *preflight.problems(composition)]
        if problems:
            assert any("loss" in problem.key for problem in problems)
            continue
        assert nnkit.train(composition).run.status() == "done"
        accepted.append(data)
    assert accepted


@pytest.mark.parametrize("optimizer", options("optimizer"))
def test_each_optimizer_lowers_the_loss_with_a_rate_and_a_momentum_that_move(optimizer):
    words = ["data=iris", f"optimizer={optimizer}", "scheduler=onecycle", "trainer.max_epochs=15"]
    result = nnkit.train([*words, "logger=[]", "callbacks=[checkpoint]"])
    rows = [
        line for line in (result.run.path / "metrics.jsonl").read_text().splitlines() if '"epoch"' in line
    ]
    assert len(rows) >= 15
    assert result.metrics["test/accuracy"] > 0.5


@pytest.mark.parametrize("scheduler", options("scheduler"))
def test_each_schedule_is_saved_and_restored(scheduler):
    result = nnkit.train(
        ["data=iris", "data.val_fraction=0.2", f"scheduler={scheduler}", "trainer.max_epochs=2", *QUICK[1:]]
    )
    manifest, checkpoint = CheckpointStore(result.run.checkpoints).load("last")
    assert manifest.step == result.run.record()["step"] == 12
    states = checkpoint["lr_schedulers"] or [checkpoint["plateau"]]
    assert "last_epoch" in states[0]


@pytest.mark.parametrize("callback", options("callbacks"))
def test_each_callback_and_logger_runs(callback):
    words = ["data=digits", "model=mlp", *QUICK[:2], f"callbacks=[{callback}]", "logger=[tensorboard]"]
    assert nnkit.train(words).run.status() == "done"


@pytest.mark.parametrize("data", options("data"))
def test_each_dataset_composes_with_its_own_defaults(data, monkeypatch):
    monkeypatch.setenv("NNKIT_TRUST", "samples")
    composition = compose_and_check([f"data={data}", *samples.NEEDED.get(data, [])])
    assert composition.choices["data"] == data
    assert composition.config.trainer.max_epochs >= 1


@pytest.mark.parametrize("experiment", options("experiment"))
def test_each_experiment_composes_and_keeps_its_plain_keys_below_the_command_line(experiment):
    assert compose_and_check([f"experiment={experiment}", "seed=7"]).config.seed == 7


@pytest.mark.parametrize("debug", options("debug"))
def test_each_debug_option_trains(debug):
    words = ["data=digits", "data.subset=0.25", "model=mlp", "trainer.max_epochs=1", "trainer.num_threads=1"]
    assert nnkit.train([*words, f"debug={debug}"]).run.status() == "done"


def test_a_checkpoint_rebuilds_its_model_with_no_dataset_on_disk(monkeypatch):
    result = nnkit.train(["data=iris", *QUICK])
    monkeypatch.setattr("nnkit.data.tables.base.TableData.prepare", None)
    assert open_run(result.run).session.data.facts()["num_classes"] == 3
