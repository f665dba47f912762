"""A headless Chromium driven over the DevTools protocol, spoken through two pipes: no package is needed for it."""

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from itertools import count

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Tab:
    """A page that is open.

    `errors` holds what it wrote to the console as errors, exceptions that nobody caught, and requests that failed.
    """

    def __init__(self, commands, answers):
        self._commands, self._answers, self._numbers = commands, answers, count(1)
        self._rest, self._session, self.errors, self.requests = b"", None, [], []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method, **parameters):
        """Call a method and return its result; events that come meanwhile are noted."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            found = self._next()
            if found.get("id") == number:
                assert "error" not in found, found["error"]
                return found["result"]
            self._note(found)

    def _next(self):
        while b"\0" not in self._rest:
            piece = os.read(self._answers, 1 << 16)
            assert piece, "Chromium has ended"
            self._rest += piece
        whole, self._rest = self._rest.split(b"\0", 1)
        return json.loads(whole)

    def _note(self, event):
        method, given = event.get("method", ""), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.errors.append(given["exceptionDetails"].get("exception", given["exceptionDetails"]))
        elif method == "Log.entryAdded" and given["entry"]["level"] == "error":
            self.errors.append(given["entry"])
        elif method == "Runtime.consoleAPICalled" and given["type"] in ("error", "assert"):
            self.errors.append(given["args"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(given["request"]["url"])

    def run(self, script):
        """Return what an expression of JavaScript yields; a promise is awaited."""
        found = self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, script, seconds=30):
        """Return what an expression yields as soon as that is true."""
        until = time.monotonic() + seconds
        while not (found := self.run(script)):
            assert time.monotonic() < until, f"{script} is still {found!r} after {seconds} s; {self.errors}"
            time.sleep(0.03)
        return found

    def look(self, width, height=900, *, dark=False):
        """Set the size of the window, and whether the reader prefers dark pages."""
        mobile = width < 600
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=mobile,
        )
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.send("Emulation.setEmulatedMedia", features=scheme)

    def open(self, address):
        """Open an address."""
        self.send("Page.navigate", url=address)
        self.wait("document.readyState === 'complete'")

    def mouse(self, kind, x, y):
        """Press, move or release the left button."""
        buttons = 0 if kind == "mouseReleased" else 1
        self.send(
            "Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=buttons, clickCount=1
        )

    def stroke(self, points, pause=0.012):
        """Draw a line with the left button pressed."""
        self.mouse("mousePressed", *points[0])
        for point in points[1:]:
            self.mouse("mouseMoved", *point)
            time.sleep(pause)
        self.mouse("mouseReleased", *points[-1])

    def type(self, text):
        """Type into what has the focus."""
        for sign in text:
            self.send("Input.insertText", text=sign)

    def key(self, name, code):
        """Press a key once."""
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=code)

    def screenshot(self, path, *, whole=True):
        """Write a picture of the page as PNG."""
        found = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))


@contextmanager
def opened():
    """Yield a tab of a Chromium of its own, which is ended with the block."""
    to_browser, commands = os.pipe()
    answers, from_browser = os.pipe()

    def hand_over():
        # Chromium reads commands from descriptor 3 and answers on 4.
        os.dup2(to_browser, 10)
        os.dup2(from_browser, 11)
        os.dup2(10, 3)
        os.dup2(11, 4)

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [
                PROGRAM,
                *(
                    "--headless=new",
                    "--no-sandbox",
                    "--disable-gpu",
                    "--disable-dev-shm-usage",
                    "--no-first-run",
                ),
                *(
                    "--remote-debugging-pipe",
                    f"--user-data-dir={profile}",
                    "--hide-scrollbars",
                    "--mute-audio",
                ),
                *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=hand_over,
            close_fds=False,
            start_new_session=True,
        )
        os.close(to_browser)
        os.close(from_browser)
        try:
            yield Tab(commands, answers)
        finally:
            process.kill()
            process.wait()
            os.close(commands)
            os.close(answers)
