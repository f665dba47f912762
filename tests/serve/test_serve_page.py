"""The served page in a browser: a digit drawn with the mouse is recognised, layers light up, a text is streamed."""

import time
from itertools import pairwise

import chromium
import pytest
from analysis.inspected import in_folder
from serving import server

import nnkit

pytestmark = pytest.mark.skipif(chromium.PROGRAM is None, reason="needs chromium")

# Corners of digits as a hand draws them, in shares of the pad; none is taken from the data.
DIGITS = {
    "0": [
        *((0.5, 0.18), (0.33, 0.3), (0.3, 0.55), (0.36, 0.75), (0.5, 0.83)),
        *((0.64, 0.75), (0.7, 0.5), (0.64, 0.27), (0.5, 0.18)),
    ],
    "1": [(0.5, 0.15), (0.5, 0.5), (0.5, 0.85)],
    "3": [
        *((0.33, 0.24), (0.5, 0.15), (0.66, 0.26), (0.64, 0.4), (0.48, 0.48)),
        *((0.66, 0.58), (0.68, 0.74), (0.5, 0.86), (0.3, 0.78)),
    ],
    "7": [(0.28, 0.2), (0.5, 0.2), (0.72, 0.2), (0.58, 0.5), (0.46, 0.85)],
}  # fmt: skip
# Model of tests/analysis/inspected.py -> kind of its data, what is typed, and what the page then shows.
WIDGETS = {
    "lenet5": ("pictures", None),
    "mlp": ("table", None),
    "lstm": ("texts", "the cat saw a dog"),
    "transformer": ("pairs", "the cat"),
    "bert_tiny": ("sentences", "the [MASK] saw a dog"),
    "gpt": ("text", "the cat"),
    "forecast": ("series", None),
}


@pytest.fixture(scope="module")
def tab():
    with chromium.opened() as found:
        yield found


@pytest.fixture(scope="module")
def lenet(tmp_path_factory):
    """LeNet-5 trained for some seconds on the digits that come with nnkit."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("lenet"))
        typed = ["model=lenet5", "data=digits", "trainer.max_epochs=12", "trainer.num_threads=1", "logger=[]"]
        result = nnkit.train([*typed, "callbacks=[checkpoint]"])
        return nnkit.load(result.run)


def opened(tab, address, width=1400, *, dark=False):
    """Open the page and wait until its widget is there."""
    tab.errors.clear()
    tab.requests.clear()
    tab.look(width, dark=dark)
    tab.open(address)
    return tab.wait("document.getElementById('main').dataset.ready")


def points(tab, corners, steps=6):
    """Return places of the window on the way from corner to corner of the pad."""
    left, top, width, height = tab.run(
        "(() => { const b = document.querySelector('.pad canvas').getBoundingClientRect();"
        " return [b.left, b.top, b.width, b.height] })()"
    )
    found = [
        (a + (c - a) * step / steps, b + (d - b) * step / steps)
        for (a, b), (c, d) in pairwise(corners)
        for step in range(steps)
    ]
    return [(left + x * width, top + y * height) for x, y in [*found, corners[-1]]]


def test_a_digit_drawn_with_the_mouse_is_recognised_and_the_layers_light_up(tab, lenet):
    with server(lenet, "pictures") as client:
        assert opened(tab, client.address) == "images"
        right = []
        for name, corners in DIGITS.items():
            tab.run(
                "[...document.querySelectorAll('button')].find((one) => one.textContent === 'Clear').click()"
            )
            assert tab.run("document.querySelector('.inside .empty').hidden") is False
            lit = tab.run("Number(document.querySelector('.inside').dataset.lit ?? 0)")
            tab.stroke(points(tab, corners))
            tab.wait(f"Number(document.querySelector('.inside').dataset.lit ?? 0) > {lit}")
            # All of the stroke has been shown once the answer stays.
            tab.wait("globalThis.nnkitLatencies.length > 0")
            time.sleep(0.8)
            right.append(tab.run("document.querySelector('.says').firstChild.textContent") == name)
        assert sum(right) >= 3, dict(zip(DIGITS, right, strict=True))
        names = tab.run("[...document.querySelectorAll('.layer h2 b')].map((one) => one.textContent)")
        assert names == ["C1", "S2", "C3", "S4"]
        shown = (
            "[...document.querySelectorAll('canvas.maps')].every((one) => one.getContext('2d')"
            ".getImageData(0, 0, one.width, one.height).data.some((value) => value > 60))"
        )
        assert tab.run(shown)
        stage = tab.run("document.querySelector('.stage canvas').getAttribute('aria-label')")
        assert stage == "units of C5, F6, score"
        # Lit while the stroke was being drawn, not only at its end.
        assert tab.run("globalThis.nnkitLatencies.length") > len(DIGITS)
        assert "median of" in tab.run("document.querySelector('.latency').textContent")
        # What is shown is what nnkit predict would say of the same picture.
        content = tab.run("document.querySelector('.pad canvas').toDataURL('image/png')")
        _, found = client.post("/predict", {"images": [content], "top_k": 1})
        assert (
            tab.run("document.querySelector('.says').firstChild.textContent")
            == found["predictions"][0]["label"]
        )
        assert tab.errors == []


def test_the_pad_is_drawn_on_by_keyboard_too(tab, lenet):
    with server(lenet, "pictures") as client:
        opened(tab, client.address)
        tab.run("document.querySelector('.pad canvas').focus()")
        tab.send("Input.dispatchKeyEvent", type="keyDown", key=" ", code="Space", windowsVirtualKeyCode=32)
        for _ in range(8):
            tab.key("ArrowDown", 40)
        tab.wait("Number(document.querySelector('.inside').dataset.lit ?? 0) > 0")
        tab.key("Delete", 46)
        assert tab.run("document.querySelector('.says').textContent") == "–"
        assert tab.errors == []


@pytest.mark.parametrize("name", WIDGETS)
def test_each_kind_of_data_has_its_widget(name, tab, monkeypatch):
    kind, text = WIDGETS[name]
    with server(in_folder(name, monkeypatch), kind) as client:
        for width, dark in ((1400, False), (400, True)):
            opened(tab, client.address, width, dark=dark)
            if text is not None:
                tab.type(text)
            if kind == "pictures":
                tab.stroke(points(tab, DIGITS["7"], 3))
            if kind == "text":
                tab.run("document.querySelector('button.main').click()")
                tab.wait("document.querySelectorAll('.tokens span[tabindex]').length > 5")
                tab.run(
                    "[...document.querySelectorAll('button')].find((one) => one.textContent === 'Attention').click()"
                )
            tab.wait("Number(document.querySelector('.inside .empty')?.parentElement.dataset.lit ?? 0) > 0")
            time.sleep(0.2)
            assert tab.run("document.documentElement.scrollWidth") == width
            background = tab.run("getComputedStyle(document.body).backgroundColor")
            assert background == ("rgb(20, 23, 27)" if dark else "rgb(255, 255, 255)")
            assert tab.errors == []
            assert tab.run("document.getElementById('problem').textContent") == ""
            assert all(one.startswith((client.address, "data:", "blob:", "about:")) for one in tab.requests)
            # Every control has a name for those who hear the page.
            unnamed = tab.run(
                "[...document.querySelectorAll('input, textarea, select, canvas')].filter((one) => !one.labels?.length"
                " && !one.ariaLabel).length"
            )
            assert unnamed == 0
        opened(tab, f"{client.address}api")
        assert tab.run("document.querySelectorAll('.operation h2').length") >= 3
        assert tab.errors == []


def test_a_text_comes_token_by_token(tab, monkeypatch):
    with server(in_folder("gpt", monkeypatch), "text") as client:
        opened(tab, client.address)
        tab.type("the cat")
        tab.run(
            "globalThis.counts = []; new MutationObserver(() => counts.push(document.querySelectorAll("
            "'.tokens span[tabindex]').length)).observe(document.querySelector('.tokens'), {childList: true})"
        )
        tab.run("document.querySelector('button.main').click()")
        tab.wait("document.querySelector('.hint[role=status]').textContent.includes('ended by length')")
        counts = tab.run("counts")
        assert counts[-1] == 120
        # Not all at once.
        assert len(set(counts)) > 5
        text = tab.run(
            "[...document.querySelectorAll('.tokens span[tabindex]')].map((one) => one.textContent).join('')"
        )
        _, lines = client.lines(
            "/generate", {"prompt": "the cat", "length": 120, "temperature": 0.8, "seed": 0}
        )
        assert text == lines[-1]["text"]
        # Another candidate takes the place of a token, and what stood behind it goes.
        tab.run("document.querySelectorAll('.tokens span[tabindex]')[3].click()")
        assert tab.run("document.querySelectorAll('.bars button').length") > 1
        tab.run("document.querySelectorAll('.bars button')[1].click()")
        tab.wait("document.querySelectorAll('.tokens span[tabindex]').length === 1")
        assert tab.errors == []
