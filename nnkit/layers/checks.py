"""Checks of arguments that several models, embeds and heads share."""

from collections.abc import Sequence


def check_positive(name: str, value: int) -> None:
    """Raise ValueError unless `value` is at least 1.

    Args:
        name: The argument's name, as a user types it.
        value: What was given.
    """
    if value < 1:
        raise ValueError(f"{name} must be at least 1, not {value}")


def check_not_negative(name: str, value: int) -> None:
    """Raise ValueError if `value` is below 0.

    Args:
        name: The argument's name, as a user types it.
        value: What was given.
    """
    if value < 0:
        raise ValueError(f"{name} must be at least 0, not {value}")


def check_all_positive(name: str, values: Sequence[int]) -> None:
    """Raise ValueError unless every one of `values` is at least 1.

    Args:
        name: The argument's name, as a user types it.
        values: What was given.
    """
    if any(value < 1 for value in values):
        raise ValueError(f"{name} must hold numbers of at least 1, not {list(values)}")


def check_dropout(dropout: float) -> None:
    """Raise ValueError unless `dropout` is a probability below 1."""
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must lie in [0, 1), not {dropout}")


def check_eps(eps: float) -> None:
    """Raise ValueError unless `eps`, which is added to a variance, is a positive number below 1."""
    if not 0 < eps < 1:
        raise ValueError(f"eps must lie in (0, 1), not {eps}")


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Raise ValueError unless `value` is one of `choices`.

    Args:
        name: The argument's name, as a user types it.
        value: What was given.
        choices: What may be given.
    """
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, not {value!r}")
