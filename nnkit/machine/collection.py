"""The garbage collector of Python, kept from looking through what stays."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Collect no garbage while the block runs, and never look through what it has made: imports, for instance.

    Importing torch and Lightning makes a million objects that stay; to look through them again and again takes a fifth
    of the time of a short command.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
