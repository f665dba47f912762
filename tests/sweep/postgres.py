"""A PostgreSQL server that tests start and stop; where there is none, they are skipped with the reason."""

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest

_TOOLS = ("initdb", "pg_ctl")
_PLACES = (
    *os.environ.get("PATH", "").split(os.pathsep),
    *map(str, Path("/usr/lib/postgresql").glob("*/bin")),
)
# PostgreSQL refuses to run as root.
_USER = "postgres"


def missing():
    """Return why there is no server; empty where there is one."""
    for tool in _TOOLS:
        if shutil.which(tool, path=os.pathsep.join(_PLACES)) is None:
            return f"PostgreSQL's {tool} is not installed"
    if find_spec("psycopg") is None:
        return "pip install psycopg[binary]"
    if os.geteuid() == 0:
        if _USER not in {one.pw_name for one in pwd.getpwall()}:
            return f"root cannot run PostgreSQL, and there is no user {_USER}"
        if shutil.which("runuser") is None:
            return "root cannot run PostgreSQL without runuser"
    return ""


class Server:
    """A server on a free port of this machine, with a user `nnkit` who has a password."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="nnkit-postgres-"))
        self.data, self.password = self.folder / "data", secrets.token_hex(12)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        words = self.folder / "password"
        words.write_text(self.password)
        if os.geteuid() == 0:
            shutil.chown(self.folder, _USER)
            shutil.chown(words, _USER)
        secret = ["--auth=scram-sha-256", f"--pwfile={words}", "--username=nnkit", "--no-sync"]
        self._run("initdb", "-D", str(self.data), *secret)
        words.unlink()

    @property
    def url(self):
        """The URL of its database, with the password."""
        return f"postgresql+psycopg://nnkit:{self.password}@127.0.0.1:{self.port}/postgres"

    def start(self):
        """Start it and wait until it answers."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
        self._run(
            "pg_ctl", "-D", str(self.data), "-w", "-l", str(self.folder / "log"), "-o", options, "start"
        )

    def stop(self):
        """Stop it at once; connections break."""
        self._run("pg_ctl", "-D", str(self.data), "-w", "-m", "immediate", "stop")

    def remove(self):
        """Stop it and take its files away."""
        self.stop()
        shutil.rmtree(self.folder)

    def _run(self, tool, *words):
        path = shutil.which(tool, path=os.pathsep.join(_PLACES))
        user = ["runuser", "-u", _USER, "--"] if os.geteuid() == 0 else []
        done = subprocess.run([*user, path, *words], cwd=self.folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def postgres():
    """A server that runs."""
    if reason := missing():
        pytest.skip(reason)
    server = Server()
    server.start()
    yield server
    server.remove()
