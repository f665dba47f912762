"""`nnkit test` and `nnkit predict` on labelled tables: the metrics are those that scikit-learn finds in the answers."""

import csv
import io
import json
import random
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from sklearn import metrics

import nnkit


def rows(count, seed):
    drawn = random.Random(seed)
    for number in range(count):
        x, colour = drawn.uniform(-3, 3), drawn.choice(["red", "blue"])
        noise = drawn.gauss(0, 0.8)
        yield {
            "id": f"k{seed}-{number:03}",
            "x": round(x, 3),
            "colour": colour,
            "y": "yes" if x + noise > 0 else "no",
        }


def write(path, found, delimiter=","):
    found = list(found)
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(found[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(found)
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Return a folder with a run and the table that it was trained on."""
    folder = tmp_path_factory.mktemp("place")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write("train.csv", rows(120, 0))
        words = [
            "data=table",
            "data.path=train.csv",
            "data.target=y",
            "data.id=[id]",
            "model=mlp_small",
            "name=run",
        ]
        nnkit.train(
            [*words, "trainer.max_epochs=3", "trainer.num_threads=1", "logger=[]", "callbacks=[checkpoint]"]
        )
    return folder


def test_a_run_is_tested_on_another_file_and_predictions_of_it_say_the_same(cli, place):
    found = write("new.csv", rows(50, 1), delimiter=";")
    found[3]["y"] = "perhaps"
    found[4]["y"] = ""
    write("new.csv", found, delimiter=";")
    run = place / "outputs/run"
    code, out, err = cli("predict", run, "new.csv", "--format", "csv", "--proba", "--keep", "y")
    assert code == 0, err
    answers = list(csv.DictReader(io.StringIO(out)))
    columns = [
        "item",
        "id",
        "y",
        "label_1",
        "probability_1",
        "label_2",
        "probability_2",
        "proba_no",
        "proba_yes",
    ]
    assert list(answers[0]) == columns
    assert [row["id"] for row in answers] == [row["id"] for row in found]
    for row in answers:
        assert float(row[f"proba_{row['label_1']}"]) == float(row["probability_1"])
        assert float(row["proba_no"]) + float(row["proba_yes"]) == pytest.approx(1, abs=2e-6)
    pairs = [(row["y"], row["label_1"]) for row in answers if row["y"] in ("yes", "no")]
    accuracy = metrics.accuracy_score(*zip(*pairs, strict=True))
    f1 = metrics.f1_score(*zip(*pairs, strict=True), average="macro")
    assert "48 items with a true target; 2 others have none: " in err
    assert f"accuracy {accuracy:.4f}, f1 {f1:.4f}" in err
    assert "'perhaps' 1" in err
    code, out, err = cli("test", run, "new.csv")
    assert code == 0, err
    assert f"{accuracy:.4f}" in out
    assert "2 items without a true target are left out" in err
    (note,) = [json.loads(line) for line in (run / "tests.jsonl").read_text().splitlines()]
    assert note["path"] == str(Path("new.csv").absolute())
    assert note["metrics"]["test/accuracy"] == pytest.approx(accuracy, rel=1e-6)
    assert note["metrics"]["test/f1"] == pytest.approx(f1, rel=1e-6)
    # What the run ended with stays.
    assert (
        json.loads((run / "run.json").read_text())["metrics"]["test/accuracy"]
        != note["metrics"]["test/accuracy"]
    )


def test_a_run_finds_its_own_table_from_another_directory(cli, place):
    before = json.loads((place / "outputs/run/run.json").read_text())["metrics"]
    code, out, err = cli("test", place / "outputs/run")
    assert code == 0, err
    assert f"{before['test/loss']:.4f}" in out


def test_standard_input_is_a_table_or_json_lines(cli, place, monkeypatch):
    found = list(rows(3, 2))
    as_csv = io.StringIO()
    writer = csv.DictWriter(as_csv, ["colour", "x", "id"], extrasaction="ignore")
    writer.writeheader()
    writer.writerows(found)
    as_json = "".join(json.dumps(row) + "\n" for row in found)
    answers = []
    for text in (as_csv.getvalue(), as_json):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(text.encode())))
        code, out, err = cli("predict", place / "outputs/run", "-")
        assert code == 0, err
        answers.append([json.loads(line) for line in out.splitlines()])
        assert ("with a true target" in err) == (text is as_json)
    assert [row["id"] for row in answers[0]] == [row["id"] for row in found]
    assert [row["top"] for row in answers[0]] == [row["top"] for row in answers[1]]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["new.csv", "--keep", "colr", "--output", "out.csv"], "--keep"),
        (["lacking.csv", "--output", "out.parquet"], "lacks 1 of the 2 columns"),
        (["new.csv", "--output", "out.docx"], "the ending is none of"),
        (["new.csv", "--format", "parquet"], "is for a file"),
    ],
)
def test_what_is_refused_leaves_no_file(cli, place, words, message):
    write("new.csv", rows(3, 3))
    write("lacking.csv", [{"x": 1}])
    code, out, err = cli("predict", place / "outputs/run", *words)
    assert (code, out) == (2, "")
    assert message in err
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["lacking.csv", "new.csv"]


def test_a_file_without_the_target_cannot_be_tested_on(cli, place):
    write("new.csv", [{"x": 1, "colour": "red"}])
    code, _, err = cli("test", place / "outputs/run", "new.csv")
    assert code == 2
    assert "new.csv cannot be tested on: none of its items has a true target" in err
