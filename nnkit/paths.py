"""Paths as users type them."""

from pathlib import Path

from nnkit.errors import UserError


def expand(given: str | Path) -> Path:
    """Return a path with a leading ``~`` or ``~user`` replaced by that home directory.

    Args:
        given: A path as typed.

    Raises:
        UserError: If there is no such user.
    """
    path = Path(given)
    try:
        return path.expanduser()
    # pathlib's answer to a home directory that nobody has.
    except RuntimeError as error:
        user = path.parts[0].removeprefix("~")
        raise UserError(
            f"{given}: there is no user {user!r}; a path that is called so is ./{given}"
        ) from error
