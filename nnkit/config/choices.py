"""Which options were chosen on the command line: checked against the files that exist."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from nnkit.config import catalog
from nnkit.config.overrides import quote
from nnkit.config.places import COMMAND_LINE
from nnkit.errors import Problem
from nnkit.suggest import closest, hint

# Groups that no other group's file replaces: their keys can be judged whatever else was mistyped.
_INDEPENDENT = frozenset({"trainer", "callbacks", "logger", "metrics"})


@dataclass(frozen=True)
class Choices:
    """Overrides sorted into choices of options and single values.

    Attributes:
        chosen: Choices that exist, at most one a group.
        values: Overrides of single values, in the order typed.
        broken: Groups whose choice does not exist.
        problems: One for each wrong choice.
    """

    chosen: tuple[Override, ...]
    values: tuple[Override, ...]
    broken: frozenset[str]
    problems: tuple[Problem, ...]

    def may_judge(self, key: str) -> bool:
        """Return whether an unknown key is a mistake by itself, not a consequence of a wrong choice."""
        top = key.split(".")[0]
        if not self.broken or top in _INDEPENDENT or top not in catalog.groups():
            return True
        return top not in self.broken and any(override.key_or_group == top for override in self.chosen)


def sort_out(overrides: Sequence[Override], config_dir: Path | None) -> Choices:
    """Tell choices (``model=mlp``) from values (``optimizer.lr=1``), and check the former.

    Args:
        overrides: Parsed overrides in the order typed.
        config_dir: The directory given with ``--config-dir``.
    """
    plain: dict[str, Override] = {}
    added: dict[str, list[Override]] = {}
    values: list[Override] = []
    problems: list[Problem] = []
    broken: set[str] = set()
    for override in overrides:
        group = override.key_or_group
        if group not in catalog.groups() and not _is_misused(override):
            values.append(override)
            continue
        problem = _check(override, config_dir)
        if problem is not None:
            problems.append(problem)
            broken.add(group)
        elif override.is_add():
            added.setdefault(group, []).append(override)
        else:
            earlier = plain.setdefault(group, override)
            if earlier.value() != override.value():
                problems.append(_contradiction(earlier, override))
                broken.add(group)
            # A list replaces all that was added before it.
            added.pop(group, None)
    chosen = _merge(plain, added)
    return Choices(tuple(chosen), tuple(values), frozenset(broken), tuple(problems))


def _is_misused(override: Override) -> bool:
    """Return whether this is neither a choice nor a value: Hydra's own settings, or a package (`model@x=y`)."""
    return override.is_hydra_override() or override.package is not None or override.key_or_group == "hydra"


def _check(override: Override, config_dir: Path | None) -> Problem | None:
    group, value = override.key_or_group, override.value()
    problem = _check_form(override)
    if problem is not None:
        return problem
    names = catalog.options(group, config_dir)
    several = group in catalog.lists()
    if value is None:
        if catalog.defaults()[group] is None:
            return None
        answer = f"{group}=[] is none at all" if several else hint("", names, f"{group}={{}}")
        return Problem(group, "cannot be null", answer, COMMAND_LINE)
    wanted = value if isinstance(value, list) else [value]
    if isinstance(value, list) and not several:
        text = f"takes one option, not {override.get_value_string()}"
        return Problem(group, text, hint("", names), COMMAND_LINE)
    wrong = [str(name) for name in wanted if str(name) not in names]
    if not wrong:
        return None
    near = [found for name in wrong for found in closest(name, names)]
    typed = override.get_value_string()
    if near:
        for name, right in zip(wrong, near, strict=False):
            typed = typed.replace(name, right)
        answer = f"did you mean {'+' if override.is_add() else ''}{group}={typed}?"
    else:
        answer = f"there is: {', '.join(names)}"
    return Problem(group, f"there is no {group}={', '.join(wrong)}", answer, COMMAND_LINE)


def _contradiction(earlier: Override, later: Override) -> Problem:
    group, one, other = later.key_or_group, earlier.get_value_string(), later.get_value_string()
    answer = f"{group}={one} or {group}={other}"
    if group in catalog.lists():
        answer += f", or all in one list: {group}=[A,B]"
    return Problem(group, f"is chosen twice, {one} and {other}", answer, COMMAND_LINE)


def _check_form(override: Override) -> Problem | None:
    group, line = override.key_or_group, override.input_line or ""
    several = group in catalog.lists()
    text = answer = ""
    if override.is_hydra_override() or group == "hydra":
        text, answer = "has no effect on a single run", "output_dir= and name= choose the directory"
    elif override.package is not None:
        text, answer = f"{line}: an option cannot be put under another key", f"{group}=NAME"
    elif override.is_delete():
        text, answer = "cannot be deleted", f"{group}=NAME chooses another"
        if several:
            answer = f"{group}=[] is none at all, ~{group}.NAME leaves one out"
    elif override.is_force_add() or (override.is_add() and not several):
        text = f"{line} is not how an option is chosen"
        answer = f"did you mean {'+' if several else ''}{group}={override.get_value_string()}?"
    return Problem(group, text, answer, COMMAND_LINE) if text else None


def _merge(plain: dict[str, Override], added: dict[str, list[Override]]) -> list[Override]:
    """Return one override a group: Hydra forgets a list that is both set and added to."""
    merged = {group: override for group, override in plain.items() if group not in added}
    for group, more in added.items():
        first = [plain[group]] if group in plain else []
        names = dict.fromkeys(name for override in [*first, *more] for name in _names(override.value()))
        sign = "" if first else "+"
        line = f"{sign}{group}=[{','.join(quote(name) for name in names)}]"
        merged[group] = OverridesParser.create().parse_override(line)
    return list(merged.values())


def _names(value: Any) -> list[str]:
    return [str(name) for name in value] if isinstance(value, list) else [str(value)]
