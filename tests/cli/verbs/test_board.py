"""`nnkit board`: TensorBoard on loopback, until it is stopped."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from nnkit.ui import board


def events(folder):
    """Write one value as TensorBoard's own writer does."""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder)) as writer:
        writer.add_scalar("val/loss", 0.5, 1)


def fetched(address):
    with urllib.request.urlopen(address, timeout=20) as answer:
        return answer.status, answer.read()


@pytest.mark.parametrize(("words", "shown"), [([], "first/tensorboard"), (["first"], "tensorboard")])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_it_is_started_shows_the_runs_and_is_ended(words, shown, number, code):
    Path("outputs/first").mkdir(parents=True)
    Path("outputs/first/config.yaml").write_text("seed: 0\n")
    events("outputs/first/tensorboard")
    command = [sys.executable, "-m", "nnkit", "board", *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, start_new_session=True, **pipes) as process:
        try:
            address = process.stdout.readline().strip()
            assert address.startswith("http://127.0.0.1:"), process.stderr.read()
            status, page = fetched(address)
            assert (status, b"<!doctype html>" in page) == (200, True)
            runs, until = [], time.monotonic() + 60
            while not runs and time.monotonic() < until:
                runs = json.loads(fetched(f"{address}data/runs")[1])
                time.sleep(0.1)
            assert runs == [shown]
            os.killpg(process.pid, number)
            assert process.wait(30) == code
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    port = int(address.rsplit(":", 1)[1].strip("/"))
    with socket.socket() as free:
        assert free.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ([], "there is no directory outputs"),
        (["empty"], "empty holds nothing that TensorBoard shows"),
        (["gone"], "no run 'gone'"),
        (["--port", "0"], "--port must be at least 1, not 0"),
    ],
)
def test_nothing_to_show_is_said(cli, words, hint):
    Path("empty").mkdir()
    code, out, err = cli("board", *words)
    assert (code, out) == (2, "")
    assert hint in err


@pytest.mark.parametrize("port", ["taken", "99999"])
def test_a_port_that_cannot_be_had_is_named(port):
    events("outputs/first/tensorboard")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        number = other.getsockname()[1] if port == "taken" else int(port)
        # In a process of its own: threads of TensorBoard go on reading after it has failed.
        command = [sys.executable, "-m", "nnkit", "board", "--port", str(number)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert f"TensorBoard cannot be started on port {number}" in done.stderr


def test_without_tensorboard_it_says_what_to_install(cli, monkeypatch):
    events("outputs/first/tensorboard")
    monkeypatch.setitem(sys.modules, "tensorboard.program", None)
    code, _, err = cli("board")
    assert code == 1
    assert "pip install tensorboard" in err


def test_a_sweep_and_any_folder_are_found(cli, monkeypatch):
    from nnkit.cli.verbs import board as verb

    class Ended(Exception):
        pass

    def start(directory, port):
        raise Ended(str(directory))

    monkeypatch.setattr(verb, "start", start)
    events("outputs/sweeps/lr/0/tensorboard")
    Path("outputs/sweeps/lr/sweep.json").write_text("{}")
    for word, folder in (("lr", "outputs/sweeps/lr"), ("outputs/sweeps", "outputs/sweeps")):
        with pytest.raises(Ended, match=f"{folder}$"):
            cli("board", word)
    assert board.check_events(Path("outputs")) is None
