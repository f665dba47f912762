"""`nnkit generate` and `nnkit predict` of a run that writes one text from another."""

import csv
import io
import itertools
import json
import sys

import pytest

import nnkit
from nnkit.decoding.beam import Beam
from nnkit.errors import UserError
from nnkit.inference.prediction import Unreadable
from nnkit.tasks.predictions import Written

WORDS = ["callbacks=[checkpoint]", "logger=[]", "trainer.num_threads=1"]
SMALL = ["data=text_pairs", "data.path=pairs.tsv", "data.batch_size=16", "model=seq2seq_lstm", "model.dim=32"]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """A run that has learnt to write words backwards, and others; the data are gone."""
    folder = tmp_path_factory.mktemp("outputs")
    words = ["".join(letters) for size in (2, 3, 4) for letters in itertools.product("abcd", repeat=size)]
    pairs = folder / "pairs.tsv"
    pairs.write_text("".join(f"{word}\t{word[::-1].upper()}\n" for word in words), encoding="utf-8")
    small = [word.replace("pairs.tsv", str(pairs)) for word in SMALL]
    quick = [f"output_dir={folder}", *WORDS]
    nnkit.train([*small, "trainer.max_epochs=15", "optimizer.lr=0.01", "name=back", *quick])
    nnkit.train([*small, "trainer.max_epochs=1", "task=translation", "task.beam_size=2", "name=said", *quick])
    pairs.unlink()
    return folder


@pytest.fixture
def write(cli, outputs):
    def run(*words):
        return cli("generate", "back", "--output-dir", outputs, *words)

    return run


def metrics(outputs, name):
    return json.loads((outputs / name / "run.json").read_text(encoding="utf-8"))["metrics"]


def test_the_task_s_metrics_are_those_of_the_run(outputs):
    learnt = metrics(outputs, "back")
    assert {"test/loss", "test/token_accuracy", "test/exact_match", "test/token_error"} <= set(learnt)
    assert learnt["test/exact_match"] > 0.9
    assert learnt["test/token_error"] < 0.05
    translated = metrics(outputs, "said")
    assert {"test/loss", "test/token_accuracy", "test/bleu", "test/chrf"} <= set(translated)


def test_the_answer_is_printed(write):
    assert write("--prompt", "abcd") == (0, "DCBA\n", "")
    assert write("--prompt", "abcd", "--beam", 3) == (0, "DCBA\n", "")
    assert write("--prompt", "abcd", "--length", 2) == (0, "DC\n", "")


def test_the_prompt_may_come_from_standard_input(write, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("bad"))
    assert write("--prompt", "-")[1] == "DAB\n"


def test_the_best_answers_stand_behind_their_scores(write):
    code, out, _ = write("--prompt", "abcd", "--nbest", 3)
    scores, texts = zip(*(line.split("\t") for line in out.splitlines()), strict=True)
    assert code == 0
    assert texts[0] == "DCBA"
    assert len(set(texts)) == 3
    assert [float(score) for score in scores] == sorted(map(float, scores), reverse=True)
    rows = [
        json.loads(line)
        for line in write("--prompt", "abcd", "--nbest", 3, "--format", "jsonl")[1].splitlines()
    ]
    assert [row["rank"] for row in rows] == [1, 2, 3]
    assert [row["text"] for row in rows] == list(texts)
    assert {row["prompt"] for row in rows} == {"abcd"}
    # The run's own penalty is 0.6; without any the scores are log-probabilities.
    plain = json.loads(write("--prompt", "abcd", "--beam", 3, "--length-penalty", 0, "--format", "jsonl")[1])
    assert plain["score"] == pytest.approx(rows[0]["score"] * (10 / 6) ** 0.6, rel=1e-3)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "there is nothing to read"),
        (["--prompt", "abc", "--temperature", "1"], "--temperature is not for a run that writes one text from another"),
        (["--prompt", "abc", "--samples", "2"], "which knows --length, --beam, --nbest, --length-penalty"),
        (["--prompt", "abc", "--stop", "A"], "--stop is not for"),
        (["--prompt", "abc", "--nbest", "3", "--beam", "2"], "--nbest 3 needs a --beam of at least 3, not 2"),
        (["--prompt", "abc", "--length-penalty", "1"], "give --beam"),
        (["--prompt", "abc", "--beam", "2", "--length-penalty", "-1"], "--length-penalty must be 0 or a positive"),
        (["--prompt", "abc", "--beam", "0"], "--beam must be at least 1, not 0"),
        (["--prompt", "abc", "--nbest", "0"], "--nbest must be at least 1, not 0"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_and_nothing_is_written(write, words, message):
    code, out, err = write(*words)
    assert (code, out) == (2, "")
    assert message in err


def test_predict_answers_each_item(cli, outputs, tmp_path):
    (tmp_path / "words.txt").write_text("dab\n\nca\n", encoding="utf-8")
    code, out, err = cli("predict", "back", "abcd", "words.txt", "--output-dir", outputs)
    assert (code, err) == (0, "")
    assert [json.loads(line) for line in out.splitlines()] == [
        {"item": "abcd", "text": "DCBA"},
        {"item": "words.txt:1", "text": "BAD"},
        {"item": "words.txt:3", "text": "AC"},
    ]
    out = cli("predict", "back", "abcd", "ca", "--format", "csv", "--output-dir", outputs)[1]
    assert list(csv.DictReader(io.StringIO(out))) == [
        {"item": "abcd", "text": "DCBA"}, {"item": "ca", "text": "AC"}
    ]  # fmt: skip
    out = cli("predict", "back", "abcd", "--format", "table", "--output-dir", outputs)[1]
    assert [line.split() for line in out.splitlines() if "abcd" in line] == [["abcd", "DCBA"]]


def test_from_python(outputs):
    loaded = nnkit.load("back", outputs)
    (best,) = loaded.answers("abcd")
    assert best.text == "DCBA"
    found = loaded.answers("abcd", Beam(3))
    assert [found[0].text, len(found)] == ["DCBA", 3]
    assert found[0].score == pytest.approx(best.score * (10 / 6) ** 0.6, rel=1e-3)
    answer, blank = loaded.predict(["abcd", " "])
    assert answer == Written("abcd", "DCBA")
    assert isinstance(blank, Unreadable)
    with pytest.raises(UserError, match="no language model"):
        loaded.generate("abcd")


def test_a_run_that_writes_nothing_from_another_text_is_named(outputs):
    nnkit.train(["data=iris", "trainer.max_epochs=1", "name=iris", *WORDS])
    with pytest.raises(UserError, match="iris writes no text from another: its task is Classification"):
        nnkit.load("iris").answers("a")
