"""The page of a report: names from a run are text on it, and a browser shows it without scrolling sideways."""

import csv
import json
import shutil
from pathlib import Path

import pytest
import samples
from browsing import browse
from inspected import in_folder
from test_inspection_page import Elements

import nnkit
from nnkit.analysis.pages.page import page
from nnkit.analysis.report.ending import write_report
from nnkit.analysis.report.samples import look_at
from nnkit.analysis.report.single import report

HOSTILE = "</svg></table><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7*7 }}&\"'"


class Pictures(Elements):
    """Collects where pictures come from as well."""

    def __init__(self):
        super().__init__()
        self.sources = set()

    def handle_starttag(self, tag, attrs):
        super().handle_starttag(tag, attrs)
        self.sources.update(value for name, value in attrs if name in ("src", "href"))


def check(html):
    found = Pictures()
    found.feed(html)
    assert not found.tags & {"script", "iframe", "object", "embed", "form", "input", "foreignobject"}
    assert not {name for name in found.attributes if name.startswith("on")}
    assert all(source.startswith(("#", "data:image/png;base64,")) for source in found.sources)
    assert "{{ 7*7 }}" in html
    assert "&lt;script&gt;alert(1)" in html


def test_names_of_classes_columns_and_categories_are_text():
    rows = [
        [f"{number % 7}", HOSTILE if number % 3 else "plain", f"kind {HOSTILE}" if number % 2 else "b"]
        for number in range(60)
    ]
    with Path("rows.csv").open("w", newline="") as file:
        csv.writer(file).writerows([[f"size {HOSTILE}", "category", "kind"], *rows])
    typed = ["data=table", "data.path=rows.csv", "data.target=kind", "model=mlp", "trainer.max_epochs=1"]
    run = nnkit.load(nnkit.train([*typed, "logger=[]", "name=rows"]).run)
    write_report(run.run, run.task, run.data, Path("page.html"))
    check(Path("page.html").read_text())


def test_texts_are_text():
    with Path("texts.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [
                ["text", "label"],
                *([f"word {HOSTILE} {number}", HOSTILE if number % 2 else "b"] for number in range(60)),
            ]
        )
    typed = ["data=text_csv", "data.path=texts.csv", "model=lstm", "model.dim=8", "trainer.max_epochs=1"]
    run = nnkit.load(nnkit.train([*typed, "logger=[]", "name=texts"]).run)
    write_report(run.run, run.task, run.data, Path("page.html"))
    check(Path("page.html").read_text())


def test_a_record_that_anyone_may_have_written_is_shown_or_passed_over():
    result = nnkit.train(
        [*samples.words("table"), "model=mlp", "trainer.max_epochs=1", "logger=[]", "name=mine"]
    )
    path = result.run.path / "run.json"
    record = json.loads(path.read_text())
    record |= {
        "metrics": {HOSTILE: 0.5, "test/accuracy": 10**400, "test/f1": "0.5"},
        "seconds": HOSTILE,
        "versions": [HOSTILE],
        "command": HOSTILE,
        "overrides": [HOSTILE],
        "seed": HOSTILE,
        "best": HOSTILE,
        "start": 3,
        "resumed": [{"time": 1, "step": HOSTILE, "changes": [{"key": HOSTILE}, 3]}, {"changes": 7}],
        "processor": HOSTILE,
        "init_from": {"directory": HOSTILE},
    }
    path.write_text(json.dumps(record))
    run = nnkit.load(result.run)
    write_report(run.run, run.task, run.data, Path("page.html"))
    check(Path("page.html").read_text())


needs_browser = pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")


@pytest.mark.slow
@needs_browser
@pytest.mark.parametrize("name", ["lenet5", "mlp", "gpt", "transformer", "forecast"])
@pytest.mark.parametrize(("width", "dark"), [(400, True), (400, False), (1400, True), (1400, False)])
def test_a_browser_shows_a_report_without_scrolling_sideways(name, width, dark, monkeypatch, tmp_path):
    run = in_folder(name, monkeypatch)
    found = report(run.run, run.task, run.data, look_at(run.task, run.data))
    html = page(found)
    assert len(html.encode()) < 3_000_000
    shown = browse(html, tmp_path, width, dark)
    assert shown.width == width
    assert shown.figures == len(found.figures)
    assert shown.background == ("rgb(20, 23, 27)" if dark else "rgb(255, 255, 255)")
    assert ":CONSOLE" not in shown.log
