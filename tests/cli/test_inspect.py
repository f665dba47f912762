"""`nnkit inspect` as it is typed."""

import shutil
from pathlib import Path

import pytest
import samples


@pytest.fixture(scope="module")
def lenet(tmp_path_factory):
    import nnkit

    folder = tmp_path_factory.mktemp("lenet")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, model in (("first", "lenet5"), ("second", "mlp_3b1b")):
            typed = [*samples.words("pictures"), f"model={model}", f"name={name}"]
            nnkit.train([*typed, "trainer.max_epochs=1", "logger=[]"])
    return folder


@pytest.fixture
def runs(lenet, tmp_path, monkeypatch):
    shutil.copytree(lenet, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")


def test_a_page_in_the_run_directory_and_a_table(cli, runs):
    code, out, err = cli("inspect", "first")
    assert (code, err) == (0, "")
    html = Path("outputs/first/inspection.html").read_text()
    assert html.startswith("<!DOCTYPE html>")
    assert "first: first validation sample" in out
    assert "6 x 28 x 28" in out
    assert "map, row, column" in out
    assert "page: outputs/first/inspection.html" in out
    assert "61,706 parameters" in html
    assert "the true class is" in html


def test_an_image_a_unit_gradients_and_pictures(cli, runs):
    item = samples.item("pictures")
    words = (
        "--out",
        "page.html",
        "--pictures",
        "figures",
        "--unit",
        "C1:2",
        "--unit",
        "F6:84",
        "--gradients",
    )
    code, out, err = cli("inspect", "first", item, *words)
    assert code == 0, err
    html = Path("page.html").read_text()
    # A picture of the user's has no true class.
    assert "the true class" not in html
    assert not Path("outputs/first/inspection.html").exists()
    for part in ("Unit C1:2", "Unit F6:84", "gradients, root mean square", "picture.png"):
        assert part in html
    written = {path.name for path in Path("figures").iterdir()}
    for name in ("input-1-c1", "input-1-saliency", "weights-gradients", "unit-c1-2-fires-most"):
        assert {f"{name}.svg", f"{name}.png"} <= written
    assert f"{len(written) // 2} as SVG and PNG" in out


def test_vectors_for_the_projector_of_tensorboard(cli, runs):
    code, out, err = cli("inspect", "first", "--projector", "vectors")
    assert code == 0, err
    names = {path.name for path in Path("vectors").iterdir()}
    assert names == {"samples-tensors.tsv", "samples-metadata.tsv", "projector_config.pbtxt"}
    count = len(Path("vectors/samples-tensors.tsv").read_text().splitlines())
    assert f"projector: vectors, {count} samples; nnkit board vectors shows them" in out


def test_two_runs_on_one_input(cli, runs):
    code, _, err = cli("inspect", "first", "--compare", "second")
    assert code == 0, err
    html = Path("outputs/first/inspection.html").read_text()
    assert "first: first validation sample, by second" in html
    assert "both runs" in html
    assert "what fires" in html


def test_a_run_whose_data_are_gone_is_seen_with_an_input(cli, runs):
    import json

    item = samples.item("pictures")
    code, _, err = cli("inspect", "first", item)
    assert code == 0, err
    assert json.loads(Path("outputs/first/run.json").read_text())["status"] == "done"


@pytest.mark.parametrize(("words", "said"), [
    (("none",), "none"),
    (("first", "missing.png"), "missing.png"),
    (("first", "--unit", "C9:1"), "there is no layer 'C9'"),
    (("first", "--unit", "C1:99"), "the last is C1:6"),
    (("first", "--out", "nowhere/page.html"), "there is no directory nowhere"),
    (("first", "--out", "outputs"), "is a directory, a file is needed"),
    (("first", "--pictures", "file.txt"), "is a file, a directory is needed"),
    (("first", "--projector", "file.txt"), "--projector file.txt is a file, a directory is needed"),
    (("first", "--compare", "none"), "none"),
    (("first", "--size", "3"), "inspect has no option '--size'"),
])  # fmt: skip
def test_a_mistake_is_a_sentence_and_writes_nothing(words, said, cli, runs):
    Path("file.txt").touch()
    before = sorted(map(str, Path().rglob("*")))
    code, _, err = cli("inspect", *words)
    assert code == 2
    assert said in err
    assert "Traceback" not in err
    assert sorted(map(str, Path().rglob("*"))) == before


def test_a_run_that_does_not_read_the_same_is_refused(cli, runs):
    import nnkit

    nnkit.train([*samples.words("table"), "model=mlp", "name=rows", "trainer.max_epochs=1", "logger=[]"])
    code, _, err = cli("inspect", "first", "--compare", "rows")
    assert code == 2
    assert "--compare rows: it does not read what first reads" in err


def test_of_many_inputs_the_first_are_shown(cli, runs):
    item = samples.item("pictures")
    Path("many").mkdir()
    for number in range(6):
        shutil.copy(item, f"many/{number}.png")
    code, out, err = cli("inspect", "first", "many", "--out", "page.html")
    assert code == 0, err
    assert "2 more inputs are left out" in Path("page.html").read_text()
    assert "3.png" in out
    assert "4.png" not in out
