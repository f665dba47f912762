"""A command that torchrun or srun has started once for each process: one of them leads, the others follow."""

from collections.abc import Callable

from nnkit.distributed.world import read_world
from nnkit.machine import signals


def in_processes(command: Callable[[], object]) -> int:
    """Run a command that trains, where several processes were started for it in the first of them alone.

    Args:
        command: Trains, and calls the others for it.

    Returns:
        The exit code.
    """
    world = read_world()
    if world is None:
        command()
        return 0
    try:
        return _in_world(command)
    except BaseException:
        # The first process says that it was stopped, once for all of them.
        if world.rank == 0 or not signals.broke_off():
            raise
        return 128 + signals.stop()


def _in_world(command: Callable[[], object]) -> int:
    from nnkit.distributed.group import together
    from nnkit.runs.following import follow_as_command, launched

    # Before anything else, so that the others hear of every mistake.
    found = launched()
    assert found is not None
    if not found.leads:
        return follow_as_command(found)
    with together(found):
        command()
    found.close()
    return 0
