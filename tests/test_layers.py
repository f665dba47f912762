"""Rules of who may import whom that import-linter's contracts in pyproject.toml cannot say."""

import ast
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "nnkit"
FILES = sorted(PACKAGE.rglob("*.py"))
NAMES = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in FILES]
MODULES = dict(zip(NAMES, FILES, strict=True))


@cache
def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def nodes_of(path):
    return list(ast.walk(parsed(path)))


@cache
def imports(path, everywhere=True):
    """Return the modules a file imports at run time; what stands under TYPE_CHECKING does not count."""
    typing_only = {
        id(inner)
        for node in nodes_of(path)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    nodes = nodes_of(path) if everywhere else parsed(path).body
    found = set()
    for node in nodes:
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            found.update(name if name in MODULES else node.module for name in full)
    return frozenset(found)


def roots(names):
    return {name.split(".")[0] for name in names}


def in_package(folder):
    return [name for name in NAMES if name.startswith(f"nnkit.{folder}.")]


def test_no_circle():
    TopologicalSorter({name: imports(path) & MODULES.keys() for name, path in MODULES.items()}).prepare()


PURE = [name for folder in ("models", "embeds", "heads", "layers", "losses") for name in in_package(folder)]
STANDARD = {
    "collections",
    "copy",
    "dataclasses",
    "enum",
    "functools",
    "itertools",
    "math",
    "typing",
    # torch brings it.
    "typing_extensions",
    "__future__",
    "abc",
    "inspect",
}


def test_models_embeds_heads_layers_and_losses_know_only_torch_and_layers():
    for name in PURE:
        found = imports(MODULES[name])
        assert roots(found) <= {"torch", "nnkit"} | STANDARD, name
        own = name.rpartition(".")[0]
        ours = [other for other in found if other.startswith("nnkit")]
        assert all(other.startswith(("nnkit.layers", own)) for other in ours), name


def named_by_yaml():
    for path in sorted((ROOT / "conf").rglob("*.yaml")):
        for node in walk(yaml.safe_load(path.read_text(encoding="utf-8"))):
            target = node.get("_target_", "")
            if target and target.startswith("nnkit."):
                yield target.rpartition(".")[0]


def walk(value):
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from walk(inner)


SIBLINGS = sorted(set(named_by_yaml()))


def test_siblings_never_import_each_other():
    for name in SIBLINGS:
        folder = name.rpartition(".")[0]
        others = {other for other in SIBLINGS if other != name and other.startswith(folder + ".")}
        assert not imports(MODULES[name]) & others, name


LIGHT = [
    "nnkit",
    "nnkit.cli",
    "nnkit.config.catalog",
    "nnkit.errors",
    "nnkit.cli.parser",
    "nnkit.config",
]
LIGHT += [
    f"nnkit.cli.verbs.{verb}" for verb in ("train", "list", "show", "copy", "runs", "compare", "completion")
]


def reached(name, seen):
    """Return every module of nnkit that importing one brings with it."""
    if name in seen or name not in MODULES:
        return seen
    seen.add(name)
    for other in imports(MODULES[name], everywhere=False):
        reached(other, seen)
    return seen


def test_verbs_that_need_no_torch_do_not_import_it():
    for name in LIGHT:
        for module in reached(name, set()):
            heavy = roots(imports(MODULES[module], everywhere=False)) & {"torch", "lightning", "numpy"}
            assert not heavy, f"{name} reaches {module}"


def test_files_stay_short():
    # A sign to look: a splinter that only one file imports is worse than a long file.
    lengths = {name: path.read_text(encoding="utf-8").count("\n") for name, path in MODULES.items()}
    assert {name: length for name, length in lengths.items() if length > 400} == {}


# The contract itself, its two sides, and what knows one family by its name.
KNOW_BATCHES = ("nnkit.batches", "nnkit.data.", "nnkit.tasks.")
KINDS = {
    "ImageBatch", "TableBatch", "CategoricalBatch", "TextBatch", "BlockBatch", "SeriesBatch", "PairBatch",
    "SentenceBatch",
}  # fmt: skip


def imported_from(name, module):
    """Return what a module imports from those whose names begin so."""
    return {
        alias.name
        for node in nodes_of(MODULES[name])
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(module)
        for alias in node.names
    }


def test_nothing_but_data_and_tasks_asks_which_batch_it_has():
    for name in NAMES:
        if not name.startswith(KNOW_BATCHES):
            assert not imported_from(name, "nnkit.batches") & KINDS, name


def test_nothing_outside_the_tasks_asks_which_task_it_has():
    """Neither isinstance nor match nor a table: whoever knows a task's class by name could."""
    tasks = {
        node.name
        for path in (PACKAGE / "tasks").glob("*.py")
        for node in parsed(path).body
        if isinstance(node, ast.ClassDef)
        and path.stem not in ("base", "predictions", "chosen_metrics", "outcome", "review")
    }
    for name in NAMES:
        if not name.startswith("nnkit.tasks"):
            nodes = nodes_of(MODULES[name])
            named = {node.id for node in nodes if isinstance(node, ast.Name)}
            named |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
            assert not (named | imported_from(name, "nnkit.tasks")) & tasks, name


# What is named twice because the field names it twice: a head and its task.
TWICE = {"MaskedLM"}


def test_a_public_class_is_defined_once():
    homes = {}
    for name in NAMES:
        for node in parsed(MODULES[name]).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(name)
    assert {name: found for name, found in homes.items() if len(found) > 1 and name not in TWICE} == {}


def test_no_two_test_files_have_one_name():
    """pytest takes the second for the first, and tests neither."""
    names = [path.name for path in Path(__file__).parent.rglob("test_*.py")]
    assert len(names) == len(set(names))
