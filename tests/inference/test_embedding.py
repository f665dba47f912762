"""Vectors of items: what the head reads of each, written in each form, and the nearest of each."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import pytest
import torch

import nnkit
from nnkit.data.tokenizing import tokenizer_from
from nnkit.hugging_face import write_directory
from nnkit.inference.embedding import nearest
from nnkit.layers.sequence import pool

QUICK = ["callbacks=[checkpoint]", "logger=[]", "trainer.max_steps=1", "trainer.num_threads=1"]
SMALL = ["model=bert", "model.dim=8", "model.num_layers=1", "model.num_heads=2", "model.max_len=256"]
TEXTS = ["good fine nice", "bad", "a very poor and sad story"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("runs"))
        lines = [f"{TEXTS[row % 3]} {row},{row % 2}" for row in range(24)]
        Path("texts.csv").write_text("\n".join(["text,label", *lines]))
        Path("long.txt").write_text("\n".join(lines * 20))
        data = ["data=text_csv", "data.path=texts.csv", "data.tokenizer=wordpiece", "data.markers=true"]
        nnkit.train([*QUICK, *data, *SMALL, "name=bert"])
        nnkit.train(
            [*QUICK, "data=text_file", "data.path=long.txt", "model=gpt", "name=gpt", "model.num_layers=1"]
        )
        nnkit.train([*QUICK, "data=iris", "model=mlp", "name=iris"])
        yield Path.cwd()


@pytest.fixture
def here(runs, monkeypatch):
    monkeypatch.chdir(runs)


def rows_of(out):
    return np.array([json.loads(line)["vector"] for line in out.splitlines()], dtype=np.float32)


@pytest.mark.parametrize("pooling", ["summary", "mean", "first", "last", "max"])
def test_a_text_is_what_the_head_reads_of_it(cli, here, pooling):
    code, out, _ = cli("embed", "bert", *TEXTS, "--pooling", pooling)
    assert code == 0
    assert [json.loads(line)["item"] for line in out.splitlines()] == TEXTS
    loaded = nnkit.load("bert")
    network = loaded.network
    for text, vector in zip(TEXTS, rows_of(out), strict=True):
        # One by one: no padding that could change anything.
        ((_, batch),) = loaded.data.read([text])
        with torch.inference_mode():
            features, _ = network.body(network.embed(batch.inputs), batch.mask)
            if pooling == "summary":
                expected = network.body.summary(features)
                torch.testing.assert_close(network.head(expected), network(*batch.network_inputs()))
            else:
                expected = pool(features, None, pooling)
        np.testing.assert_allclose(vector, expected[0].numpy(), rtol=1e-5, atol=1e-6)


def test_a_language_model_embeds_whole_texts_and_a_mlp_rows(cli, here):
    loaded = nnkit.load("gpt")
    code, out, _ = cli("embed", "gpt", TEXTS[0])
    tokens = torch.from_numpy(loaded.data.learnt_tokenizer.encode(TEXTS[0])).long()[None]
    with torch.inference_mode():
        features, _ = loaded.network.body(loaded.network.embed(tokens))
    np.testing.assert_allclose(rows_of(out), features[:, -1].numpy(), rtol=1e-5, atol=1e-6)
    Path("rows.csv").write_text(
        "sepal length (cm),sepal width (cm),petal length (cm),petal width (cm)\n5.1,3.5,1.4,0.2\n6,3,5,2\n"
    )
    code, out, _ = cli("embed", "iris", "rows.csv")
    assert (code, rows_of(out).shape) == (0, (2, nnkit.load("iris").network.body.dim_out))
    code, _, err = cli("embed", "iris", "rows.csv", "--pooling", "mean")
    assert (code, "--pooling mean: MLP gives one vector" in err) == (2, True), err


def test_each_form_holds_the_same_vectors(cli, here):
    for name in ("v.npy", "v.parquet", "v.jsonl"):
        assert cli("embed", "bert", *TEXTS, "missing.txt ", "--out", name)[0] == 0
    vectors = np.load("v.npy")
    assert (vectors.shape, vectors.dtype) == ((4, 8), np.float32)
    table = parquet.read_table("v.parquet")
    assert table["item"].to_pylist()[:3] == TEXTS
    assert np.array_equal(np.array(table["vector"].to_pylist(), dtype=np.float32), vectors)
    assert np.array_equal(rows_of(Path("v.jsonl").read_text()), vectors)


def test_the_nearest_are_shown_and_what_cannot_be_read_is_named(cli, here):
    code, out, err = cli("embed", "bert", *TEXTS, " ", "--nearest", "2")
    vectors = rows_of(cli("embed", "bert", *TEXTS)[1]).astype(np.float64)
    whole = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = whole @ whole.T - 9 * np.eye(3)
    first = out.splitlines()[3 if not out.splitlines()[0] else 2]
    assert f"{TEXTS[cosines[0].argmax()]}  {cosines[0].max():.3f}" in first
    assert (code, "an empty text" in err) == (2, True)


def test_nearest_is_the_cosine_of_all_pairs():
    vectors = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    vectors[6] = 0
    places, cosines = nearest(vectors, 99)
    assert places.shape == cosines.shape == (7, 6)
    lengths = np.linalg.norm(vectors, axis=1)
    for row in range(6):
        assert row not in places[row]
        expected = [
            float(vectors[row] @ vectors[place]) / max(float(lengths[row] * lengths[place]), 1e-9)
            for place in places[row]
        ]
        np.testing.assert_allclose(cosines[row], expected, atol=1e-6)
        assert [*cosines[row]] == sorted(cosines[row], reverse=True)


def test_mistakes_are_sentences_and_write_nothing(cli, here):
    for words, said in (
        (["bert", "x", "--out", "v.csv"], "--output v.csv: the ending is none of .npy, .parquet, .jsonl"),
        (["bert", "x", "--pooling", "meen"], "did you mean mean?"),
        (["bert", "x", "--nearest", "0"], "--nearest"),
        (["bert", "x", "--nearest", "1"], "there is one only"),
        (["nothing", "x"], "no run 'nothing'"),
    ):
        code, _, err = cli("embed", *words)
        assert (code, said in err) == (2, True), (words, err)
    assert not Path("v.csv").exists()


def test_a_directory_of_hugging_face_gives_the_vectors_of_transformers(cli, here, tmp_path):
    transformers = pytest.importorskip("transformers", reason="pip install transformers compares with it")
    from omegaconf import OmegaConf

    from nnkit.runs.reopen import open_run
    from nnkit.runs.run import find_run

    session = open_run(find_run("bert")).session
    config = OmegaConf.to_container(session.config, resolve=True)
    parts = {part: config[part] for part in ("model", "head", "data")}
    parts["state"] = session.task.network.state_dict()
    learnt = session.data.preprocessing
    write_directory(tmp_path / "published", **parts, preprocessing=learnt)
    code, out, _ = cli("embed", tmp_path / "published", *TEXTS, "--pooling", "mean")
    model = transformers.AutoModel.from_pretrained(tmp_path / "published").eval()
    tokenizer = tokenizer_from(learnt["tokenizer"])
    for text, vector in zip(TEXTS, rows_of(out), strict=True):
        ids = [tokenizer.cls_id, *tokenizer.encode(text).tolist(), tokenizer.sep_id]
        with torch.inference_mode():
            expected = model(torch.tensor([ids])).last_hidden_state.mean(1)[0]
        np.testing.assert_allclose(vector, expected.numpy(), rtol=1e-5, atol=1e-5)
    assert code == 0
    (tmp_path / "published" / "tokenizer.json").unlink()
    code, _, err = cli("embed", tmp_path / "published", "x")
    assert (code, "has no tokenizer" in err) == (2, True), err
