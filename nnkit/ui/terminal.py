"""Standard output and error as they are: a terminal or a pipe, their encoding, text that is safe to print."""

from __future__ import annotations

import codecs
import io
import json
import os
import sys
from pathlib import Path
from typing import IO, Any, TextIO


def is_terminal() -> bool:
    """Return whether standard output is read by a person."""
    return sys.stdout.isatty()


def set_up_streams() -> None:
    """Escape what the encoding of a stream lacks, and give a stream that was closed at the start to nobody."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            # For as long as the process runs.
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def write_to_nobody(file: IO[str]) -> None:
    """Let what is written to a file of the system from now on, or is still held back for it, go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, file.fileno())
    os.close(nowhere)


def json_line(value: Any, file: TextIO, indent: int | None = None) -> str:
    """Return JSON as a line for a file; only where that is UTF-8 it holds other characters than ASCII."""
    return json.dumps(value, indent=indent, ensure_ascii=not is_utf8(file)) + "\n"


def is_utf8(file: TextIO) -> bool:
    """Return whether a file can hold every character."""
    return codecs.lookup(file.encoding or "utf-8").name == "utf-8"


def as_text(name: str) -> str:
    """Return a name with what is no text in it (a file's name may be any bytes) replaced."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def printable(text: str) -> str:
    """Return a text without control characters: a name from elsewhere may hold commands to the terminal."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() or sign in "\n\t" else "\ufffd" for sign in text)


def duration(seconds: float | None) -> str:
    """Return a duration as "12.3 s" or "1:02:03"; empty for None."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
