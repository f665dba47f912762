"""Runs written in formats of others compute what the run computes, or are not written."""

import json

import pytest
import safetensors.torch
import torch
from torch import nn
from untouched import assert_refused, untouched

import nnkit
from nnkit.batches import TableBatch
from nnkit.cli.verbs.export import VERB
from nnkit.errors import EnvironmentFault, UserError
from nnkit.export import comparison, program
from nnkit.export.comparison import Comparand, Unequal, difference
from nnkit.export.writing import FORMATS, export_run
from nnkit.factory import build_network
from nnkit.files import atomic
from nnkit.models.mlp import MLP as MLP_CLASS
from nnkit.runs.base import weights_of
from nnkit.runs.run import Run

QUICK = ["logger=[]", "trainer.num_threads=1", "trainer.max_epochs=1", "callbacks=[checkpoint]"]
MLP = ["data=iris", "model=mlp", "model.hidden=[6]", *QUICK]
VIT = ["data=digits", "model=vit", "model.dim=8", "model.num_heads=2", "model.num_layers=1", *QUICK]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run on a table, one that trains an adapter on it, and one on pictures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("runs"))
        table = nnkit.train([*MLP, "name=table"]).run
        adapted = nnkit.train([*MLP, "init_from=table", "adapter=lora", "adapter.rank=2", "name=adapted"]).run
        pictures = nnkit.train([*VIT, "name=pictures"]).run
        return {run.path.name: Run(run.path.absolute()) for run in (table, adapted, pictures)}


def inputs(count):
    return torch.randn(count, 4, generator=torch.Generator().manual_seed(count))


def test_a_program_of_torch_computes_the_same_for_any_batch(cli, runs, tmp_path):
    code, out, _ = cli("export", runs["table"].path, "--format", "torch", "--out", "iris.pt2")
    assert code == 0
    assert "takes: inputs (batch, 4)" in out
    assert "samples of the test split" in out
    module = torch.export.load(tmp_path / "iris.pt2").module()
    network = nnkit.load(runs["table"]).network
    for count in (1, 7):
        torch.testing.assert_close(module(inputs=inputs(count)), network(inputs(count)))
    known = json.loads((tmp_path / "iris.pt2.json").read_text())
    assert known["preprocessing"] == runs["table"].preprocessing()
    assert known["inputs"] == {"inputs": ["batch", 4]}
    assert known["outputs"] == {"outputs": ["batch", 3]}


def test_weights_are_written_under_their_names_and_an_adapter_is_folded_in(runs, tmp_path):
    export_run(runs["table"], "safetensors")
    found = safetensors.torch.load_file(tmp_path / "table.safetensors")
    torch.testing.assert_close(found, nnkit.load(runs["table"]).network.state_dict(), rtol=0, atol=0)
    export_run(runs["adapted"], "safetensors", merged=True)
    merged = safetensors.torch.load_file(tmp_path / "adapted.safetensors")
    torch.testing.assert_close(merged, weights_of(runs["adapted"])[1], rtol=0, atol=0)
    assert merged.keys() == found.keys()
    assert not torch.equal(merged["body.layers.0.0.weight"], found["body.layers.0.0.weight"])


def test_transformers_reads_the_directory(cli, runs, tmp_path):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    code, out, _ = cli("export", runs["pictures"].path, "--format", "huggingface", "--out", "vit")
    assert code == 0
    assert "transformers and the run, 359 samples of the test split" in out
    model = transformers.ViTForImageClassification.from_pretrained(tmp_path / "vit").eval()
    pixels = torch.randn(2, 1, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(
            model(pixel_values=pixels).logits, nnkit.load(runs["pictures"]).network(pixels)
        )
    assert [path.name for path in tmp_path.iterdir()] == ["vit"]


def test_what_a_format_cannot_hold_is_a_sentence_and_nothing_is_written(cli, runs, tmp_path):
    for name, words, sentence in (
        ("table", ["--format", "huggingface"], "transformers has no counterpart of nnkit.models.mlp.MLP"),
        ("adapted", ["--format", "huggingface"], "--merge folds it in"),
        ("table", ["--format", "torch", "--merge"], "has no matrices of LoRA to fold in"),
        ("table", [], "--format onnx|torch|safetensors|huggingface"),
        ("table", ["--format", "torch", "--out", "no/iris.pt2"], "there is no directory no"),
    ):
        code, _, err = cli("export", runs[name].path, *words)
        assert (code, [*tmp_path.iterdir()]) == (2, [])
        assert sentence in err


def test_nothing_is_written_over(cli, runs, tmp_path):
    (tmp_path / "table.pt2.json").write_text("mine")
    code, _, err = cli("export", runs["table"].path, "--format", "torch")
    assert code == 2
    assert "table.pt2.json is there already" in err
    # Names of directories, from which no name of a file could be made.
    for place in (".", "..", "/"):
        code, _, err = cli("export", runs["table"].path, "--format", "torch", "--out", place)
        assert (code, "is there already, and nothing is written over it" in err) == (2, True), err
    assert (tmp_path / "table.pt2.json").read_text() == "mine"


def test_a_file_that_computes_something_else_is_not_written(cli, runs, tmp_path, monkeypatch):
    exact = comparison.outputs_of
    monkeypatch.setattr(
        "nnkit.export.weights.outputs_of", lambda *given: [one + 2e-4 for one in exact(*given)]
    )
    code, _, err = cli("export", runs["table"].path, "--format", "safetensors")
    assert code == 1
    assert "differs from the run by 0.0002" in err
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    "change", [lambda out: out * float("nan"), lambda out: out[:, :2], lambda out: out + 1e-3]
)
def test_other_values_and_other_sizes_are_differences(runs, change):
    network = nnkit.load(runs["table"]).network
    zeros = torch.zeros(5, dtype=torch.int64)
    samples = Comparand(TableBatch(inputs(5), zeros, zeros), "5 samples")

    def own(arguments):
        return comparison.outputs_of(network, arguments)

    def run(arguments):
        return [change(network(**arguments).detach())]

    with pytest.raises(Unequal):
        difference(run, own, samples)
    assert difference(lambda given: [network(**given).detach() + 1e-5], own, samples) < 2e-5


def test_without_the_data_random_samples_are_compared_and_that_is_said(runs, monkeypatch):
    session = nnkit.runs.reopen.open_run(runs["table"]).session
    monkeypatch.setattr(type(session.data), "samples", raising("the file is gone"))
    samples = comparison.samples_of(session)
    assert samples.described == "4 random samples, as the test split cannot be had (the file is gone)"
    assert samples.arguments()["inputs"].shape == (4, 4)


def raising(text):
    def method(*given):
        raise UserError(text)

    return method


class Branching(nn.Module):
    """It looks at a value, which no program of tensors can."""

    dim_out = 4

    def forward(self, features):
        return features if features.sum() > 0 else -features


def test_a_network_that_cannot_be_traced_is_a_sentence(runs):
    network = nnkit.load(runs["table"]).network
    network.body = Branching()
    with pytest.raises(UserError, match=r"torch.export cannot trace this network: \S"):
        program.encode(network, {"inputs": inputs(3)})


def reader(*words):
    config = nnkit.compose(["data=langid", "model.dim=8", *words]).config
    config.data.vocab_size, config.data.num_classes = 30, 3
    return build_network(config).eval()


def texts(count, time):
    mask = torch.arange(time) < torch.randint(1, time + 1, (count, 1))
    return {"inputs": torch.randint(30, (count, time)), "mask": mask}


def test_a_network_that_would_read_one_length_only_is_a_sentence():
    with pytest.raises(UserError, match="LSTM would read texts of one length only"):
        program.encode(reader("model=bilstm"), texts(3, 7))


def test_batch_and_length_of_texts_vary():
    network = reader("model=transformer_encoder", "model.num_heads=2", "model.num_layers=1")
    run = program.runner(program.encode(network, texts(3, 7)))
    for count, time in ((3, 7), (1, 2), (5, 40)):
        arguments = texts(count, time)
        torch.testing.assert_close(run(arguments), comparison.outputs_of(network, arguments))


def test_what_is_read_and_what_is_written_have_lengths_of_their_own():
    words = ["data=dates", "model=transformer", "model.dim=8", "model.num_heads=2", "model.num_layers=1"]
    config = nnkit.compose(words).config
    config.data.source_vocab_size = config.data.vocab_size = 30
    network = build_network(config).eval()

    def pairs(count, source_time, time):
        return texts(count, source_time) | {"second": torch.randint(30, (count, time))}

    run = program.runner(program.encode(network, pairs(3, 7, 5)))
    for sizes in ((3, 7, 5), (1, 4, 9)):
        arguments = pairs(*sizes)
        torch.testing.assert_close(run(arguments), comparison.outputs_of(network, arguments))


def test_the_command_offers_all_formats_that_are_written():
    (option,) = (one for one in VERB.options if one.flags == "--format")
    assert {*option.choices} == {*FORMATS, "huggingface"}


def test_an_operator_that_onnx_lacks_is_a_sentence_and_nothing_is_left_behind(
    cli, runs, tmp_path, monkeypatch
):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    plain = MLP_CLASS.forward
    monkeypatch.setattr(MLP_CLASS, "forward", lambda self, x: torch.special.bessel_j0(plain(self, x)))
    words = ["export", runs["table"].path, "--format", "onnx", "--out", "iris.onnx"]
    with untouched(tmp_path, monkeypatch):
        assert_refused(cli(*words), words, "ONNX cannot express this network: ")


def test_a_description_that_cannot_be_written_leaves_no_file_without_it(cli, runs, tmp_path, monkeypatch):
    write = atomic.write_atomic

    def full(path, content):
        if path.suffix == ".json":
            raise EnvironmentFault(f"{path}: No space left on device")
        write(path, content)

    monkeypatch.setattr("nnkit.export.writing.atomic.write_atomic", full)
    with untouched(tmp_path, monkeypatch):
        code, _, err = cli("export", runs["table"].path, "--format", "torch", "--out", "iris.pt2")
    assert code != 0
    assert "No space left on device" in err
    assert "Traceback" not in err
