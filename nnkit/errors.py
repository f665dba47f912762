"""What a user sees when something is wrong: sentences, and the exit code that belongs to them."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One mistake in a config or on a command line.

    Attributes:
        key: Dotted config key the mistake belongs to, such as ``optimizer.lr``; empty if none.
        text: What was given and what was expected, one sentence.
        hint: What to type instead; empty if unknown.
        where: File and line, or "command line", that set the key; empty if unknown.
    """

    key: str
    text: str
    hint: str = ""
    where: str = ""

    def __str__(self) -> str:
        head = f"{self.key}: {self.text}" if self.key else self.text
        where = f" ({self.where})" if self.where else ""
        hint = f"\n    {self.hint}" if self.hint else ""
        return f"{head}{where}{hint}"


class NnkitError(Exception):
    """Base of every error that is answered with sentences instead of a traceback."""

    exit_code = 1


class UserError(NnkitError):
    """The user's mistake outside the config (a path that does not exist, a CSV without its target): exit 2."""

    exit_code = 2


class ConfigError(UserError):
    """All mistakes of one config, reported together: exit 2.

    Args:
        problems: At least one problem.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class EnvironmentFault(NnkitError):
    """The environment's fault (network, disk, GPU, memory): exit 1."""
