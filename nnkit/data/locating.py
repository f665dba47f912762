"""Where the files of a run are, for a command that is typed in another directory than the run was."""

from collections.abc import Iterator
from pathlib import Path

from nnkit.data.base import DataModule
from nnkit.data.cache import sha256_of
from nnkit.data.download.sources import fingerprint
from nnkit.errors import UserError
from nnkit.files.paths import expand


def look_in(data: DataModule, directory: Path) -> None:
    """Take relative paths among the options of a data module as paths below a directory where they lead somewhere.

    Args:
        data: The module; its options are changed.
        directory: The working directory of the command that began the run.
    """
    if not directory.is_dir() or directory.resolve() == Path.cwd().resolve():
        return
    for name, value in _paths(data):
        paths = [value] if isinstance(value, str) else value
        moved = [str(directory / path) if _is_there(directory / path) else path for path in paths]
        setattr(data, name, moved[0] if isinstance(value, str) else moved)


def refuse_missing(data: DataModule, directory: Path | None, instead: str) -> None:
    """Refuse to go on where files of a data module are nowhere.

    Args:
        data: The module.
        directory: Where the run was begun; None: unknown.
        instead: What to type instead.

    Raises:
        UserError: If there are none; tells where they were looked for.
    """
    for name, value in _paths(data):
        for path in [value] if isinstance(value, str) else value:
            if not _is_there(expand(path)):
                places = dict.fromkeys(map(str, filter(None, (Path.cwd(), directory))))
                where = "" if expand(path).is_absolute() else f" in {' and in '.join(places)}"
                raise UserError(f"data.{name}: there is no {path}{where}\n    {instead}")


def fingerprint_of(path: Path) -> str:
    """Return the SHA-256 of a file, or one over the names and sizes of the files in a folder."""
    if path.is_file():
        return sha256_of(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return fingerprint(f"{file.relative_to(path)} {file.stat().st_size}" for file in files)


def _paths(data: DataModule) -> Iterator[tuple[str, str | list[str]]]:
    """Yield the options that hold the path of a file or folder, or several, with their names."""
    for name, value in vars(data).items():
        if name in ("path", "root") or (name.endswith("_path") and not name.startswith("_")):
            if isinstance(value, str):
                yield name, value
            elif isinstance(value, list | tuple):
                yield name, [*map(str, value)]


def _is_there(path: Path) -> bool:
    """Return whether a path leads somewhere, or a pattern such as ``data/*.csv`` fits something."""
    if path.exists():
        return True
    absolute = path.absolute()
    pattern = str(absolute.relative_to(absolute.anchor))
    return any(letter in pattern for letter in "*?[") and any(Path(absolute.anchor).glob(pattern))
