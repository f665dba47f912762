"""`nnkit predict FILE.onnx` answers as `nnkit predict RUN`, for tables, texts, lines of standard input and series."""

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import nnkit

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

QUICK = ["logger=[]", "trainer.num_threads=1", "callbacks=[checkpoint]", "scheduler=constant"]
QUICK += ["trainer.max_steps=4"]
TEXT = ["data=text_csv", "data.path=texts.csv", "model=transformer_encoder"]
TEXT += ["model.dim=8", "model.num_layers=1", "model.num_heads=2"]
RUNS = {
    "table": ["data=table", "data.path=rows.csv", "data.target=kind", "model=mlp", "model.hidden=[6]"],
    "prices": ["data=table", "data.path=rows.csv", "data.target=price", "task=regression", "model=mlp"],
    "texts": TEXT,
    "series": ["data=mackey_glass", "model=lstm", "model.dim=8", "model.num_layers=1"],
}
LINES = ["a good and fine day", "bad", "", "how sad: poor Größe 中文 " * 30]


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder with runs and the files that were exported from them."""
    from nnkit.export.writing import export_run

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("runs"))
        kinds = ("flat", "house", "")
        rows = [f"{row * 37 % 90 + 10},{kinds[row % 3]},{row % 4},{row * 7 % 50}" for row in range(60)]
        rows[5] = ",flat,2,7"
        Path("rows.csv").write_text("\n".join(["size,form,kind,price", *rows]))
        lines = [f"{'good fine nice' if row % 2 else 'bad poor sad'} {row},{row % 2}" for row in range(40)]
        Path("texts.csv").write_text("\n".join(["text,label", *lines]))
        for name, words in RUNS.items():
            export_run(nnkit.train([*words, *QUICK, f"name={name}"]).run, "onnx")
        yield Path.cwd()


@pytest.fixture(autouse=True)
def moved(here, monkeypatch):
    monkeypatch.chdir(here)


def both(cli, name, *words):
    """Return exit codes, objects and standard errors of the run and the file."""
    answers = [cli("predict", trained, *words) for trained in (name, f"{name}.onnx")]
    return [(code, [json.loads(line) for line in out.splitlines()], err) for code, out, err in answers]


def assert_same(ours, theirs):
    (code, one, err), (other_code, other, other_err) = ours, theirs
    assert (code, err, len(one)) == (other_code, other_err, len(other))
    for expected, found in zip(one, other, strict=True):
        assert expected.keys() == found.keys()
        assert_near(expected, found)


def assert_near(expected, found):
    if isinstance(expected, float):
        assert found == pytest.approx(expected, abs=2e-5, rel=1e-5)
    elif isinstance(expected, dict):
        for key in expected:
            assert_near(expected[key], found[key])
    elif isinstance(expected, list):
        for one, other in zip(expected, found, strict=True):
            assert_near(one, other)
    else:
        assert expected == found


@pytest.mark.parametrize("name", ["table", "prices"])
def test_a_table(cli, name):
    # Without the target, with values that training has not seen, with cells that cannot be read.
    Path("new.csv").write_text("form,size,kind,price\nflat,12,0,7\nhut,45,3,1e30\n,,1,9\nhouse,,2,8\n")
    words = ["--proba"] if name == "table" else []
    ours, theirs = both(cli, name, "new.csv", *words)
    assert len(ours[1]) >= 3, ours[2]
    assert_same(ours, theirs)
    ours, theirs = both(cli, name, "rows.csv", "--keep", "size")
    assert len(ours[1]) >= 58
    assert_same(ours, theirs)


def test_texts_and_lines_of_standard_input(cli, monkeypatch):
    ours, theirs = both(cli, "texts", *LINES, "--proba")
    assert (ours[0], len(ours[1])) == (2, 3)
    assert_same(ours, theirs)
    answers = []
    for _ in range(2):
        stream = SimpleNamespace(buffer=io.BytesIO("\n".join(LINES).encode()))
        monkeypatch.setattr(sys, "stdin", stream)
        trained = ("texts", "texts.onnx")[len(answers)]
        code, out, err = cli("predict", trained, "-")
        answers.append((code, [json.loads(line) for line in out.splitlines()], err))
    assert len(answers[0][1]) >= 3
    assert_same(*answers)


def test_a_series(cli):
    Path("series.csv").write_text("\n".join(["x", *(f"{(step % 17) / 17:.3f}" for step in range(200))]))
    ours, theirs = both(cli, "series", "series.csv")
    assert_same(ours, theirs)
