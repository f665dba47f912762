"""The command line, which gets a signal at one place: python signalling.py PLACE SIGNAL WAY words of nnkit ...

With mark:FILE instead of a signal the file is made there, and the place lasts for a while: somebody else sends it.
"""

import os
import signal
import sys
import time
from pathlib import Path
from threading import Timer

from nnkit.machine import signals


def send(number, way):
    """Send a signal to this process or to its group, as the system does when a job is to end."""
    if way == "group":
        os.killpg(os.getpgid(0), number)
    else:
        os.kill(os.getpid(), number)


# Seconds of a place at which somebody else sends a signal.
LASTS = 0.5
HOOKS = {
    "first step": ("on_train_batch_start", 1),
    "training": ("on_train_batch_start", 9),
    "validation": ("on_validation_batch_start", 2),
}


def in_new_process(action):
    """Do it in each process right after it was forked, where nothing of it has run yet."""
    os.register_at_fork(after_in_child=action)


def at_hook(name, count, action):
    """Do it at the n-th call of a callback's hook."""
    from lightning.pytorch import Callback

    from nnkit.runs import fit

    class Hook(Callback):
        def __init__(self):
            self.calls = 0
            setattr(self, name, self.strike)

        def strike(self, *arguments, **keywords):
            self.calls += 1
            if self.calls == count:
                action()

    before = fit.build_all
    fit.build_all = lambda group, *rest, **more: (
        before(group, *rest, **more) + ([Hook()] if group == "callbacks" else [])
    )


def before_call(owner, name, action):
    """Do it once, before a method is called."""
    before, left = getattr(owner, name), [action]

    def call(*arguments, **keywords):
        if left:
            left.pop()()
        return before(*arguments, **keywords)

    setattr(owner, name, call)


def after_call(owner, name, action):
    """Do it each time after a function was called."""
    before = getattr(owner, name)

    def call(*arguments, **keywords):
        result = before(*arguments, **keywords)
        action()
        return result

    setattr(owner, name, call)


def arrange(place, action):
    """Have it done at a place of the next command."""
    if place == "start-up":
        # Nothing else is imported before: that the command does so itself is the place.
        after_call(signals, "take", action)
        return
    from nnkit.checkpoint.store import CheckpointStore
    from nnkit.data.base import DataModule

    if place in HOOKS:
        at_hook(*HOOKS[place], action)
    elif place == "preparation":
        before_call(DataModule, "check", action)
    elif place == "saving":
        before_call(CheckpointStore, "commit", action)
    elif place == "test":
        before_call(DataModule, "test_dataloader", lambda: None)
        at_hook("on_train_end", 1, lambda: before_call(DataModule, "test_dataloader", action))
    elif place == "new process":
        in_new_process(action)


def signals_of(number, way):
    """Return what sends the signals, a second apart."""
    parts = [signal.Signals[name] for name in number.split("+")]

    def act():
        for after, one in enumerate(parts):
            later = Timer(after, send, (one, way))
            later.daemon = True
            later.start() if after else send(one, way)

    return act


def mark(path, seconds):
    """Return what makes a file and waits, once."""

    def act():
        if not path.exists():
            path.touch()
            time.sleep(seconds)

    return act


def run(place, number, way, words):
    """Run a command line that gets the signal at the place; return its exit code."""
    from nnkit.cli import main

    if number.startswith("mark:"):
        arrange(place, mark(Path(number.removeprefix("mark:")), 0 if place == "start-up" else LASTS))
    else:
        arrange(place, signals_of(number, way))
    sys.argv = ["nnkit", *words]
    return main()


if __name__ == "__main__":
    sys.exit(run(*sys.argv[1:4], sys.argv[4:]))
