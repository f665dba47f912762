"""Runs that train LoRA, exported: folded in for `transformers`, beside the weights for onnxruntime."""

import json
from pathlib import Path

import pytest
import torch

import nnkit

QUICK = ["logger=[]", "trainer.num_threads=1", "callbacks=[checkpoint]", "scheduler=constant"]
DATA = ["data=text_csv", "data.path=texts.csv", "data.tokenizer=wordpiece", "data.markers=true"]
SIZE = ["model=bert", "model.dim=8", "model.num_layers=2", "model.num_heads=2", "model.max_len=32"]
TEXTS = ["good fine nice 1", "sad", "a very poor and sad story 7"]


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder with a run on texts and one that has learnt an adapter on it; the matrices B are far from zero."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("runs"))
        lines = [f"{'good fine nice' if row % 2 else 'bad poor sad'} {row},{row % 2}" for row in range(40)]
        Path("texts.csv").write_text("\n".join(["text,label", *lines]))
        words = [*DATA, *SIZE, *QUICK, "data.max_length=32"]
        nnkit.train([*words, "name=base", "trainer.max_steps=2"])
        lora = ["adapter=lora", "adapter.rank=2", "init_from=base", "optimizer.lr=0.05"]
        nnkit.train([*words, *lora, "name=mine", "trainer.max_steps=20"])
        yield Path.cwd()


@pytest.fixture(autouse=True)
def moved(here, monkeypatch):
    monkeypatch.chdir(here)


def test_folded_in_it_opens_in_transformers_with_equal_outputs(cli):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    code, out, err = cli("export", "mine", "--format", "huggingface", "--merge", "--out", "merged")
    assert code == 0, err
    assert "transformers and the run" in out
    model = transformers.BertForSequenceClassification.from_pretrained("merged").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained("merged")
    mine, base = nnkit.load("mine"), nnkit.load("base")
    for text, (_, batch) in zip(TEXTS, mine.data.read(TEXTS), strict=True):
        with torch.no_grad():
            found = model(**tokenizer(text, return_tensors="pt")).logits
            expected, before = (one.network(*batch.network_inputs()) for one in (mine, base))
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
        assert (expected - before).abs().max() > 1e-2
    assert model.config.id2label == {0: "0", 1: "1"}


def test_without_folding_in_the_command_that_does_is_shown(cli):
    code, _, err = cli("export", "mine", "--format", "huggingface", "--out", "unmerged")
    assert (code, Path("unmerged").exists()) == (2, False)
    assert "mine has an adapter, which huggingface cannot hold beside the weights" in err
    assert "nnkit export outputs/mine --format huggingface --merge folds it in" in err


@pytest.mark.parametrize("words", [[], ["--merge"]], ids=["beside", "folded"])
def test_as_onnx_it_answers_like_the_run(cli, words):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    name = f"lora{len(words)}.onnx"
    code, _, err = cli("export", "mine", "--format", "onnx", "--out", name, *words)
    assert code == 0, err
    answers = [cli("predict", trained, *TEXTS, "--proba")[1].splitlines() for trained in ("mine", name)]
    assert len(answers[0]) == len(TEXTS)
    for one, other in zip(*answers, strict=True):
        ours, theirs = json.loads(one), json.loads(other)
        assert ours["label"] == theirs["label"]
        assert theirs["probabilities"] == pytest.approx(ours["probabilities"], abs=2e-6)
