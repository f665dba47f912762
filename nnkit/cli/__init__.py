"""Everything typed: a verb, and what it needs; torch is imported only by verbs that need it."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from nnkit.errors import NnkitError, UserError
from nnkit.machine import signals
from nnkit.ui.terminal import printable, set_up_streams, write_to_nobody

# Python's own variable: like the option -P.
_SAFE_PATH = "PYTHONSAFEPATH"
# What a write says where a disk is full, a quota is used up, or a terminal is gone.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 environment or bug, 2 user's mistake, 129, 130, 143."""
    if arguments is not None:
        with signals.taken():
            return _stoppable(list(arguments))
    signals.ignore_at_exit()
    signals.take()
    return _stoppable(sys.argv[1:], leave=signals.leave_with)


def _stoppable(words: list[str], leave: Callable[[int], None] = lambda code: None) -> int:
    """Run one command, and leave with the exit code of a signal if it breaks that off.

    Args:
        words: The command's words.
        leave: Called with the exit code when nothing is left to be done.
    """
    try:
        code = _explained(words)
        leave(code)
    except BaseException:
        # Not only `Stopped`: what a signal breaks off in the midst of an import may end in an error of another kind.
        if not signals.broke_off():
            raise
        code = _fail(str(signals.Stopped(signals.stop())), 128 + signals.stop())
        leave(code)
    return code


def _explained(words: list[str]) -> int:
    """Run one command; what is no bug is a sentence and an exit code."""
    set_up_streams()
    try:
        with _safe_path_for_children():
            code = _run(words)
        # What is still held back may find the disk full.
        sys.stdout.flush()
        return code
    except NnkitError as error:
        return _fail(_sentence(error), error.exit_code)
    except BrokenPipeError:
        # The reader of our output has gone, as in `nnkit runs | head`.
        write_to_nobody(sys.stdout)
        return 0
    except OSError as error:
        if error.errno in _FULL and error.filename is None:
            return _unwritten(error)
        if error.errno not in (errno.ENAMETOOLONG, errno.ELOOP):
            raise
        # What was to be a path was typed, or is from a run directory.
        return _fail(f"{str(error.filename)[:200]}: {error.strerror}", 2)


def _unwritten(error: OSError) -> int:
    try:
        sys.stdout.flush()
    except OSError:
        write_to_nobody(sys.stdout)
    return _fail(f"what was to be written is lost: {error.strerror}", 1)


@contextmanager
def _safe_path_for_children() -> Iterator[None]:
    """Keep the working directory off the import path of every Python process that is started from here.

    The fork server and the resource tracker of multiprocessing start with `python -c`, pip and loggers with
    `python -m`: each would put the working directory before the standard library.
    """
    before = os.environ.get(_SAFE_PATH)
    os.environ[_SAFE_PATH] = "1"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_SAFE_PATH, None)
        else:
            os.environ[_SAFE_PATH] = before


def _run(words: list[str]) -> int:
    from nnkit.cli import parser
    from nnkit.cli.verbs import VERBS

    if not words or words[0] in ("-h", "--help", "help"):
        parser.print_guide()
        return 0
    if words[0] in ("-V", "--version"):
        from nnkit import __version__

        sys.stdout.write(f"nnkit {__version__}\n")
        return 0
    if words[0] not in VERBS:
        from nnkit.suggest import did_you_mean

        raise UserError(
            f"there is no verb {words[0]!r}{did_you_mean(words[0], VERBS) or ': type nnkit for the list'}"
        )
    from nnkit.ui import logs

    logs.set_up()
    verb = parser.module_of(words[0])
    given = parser.parse(verb.VERB, words[1:])
    if given.help:
        parser.print_help(verb.VERB)
        return 0
    return int(verb.run(given))


def _sentence(error: NnkitError) -> str:
    """Return what an error says; from a worker process torch brings it wrapped in that process's traceback."""
    text = str(error)
    return text.splitlines()[-1].partition(": ")[2] if "Original Traceback" in text else text


def _fail(text: str, code: int) -> int:
    sys.stdout.flush()
    # The exit code says it too, where standard error has no room left.
    with suppress(OSError):
        sys.stderr.write(f"nnkit: {printable(text)}\n")
    return code
