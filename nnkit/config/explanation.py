"""One config key explained: its value, all that set it, what it takes, what it means and what to type."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from nnkit.config import catalog
from nnkit.config.declared import PLAIN
from nnkit.config.known import Known, as_typed, at, example, is_at, known_of, meaning, takes
from nnkit.config.migration import REFERENCE, flatten
from nnkit.config.places import COMMAND_LINE, SetBy, settings_in_text, shown
from nnkit.errors import ConfigError, Problem
from nnkit.files.yaml_limits import LOADER
from nnkit.suggest import in_shell, some_of

if TYPE_CHECKING:
    from nnkit.config.composition import Composition

_MOST_STEPS = 16
_NNKIT = "nnkit"


@dataclass(frozen=True)
class Explanation:
    """What is known of a key.

    Attributes:
        key: The dotted key.
        value: Its value as text, references followed; a value from the environment is left as its reference.
        follows: The keys that it refers to, the nearest first.
        settings: All that set it; the last one counts.
        takes: Its type and range in words.
        means: What it means, one sentence or more each.
        inner: Names below it with what they are: keys of a node, options of a group.
        command: What to type to change it; empty if it is not typed.
        note: What else there is to know before it is typed.
    """

    key: str
    value: str
    follows: tuple[str, ...] = ()
    settings: tuple[SetBy, ...] = ()
    takes: str = ""
    means: tuple[str, ...] = ()
    inner: tuple[tuple[str, str], ...] = ()
    command: str = ""
    note: str = ""


class Typed(NamedTuple):
    """One word of a command line.

    Attributes:
        key: The key or group it sets.
        value: What it sets it to.
        word: As it was typed.
    """

    key: str
    value: Any
    word: str


@dataclass(frozen=True)
class Explainer:
    """Explains the keys of one config.

    Args:
        raw: The composed config as plain data, references as text.
        choices: The option of each group.
        history: What in files set each key, in the order in which it counts.
        typed: The words of the command line.
        config_dir: The directory given with ``--config-dir``.
    """

    raw: Mapping[str, Any]
    choices: Mapping[str, Any]
    history: Mapping[str, list[SetBy]]
    typed: tuple[Typed, ...] = ()
    config_dir: Path | None = None

    def explain(self, key: str) -> Explanation:
        """Explain one key.

        Args:
            key: A dotted key, or a group.

        Raises:
            ConfigError: If there is no such key, with what was probably meant.
        """
        if key in catalog.groups():
            return self._group(key)
        if not is_at(self.raw, key):
            raise ConfigError([self._unknown(key)])
        raw, known = at(self.raw, key), known_of(self.raw, self.choices, key)
        settings = self._settings(key, raw)
        comments = [one.comment for one in settings if one.comment and one.place != _NNKIT]
        inner = [(name, self._short(f"{key}.{name}")) for name in raw] if isinstance(raw, dict) else []
        command, note = self._to_type(known, raw, next(iter(comments), ""))
        return Explanation(
            key,
            "" if isinstance(raw, dict) else self.text(raw),
            tuple(self._follows(raw)),
            tuple(settings),
            takes(known),
            tuple(dict.fromkeys(text for text in (*comments[:1], meaning(known)) if text)),
            tuple(inner),
            command,
            note,
        )

    def _group(self, group: str) -> Explanation:
        chosen, several = self.choices.get(group), group in catalog.lists()
        picked = [one for one in (chosen if isinstance(chosen, list) else [chosen]) if one is not None]
        names = catalog.options(group, self.config_dir)
        about = {name: catalog.describe(group, name, self.config_dir) for name in names}
        others = [name for name in names if name not in picked and self._fits(group, name)]
        keys = at(self.raw, group)
        below = ", ".join(f"{group}.{name}" for name in keys) if isinstance(keys, dict) else ""
        note = f"~{group}.NAME leaves one out, {group}=[] leaves out all" if several else ""
        return Explanation(
            group,
            as_typed(picked if several else chosen),
            settings=tuple(self._choosers(group)),
            takes="options of the group, any number of them" if several else "one option of the group",
            means=tuple(about[name] for name in picked if about.get(name)),
            inner=(*about.items(), *([("keys", below)] if below else [])),
            command=f"nnkit train {'+' if several else ''}{group}={others[0]}" if others else "",
            note=note if others else "no other option fits",
        )

    def _fits(self, group: str, option: str) -> bool:
        """Return whether an option says that it goes with what else is chosen; most need not say anything."""
        declared = catalog.read(group, option, self.config_dir)
        task, data = self.choices.get("task"), at(self.raw, "data") or {}
        if group == "task":
            return option in (data.get("tasks") or [option])
        if group == "model":
            return data.get("kind") in (declared.get("embeds") or ())
        if group == "loss":
            return not {*(at(self.raw, "task.targets") or ())}.isdisjoint(declared.get("takes") or ())
        return group != "head" or task in (declared.get("fits") or [task])

    def _choosers(self, group: str) -> list[SetBy]:
        """Return what chose the option of a group: the defaults, files that override them, the command line."""
        found = [one for one in self.history.get(group, ()) if one.value]
        # That file's own keys come after those of most groups; its choices are the first.
        found.sort(key=lambda one: not one.place.startswith(f"conf/{catalog.PRIMARY}.yaml:"))
        return found + [SetBy(COMMAND_LINE, one.word) for one in self.typed if one.key == group]

    def text(self, raw: Any) -> str:
        """Return a value as it would be typed, references to keys followed; those to the environment stay."""
        return as_typed(self._resolved(raw, _MOST_STEPS))

    def _resolved(self, raw: Any, steps: int) -> Any:
        if isinstance(raw, list):
            return [self._resolved(one, steps) for one in raw]
        if isinstance(raw, dict):
            return {name: self._resolved(one, steps) for name, one in raw.items()}
        found = REFERENCE.fullmatch(raw) if isinstance(raw, str) and steps else None
        is_known = found is not None and is_at(self.raw, found[1])
        return self._resolved(at(self.raw, found[1]), steps - 1) if found is not None and is_known else raw

    def _short(self, key: str) -> str:
        raw = at(self.raw, key)
        return ", ".join(map(str, raw)) if isinstance(raw, dict) else self.text(raw)

    def _follows(self, raw: Any) -> Iterator[str]:
        """Yield the keys that a value refers to, one after the other."""
        for _ in range(_MOST_STEPS):
            found = REFERENCE.findall(raw) if isinstance(raw, str) else []
            yield from found
            if len(found) != 1 or not is_at(self.raw, found[0]):
                return
            raw = at(self.raw, found[0])

    def _settings(self, key: str, raw: Any) -> list[SetBy]:
        """Return what set a key: files, the command line, and what nnkit made of it."""
        found = [*self.history.get(key, ())]
        last: Any = _parsed(found[-1].value) if found else None
        for word in self.typed:
            if word.key == key or (key.startswith(f"{word.key}.") and word.key not in catalog.groups()):
                inside = key[len(word.key) + 1 :]
                last = at(word.value, inside) if inside else word.value
                found.append(SetBy(COMMAND_LINE, word.word))
        if not isinstance(raw, dict) and (not found or last != raw):
            found.append(SetBy(_NNKIT, as_typed(raw), _reason(key)))
        return found

    def _to_type(self, known: Known, raw: Any, comment: str) -> tuple[str, str]:
        """Return what to type to change a key, and what there is to know of that."""
        if known.note:
            return "", known.note
        if isinstance(raw, dict):
            return "", "type one of the keys below it"
        found = [*self._follows(raw)]
        if known.key in PLAIN or len(REFERENCE.findall(str(raw))) != 1 or not is_at(self.raw, found[-1]):
            return self._command(known, raw, comment), ""
        # A key outside the groups is what a user thinks of.
        origin = known_of(self.raw, self.choices, next((one for one in found if one in PLAIN), found[-1]))
        if origin.note:
            return "", f"it follows {origin.key}: {origin.note}"
        note = f"it follows {origin.key}; {known.key}=... parts the two"
        return self._command(origin, at(self.raw, origin.key), ""), note

    def _command(self, known: Known, raw: Any, comment: str) -> str:
        others = [one.word for one in self.typed if one.key != known.key]
        value = example(known, self._resolved(raw, _MOST_STEPS), comment)
        return " ".join(["nnkit train", *map(in_shell, others), in_shell(f"{known.key}={value}")])

    def _unknown(self, key: str) -> Problem:
        group, _, rest = key.partition(".")
        options = catalog.options(group, self.config_dir) if group in catalog.groups() else []
        name = rest.split(".")[0]
        if group in catalog.lists() and name in options and not is_at(self.raw, f"{group}.{name}"):
            return Problem(key, f"{name} is not chosen", f"nnkit explain {key} +{group}={name}")
        having = [one for one in options if rest and is_at(catalog.read(group, one, self.config_dir), rest)]
        if having:
            verb = "has" if len(having) == 1 else "have"
            text = f"{group}={self.choices.get(group)} has no such key; {some_of(having, 6)} {verb} it"
            return Problem(key, text, f"nnkit explain {key} {group}={having[0]}")
        from nnkit.config.keys import nearest_key

        known = [*catalog.groups(), *_keys(self.raw)]
        meant = nearest_key(key, known)
        listed = some_of([*catalog.groups(), *catalog.plain_keys()], 20)
        return Problem(
            key, "there is no such key", f"did you mean {meant}?" if meant else f"there is: {listed}"
        )


def explain(words: list[str], key: str, config_dir: Path | None = None) -> Explanation:
    """Explain one key of what a command line composes.

    Args:
        words: Arguments in Hydra's grammar.
        key: A dotted key, or a group.
        config_dir: The directory given with ``--config-dir``.

    Raises:
        ConfigError: If there is no such key, or the words are wrong.
    """
    if not words and config_dir is None and catalog.user_dir() is None:
        return of_defaults().explain(key)
    from nnkit.config.composition import compose

    return of_composition(compose(words, config_dir)).explain(key)


def of_composition(composition: Composition) -> Explainer:
    """Return what explains the keys of a composition."""
    from nnkit.config.composition import plain
    from nnkit.config.provenance import history_of_files

    groups = set(catalog.groups())
    typed = tuple(Typed(one.key_or_group, one.value(), one.input_line or "") for one in composition.typed)
    history = history_of_files([one.word for one in typed if one.key in groups], composition.config_dir)
    return Explainer(plain(composition.config), composition.choices, history, typed, composition.config_dir)


def of_defaults() -> Explainer:
    """Return what explains the keys of nnkit's own defaults, where nothing is typed and no file of a user counts.

    The files are read one after the other, without Hydra, whose import alone takes longer than an answer may; a test
    compares the two.
    """
    raw: dict[str, Any] = {}
    history: dict[str, list[SetBy]] = {}
    for path, package in _default_files():
        text = path.read_text(encoding="utf-8")
        content = {name: value for name, value in _parsed(text).items() if name != "defaults"}
        raw |= {package: {**raw.get(package, {}), **content}} if package else content
        for key, setting in settings_in_text(text, shown(path), package):
            history.setdefault(key, []).append(setting)
    return Explainer(raw, catalog.defaults(), history)


def _default_files() -> Iterator[tuple[Path, str]]:
    """Yield the files of the defaults in the order of composition, each with the key it is put under."""
    for entry in catalog.primary()["defaults"]:
        if not isinstance(entry, dict):
            yield catalog.conf_dir() / f"{catalog.PRIMARY}.yaml", ""
            continue
        for group, chosen in entry.items():
            for option in chosen if isinstance(chosen, list) else [chosen] if chosen else []:
                yield catalog.conf_dir() / group / f"{option}.yaml", group


def in_run(explanation: Explanation, place: str, changes: list[SetBy]) -> Explanation:
    """Return the explanation of a key of a run: its config says what it is, whatever the files say today.

    Args:
        explanation: With the run's config.
        place: The run's file of its config and the line of the key.
        changes: What later commands changed.
    """
    kept = [one for one in explanation.settings if one.place != _NNKIT]
    comment = "what the run has; files above are those of today" if kept else "what the run has"
    return replace(explanation, settings=(*kept, *changes, SetBy(place, explanation.value, comment)))


def _reason(key: str) -> str:
    if key == "trainer.max_epochs":
        return "trainer.max_steps alone sets the length"
    if key == "output_dir":
        return "~ is your home directory"
    return "its default, which no file lists" if key.startswith("trainer.") else "filled in"


def _keys(raw: Mapping[str, Any]) -> Iterator[str]:
    """Yield every dotted key, inner nodes included."""
    for key, _ in flatten(dict(raw)):
        names = key.split(".")
        yield from (".".join(names[:length]) for length in range(1, len(names) + 1))


class _Loader(LOADER):  # type: ignore[misc]
    """Reads numbers as OmegaConf does: ``1e-3`` is one."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\d[\d_]*)(\.[\d_]*)?[eE][-+]?\d+$"),
    list("-+0123456789."),
)


def _parsed(text: str) -> Any:
    """Return what YAML text says."""
    return yaml.load(text, Loader=_Loader)
