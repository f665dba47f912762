"""What the word under the cursor may become, found without Hydra and torch: a TAB is answered in a blink."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from nnkit.config import catalog

SHELLS = ("bash", "zsh", "fish")
_COMPOSING = ("train", "summary", "check")
_TAKING_RUNS = ("resume", "doctor", "test", "predict", "generate", "compare")
FLAGS = {
    "train": ("--multirun", "--cfg", "--resolve", "--config-dir", "--info", "--help"),
    "resume": ("--allow", "--retry-failed", "--verify", "--steps", "--output-dir", "--help"),
    "doctor": ("--repair", "--output-dir", "--help"),
    "test": ("--output-dir", "--help"),
    "predict": ("--top-k", "--format", "--output", "--output-dir", "--help"),
    "generate": (
        "--prompt",
        "--length",
        "--temperature",
        "--top-k",
        "--top-p",
        "--seed",
        "--stop",
        "--samples",
        "--beam",
        "--nbest",
        "--next",
        "--length-penalty",
        "--format",
        "--output-dir",
        "--help",
    ),
    "summary": ("--config-dir", "--help"),
    "check": ("--config-dir", "--help"),
    "list": ("--config-dir", "--help"),
    "show": ("--config-dir", "--help"),
    "copy": ("--config-dir", "--help"),
    "runs": ("--output-dir", "--json", "--help"),
    "compare": (
        "--sort",
        "--reverse",
        "--filter",
        "--columns",
        "--seeds",
        "--no-seeds",
        "--format",
        "--output",
        "--curves",
        "--history",
        "--output-dir",
        "--help",
    ),
    "completion": ("--help",),
}
# Keys of option files that say what the option is, and are not for a user to set.
_DECLARED = frozenset({"defaults", "kind", "takes", "fits", "targets"})
_OVERRIDE = re.compile(r"override /(?P<group>[\w/]+)(@.*)?")
_ABOUT = re.compile(r'"""`nnkit [^`]*`: (?P<about>.*?)[.;]?("""|;|$)')


class Candidate(NamedTuple):
    """A word that would be right.

    Attributes:
        word: The whole word, what stands before the cursor included.
        about: What it means; empty if it speaks for itself.
    """

    word: str
    about: str = ""


def candidates(words: list[str]) -> list[Candidate]:
    """Return what the last of some words may become.

    Args:
        words: The words after `nnkit` up to the cursor; the last one may be empty.
    """
    *before, current = words or [""]
    found = _verbs() if not before else _for_verb(before[0], before[1:], current)
    return [candidate for candidate in found if candidate.word.startswith(current)]


def _verbs() -> Iterator[Candidate]:
    folder = Path(__file__).parent / "verbs"
    for path in sorted(folder.glob("[a-z]*.py")):
        with path.open(encoding="utf-8") as lines:
            found = _ABOUT.match(lines.readline())
        yield Candidate(path.stem, found["about"] if found else "")


def _for_verb(verb: str, typed: list[str], current: str) -> Iterable[Candidate]:
    if current.startswith("-"):
        return map(Candidate, FLAGS.get(verb, ()))
    positional = _without_flags(typed)
    folder = _flag(typed, "--config-dir")
    config_dir = None if folder is None else Path(folder)
    if verb in _COMPOSING:
        return _settings(positional, current, config_dir)
    # Any number of runs can be compared.
    return () if positional and verb != "compare" else _first_argument(verb, typed, current, config_dir)


def _first_argument(
    verb: str, typed: list[str], current: str, config_dir: Path | None
) -> Iterable[Candidate]:
    if verb in _TAKING_RUNS:
        output_dir = Path(_flag(typed, "--output-dir") or "outputs")
        sweeps = _sweeps(output_dir) if verb in ("resume", "compare") else ()
        return (*sweeps, *_runs(current, output_dir, verb == "resume"))
    if verb in ("show", "copy"):
        names = [(group, name) for group in _chosen_groups() for name in catalog.options(group, config_dir)]
        about = catalog.describe
        return (Candidate(f"{group}/{name}", about(group, name, config_dir)) for group, name in names)
    words = {"list": _chosen_groups(), "completion": SHELLS}
    return map(Candidate, words.get(verb, ()))


def _flag(typed: list[str], name: str) -> str | None:
    for number, word in enumerate(typed):
        if word.startswith(f"{name}="):
            return word.partition("=")[2]
        if word == name and number + 1 < len(typed):
            return typed[number + 1]
    return None


def _without_flags(typed: list[str]) -> list[str]:
    values = {
        number + 1 for number, word in enumerate(typed) if word in ("--config-dir", "--output-dir", "--cfg")
    }
    return [word for number, word in enumerate(typed) if not word.startswith("-") and number not in values]


def _chosen_groups() -> list[str]:
    return [group for group in catalog.groups() if catalog.options(group)]


def _runs(current: str, output_dir: Path, only_unfinished: bool) -> Iterator[Candidate]:
    from nnkit.runs.run import all_runs

    yield Candidate("last", "the latest run")
    for run in reversed(all_runs(output_dir)):
        status = run.status()
        if only_unfinished and status == "done":
            continue
        yield Candidate(str(run.path.relative_to(output_dir)), status)
        if current:
            yield Candidate(str(run.path), status)


def _sweeps(output_dir: Path) -> Iterator[Candidate]:
    from nnkit.sweep.directory import all_sweeps

    return (Candidate(sweep.path.name, "a sweep") for sweep in all_sweeps(output_dir))


def _settings(typed: list[str], current: str, config_dir: Path | None) -> Iterator[Candidate]:
    sign = re.match(r"\+\+|\+|~|", current)
    assert sign is not None
    key, equals, value = current[sign.end() :].partition("=")
    if equals:
        found = _values(typed, key, value, config_dir)
        yield from (Candidate(f"{sign[0]}{key}={word}", about) for word, about in found)
        return
    yield from (Candidate(f"{sign[0]}{word}", about) for word, about in _keys(typed, key, config_dir))


def _keys(typed: list[str], key: str, config_dir: Path | None) -> Iterator[Candidate]:
    parent, dot, _ = key.rpartition(".")
    if dot:
        for name, value in _node(typed, parent, config_dir).items():
            yield Candidate(f"{parent}.{name}{'.' if isinstance(value, dict) else '='}")
        return
    for group in _chosen_groups():
        yield Candidate(f"{group}=")
        # An empty word would get every group twice.
        if key and catalog.defaults()[group] is not None:
            yield Candidate(f"{group}.")
    yield from (Candidate(f"{name}=") for name in catalog.plain_keys() if name != "fit")


def _values(typed: list[str], key: str, value: str, config_dir: Path | None) -> Iterator[Candidate]:
    if key in catalog.groups():
        # In a list ([a,b]) or a sweep (a,b) the last element is being typed.
        start = value[: max(value.rfind(","), value.rfind("[")) + 1]
        for option in catalog.options(key, config_dir):
            yield Candidate(f"{start}{option}", catalog.describe(key, option, config_dir))
    elif key == "init_from":
        yield from _runs(value, Path("outputs"), only_unfinished=False)
    elif "." in key:
        parent, _, name = key.rpartition(".")
        default = _node(typed, parent, config_dir).get(name)
        if isinstance(default, bool):
            yield from (Candidate("true"), Candidate("false"))
        elif isinstance(default, int | float | str) and "$" not in str(default):
            yield Candidate(str(default), "the default")


def _node(typed: list[str], key: str, config_dir: Path | None) -> dict[str, Any]:
    """Return what stands below a dotted key, given the options chosen so far."""
    group, *names = key.split(".")
    if group not in catalog.groups():
        return {}
    node: dict[str, Any] = {}
    for option in _chosen(group, typed, config_dir):
        node |= catalog.read(group, option, config_dir)
    for name in names:
        inner = node.get(name)
        node = inner if isinstance(inner, dict) else {}
    return {name: value for name, value in node.items() if name not in _DECLARED and not name.startswith("_")}


def _chosen(group: str, typed: list[str], config_dir: Path | None) -> list[str]:
    """Return the options of a group: typed, or set by the options below it, or the default."""
    groups, defaults = catalog.groups(), catalog.defaults()
    picked: dict[str, str] = {}
    added: list[str] = []
    for word in typed:
        name, _, value = word.partition("=")
        if name in groups:
            picked[name] = value
        elif name == f"+{group}":
            added += _split(value)
    # From the bottom up: an option overrides what stands above it, and the command line stands below all.
    for below in reversed(groups[groups.index(group) + 1 :]):
        option = picked.get(below, defaults[below])
        if isinstance(option, str):
            for target, name in _overrides(below, option, config_dir):
                picked.setdefault(target, name)
    option = picked.get(group, defaults[group])
    return [*(_split(option) if isinstance(option, str) else option or []), *added]


def _split(value: str) -> list[str]:
    return [name.strip() for name in value.strip("[]").split(",") if name.strip()]


def _overrides(group: str, option: str, config_dir: Path | None) -> Iterator[tuple[str, str]]:
    """Yield the options of other groups that an option chooses."""
    path = catalog.source(group, option, config_dir)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) if path is not None else None
    except (yaml.YAMLError, UnicodeDecodeError):
        return
    entries = content.get("defaults") if isinstance(content, dict) else None
    for entry in entries or []:
        for key, value in entry.items() if isinstance(entry, dict) else ():
            found = _OVERRIDE.fullmatch(str(key))
            if found and isinstance(value, str):
                yield found["group"], value
