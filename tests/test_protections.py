"""Each text of protections_list.py stands in the sources exactly once, and each test that it names exists."""

import ast
from pathlib import Path

import pytest
from protections_list import PROTECTIONS

ROOT = Path(__file__).parent.parent


def label(protection):
    return f"{protection.file} for {protection.test}"


def functions(path):
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("protection", PROTECTIONS, ids=label)
def test_a_protection_stands_where_its_list_says(protection):
    text = (ROOT / protection.file).read_text(encoding="utf-8")
    assert text.count(protection.old) == 1, (
        f"tests/protections_list.py quotes a text of {protection.file} that stands there "
        f"{text.count(protection.old)} times: adapt the quote to the source\n{protection.old}"
    )
    assert protection.new != protection.old
    # What replaces it must be Python, or the test would fail for another reason than the missing protection.
    ast.parse(text.replace(protection.old, protection.new))
    file, _, name = protection.test.partition("::")
    assert not name or name.partition("[")[0] in functions(ROOT / file), protection.test
