"""Plain English: phrases that a reader has to decode stay out, and no docstring says that it says."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXTS = [
    *(path for folder in ("nnkit", "benchmarks") for path in sorted((ROOT / folder).rglob("*.py"))),
    *sorted((ROOT / "conf").rglob("*.yaml")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted(ROOT.glob("*.md")),
]
PHRASES = (
    "that this is the reason",
    "with a way around it",
    "what is no character",
    "cannot find its facts",
    "what went wrong first is what must be said",
    "gone on from",
    "looked at by nobody",
    "without a word",
    "is not finite has lost",
    "is told by `",
)


@pytest.mark.parametrize("phrase", PHRASES)
def test_a_phrase_that_needs_decoding_is_written_nowhere(phrase):
    wanted = re.compile(r"\s+".join(map(re.escape, phrase.split())))
    assert not [path.name for path in TEXTS if wanted.search(path.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("path", [path for path in TEXTS if path.suffix == ".py"], ids=lambda path: path.stem)
def test_no_docstring_begins_with_say(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            text = ast.get_docstring(node) or ""
            assert not re.match(r"Says?\b", text), text.splitlines()[0]
