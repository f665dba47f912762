"""docs/notebook.ipynb is executed cell by cell in a fresh interpreter, and objects show themselves as it expects."""

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from inspected import in_folder, seen

from nnkit.analysis.inspection.recorded import Recorded
from nnkit.analysis.pages import charts

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebook.ipynb"
# What a kernel does with a cell: it runs all of it, and shows the value of a last line that is an expression.
KERNEL = """
import ast, json, sys
shown, names = [], {}
for source in json.load(sys.stdin):
    *body, last = ast.parse(source).body
    exec(compile(ast.Module(body, []), "cell", "exec"), names)
    if not isinstance(last, ast.Expr):
        exec(compile(ast.Module([last], []), "cell", "exec"), names)
        shown.append(None)
        continue
    value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    as_html = getattr(value, "_repr_html_", None)
    shown.append({"text": repr(value), "html": None if as_html is None else as_html()})
with open("shown.json", "w", encoding="utf-8") as file:
    json.dump(shown, file)
"""


def test_the_notebook_runs_and_shows_what_it_says(tmp_path):
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    made = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", KERNEL],
        input=json.dumps(["".join(cell["source"]) for cell in cells]),
        capture_output=True, text=True, check=False, cwd=tmp_path, timeout=300,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr[-3000:]
    shown = json.loads((tmp_path / "shown.json").read_text(encoding="utf-8"))
    htmls, texts = [], 0
    for cell, found in zip(cells, shown, strict=True):
        for output in cell["outputs"]:
            assert found["text"] == "".join(output["data"]["text/plain"])
            texts += 1
        if found and found["html"]:
            htmls.append(found["html"])
    assert texts == 5
    assert ["<svg" in html for html in htmls] == [True, True, False, True]
    assert htmls[2].startswith("<iframe sandbox srcdoc=")


def test_figures_of_one_notebook_share_no_name():
    """Names inside a figure are those of the whole document, where it is shown inline."""
    figure = charts.bars(["\u4e00", "b"], np.array([1.0, -2.0]), "title", "unit")
    dpi = figure.dpi
    first, second = (figure._repr_html_() for _ in range(2))
    names = [
        {one.get("id") for one in ElementTree.fromstring(html).iter()} - {None} for html in (first, second)
    ]
    assert names[0]
    assert not names[0] & names[1]
    assert "var(" not in first
    assert "background: #fff" in first
    assert "\u4e00" in first
    assert figure.dpi == dpi


def test_an_inspection_is_its_page_and_an_array_is_not_printed(monkeypatch):
    in_folder("mlp", monkeypatch)
    html = seen("mlp")._repr_html_()
    frame = ElementTree.fromstring(html.replace(" sandbox ", ' sandbox="" '))
    assert frame.get("srcdoc").startswith("<!DOCTYPE html>")
    assert repr(Recorded("C1", np.zeros((2, 3)), ("map", "row"))) == "C1: 2 x 3 (map, row)"
