"""Pages of all families in a browser: on a phone and a wide screen, light and dark, and in Chinese."""

import functools
import http.server
import json
import os
import re
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from inspected import RUNS, in_folder, seen

import nnkit
from nnkit.analysis.pages.page import page

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium"),
]
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--virtual-time-budget=8000",
    "--enable-logging=stderr",
)  # fmt: skip
LIGHT, DARK = "rgb(255, 255, 255)", "rgb(20, 23, 27)"
# A page cannot be asked by a script of its own, as it allows none; a frame can, and has the scheme of its element.
FRAMES = """<!DOCTYPE html><meta charset="utf-8">
<iframe src=page.html style="width:400px;height:900px;border:0;color-scheme:light"></iframe>
<iframe src=page.html style="width:1400px;height:900px;border:0;color-scheme:light"></iframe>
<iframe src=page.html style="width:400px;height:900px;border:0;color-scheme:dark"></iframe>
<iframe src=page.html style="width:1400px;height:900px;border:0;color-scheme:dark"></iframe>
<p id=o></p><script>
function seen(f) {
  const d = f.contentDocument, cut = [], wide = [], empty = [];
  for (const svg of d.querySelectorAll('figure svg')) {
    const box = svg.getBoundingClientRect(), texts = [...svg.querySelectorAll('text')];
    if (!texts.length) empty.push(svg.closest('figure').getAttribute('aria-label'));
    for (const text of texts) {
      const one = text.getBoundingClientRect();
      if (one.left < box.left - 3 || one.right > box.right + 3 || one.top < box.top - 3 || one.bottom > box.bottom + 3)
        cut.push(svg.closest('figure').getAttribute('aria-label') + ': ' + text.textContent);
      const chinese = text.textContent.match(/[\\u4e00-\\u9fff]/g);
      if (chinese && chinese.length === text.textContent.length)
        wide.push(text.getComputedTextLength() / chinese.length / parseFloat(getComputedStyle(text).fontSize));
    }
  }
  return {width: d.documentElement.scrollWidth, figures: d.querySelectorAll('figure svg').length, cut, wide, empty,
    colour: getComputedStyle(d.body).backgroundColor};
}
onload = () => { o.textContent = 'seen' + JSON.stringify([...document.querySelectorAll('iframe')].map(seen)) + 'done' };
</script>"""


@pytest.fixture
def served(tmp_path):
    """Serve a folder on loopback; yields its address and the folder."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path))
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", tmp_path
    server.shutdown()
    thread.join()
    server.server_close()


def looked_at(html, served, **environment):
    """Return what each of the four frames shows of a page."""
    address, folder = served
    (folder / "page.html").write_text(html, encoding="utf-8")
    (folder / "frames.html").write_text(FRAMES, encoding="utf-8")
    made = subprocess.run(
        ["chromium", *FLAGS, f"--user-data-dir={folder}/user", "--dump-dom", f"{address}/frames.html"],
        capture_output=True, text=True, timeout=240, check=False,
        env={**os.environ, "DBUS_SESSION_BUS_ADDRESS": "/dev/null", **environment},
    )  # fmt: skip
    told = re.search(r"<p id=\"o\">seen(.*)done</p>", made.stdout, re.DOTALL)
    assert told, made.stderr[-2000:]
    assert ":CONSOLE" not in made.stderr
    return json.loads(told[1].replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">"))


@pytest.mark.parametrize("name", RUNS)
def test_a_page_fits_a_phone_and_a_wide_screen_light_and_dark(name, monkeypatch, served):
    in_folder(name, monkeypatch)
    found = seen(name)
    frames = looked_at(page(found), served)
    assert [frame["width"] for frame in frames] == [400, 1400, 400, 1400]
    assert [frame["colour"] for frame in frames] == [LIGHT, LIGHT, DARK, DARK]
    for frame in frames:
        assert frame["figures"] == len(found.figures)
        assert frame["empty"] == []
        assert frame["cut"] == []


def square_font(path, characters):
    """Write a font that has these characters, each a square and twice as wide as it is high."""
    pen = TTGlyphPen(None)
    for place in [(0, 0), (0, 800), (1900, 800), (1900, 0)]:
        (pen.lineTo if place[0] or place[1] else pen.moveTo)(place)
    pen.closePath()
    builder = FontBuilder(1000)
    builder.setupGlyphOrder([".notdef", "square"])
    builder.setupCharacterMap({ord(sign): "square" for sign in characters})
    glyph = pen.glyph()
    builder.setupGlyf({".notdef": glyph, "square": glyph})
    builder.setupHorizontalMetrics({".notdef": (500, 0), "square": (2000, 0)})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Squares", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)


POEM = (
    "\u5e8a\u524d\u660e\u6708\u5149\uff0c\u7591\u662f\u5730\u4e0a\u971c\u3002"
    "\u4e3e\u5934\u671b\u660e\u6708\uff0c\u4f4e\u5934\u601d\u6545\u4e61\u3002\n"
)


def test_a_chinese_run_is_written_with_the_fonts_of_the_browser(tmp_path, monkeypatch, served):
    """The browser has a font whose characters are of a width that no other font's are."""
    monkeypatch.chdir(tmp_path)
    Path("poem.txt").write_text(POEM * 30, encoding="utf-8")
    words = ["data=text_file", "data.path=poem.txt", "data.block_size=12", "model=gpt", "model.dim=16"]
    words += ["model.num_heads=2", "model.num_layers=2", "trainer.max_steps=4", "logger=[]"]
    found = nnkit.load(nnkit.train([*words, "callbacks=[checkpoint]"]).run).inspect(POEM[:10])
    (tmp_path / "data" / "fonts").mkdir(parents=True)
    square_font(tmp_path / "data" / "fonts" / "squares.ttf", set(POEM) - {"\n"})
    html = page(found)
    frames = looked_at(html, served, XDG_DATA_HOME=str(tmp_path / "data"))
    assert set(POEM[:10]) <= set(html)
    for frame in frames:
        assert len(frame["wide"]) > 20
        assert frame["wide"] == pytest.approx([2.0] * len(frame["wide"]), abs=0.05)
