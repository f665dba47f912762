"""The teaching path: its commands can be typed, its figures are small, and the Chinese pages keep step."""

import re
import shlex
from itertools import product
from pathlib import Path

import pytest

from nnkit import config as configs
from nnkit.cli import parser
from nnkit.runs import preflight

ROOT = Path(__file__).parents[1]
LEARN = ROOT / "docs" / "learn"
ENGLISH = sorted(LEARN.glob("*.md"))
CHINESE = {page: page.parent / "zh" / page.name for page in ENGLISH} | {
    ROOT / "README.md": ROOT / "README.zh.md"
}
FIGURE = re.compile(r"!\[([^\]]*)\]\(([^)]+)\)")
HAN = re.compile(r"[\u4e00-\u9fff]")
COMMENT = re.compile(r"\s+# .*")


def blocks(page):
    """Return the blocks of a page, comments behind commands left out."""
    found = re.findall(r"^```\w*\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [[COMMENT.sub("", line) for line in block.splitlines()] for block in found]


def typed(page):
    """Return the commands of nnkit on a page, those of its blocks first, then those inside its sentences."""
    lines = [part for block in blocks(page) for line in block for part in line.split(" && ")]
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    inside = [re.sub(r"\s+", " ", code) for code in re.findall(r"`(nnkit [^`]+)`", text)]
    return [line for line in [*lines, *inside] if line.startswith("nnkit ")]


def outline(page):
    """Return the depth of each heading of a page."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return [len(mark) for mark in re.findall(r"^(#+) ", text, re.MULTILINE)]


def settings(words):
    """Return the configs that the words of a training mean, the values of a sweep dealt out."""
    if not {"-m", "--multirun"} & set(words):
        return [words]
    given = [word for word in words if "=" in word and not word.startswith("hydra.")]
    values = [
        [f"{key}={value}" for value in re.split(r",(?![^\[(]*[\])])", text)]
        for key, _, text in (word.partition("=") for word in given)
    ]
    return [list(one) for one in product(*values)]


PAGES = [page for page in [*ENGLISH, *CHINESE.values(), ROOT / "README.md"] if page.exists()]
TYPED = sorted({line for page in PAGES for line in typed(page)})
TRAINED = sorted({line for page in ENGLISH for line in typed(page) if line.startswith("nnkit train")})


@pytest.mark.parametrize("line", TYPED)
def test_a_printed_command_can_be_typed(line):
    verb, *words = shlex.split(line)[1:]
    declared = parser.module_of(verb).VERB
    # A verb alone is its name.
    assert not words or parser.parse(declared, words)


@pytest.mark.parametrize("line", TRAINED)
def test_a_printed_training_is_a_sound_config(line):
    for words in settings(shlex.split(line)[2:]):
        # Runs and files that earlier commands of the page have made are not there.
        composition, problems = configs.examine(
            [word for word in words if not word.startswith(("init_from=", "adapter=", "data.path="))]
            + [f"data.path={__file__}" for word in words if word.startswith("data.path=")]
        )
        assert problems == []
        assert preflight.problems(composition) == []


def test_every_page_has_commands():
    assert len(ENGLISH) >= 2
    assert all(typed(page) for page in PAGES)
    assert len(TRAINED) >= len(ENGLISH)


@pytest.mark.parametrize("page", CHINESE, ids=lambda page: page.name)
def test_the_chinese_page_keeps_step(page):
    other = CHINESE[page]
    assert blocks(other) == blocks(page)
    assert typed(other) == typed(page)
    assert outline(other) == outline(page)
    there, here = ([Path(link).name for _, link in FIGURE.findall(one.read_text())] for one in (other, page))
    assert there == here


@pytest.mark.parametrize("page", CHINESE, ids=lambda page: page.name)
def test_the_chinese_page_has_the_same_measurements(page):
    measured = [
        sorted(re.findall(r"\d+\.\d+", re.sub(r"```.*?```|`[^`]*`", "", one.read_text(), flags=re.DOTALL)))
        for one in (CHINESE[page], page)
    ]
    assert measured[0] == measured[1]


@pytest.mark.parametrize("page", CHINESE.values(), ids=lambda page: page.name)
def test_the_chinese_page_is_chinese(page):
    text = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(), flags=re.DOTALL)
    assert len(HAN.findall(text)) > len(text) / 4
    assert all(HAN.search(words) for words, _ in FIGURE.findall(text))


def test_the_index_lists_every_page_of_the_path():
    for index in (LEARN / "index.md", LEARN / "zh" / "index.md"):
        listed = set(re.findall(r"\]\((\d[^)]*)\)", index.read_text()))
        assert listed == {page.name for page in ENGLISH if page.name != "index.md"}


def test_figures_are_used_and_small():
    used = {
        (page.parent / link).resolve() for page in ENGLISH for _, link in FIGURE.findall(page.read_text())
    }
    assert {path for path in LEARN.iterdir() if path.suffix in (".svg", ".png")} <= used
    assert all(path.stat().st_size < 150_000 for path in used)
