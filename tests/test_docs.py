"""The documentation hangs together: the index lists every page, and every link leads somewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [
    *sorted(DOCS.rglob("*.md")),
    *(ROOT / f"{name}.md" for name in ("README", "README.zh", "CONTRIBUTING", "CHANGELOG", "SECURITY")),
]


def links(page):
    """Return where the links of a page lead, those to other sites left out."""
    found = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    return [link for link in found if "://" not in link]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    for link in links(page):
        assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_index_lists_every_page():
    listed = {(DOCS / link).resolve() for link in links(DOCS / "index.md")}
    # test_learn.py checks the pages of the teaching path.
    assert {page for page in PAGES if page.parent in (DOCS, ROOT)} - {DOCS / "index.md"} <= listed
    assert DOCS / "learn" / "index.md" in listed
