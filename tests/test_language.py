"""Plain English: phrases that a reader has to decode stay out, and no docstring says that it says."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXTS = [
    *(path for folder in ("nnkit", "benchmarks") for path in sorted((ROOT / folder).rglob("*.py"))),
    *sorted((ROOT / "conf").rglob("*.yaml")),
    *sorted((ROOT / "docs").rglob("*.md")),
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


WORDS = (
    r"(is|are|was|were) (said|told)",
    r"of which",
    r"stands? in",
    r"looks? at",
    r"outsiders?",
    r"rehears\w*",
    r"heritage",
    r"hidden tokens?",
    r"Pictures of attention",
)
# Words of the list in another sense.
ALLOWED = (
    "it looks at nothing",
    "may stand in the places of an item",
    "look at that layer, the loss and the data",
    "or look at the samples named above",
    "which look at the config alone",
    "they lead back to the file they stand in",
)


@pytest.mark.parametrize("word", WORDS)
def test_a_word_that_the_field_has_a_better_one_for_is_written_nowhere(word):
    wanted = re.compile(rf"\b{word}\b".replace(" ", r"\s+(?:#\s+)?"))
    found = []
    for path in TEXTS:
        text = path.read_text(encoding="utf-8")
        for phrase in ALLOWED:
            text = text.replace(phrase, "")
        found += [f"{path.name}: {match[0]}" for match in wanted.finditer(text)]
    assert not found


@pytest.mark.parametrize("phrase", PHRASES)
def test_a_phrase_that_needs_decoding_is_written_nowhere(phrase):
    wanted = re.compile(r"\s+".join(map(re.escape, phrase.split())))
    assert not [path.name for path in TEXTS if wanted.search(path.read_text(encoding="utf-8"))]


def test_no_docstring_begins_with_say():
    for path in TEXTS:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if path.suffix == ".py" else ():
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                text = ast.get_docstring(node) or ""
                assert not re.match(r"Says?\b", text), f"{path.name}: {text.splitlines()[0]}"
