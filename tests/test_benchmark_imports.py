"""Benchmarks are run by hand: what they import from nnkit must be there."""

import ast
import importlib
from importlib.util import find_spec
from pathlib import Path

import pytest

BENCHMARKS = sorted((Path(__file__).parents[1] / "benchmarks").glob("*.py"))


def imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "nnkit":
            yield node.module, [one.name for one in node.names]


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_what_a_benchmark_imports_is_there(path):
    for module, names in imported(path):
        content = importlib.import_module(module)
        is_package = hasattr(content, "__path__")
        missing = [
            name
            for name in names
            if not (hasattr(content, name) or (is_package and find_spec(f"{module}.{name}")))
        ]
        assert not missing, module
