"""`nnkit report` as it is typed."""

import shutil
from pathlib import Path

import pytest
import samples


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    import nnkit

    folder = tmp_path_factory.mktemp("reported")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        typed = [
            *samples.words("pictures"),
            "model=lenet5",
            "name=first",
            "trainer.max_epochs=1",
            "logger=[]",
        ]
        nnkit.train(typed)
    return folder


@pytest.fixture
def runs(trained, tmp_path, monkeypatch):
    shutil.copytree(trained, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")


def test_a_page_in_the_run_directory(cli, runs):
    Path("outputs/first/report.html").unlink(missing_ok=True)
    code, out, err = cli("report", "first")
    assert (code, err) == (0, "")
    assert out == "report: outputs/first/report.html\n"
    html = Path("outputs/first/report.html").read_text()
    assert html.startswith("<!DOCTYPE html>")
    for part in (
        "lenet5 on digits",
        "61,706 parameters",
        "nnkit train data=digits",
        "95 % interval",
        "Calibration",
    ):
        assert part in html
    assert Path("report.html").exists() is False


def test_the_page_elsewhere(cli, runs):
    before = Path("outputs/first/report.html").exists()
    code, out, _ = cli("report", "first", "--out", "page.html")
    assert code == 0
    assert out == "report: page.html\n"
    assert Path("page.html").stat().st_size > 10_000
    assert Path("outputs/first/report.html").exists() == before


@pytest.mark.parametrize(("words", "said"), [
    (("none",), "none"),
    (("first", "--out", "nowhere/page.html"), "there is no directory nowhere"),
    (("first", "--out", "outputs"), "is a directory, a file is needed"),
    (("first", "--size", "3"), "report has no option '--size'"),
])  # fmt: skip
def test_a_mistake_in_what_is_reported_is_a_sentence(words, said, cli, runs):
    before = sorted(map(str, Path().rglob("*")))
    code, _, err = cli("report", *words)
    assert code == 2
    assert said in err
    assert "Traceback" not in err
    assert sorted(map(str, Path().rglob("*"))) == before


def test_a_run_whose_data_are_gone_keeps_its_curves(cli, tmp_path):
    import nnkit

    typed = [*samples.words("texts"), "model=lstm", "model.dim=8", "name=texts", "trainer.max_epochs=1"]
    nnkit.train([*typed, "logger=[]"])
    Path("texts.csv").unlink()
    code, _, err = cli("report", "texts")
    assert code == 0, err
    html = Path("outputs/texts/report.html").read_text()
    assert "Learning curves" in html
    assert "Single samples are not shown" in html
