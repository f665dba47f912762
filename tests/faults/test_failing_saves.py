"""Class 3: whatever operation of a save fails, the state before it or the one after it is there."""

import re
from contextlib import contextmanager, suppress

import pytest
from failing_os import EIO, ENOSPC, FULL, KILL, SHORT, FailingOs, Killed, WatchedOs

from nnkit.errors import EnvironmentFault, UserError
from nnkit.files import atomic


@pytest.fixture(params=[(keep, best) for keep in (1, 2) for best in ("old", "new")], ids=str)
def save(request):
    """How step 4 is saved: what is the best then, and how many of the newest are kept."""
    keep, best = request.param
    return {"best": 1 if best == "old" else 4, "keep": keep}


@pytest.fixture(autouse=True)
def no_waiting(operating):
    """The disk is not waited for."""
    operating(WatchedOs())


@pytest.fixture
def failing(monkeypatch):
    """Put something in the place of `os` for a block, a kill in which ends the block alone."""

    @contextmanager
    def put(proxy):
        with monkeypatch.context() as context, suppress(Killed):
            context.setattr(atomic, "os", proxy)
            yield

    return put


@pytest.fixture
def begin(store, save):
    """Bring the store to where step 4 is to be saved: it holds steps 1 (the best), 2 and 3, but for what is pruned."""
    for step in (1, 2, 3):
        store.save(step, best=1, keep=save["keep"])
    content = {path: path.read_bytes() for path in store.directory.iterdir()}

    def again():
        for path in store.directory.iterdir():
            path.unlink()
        for path, data in content.items():
            path.write_bytes(data)

    return again


def attempts(fault, at_least):
    """Yield a proxy that fails at the first operation, at the second, ... until there is no such operation."""
    for n in range(1, 200):
        proxy = FailingOs(n, fault)
        yield proxy
        if proxy.failed is None:
            assert n > at_least
            return
    raise AssertionError("there is no end to it")


def old_or_new(store, save):
    """Return the step that a fresh process loads: 3 or 4, and the best is the one that belongs to it."""
    fresh = type(store)(store.directory)
    step = fresh.loaded("last")
    assert step in (3, 4)
    assert fresh.loaded("best") == (1 if step == 3 else save["best"])
    return step


def assert_goes_on(store, save, step):
    """A run that starts now clears the litter, and its next save works."""
    fresh = type(store)(store.directory)
    fresh.prepare()
    assert not fresh.litter()
    best = 1 if step == 3 else save["best"]
    fresh.save(5, best=best, keep=save["keep"])
    assert (fresh.loaded("last"), fresh.loaded("best")) == (5, best)
    assert len(fresh.steps()) <= save["keep"] + 1
    assert not fresh.litter()


def test_a_kill_at_any_operation_leaves_the_state_before_or_after(store, save, begin, failing, warned):
    outcomes = set()
    for proxy in attempts(KILL, at_least=30):
        begin()
        with failing(proxy):
            store.save(4, **save)
        step = old_or_new(store, save)
        # What a kill leaves behind is never taken for a damaged checkpoint.
        assert not warned
        assert_goes_on(store, save, step)
        outcomes.add(step)
    assert outcomes == {3, 4}


@pytest.mark.parametrize("fault", [ENOSPC, EIO, FULL], ids=["ENOSPC once", "EIO once", FULL])
def test_an_error_at_any_operation_is_said_and_leaves_a_good_checkpoint(store, save, begin, failing, fault):
    for proxy in attempts(fault, at_least=3 if fault == FULL else 30):
        begin()
        said = None
        try:
            with failing(proxy):
                store.save(4, **save)
        except EnvironmentFault as error:
            said = str(error)
        step = old_or_new(store, save)
        if proxy.failed is not None:
            assert_said(said, *proxy.failed)
            # What could not be deleted is still there; the next start deletes it.
            assert proxy.failed[0] == "unlink" or not store.litter()
        assert_goes_on(store, save, step)


def assert_said(said, name, path):
    """An error names the file, its bytes if it is one that is written, and what the system says."""
    if said is None:
        # Looking for what is to be pruned, a manifest that cannot be read is passed over.
        assert path.suffix == ".json"
        assert name in ("open", "read", "close")
        return
    assert str(path).removesuffix(atomic.TEMPORARY) in said
    assert re.search("No space left|Input/output error", said)
    assert path.suffix != atomic.TEMPORARY or re.search(r"\([\d,]+ bytes\)", said)


def test_a_short_write_is_no_error(store, save, begin, failing):
    for proxy in attempts(SHORT, at_least=3):
        begin()
        with failing(proxy):
            store.save(4, **save)
        assert (store.loaded("last"), store.loaded("best")) == (4, save["best"])


@pytest.mark.parametrize("fault", [KILL, ENOSPC, EIO], ids=str)
def test_the_first_save_of_all_is_there_or_there_is_none(store, failing, fault):
    for proxy in attempts(fault, at_least=25):
        for path in store.directory.iterdir():
            path.unlink()
        with failing(proxy), suppress(EnvironmentFault):
            store.save(1, best=1)
        fresh = type(store)(store.directory)
        if fresh.holds_any():
            assert fresh.loaded("last") == 1
        else:
            with pytest.raises(UserError, match="no checkpoint yet"):
                fresh.load("last")
        fresh.prepare()
        fresh.save(1, best=1)
        assert fresh.loaded("best") == 1
        assert not fresh.litter()


def test_a_kill_at_any_operation_of_a_start_loses_nothing(store, save, begin, failing):
    left = ("step-000004.safetensors", "step-000004.state.json.tmp", "step-000003.json.tmp", "index.json.tmp")
    for proxy in attempts(KILL, at_least=15):
        begin()
        for name in left:
            (store.directory / name).write_bytes(b"left by a process that was killed")
        with failing(proxy):
            type(store)(store.directory).prepare()
        assert old_or_new(store, save) == 3
        assert_goes_on(store, save, 3)
