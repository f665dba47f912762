"""The study of a search, kept in a journal beside its trials or in a database; either may be down."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import optuna
import sqlalchemy
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from nnkit.config.overrides import COMMAND_LINE
from nnkit.errors import ConfigError, EnvironmentFault, Problem, UserError
from nnkit.files import atomic
from nnkit.sweep.directory import JOURNAL, SWEEP
from nnkit.sweep.study import Direction

# What the study says of a trial beyond Optuna's own: where it was ended early, why it failed, what it repeats.
STOPPED_AT, WHY, REPEATS = "stopped_at", "why", "repeats"

_KEY = "hydra.sweeper.storage"
_EXAMPLES = (
    "such as sqlite:///study.db or postgresql+psycopg://USER@HOST/DATABASE; without it, a journal file"
)
# Seconds before each further attempt: half a minute in all, in which a server restarts.
_WAITS = (1.0, 2.0, 4.0, 8.0, 15.0)
_DOWN = (OSError, SQLAlchemyError, optuna.exceptions.StorageInternalError)
_GARBLED = (ValueError, KeyError, TypeError, AttributeError, AssertionError, IndexError, RecursionError)

# Drivers that only connect to a database. Others load what a URL names: ODBC, for one, any shared library.
_DRIVERS = {
    "sqlite": ("pysqlite",),
    "postgresql": ("psycopg2", "psycopg", "pg8000"),
    "mysql": ("mysqldb", "pymysql", "mysqlconnector"),
    "mariadb": ("mysqldb", "pymysql", "mysqlconnector", "mariadbconnector"),
}
# A sweep may come from elsewhere: options that make a driver read other files or load plug-ins stay out.
_OPTIONS = frozenset(
    {"application_name", "charset", "connect_timeout", "host", "port", "sslmode", "sslrootcert", "ssl_ca"}
    | {"timeout", "unix_socket"}
)
_PACKAGES = {"psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient", "mysql": "mysql-connector-python"}

_log = logging.getLogger("nnkit")
_T = TypeVar("_T")


def check_storage(url: str | None) -> None:
    """Refuse a storage that cannot work, without connecting to it.

    Args:
        url: Of a database; None: a journal in the sweep's directory, which always can.

    Raises:
        ConfigError: If it is no URL of a database that is opened here, or its driver is not installed.
    """
    if url is None:
        return
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise _refused(f"{url!r} is no URL of a database", _EXAMPLES) from None
    shown, driver = parsed.render_as_string(hide_password=True), _driver(parsed)
    if parsed.get_backend_name() == "sqlite":
        file = parsed.database
        if not file or ":memory:" in file:
            raise _refused(f"{shown} is in memory and gone with the sweep", "such as sqlite:///study.db")
        if not Path(file).absolute().parent.is_dir():
            raise _refused(f"{shown}: there is no directory {Path(file).parent}", "make it first")
    try:
        sqlalchemy.create_engine(parsed)
    except ImportError as error:
        name = error.name or driver
        hint = f"pip install {_PACKAGES.get(name, name)}"
        raise _refused(f"{shown} needs the package {name}, which is not installed", hint) from error


def _driver(url: URL) -> str:
    """Return the driver that a URL names.

    Raises:
        ConfigError: If it, its database or one of its options is none of those that are used here.
    """
    shown, backend = url.render_as_string(hide_password=True), url.get_backend_name()
    if backend not in _DRIVERS:
        raise _refused(f"{shown}: {backend} is none of {', '.join(_DRIVERS)}", _EXAMPLES)
    try:
        driver = url.get_driver_name()
    except NoSuchModuleError:
        driver = url.drivername.partition("+")[2]
    if driver not in _DRIVERS[backend]:
        known = ", ".join(f"{backend}+{one}" for one in _DRIVERS[backend])
        raise _refused(f"{shown}: {driver} is no driver that is used here", f"there is {known}")
    if unknown := sorted(set(url.query) - _OPTIONS):
        known = ", ".join(sorted(_OPTIONS))
        raise _refused(f"{shown}: option {unknown[0]} is not taken", f"there is {known}")
    return driver


def refuse_elsewhere(path: Path, url: str | None) -> None:
    """Refuse a storage outside a sweep's directory that only the sweep's own file names.

    A directory from elsewhere could otherwise make `resume` write tables into any database of the user's.

    Args:
        path: The sweep's directory.
        url: The storage that its file names; None: a journal in the directory.

    Raises:
        UserError: If it is outside, with what to type to use it all the same.
    """
    check_storage(url)
    if url is None:
        return
    parsed = make_url(url)
    local = parsed.get_backend_name() == "sqlite" and not parsed.query and parsed.database is not None
    if local and Path(str(parsed.database)).resolve().is_relative_to(path.resolve()):
        return
    shown = parsed.render_as_string(hide_password=True)
    raise UserError(
        f"{path / SWEEP} names the storage {shown}, which lies outside the sweep's directory\n"
        f"    if that is yours, type it: {_again(path, shown)}"
    )


def _again(path: Path, shown: str | None) -> str:
    """Return the command that goes on with a sweep; a storage must be typed, whatever the sweep's file says."""
    return f"nnkit resume {path}" + (f" '{_KEY}={shown}'" if shown else "")


def _refused(text: str, hint: str) -> ConfigError:
    return ConfigError([Problem(_KEY, text, hint, COMMAND_LINE)])


class StudyStore:
    """The study of one search; what is done with it is tried again while its storage is down.

    Args:
        path: The sweep's directory, which this process holds.
        url: The storage; None: a journal in the directory.
        direction: "minimize" or "maximize".
        sleep: Waits some seconds.

    Raises:
        ConfigError: If the storage cannot work.
        UserError: If there is something else in it.
        EnvironmentFault: If it stays down.
    """

    def __init__(
        self, path: Path, url: str | None, direction: Direction, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        check_storage(url)
        self.path = path
        self.name = path.absolute().name
        self.journal = None if url is not None else path / JOURNAL
        self.where = str(self.journal) if url is None else make_url(url).render_as_string(hide_password=True)
        self.direction = direction
        self._url, self._sleep = url, sleep
        self._warned = False
        # Python prints what loggers without a handler warn of; nnkit has messages of its own.
        optuna.logging.disable_default_handler()
        optuna.logging.set_verbosity(optuna.logging.CRITICAL)
        self.study = self._retried(self._open)
        if [one.name.lower() for one in self.study.directions] != [direction]:
            found = ", ".join(one.name.lower() for one in self.study.directions)
            raise UserError(f"study {self.name} in {self.where} is there to {found}, and not to {direction}")

    def do(self, action: Callable[[optuna.Study], _T]) -> _T:
        """Do something with the study.

        Args:
            action: May be done more than once.

        Raises:
            EnvironmentFault: If the storage stays down, as the methods below.
        """
        return self._retried(lambda: action(self.study))

    def trials(self) -> list[FrozenTrial]:
        """Return all trials of the study, in the order of their numbers."""
        return self.do(lambda study: study.get_trials(deepcopy=False))

    def add(self, new: FrozenTrial, number: int) -> FrozenTrial:
        """Add a trial that is to have a number, unless an attempt that failed has added it all the same."""

        def action(study: optuna.Study) -> FrozenTrial:
            if len(study.get_trials(deepcopy=False)) == number:
                study.add_trial(new)
            return study.get_trials(deepcopy=False)[number]

        return self.do(action)

    def tell(self, number: int, state: TrialState, value: float | None, why: str) -> None:
        """Tell how a trial ended, unless the study knows.

        Args:
            number: The trial's.
            state: How it ended.
            value: What it reached; None unless it is complete.
            why: Why it has no value; empty where that is plain.
        """

        def action(study: optuna.Study) -> None:
            frozen = study.get_trials(deepcopy=False)[number]
            if frozen.state.is_finished():
                return
            if why:
                optuna.trial.Trial(study, frozen._trial_id).set_user_attr(WHY, why)
            study.tell(number, value, state=state)

        self.do(action)

    def _retried(self, action: Callable[[], _T]) -> _T:
        waits = iter(_WAITS)
        while True:
            try:
                return action()
            except _DOWN as error:
                wait = next(waits, None)
                if wait is None:
                    raise self._down(error) from error
                if not self._warned:
                    self._warned = True
                    _log.warning("%s: %s; it is tried again", self.where, _sentence(error))
            self._sleep(wait)
            self._repair()

    def _down(self, error: Exception) -> EnvironmentFault:
        begun = (self.path / SWEEP).is_file()
        hint = _again(self.path, None if self.journal else self.where) if begun else "the same command"
        return EnvironmentFault(
            f"{self.where} failed {len(_WAITS) + 1} times in {sum(_WAITS):.0f} seconds: {_sentence(error)}"
            f"\n    once it works, go on with: {hint}"
        )

    def _open(self) -> optuna.Study:
        try:
            return optuna.create_study(
                storage=self._storage(),
                # Never asked: settings are drawn by `study.draw`.
                sampler=optuna.samplers.RandomSampler(seed=0),
                pruner=optuna.pruners.NopPruner(),
                study_name=self.name,
                direction=self.direction,
                load_if_exists=True,
            )
        except _DOWN:
            raise
        except _GARBLED as error:
            raise UserError(f"{self.where} holds no study that can be read: {_sentence(error)}") from error

    def _storage(self) -> BaseStorage:
        if self.journal is None:
            # Optuna fills in fields in braces.
            url = str(self._url).replace("{", "{{").replace("}", "}}")
            return RDBStorage(url, engine_kwargs={"pool_pre_ping": True})
        atomic.make_directory(self.path)
        if self.journal.is_symlink():
            raise UserError(
                f"{self.journal} is a link, which could lead anywhere; a study is a file of its own"
            )
        self._repair()
        return JournalStorage(JournalFileBackend(str(self.journal), _Held(str(self.journal))))

    def _repair(self) -> None:
        """Take away a line that a kill or a full disk has torn, so that the next one does not run into it."""
        if self.journal is None or not self.journal.exists():
            return
        whole = atomic.read(self.journal)
        if whole and not whole.endswith(b"\n"):
            os.truncate(self.journal, whole.rfind(b"\n") + 1)


class _Held(JournalFileOpenLock):
    """No lock: the sweep is held already, and Optuna's own would outlive a kill and cost the next start 30 s."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        return


def _sentence(error: Exception) -> str:
    cause = error.__cause__ if isinstance(error, optuna.exceptions.StorageInternalError) else None
    first = (str(cause or error).strip().splitlines() or [""])[0]
    return first or type(error).__name__
