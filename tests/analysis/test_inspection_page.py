"""The page: what comes from a run or an input is text on it, and figures are files of their own."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
from inspected import in_folder, seen

from nnkit.analysis.inspection import sequences
from nnkit.analysis.inspection.parts import Inspection
from nnkit.analysis.inspection.recorded import Recorded
from nnkit.analysis.pages import charts, look
from nnkit.analysis.pages.page import files, page
from nnkit.analysis.pages.parts import PageTable, Section, file_name
from nnkit.ui import figures

HOSTILE = "</text></svg><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7*7 }}&\x1b[31m\"'"


class Elements(HTMLParser):
    """Collects the elements of a page and their attributes."""

    def __init__(self):
        super().__init__()
        self.tags, self.attributes = set(), set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)


def hostile():
    names = [HOSTILE, "fine"]
    section = Section(HOSTILE, HOSTILE, [HOSTILE])
    section.figures[HOSTILE] = charts.bars(names, np.array([1.0, 2.0]), HOSTILE, HOSTILE)
    weights = Recorded(
        HOSTILE, np.full((2, 2, 2), 0.5), ("head", "query", "key"), {"query": names, "key": names}
    )
    section.figures["attention"] = sequences.attention(weights, HOSTILE)
    section.figures["lens"] = sequences.lens(names, np.ones((2, 2)), [names, names], names, HOSTILE)
    section.tables.append(PageTable(HOSTILE, [HOSTILE], [[HOSTILE]]))
    return Inspection(HOSTILE, {HOSTILE: HOSTILE}, [section])


def test_names_from_a_run_are_text_and_nothing_else():
    html = page(hostile())
    found = Elements()
    found.feed(html)
    assert not found.tags & {"script", "iframe", "object", "embed", "form", "input", "img", "foreignobject"}
    assert not {name for name in found.attributes if name.startswith("on")}
    assert "{{ 7*7 }}" in html
    assert "49" not in re.sub(r"<svg.*?</svg>", "", html, flags=re.DOTALL)
    assert "\x1b" not in html
    assert "default-src 'none'" in html


def test_figures_are_well_formed_files_whose_names_stay_in_the_folder():
    for name, content in files(hostile()):
        assert re.fullmatch(r"[a-z0-9-]+\.(svg|png)", name)
        if name.endswith(".svg"):
            root = ElementTree.fromstring(content)
            tags = {element.tag.rpartition("}")[2] for element in root.iter()}
            assert "script" not in tags
            assert "prefers-color-scheme: dark" in content.decode()
        else:
            assert content.startswith(b"\x89PNG")
    assert file_name("../../etc/passwd") == "etc-passwd"
    assert file_name("\u6ce8\u610f") == "figure"


def test_figures_of_one_page_share_no_name(monkeypatch):
    in_folder("lenet5", monkeypatch)
    names = re.findall(r'\bid="([^"]+)"', page(seen("lenet5")))
    assert len(names) == len(set(names))


def test_colours_are_those_of_the_page():
    figure = charts.bars(["a"], np.array([1.0]), "title", "unit")
    svg = look.to_svg(figure, "p")
    assert f"var(--blue, {look.BLUE})" in svg
    assert set(look.DARK) == set(look.VARIABLES.values())


CHINESE = ["\u5e8a\u524d\u660e\u6708\u5149", "plain", "\u2a00 of the signs that stand for others"]


def without_fonts(monkeypatch):
    """Let no font but the one that comes with matplotlib be found."""
    plain = {name: font for name, font in figures._fonts().items() if name == "DejaVu Sans"}
    monkeypatch.setattr(figures, "_fonts", lambda: plain)
    monkeypatch.setattr(figures, "_written", figures._written.__wrapped__)
    monkeypatch.setattr(figures, "_report_missing", figures._report_missing.__wrapped__)


def test_a_page_has_characters_that_no_font_here_has_and_a_png_their_code_points(monkeypatch, caplog):
    """matplotlib warns of a missing glyph, and a warning is an error here."""
    without_fonts(monkeypatch)
    figure = charts.bars(CHINESE, np.array([1.0, 2.0, 3.0]), CHINESE[0], CHINESE[0])
    svg = look.to_svg(figure, "p")
    texts = [element.text for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("}text")]
    for name in CHINESE:
        assert name[:23] in [text.removesuffix("\u2026") for text in texts]
    assert texts.count(CHINESE[0]) == 3
    assert not caplog.records
    svg, png = look.to_files(figure, "p").values()
    assert CHINESE[0] in svg.decode()
    assert png.startswith(b"\x89PNG")
    (said, *_) = [record.getMessage() for record in caplog.records]
    assert "apt install fonts-noto-cjk" in said
    # The figure itself is as it was.
    assert figure.get_suptitle() == CHINESE[0]
    assert sorted(tick.get_text() for tick in figure.axes[0].get_yticklabels())[0] == "plain"
