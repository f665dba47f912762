"""`nnkit completion SHELL`: the script of the TAB key, and what it is answered, found without Hydra and torch."""

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from nnkit.cli import parser
from nnkit.cli.parser import Given
from nnkit.cli.verbs import VERBS, Argument, Verb
from nnkit.config import catalog

# Each script hands the words up to the cursor back to `nnkit completion SHELL`, which answers one a line.
_BASH = r"""
_nnkit() {
    local line="${COMP_LINE:0:COMP_POINT}" whole word prefix=""
    local -a words
    read -ra words <<< "$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    whole="${words[${#words[@]}-1]}"
    # bash takes what stands after an = for a word of its own.
    [[ $COMP_WORDBREAKS == *=* && $whole == *=* ]] && prefix="${whole%=*}="
    COMPREPLY=()
    while IFS= read -r word; do
        word="${word#"$prefix"}"
        case $word in *[=./] | *\[*) ;; *) word+=" " ;; esac
        COMPREPLY+=("$word")
    done < <("${words[0]/#\~/$HOME}" completion bash -- "${words[@]:1}" 2> /dev/null)
}
complete -o nospace -o default -F _nnkit nnkit
"""
_ZSH = r"""#compdef nnkit
_nnkit() {
    local line word start="${(M)${(Q)PREFIX}##*[=\[,]}"
    local -a open closed before
    before=("${(@Q)words[2,CURRENT-1]}")
    for line in "${(@f)$(
        ${words[1]} completion zsh -- "${before[@]}" "${(Q)PREFIX}" 2> /dev/null
    )}"; do
        [[ -n $line ]] || continue
        word="${line%%$'\t'*}"
        line="${${word:$#start}//:/\\:}${${line:$#word}/#$'\t'/:}"
        case $word in
            *[=./] | *\[*) open+=("$line") ;;
            *) closed+=("$line") ;;
        esac
    done
    # What stands before the last = [ or , stays as it is.
    [[ $PREFIX == *=* ]] && compset -P '*[=\[,]'
    (( $#open + $#closed )) || { _files; return }
    (( $#open )) && _describe nnkit open -S ''
    (( $#closed )) && _describe nnkit closed
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _nnkit "$@"; else compdef _nnkit nnkit; fi
"""
_FISH = r"""
function __nnkit_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l found ($words[1] completion fish -- $words[2..-1] "$current" 2> /dev/null)
    if test (count $found) -gt 0
        printf '%s\n' $found
        return
    end
    set -l key (string match -r '^[^=]*=' -- "$current")
    printf "$key%s\n" (__fish_complete_path (string replace -r '^[^=]*=' '' -- "$current"))
end
complete -c nnkit -f -a '(__nnkit_complete)'
"""
_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
VERB = Verb(
    "completion",
    (
        Argument("shell", "SHELL", "bash, zsh or fish", choices=tuple(_SCRIPTS)),
        Argument("words", "WORD", "print what the last of these words may become", required=False, many=True),
    ),
    examples=(
        ('eval "$(nnkit completion bash)"', "in ~/.bashrc"),
        ('eval "$(nnkit completion zsh)"', "in ~/.zshrc, after compinit"),
        ("nnkit completion fish > ~/.config/fish/completions/nnkit.fish", ""),
    ),
)
# Keys of option files that say what the option is, and are not for a user to set.
_DECLARED = frozenset({"defaults", "kind", "takes", "fits", "targets"})
_OVERRIDE = re.compile(r"override /(?P<group>[\w/]+)(@.*)?")


class Candidate(NamedTuple):
    """A word that would be right.

    Attributes:
        word: The whole word, what stands before the cursor included.
        about: What it means; empty if it speaks for itself.
    """

    word: str
    about: str = ""


def run(given: Given) -> int:
    """Print the script of a shell, or answer one."""
    if not given.words:
        sys.stdout.write(_SCRIPTS[given.shell].lstrip("\n"))
    for word, about in candidates(given.words) if given.words else ():
        # What a word means has room behind it in zsh and fish alone.
        sys.stdout.write(f"{word}\t{about}\n" if about and given.shell != "bash" else f"{word}\n")
    return 0


def candidates(words: list[str]) -> list[Candidate]:
    """Return what the last of some words may become.

    Args:
        words: The words after `nnkit` up to the cursor; the last one may be empty.
    """
    *before, current = words or [""]
    found: Iterable[Candidate] = (Candidate(*row) for row in VERBS.items())
    if before:
        found = _for_verb(parser.module_of(before[0]).VERB, before[1:], current) if before[0] in VERBS else ()
    return [candidate for candidate in found if candidate.word.startswith(current)]


def _for_verb(verb: Verb, typed: list[str], current: str) -> Iterable[Candidate]:
    given, num_plain, _, waiting = parser.read(verb, typed)
    if waiting is not None:
        return map(Candidate, waiting.choices)
    if current.startswith("-"):
        name, equals, _ = current.partition("=")
        option = parser.find(verb, name) if equals else None
        if option is not None:
            return (Candidate(f"{name}={choice}") for choice in option.choices)
        return (Candidate(name, option.help) for option in verb.all_options for name in option.names)
    last = verb.arguments[-1:]
    argument = next(iter(verb.arguments[num_plain:] or (last if last and last[0].many else ())), None)
    if argument is None:
        return ()
    if argument.choices:
        return map(Candidate, argument.choices)
    return COMPLETERS[argument.complete](given, current) if argument.complete else ()


def _chosen_groups() -> list[str]:
    return [group for group in catalog.groups() if catalog.options(group)]


def _runs(current: str, output_dir: Path, only_unfinished: bool = False) -> Iterator[Candidate]:
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


def _option_files(given: Given, current: str) -> Iterator[Candidate]:
    for group in _chosen_groups():
        for name in catalog.options(group, given.config_dir):
            yield Candidate(f"{group}/{name}", catalog.describe(group, name, given.config_dir))


def _settings(given: Given, current: str) -> Iterator[Candidate]:
    typed, config_dir = given.overrides, given.config_dir
    sign = re.match(r"\+\+|\+|~|", current)
    assert sign is not None
    key, equals, value = current[sign.end() :].partition("=")
    if equals:
        found = _values(typed, key, value, config_dir)
        yield from (Candidate(f"{sign[0]}{key}={word}", about) for word, about in found)
        return
    yield from (Candidate(f"{sign[0]}{word}", about) for word, about in _keys(typed, key, config_dir))


def _bare_keys(given: Given, current: str) -> Iterator[Candidate]:
    """Yield keys as `nnkit explain` takes them: a group may be the end of one."""
    for candidate in _keys(given.overrides, current, given.config_dir):
        yield Candidate(candidate.word.removesuffix("="), candidate.about)


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
        yield from _runs(value, Path("outputs"))
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


# What an argument may become, given what has been typed before it and of it.
COMPLETERS: dict[str, Callable[[Given, str], Iterable[Candidate]]] = {
    "runs": lambda given, current: _runs(current, given.output_dir),
    "runs and sweeps": lambda given, current: (*_sweeps(given.output_dir), *_runs(current, given.output_dir)),
    "sweeps": lambda given, current: _sweeps(given.output_dir),
    "unfinished": lambda given, current: (
        *_sweeps(given.output_dir),
        *_runs(current, given.output_dir, only_unfinished=True),
    ),
    "groups": lambda given, current: map(Candidate, _chosen_groups()),
    "option files": _option_files,
    "settings": _settings,
    "keys": _bare_keys,
}
