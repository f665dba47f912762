"""`nnkit serve` as it is typed: what it prints, how it ends, and what it refuses."""

import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest
import samples
from serving import Client

import nnkit
from nnkit.cli.verbs import serve as verb


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(found)
        for name, kind in (("iris", "table"), ("writer", "text")):
            model = ["model=gpt", *samples.small("gpt")] if kind == "text" else []
            typed = [*samples.words(kind), *model, f"name={name}", "trainer.max_epochs=1", "logger=[]"]
            nnkit.train(typed)
    return found


def started(folder, *words):
    """Start the command, and return its process and the address that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-m", "nnkit", "serve", *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "BROWSER": "echo opened %s"},
    )
    address = process.stdout.readline().strip()
    assert address.startswith("http://"), process.communicate(timeout=60)
    assert process.stdout.readline().endswith("; Ctrl-C ends it\n")
    client = Client(int(re.search(r":(\d+)/", address)[1]))
    until = time.monotonic() + 60
    while True:
        try:
            if client.request("GET", "/health")[0] == 200:
                return process, address, client
        except OSError:
            assert time.monotonic() < until
            time.sleep(0.1)


ROW = {"sepal length (cm)": 5.1, "sepal width (cm)": 3.5, "petal length (cm)": 1.4, "petal width (cm)": 0.2}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_after_what_was_asked_is_answered(folder, number):
    process, address, client = started(folder, "writer", "--port", "0")
    try:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", address)
        body = b'{"prompt": "the", "length": 2000}'
        head = b"POST /generate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        with socket.create_connection(("127.0.0.1", client.port), timeout=60) as connection:
            connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            answer = b""
            while b"candidates" not in answer:
                answer += connection.recv(65536)
            os.killpg(process.pid, number)
            while piece := connection.recv(65536):
                answer += piece
        _, err = process.communicate(timeout=60)
        assert process.returncode == 128 + number
        assert "Traceback" not in err
        assert answer.startswith(b"HTTP/1.1 200 ")
        # The text ends early, and its last line says so.
        assert b'{"done": "the server stops"}\n' in answer
        with pytest.raises(ConnectionRefusedError):
            client.get("/health")
    finally:
        process.kill()


def test_a_port_in_use_and_other_mistakes_are_sentences(folder, cli, monkeypatch):
    monkeypatch.chdir(folder)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, out, err = cli("serve", "iris", "--port", port)
        assert (code, out) == (2, "")
        assert f"port {port} of 127.0.0.1 cannot be listened on" in err
        assert "--port 0 takes a free one" in err
    for words, part in (
        (("--port", "70000"), "--port must be at most 65535"),
        (("--token", "short"), "--token must have at least 8 letters"),
        (("--host", "no.such.host.invalid", "--port", "0"), "there is no such host"),
    ):
        code, _, err = cli("serve", "iris", *words)
        assert code == 2
        assert part in err
    code, _, err = cli("serve", "nothing", "--port", "0")
    assert code == 2
    assert "nothing" in err


def test_without_the_packages_it_says_what_to_install(cli, monkeypatch):
    monkeypatch.setattr(verb, "find_spec", lambda name: None)
    code, out, err = cli("serve", "last")
    assert (code, out) == (2, "")
    assert "needs starlette and uvicorn, which are not installed" in err
    assert "pip install 'nnkit[serve]'" in err


def test_other_machines_need_a_token_which_is_made(folder):
    process, address, client = started(folder, "iris", "--port", "0", "--host", "0.0.0.0")
    try:
        token = re.search(r"\?token=([\w-]{20,})$", address)[1]
        assert client.post("/predict", {"rows": [ROW]})[0] == 401
        status, found = client.post("/predict", {"rows": [ROW]}, Authorization=f"Bearer {token}")
        assert status == 200
        assert found["predictions"][0]["label"] in ("setosa", "versicolor", "virginica")
        # The name of another host that points here is refused although it knows the token.
        given = {"Authorization": f"Bearer {token}", "Host": "evil.example"}
        assert client.post("/predict", {"rows": [ROW]}, **given)[0] == 421
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.communicate(timeout=60)
