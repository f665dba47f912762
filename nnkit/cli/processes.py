"""A command that torchrun or srun has started once for each process: one of them leads, the others follow."""

from collections.abc import Callable

from nnkit.distributed.world import read_world


def in_processes(command: Callable[[], object]) -> int:
    """Run a command that trains, where several processes were started for it in the first of them alone.

    Args:
        command: Trains, and calls the others for it.

    Returns:
        The exit code.
    """
    if read_world() is None:
        command()
        return 0
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
