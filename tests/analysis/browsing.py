"""A headless browser that is shown a page of ours, and asked by a frame around it what it sees."""

import functools
import http.server
import os
import re
import subprocess
import threading
from contextlib import contextmanager
from typing import NamedTuple

_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--virtual-time-budget=3000",
    "--enable-logging=stderr",
)  # fmt: skip
# A page cannot be asked by a script of its own, as it allows none; its frame can.
_FRAME = """<!DOCTYPE html><iframe id=f src=page.html style="width:{width}px;height:900px;border:0"></iframe>
<p id=o></p><script>f.onload = () => {{ const d = f.contentDocument;
o.textContent = 'seen ' + d.documentElement.scrollWidth + ' ' + d.querySelectorAll('svg').length
+ ' ' + getComputedStyle(d.body).backgroundColor }}</script>"""


class Shown(NamedTuple):
    """What a browser made of a page.

    Attributes:
        width: Pixels that it is wide, those reached by scrolling among them.
        figures: Figures that it has drawn.
        background: Colour of the page.
        log: What it has written, errors of the page among that.
    """

    width: int
    figures: int
    background: str
    log: str


@contextmanager
def _served(folder):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def browse(html, folder, width, dark):
    """Show a page, with a folder for its files."""
    (folder / "page.html").write_text(html, encoding="utf-8")
    (folder / "frame.html").write_text(_FRAME.format(width=width))
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    with _served(folder) as address:
        made = subprocess.run(
            ["chromium", *_FLAGS, scheme, f"--user-data-dir={folder}/user", "--dump-dom", f"{address}/frame.html"],
            capture_output=True, text=True, timeout=300, check=False,
            env={**os.environ, "DBUS_SESSION_BUS_ADDRESS": "/dev/null"},
        )  # fmt: skip
    told = re.search(r"seen (\d+) (\d+) (rgb\([^)]*\))", made.stdout)
    assert told, made.stderr[-2000:]
    return Shown(int(told[1]), int(told[2]), told[3], made.stderr)
