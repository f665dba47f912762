"""`nnkit generate`: a prompt in, text out, and sentences where that cannot be."""

import io
import json
import sys

import pytest
import torch

import nnkit
from nnkit.cli.verbs import generate as verb
from nnkit.decoding.sampling import Sampling
from nnkit.errors import UserError

WORDS = ["callbacks=[checkpoint]", "logger=[]", "trainer.num_threads=1"]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs")
    path = folder / "text.txt"
    path.write_text("the cat sees a dog and the dog sees the cat\n" * 60, encoding="utf-8")
    data = ["data=text_file", f"data.path={path}", "data.block_size=16", "model.dim=24"]
    nnkit.train([*data, "trainer.max_epochs=6", "name=text", f"output_dir={folder}", *WORDS])
    nnkit.train(["data=iris", "trainer.max_epochs=1", "name=iris", f"output_dir={folder}", *WORDS])
    return folder


@pytest.fixture
def write(cli, outputs):
    def run(*words):
        return cli("generate", "text", "--output-dir", outputs, *words)

    return run


def test_equal_seeds_equal_texts_and_the_prompt_stands_before(write):
    code, first, err = write("--prompt", "the cat", "--length", 30)
    assert (code, err) == (0, "")
    assert first.startswith("the cat")
    assert len(first.rstrip("\n")) <= len("the cat") + 30
    assert write("--prompt", "the cat", "--length", 30)[1] == first
    assert write("--prompt", "the cat", "--length", 30, "--seed", 1)[1] != first


def test_the_dataset_is_not_needed(write, outputs):
    text = outputs / "text.txt"
    text.rename(outputs / "moved.txt")
    try:
        assert write("--length", 3)[0] == 0
    finally:
        (outputs / "moved.txt").rename(text)


def test_the_most_probable_token_is_one_of_one_and_the_whole_pass_agrees(write, outputs):
    greedy = [write("--prompt", "a dog", "--length", 20, *words)[1] for words in (
        ["--temperature", "0"], ["--top-k", "1"], ["--top-p", "1e-9"], ["--temperature", "0", "--seed", "9"],
    )]  # fmt: skip
    loaded = nnkit.load("text", outputs)
    tokens = torch.from_numpy(loaded.data.learnt_tokenizer.encode("a dog")).long().unsqueeze(0)
    with torch.inference_mode():
        for _ in range(20):
            tokens = torch.cat([tokens, loaded.network(tokens)[:, -1:].argmax(-1)], dim=1)
    assert {text.removesuffix("\n") for text in greedy} == {
        loaded.data.learnt_tokenizer.decode(tokens[0].tolist()).removesuffix("\n")
    }


def test_several_samples_and_json_lines(write):
    code, out, _ = write(
        "--prompt", "the ", "--length", 12, "--samples", 3, "--format", "jsonl", "--stop", "z"
    )
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [row["sample"] for row in rows] == [1, 2, 3]
    assert len({row["text"] for row in rows}) > 1
    assert {(row["prompt"], row["seed"], row["temperature"], row["top_k"]) for row in rows} == {
        ("the ", 0, 0.8, None)
    }
    texts = write("--prompt", "the ", "--length", 12, "--samples", 3)[1]
    assert texts == f"{verb.SEPARATOR}\n".join(
        f"the {row['text']}" + "\n" * (not row["text"].endswith("\n")) for row in rows
    )


def test_a_stop_ends_the_text_before_it(write):
    whole = write("--length", 40, "--format", "jsonl")[1]
    text = json.loads(whole)["text"]
    stop = text[7:9]
    found = json.loads(write("--length", 40, "--format", "jsonl", "--stop", stop)[1])["text"]
    assert found == text[: text.index(stop)]


def test_the_prompt_may_come_from_standard_input(write, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("the dog"))
    assert write("--prompt", "-", "--length", 5)[1] == write("--prompt", "the dog", "--length", 5)[1]


def test_text_is_shown_as_it_is_made_and_orders_to_the_terminal_are_not(monkeypatch):
    shown = []

    class Terminal(io.StringIO):
        def isatty(self):
            return True

        def flush(self):
            shown.append(self.getvalue())

    monkeypatch.setattr(sys, "stdout", Terminal())
    verb.stream(iter([["a"], [""], ["\x1b[2J\n"], ["é"]]), "p")
    assert shown == ["pa", "pa\ufffd[2J\n", "pa\ufffd[2J\né"]
    assert sys.stdout.getvalue() == "pa\ufffd[2J\né\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--prompt", "Q!"], "lacks: 'Q', '!'"),
        (["--temperature", "-1"], "--temperature must be 0 or a positive number, not -1.0"),
        (["--top-p", "2"], "--top-p must lie above 0"),
        (["--top-k", "0"], "--top-k must be at least 1, not 0"),
        (["--length", "0"], "--length must be at least 1, not 0"),
        (["--samples", "0"], "--samples must be at least 1, not 0"),
        (["--stop", ""], "--stop must name a text"),
        (["--beam", "2"], "--beam is not for a run that writes on, which knows --length, --temperature"),
    ],
)
def test_what_cannot_be_is_said_and_nothing_is_written(write, words, message):
    code, out, err = write(*words)
    assert (code, out) == (2, "")
    assert message in err


def test_a_run_of_another_kind_is_named_with_what_to_type(cli, outputs):
    code, out, err = cli("generate", "iris", "--output-dir", outputs)
    assert (code, out) == (2, "")
    assert "iris is no language model: its task is Classification" in err
    assert "nnkit predict" in err


def test_from_python(write, outputs):
    loaded = nnkit.load("text", outputs)
    texts = loaded.generate("the ", length=12, num_samples=3)
    out = write("--prompt", "the ", "--length", 12, "--samples", 3, "--format", "jsonl")[1]
    assert texts == [json.loads(line)["text"] for line in out.splitlines()]
    (greedy,) = loaded.generate("the ", length=5, sampling=Sampling(0), stop=["#"])
    assert len(greedy) == 5
    with pytest.raises(ValueError, match="length must be at least 1"):
        loaded.generate(length=0)
    with pytest.raises(UserError, match="no language model"):
        nnkit.load("iris", outputs).generate()


def test_predict_says_how_surprising_texts_are(cli, outputs):
    words = ["the cat sees a dog", "god a sees tac eht", "Q"]
    code, out, err = cli("predict", "text", *words, "--output-dir", outputs)
    likely, odd = (json.loads(line) for line in out.splitlines())
    assert code == 2
    assert "Q" in err
    assert likely["item"] == words[0]
    assert likely["values"]["perplexity"] < odd["values"]["perplexity"]
    # One character is one token here.
    bits = likely["values"]["bits_per_character"]
    assert 2**bits == pytest.approx(likely["values"]["perplexity"], rel=1e-4)


def test_the_lines_of_a_file_are_written_on_from(write, tmp_path, monkeypatch):
    prompts = ["the cat", "a dog and the dog ", "", "the"]
    (tmp_path / "prompts.txt").write_text("\n".join(prompts), encoding="utf-8")
    words = ["--length", 12, "--temperature", 0, "--format", "jsonl"]
    code, out, err = write("--prompts", tmp_path / "prompts.txt", *words)
    assert (code, err) == (0, "")
    assert out == "".join(write("--prompt", prompt, *words)[1] for prompt in prompts if prompt)
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(prompts)))
    assert write("--prompts", "-", *words)[1] == out
    drawn = [*words[:2], "--samples", 2, "--seed", 3]
    texts = write("--prompts", tmp_path / "prompts.txt", *drawn)[1]
    assert texts == f"{verb.SEPARATOR}\n".join(
        write("--prompt", prompt, *drawn)[1] for prompt in prompts if prompt
    )


def test_a_line_that_is_no_prompt_is_named_and_the_others_go_on(write, tmp_path):
    (tmp_path / "prompts.txt").write_text("the cat\nQ!\na dog\n", encoding="utf-8")
    code, out, err = write("--prompts", tmp_path / "prompts.txt", "--length", 5, "--format", "jsonl")
    assert code == 2
    assert f"{tmp_path / 'prompts.txt'}:2: the prompt holds what the vocabulary lacks: 'Q', '!'" in err
    assert [json.loads(line)["prompt"] for line in out.splitlines()] == ["the cat", "a dog"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--prompts", "none.txt"], "--prompts none.txt: there is no such file"),
        (["--prompts", "empty.txt"], "--prompts empty.txt: there is no prompt in it"),
        (["--prompts", "empty.txt", "--prompt", "the"], "--prompt and --prompts are both given"),
    ],
)
def test_a_file_without_prompts_is_refused(write, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.txt").write_text("\n \n")
    code, out, err = write(*words)
    assert (code, out) == (2, "")
    assert message in err
