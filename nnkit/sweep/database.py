"""The database that a sweep may share: which URLs are opened, how long it is waited for, and leases kept in it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, IntegrityError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from nnkit.config.places import COMMAND_LINE
from nnkit.errors import ConfigError, EnvironmentFault, Problem, UserError
from nnkit.sweep.directory import STORAGE, SWEEP

_EXAMPLES = (
    "such as sqlite:///study.db or postgresql+psycopg://USER@HOST/DATABASE; "
    "without it, files in the sweep's directory"
)
# Seconds before each further attempt: half a minute in all, in which a server restarts.
_WAITS = (1.0, 2.0, 4.0, 8.0, 15.0)

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
_PACKAGES = {
    "psycopg": "'psycopg[binary]'",
    "psycopg2": "psycopg2-binary",
    "MySQLdb": "mysqlclient",
    "mysql": "mysql-connector-python",
}

# A connection for each thing that is done: there are few, and none that has broken is kept.
ENGINE: dict[str, Any] = {"poolclass": NullPool}

_log = logging.getLogger("nnkit")
_T = TypeVar("_T")


def shown(url: str) -> str:
    """Return a URL as it may be printed: without its password, and without options that could hold one.

    Args:
        url: Of a database, whose form has been checked.
    """
    parsed = make_url(url)
    known = {key: value for key, value in parsed.query.items() if key in _OPTIONS}
    return parsed.set(query=known).render_as_string(hide_password=True)


def patient(url: str) -> URL:
    """Return a URL whose server is not waited for without end where no packet comes back."""
    parsed = make_url(url)
    if parsed.get_driver_name() not in ("psycopg", "psycopg2") or "connect_timeout" in parsed.query:
        return parsed
    return parsed.update_query_dict({"connect_timeout": "10"})


def check_storage(url: str | None) -> None:
    """Refuse a storage that cannot work, without connecting to it.

    Args:
        url: Of a database; None: files in the sweep's directory, which always can.

    Raises:
        ConfigError: If it is no URL of a database that is opened here, or its driver is not installed.
    """
    if url is None:
        return
    try:
        parsed = make_url(url)
    except ArgumentError:
        # What cannot be read may hold a password anywhere.
        text = repr(url) if "@" not in url else "what was given"
        raise _refused(f"{text} is no URL of a database", _EXAMPLES) from None
    driver = _driver(parsed)
    if parsed.get_backend_name() == "sqlite":
        file = parsed.database
        if not file or ":memory:" in file:
            raise _refused(f"{shown(url)} is in memory and gone with the sweep", "such as sqlite:///study.db")
        if not Path(file).absolute().parent.is_dir():
            raise _refused(f"{shown(url)}: there is no directory {Path(file).parent}", "make it first")
    try:
        sqlalchemy.create_engine(parsed)
    except ImportError as error:
        name = error.name or driver
        hint = f"pip install {_PACKAGES.get(name, name)}"
        raise _refused(f"{shown(url)} needs the package {name}, which is not installed", hint) from error


def _driver(url: URL) -> str:
    """Return the driver that a URL names.

    Raises:
        ConfigError: If it, its database or one of its options is none of those that are used here.
    """
    text, backend = shown(url.render_as_string(hide_password=False)), url.get_backend_name()
    if backend not in _DRIVERS:
        raise _refused(f"{text}: {backend} is none of {', '.join(_DRIVERS)}", _EXAMPLES)
    try:
        driver = url.get_driver_name()
    except NoSuchModuleError:
        driver = url.drivername.partition("+")[2]
    if driver not in _DRIVERS[backend]:
        known = ", ".join(f"{backend}+{one}" for one in _DRIVERS[backend])
        raise _refused(f"{text}: {driver} is no driver that is used here", f"there is {known}")
    if unknown := sorted(set(url.query) - _OPTIONS):
        known = ", ".join(sorted(_OPTIONS))
        raise _refused(f"{text}: option {unknown[0]} is not taken", f"there is {known}")
    return driver


def refuse_elsewhere(path: Path, url: str | None, verb: str = "resume") -> None:
    """Refuse a storage outside a sweep's directory that only the sweep's own file names.

    A directory from elsewhere could otherwise make `resume` write tables into any database of the user's.

    Args:
        path: The sweep's directory.
        url: The storage that its file names; None: files in the directory.
        verb: What was typed.

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
    raise UserError(
        f"{path / SWEEP} names the storage {shown(url)}, which lies outside the sweep's directory\n"
        f"    if that is yours, type it: {_again(path, shown(url), verb)}"
    )


def _again(path: Path, url: str | None, verb: str = "resume") -> str:
    """Return the command that goes on with a sweep; a storage must be typed, whatever the sweep's file says."""
    return f"nnkit {verb} {path}" + (f" '{STORAGE}={url}'" if url else "")


def _refused(text: str, hint: str) -> ConfigError:
    return ConfigError([Problem(STORAGE, text, hint, COMMAND_LINE)])


@dataclass
class Patience:
    """What is done with a storage, done again for half a minute while it is down.

    Attributes:
        path: The sweep's directory.
        url: The storage; None: `where` is a file in the directory.
        where: What it is called.
        down: The errors that say so.
        waits: Seconds before each further attempt.
        sleep: Waits some seconds.
    """

    path: Path
    url: str | None
    where: str
    down: tuple[type[Exception], ...] = (OSError, SQLAlchemyError)
    waits: tuple[float, ...] = _WAITS
    sleep: Callable[[float], None] = time.sleep
    _warned: bool = False

    def do(self, action: Callable[[], _T]) -> _T:
        """Do something, more than once if it fails.

        Raises:
            EnvironmentFault: If the storage stays down.
        """
        waits = iter(self.waits)
        while True:
            try:
                return action()
            except self.down as error:
                wait = next(waits, None)
                if wait is None:
                    raise self._fault(error) from error
                if not self._warned:
                    self._warned = True
                    _log.warning("%s: %s; it is tried again", self.where, self.sentence(error))
            self.sleep(wait)

    def _fault(self, error: Exception) -> EnvironmentFault:
        begun = (self.path / SWEEP).is_file()
        hint = _again(self.path, self.where if self.url else None) if begun else "the same command"
        return EnvironmentFault(
            f"{self.where} failed {len(self.waits) + 1} times in {sum(self.waits):.0f} seconds: "
            f"{self.sentence(error)}\n    once it works, go on with: {hint}"
        )

    def sentence(self, error: BaseException) -> str:
        """Return what an error says in one line, without the password of the storage."""
        while type(error).__name__ == "StorageInternalError" and error.__cause__ is not None:
            error = error.__cause__
        first = (str(error).strip().splitlines() or [""])[0] or type(error).__name__
        password = make_url(self.url).password if self.url else None
        return first.replace(str(password), "***") if password else first


class LeaseTable:
    """Generations of leases as rows of a table, whose key lets one process alone make each.

    Args:
        path: The sweep's directory.
        url: Of the database.
        sweep: What tells the sweep from all others in it.
    """

    _table = sqlalchemy.Table(
        "nnkit_leases",
        sqlalchemy.MetaData(),
        sqlalchemy.Column("sweep", sqlalchemy.String(64), primary_key=True),
        sqlalchemy.Column("name", sqlalchemy.String(255), primary_key=True),
        sqlalchemy.Column("generation", sqlalchemy.Integer, primary_key=True, autoincrement=False),
        sqlalchemy.Column("text", sqlalchemy.Text, nullable=False),
    )

    def __init__(self, path: Path, url: str, sweep: str) -> None:
        self.sweep = sweep
        self._patience = Patience(path, url, shown(url))
        self._engine = sqlalchemy.create_engine(patient(url), **ENGINE)
        self._patience.do(lambda: self._table.metadata.create_all(self._engine))

    def hasty(self) -> LeaseTable:
        """Return the same table for whoever would rather know at once that it is down."""
        other = copy(self)
        other._patience = replace(self._patience, waits=())
        return other

    def read(self, name: str, generation: int) -> str | None:
        """Return what a generation says; None if there is none of this number."""
        return self._patience.do(lambda: self._find(name, generation))

    def _find(self, name: str, generation: int) -> str | None:
        with self._engine.connect() as connection:
            query = sqlalchemy.select(self._table.c.text).where(*self._key(name, generation))
            found = connection.execute(query).scalar_one_or_none()
        return None if found is None else str(found)

    def create(self, name: str, generation: int, text: str) -> bool:
        """Make a generation; False if another process was first."""
        new = {"sweep": self.sweep, "name": name, "generation": generation, "text": text}

        def action() -> bool:
            try:
                with self._engine.begin() as connection:
                    connection.execute(self._table.insert().values(new))
            except IntegrityError:
                # An attempt before may have been made all the same. No other process writes this text.
                return self._find(name, generation) == text
            return True

        return self._patience.do(action)

    def replace(self, name: str, generation: int, text: str) -> None:
        """Change what a generation of this process says."""
        change = self._table.update().where(*self._key(name, generation)).values(text=text)

        def action() -> None:
            with self._engine.begin() as connection:
                connection.execute(change)

        self._patience.do(action)

    def _key(self, name: str, generation: int) -> tuple[sqlalchemy.ColumnElement[bool], ...]:
        columns = self._table.c
        return (columns.sweep == self.sweep, columns.name == name, columns.generation == generation)
