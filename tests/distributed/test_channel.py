"""The line between processes: messages, reasons, and what a line tells that breaks."""

import socket
import threading

import pytest

from nnkit.distributed import channel
from nnkit.distributed.channel import TRY_AGAIN, PeerEnded, answer, call, listen


@pytest.fixture
def ends():
    """The channel of the first process, and that of the other one."""
    server = listen("127.0.0.1")
    port, found = server.getsockname()[1], {}
    caller = threading.Thread(target=lambda: found.update(other=call("127.0.0.1", port, "secret", 1)))
    caller.start()
    first = answer(server, "secret", 1)
    caller.join()
    yield first, found["other"]
    for end in (first, found["other"]):
        end.close()
        end.over()


def test_a_message_arrives(ends):
    first, other = ends
    first.send(run="outputs/name", text="Zeile\n中文")
    assert other.receive() == {"run": "outputs/name", "text": "Zeile\n中文"}


def test_a_reason_is_raised_with_its_exit_code(ends):
    first, other = ends
    first.fail("the disk is full", 1)
    with pytest.raises(PeerEnded, match="the disk is full") as raised:
        other.receive()
    assert raised.value.exit_code == 1


def test_a_line_that_breaks_without_a_word_tells_of_a_kill(ends):
    first, other = ends
    other._lines[0].close()
    ended = first.ended(5)
    assert (ended.rank, ended.code) == (1, TRY_AGAIN)
    assert "process 1 of the run has ended and gave no reason" in str(ended.error())


def test_after_a_goodbye_nothing_is_wrong(ends):
    first, other = ends
    first.close()
    assert other.receive() == {"over": ""}
    assert other.ended(0.2) is None


def test_who_does_not_know_the_word_is_turned_away():
    server = listen("127.0.0.1")
    port, found = server.getsockname()[1], {}
    waiting = threading.Thread(target=lambda: found.update(first=answer(server, "secret", 1)))
    waiting.start()
    for hello in (b'{"token": "guess", "rank": 1}\n', b"GET / HTTP/1.0\r\n\r\n", b"[]\n"):
        with socket.create_connection(("127.0.0.1", port), timeout=5) as stranger:
            stranger.sendall(hello)
            assert stranger.recv(1) == b""
    other = call("127.0.0.1", port, "secret", 1)
    waiting.join()
    found["first"].send(hello=1)
    assert other.receive() == {"hello": 1}
    for end in (other, found["first"]):
        end.close()
        end.over()


def test_who_has_called_and_ends_is_not_waited_for():
    server, found = listen("127.0.0.1"), []

    def wait():
        try:
            answer(server, "secret", 2)
        except PeerEnded as error:
            found.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    with socket.create_connection(server.getsockname(), timeout=5) as killed:
        killed.sendall(b'{"token": "secret", "rank": 2}\n')
    waiting.join(5)
    assert "process 2 of the run has ended and gave no reason" in str(found[0])


def test_one_that_was_started_and_never_calls_is_not_waited_for():
    def gone():
        raise ProcessLookupError("process 1 has ended")

    with pytest.raises(ProcessLookupError):
        answer(listen("127.0.0.1"), "secret", 1, gone)


def test_a_process_that_waits_for_what_never_comes_leaves_by_itself(ends, monkeypatch):
    # Here both ends are of this process.
    left = threading.Barrier(3)
    codes, said = [], []
    monkeypatch.setattr(channel, "GRACE", 0.05)
    monkeypatch.setattr(channel, "OTHERS_GRACE", 0.05)
    monkeypatch.setattr(channel.os, "_exit", lambda code: (codes.append(code), left.wait(5)))
    first, other = ends
    first.before_leaving = said.append
    other._lines[0].close()
    left.wait(5)
    assert set(codes) == {TRY_AGAIN}
    assert "gave no reason" in said[0]
