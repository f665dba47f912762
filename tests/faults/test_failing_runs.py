"""Class 3 for whole runs: whatever operation fails, the run goes on to the end of one that nothing happened to."""

from pathlib import Path

import pytest
from exactness import assert_same_end
from failing_os import EIO, FULL, KILL, FailingOs, Killed, WatchedOs
from short_run import SHORT_RUN

import nnkit
from nnkit.checkpoint.formats import DOCUMENT, TENSORS
from nnkit.errors import EnvironmentFault
from nnkit.files.layout import CONFIG
from nnkit.runs.resuming import resume
from nnkit.runs.run import Run

pytestmark = pytest.mark.usefixtures("a_config_is_judged_once")

# Between two of them nothing changes that the next process could see.
CHANGES = ("write", "replace", "unlink", "mkdir")
READ_AT_THE_END = [("read", TENSORS), ("read", DOCUMENT)]


@pytest.fixture
def operations(operating, one_after_another):
    """All operations of the short run: name of each and what kind of file it belongs to."""
    proxy = operating(WatchedOs())
    nnkit.train([*SHORT_RUN, "name=counted"])
    return [(name, _kind(path)) for name, path in proxy.operations]


def _kind(path):
    return "".join(path.suffixes) if path.name.startswith("step-") else path.name


def places(operations, names):
    """Return the number of one operation of each name and kind of file, in the middle of the run."""
    found = []
    for sort in dict.fromkeys(one for one in operations if one[0] in names):
        numbers = [n for n, one in enumerate(operations, start=1) if one == sort]
        found.append(numbers[len(numbers) // 2])
    return sorted(found)


def train_until(proxy, operating, name):
    """Train with a fault; return the run and what was said."""
    operating(proxy)
    said = ""
    try:
        nnkit.train([*SHORT_RUN, f"name={name}"])
    except Killed:
        said = "killed"
    except EnvironmentFault as error:
        said = str(error)
    operating(WatchedOs())
    assert proxy.failed is not None
    return Run(Path("outputs") / name), said


def go_on(run):
    """Do what a user does next: resume, or type the command again if there is no run yet."""
    if run.status() == "done":
        return
    if (run.path / CONFIG).exists():
        resume(str(run.path), show=False)
    else:
        nnkit.train([*SHORT_RUN, f"name={run.path.name}"])
    assert run.status() == "done"


def test_a_run_killed_at_any_operation_ends_as_if_it_had_not_been(operations, operating, undisturbed):
    numbers = places(operations, CHANGES)
    assert len(numbers) > 15
    for n in numbers:
        run, said = train_until(FailingOs(n, KILL), operating, f"killed-{n}")
        assert said == "killed"
        assert run.status() != "done"
        go_on(run)
        assert_same_end(undisturbed, run, f"operation {n}: {operations[n - 1]}")


@pytest.mark.parametrize("fault", [EIO, FULL], ids=["EIO", FULL])
def test_a_run_ended_by_an_error_at_any_operation_says_it_and_goes_on_exactly(
    operations, operating, undisturbed, fault
):
    names = ("write",) if fault == FULL else ("fsync", "read")
    # Checkpoints are read at the end alone, to be tested: there an older one would take the place of the best.
    counted = [one for one in operations if one[0] in names and one not in READ_AT_THE_END]
    for n in places(counted, names):
        proxy = FailingOs(
            n, fault, lambda name, path: name in names and (name, _kind(path)) not in READ_AT_THE_END
        )
        run, said = train_until(proxy, operating, f"failed-{n}")
        where = f"operation {n} of {' '.join(names)}: {counted[n - 1]}"
        # What cannot be read while old checkpoints are looked for is passed over.
        assert str(run.path) in said or counted[n - 1][0] == "read", where
        go_on(run)
        assert_same_end(undisturbed, run, where)
