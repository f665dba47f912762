"""What tests share: a quiet machine, runs in a folder of their own, and the command line in this process."""

import gc
import json
import logging
import os
import pickle
import signal
import sys
from functools import cache
from importlib import import_module
from importlib.machinery import PathFinder
from pathlib import Path

import pytest

# What takes seconds to import is imported where it is used: not by the process that only deals the tests out.
_MAX_PROCESSES = 4
_LONGEST = (
    "tests/test_one_key.py::test_no_changed_key",
    "tests/distributed/test_torchrun.py",
    "tests/sweep/test_sweep_workers.py",
    "tests/sweep/test_sweep_running.py",
    "tests/sweep/test_sweep_launchers.py",
)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """One more process than cores for folders, as some tests wait; this one alone for files and single tests.

    `-n 0` keeps everything in this process, `-n 3` makes it three.
    """
    if not any(Path(word).is_dir() for word in config.args):
        return 0
    return min((os.cpu_count() or 1) + 1, _MAX_PROCESSES)


def pytest_collectstart(collector):
    """Import Lightning, which takes half as long where its metrics do not find what tests compare with."""
    if "lightning" not in sys.modules:
        # The import hides it.
        from lean.sitecustomize import WithoutPeers

        import_module("lightning.pytorch")
        sys.meta_path[sys.meta_path.index(WithoutPeers)] = PathFinder


def pytest_collection_modifyitems(items):
    """The longest tests, most of which wait for processes, begin first: at the end nothing would run beside them."""
    items.sort(key=lambda item: not item.nodeid.startswith(_LONGEST))


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """One thread, also in processes started here: small tensors train faster, and test runs do not fight."""
    import torch

    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(autouse=True, scope="session")
def peers_are_hidden_from_new_processes():
    """They see what a user has installed, and begin in half the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent / "lean"), prepend=os.pathsep)
        yield


@pytest.fixture(autouse=True, scope="session")
def what_is_installed_is_looked_up_once():
    """Lightning looks through all that is installed whenever it makes a trainer."""
    from lightning.fabric.utilities import registry

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "entry_points", cache(registry.entry_points))
        yield


@pytest.fixture(autouse=True, scope="session")
def nothing_waits_for_the_disk():
    """A process that is killed loses nothing of what it wrote; tests of power cuts look at what was flushed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(autouse=True, scope="session")
def imports_are_no_garbage():
    """To look through all that was imported again and again, whenever something is composed, takes long."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def signals_as_in_a_terminal():
    """Behind nohup, or in the background of a script, they are ignored, here and in processes started here."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def what_a_test_can_import_is_its_own():
    """A module that a test writes and trusts is no other's: all of them call theirs `mine`."""
    before = [*sys.path]
    yield
    own = {*sys.path} - {*before}
    sys.path[:] = before
    for name, module in [*sys.modules.items()] if own else []:
        place = getattr(module, "__file__", None) or ""
        if any(Path(place).is_relative_to(folder) for folder in own):
            del sys.modules[name]


@pytest.fixture(autouse=True, scope="session")
def option_files_are_read_once():
    """Hydra takes longer for the same option files again and again than most tests for what they test.

    Ours and its own do not change; those that a test writes are read each time.
    """
    from hydra._internal.config_repository import ConfigRepository
    from hydra.core.object_type import ObjectType

    from nnkit.config import catalog, loading_once

    load, loaded, ours = ConfigRepository.load_config, {}, str(catalog.conf_dir())

    def load_once(self, config_path):
        source = self._find_object_source(config_path, ObjectType.CONFIG)
        if source is None or (source.path != ours and source.scheme() not in ("pkg", "structured")):
            return load(self, config_path)
        place = source.scheme(), source.path, config_path
        if place not in loaded:
            loaded[place] = pickle.dumps(load(self, config_path))
        return pickle.loads(loaded[place])

    with loading_once(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(ConfigRepository, "load_config", load_once)
        yield


@pytest.fixture(autouse=True, scope="session")
def references_are_parsed_once():
    """OmegaConf parses the text of a reference such as ${seed} again whenever it is followed."""
    from omegaconf import base

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "parse", cache(base.parse))
        yield


@pytest.fixture(autouse=True, scope="session")
def trainings_write_no_report():
    """A page takes longer than most trainings here; a test of it asks for `reports`."""
    from lean.no_report import Reporting

    from nnkit.analysis.report import ending

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ending, "Real", ending.Reporting, raising=False)
        patch.setattr(ending, "Reporting", Reporting)
        yield


@pytest.fixture
def reports(monkeypatch):
    """Trainings write their reports, as a user's do, also in processes started here."""
    from nnkit.analysis.report import ending

    monkeypatch.setattr(ending, "Reporting", ending.Real)
    monkeypatch.setenv("REPORTS", "1")


_judged = {}


@pytest.fixture
def a_config_is_judged_once(monkeypatch):
    """A saved config is read, and looked through for mistakes, once for all tests that resume copies of its run."""
    from copy import deepcopy

    from nnkit.config import composition
    from nnkit.runs import preflight

    def once(function, key):
        def call(given):
            place = function.__name__, key(given)
            if place not in _judged:
                _judged[place] = function(given)
            return deepcopy(_judged[place])

        return call

    monkeypatch.setattr(composition, "from_yaml", once(composition.from_yaml, str))
    monkeypatch.setattr(preflight, "problems", once(preflight.problems, composition.Composition.to_yaml))


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """Every test has a working directory of its own and restores what a run sets for the whole process."""
    import torch

    monkeypatch.chdir(tmp_path)
    generators = torch.get_rng_state()
    yield
    torch.set_rng_state(generators)
    logger = logging.getLogger("nnkit")
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
    # To a logger that does not propagate pytest would add a handler of its own, and nnkit none for standard error.
    logger.propagate = True


@pytest.fixture
def cli(capfd):
    """Run a command line in this process: returns exit code, standard output and standard error."""
    from hydra.core.hydra_config import HydraConfig

    from nnkit.cli import main

    def run(*words):
        capfd.readouterr()
        # Of an earlier command: `--cfg hydra` fills it in, and a process serves one command.
        HydraConfig.instance().cfg = None
        try:
            code = main([str(word) for word in words])
        except SystemExit as leaving:
            code = leaving.code
        out, err = capfd.readouterr()
        return code, out, err

    return run


@pytest.fixture
def records():
    """Read a file of JSON lines."""

    def read(path):
        return [json.loads(line) for line in path.read_text().splitlines()]

    return read
