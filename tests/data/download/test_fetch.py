import io
import stat
import tarfile
import urllib.error
from email.message import Message

import pytest

from nnkit.data.download import fetch
from nnkit.data.download.fetch import FetchError, apt_download, download, pip_download

URL = "https://mirror.invalid/file.gz"


class Response(io.BytesIO):
    def __init__(self, content, length=None, url=URL):
        super().__init__(content)
        self.headers = Message()
        if length is not None:
            self.headers["Content-Length"] = str(length)
        self.url = url


@pytest.fixture
def answer(monkeypatch):
    """Let the network answer these things in turn; returns the list of what was asked."""
    monkeypatch.setattr(fetch.time, "sleep", lambda seconds: None)
    asked = []

    def set_up(*answers):
        rest = list(answers)

        def urlopen(request, timeout):
            asked.append(request.full_url)
            result = rest.pop(0)
            if isinstance(result, Exception):
                raise result
            return result

        monkeypatch.setattr(fetch.urllib.request, "urlopen", urlopen)
        return asked

    return set_up


def http_error(code):
    return urllib.error.HTTPError(URL, code, "reason", Message(), None)


def test_a_file_is_written_as_it_came(answer, tmp_path):
    answer(Response(b"content", 7))
    download(URL, tmp_path / "file", 100)
    assert (tmp_path / "file").read_bytes() == b"content"


@pytest.mark.parametrize(
    "failure",
    [
        http_error(503),
        urllib.error.URLError(OSError(-3, "no name")),
        TimeoutError("slow"),
        Response(b"half", 8),
    ],
)
def test_what_may_pass_is_tried_again(answer, tmp_path, failure):
    asked = answer(failure, Response(b"content", 7))
    download(URL, tmp_path / "file", 100)
    assert (tmp_path / "file").read_bytes() == b"content"
    assert len(asked) == 2


def test_after_three_tries_it_is_given_up(answer, tmp_path):
    asked = answer(*[Response(b"half", 8) for _ in range(3)])
    with pytest.raises(FetchError, match=r"only 4 of 8 bytes came \(3 tries\)"):
        download(URL, tmp_path / "file", 100)
    assert len(asked) == 3
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (http_error(404), "the server answered 404 reason"),
        (Response(b"", 101), "it has 101 bytes, more than the 100 expected"),
        (Response(bytes(101)), "it has more than the 100 bytes expected"),
        (Response(b"", url="http://mirror.invalid/file.gz"), "not https"),
    ],
)
def test_what_cannot_pass_is_not_tried_again(answer, tmp_path, failure, message):
    asked = answer(failure)
    with pytest.raises(FetchError, match=message):
        download(URL, tmp_path / "file", 100)
    assert len(asked) == 1
    assert list(tmp_path.iterdir()) == []


def test_only_https_is_asked(answer, tmp_path):
    asked = answer()
    with pytest.raises(FetchError, match="not https"):
        download("http://mirror.invalid/file", tmp_path / "file", 100)
    assert asked == []


def test_on_a_pipe_the_progress_is_one_plain_line(answer, tmp_path, capsys, monkeypatch):
    answer(Response(b"content", 7))
    monkeypatch.setattr(fetch, "console", fetch.Console(stderr=True, force_terminal=False))
    download(URL, tmp_path / "file", 100)
    assert capsys.readouterr().err == f"Downloading {URL}\n"


def test_a_terminal_gets_a_bar(answer, tmp_path, monkeypatch):
    answer(Response(b"content", 7))
    screen = io.StringIO()
    monkeypatch.setattr(fetch, "console", fetch.Console(file=screen, force_terminal=True, width=100))
    download(URL, tmp_path / "file", 100)
    assert "7/7 bytes" in screen.getvalue()


def program(path, script):
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_pip_is_run_without_dependencies_or_builds(tmp_path, monkeypatch):
    pip = program(tmp_path / "python", 'echo "$@" > args; touch things-1-py3-none-any.whl')
    monkeypatch.setattr(fetch.sys, "executable", str(pip))
    folder = tmp_path / "download"
    folder.mkdir()
    assert pip_download("things==1", folder).name == "things-1-py3-none-any.whl"
    arguments = (folder / "args").read_text()
    assert arguments.startswith("-m pip download --no-deps --only-binary :all: ")
    assert arguments.endswith(" things==1\n")


def test_the_reason_that_pip_gives_is_passed_on(tmp_path, monkeypatch):
    pip = program(tmp_path / "python", 'echo "WARNING: x" >&2; echo "ERROR: no such thing" >&2; exit 1')
    monkeypatch.setattr(fetch.sys, "executable", str(pip))
    with pytest.raises(FetchError, match=r"^no such thing$"):
        pip_download("things==1", tmp_path)


def test_the_pip_on_the_path_serves_an_environment_without_one(tmp_path, monkeypatch):
    python = program(tmp_path / "python", 'echo "No module named pip" >&2; exit 1')
    (tmp_path / "bin").mkdir()
    program(tmp_path / "bin" / "pip", 'test "$1" = download && touch things.whl')
    monkeypatch.setattr(fetch.sys, "executable", str(python))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    (tmp_path / "folder").mkdir()
    assert pip_download("things==1", tmp_path / "folder").name == "things.whl"


def archive(path, name, content=b"content", kind=tarfile.REGTYPE):
    with tarfile.open(path, "w") as tar:
        entry = tarfile.TarInfo(name)
        entry.type, entry.size, entry.linkname = kind, len(content), "/etc/passwd"
        tar.addfile(entry, io.BytesIO(content))


@pytest.fixture
def apt(tmp_path, monkeypatch):
    """An apt whose package is the archive that the test makes at the returned path."""
    (tmp_path / "bin").mkdir()
    program(tmp_path / "bin" / "apt-get", "touch things.deb")
    program(tmp_path / "bin" / "dpkg-deb", f"cat {tmp_path}/archive.tar")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    (tmp_path / "folder").mkdir()
    return tmp_path / "archive.tar", tmp_path / "folder"


def test_single_files_are_taken_out_of_a_package(apt):
    tar, folder = apt
    archive(tar, "./usr/share/things/a")
    paths = apt_download("things", folder, {"usr/share/things/a": 100})
    assert paths["usr/share/things/a"].read_bytes() == b"content"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"name": "./other"}, "it holds no a"),
        ({"name": "./a", "kind": tarfile.SYMTYPE}, "it holds no a"),
        ({"name": "./a", "content": bytes(101)}, "a has 101 bytes, more than 100"),
        ({"name": "../a"}, "it holds no a"),
    ],
)
def test_what_is_not_the_file_is_refused(apt, entry, message):
    tar, folder = apt
    archive(tar, **entry)
    with pytest.raises(FetchError, match=message):
        apt_download("things", folder, {"a": 100})
    assert not (folder.parent / "a").exists()


def test_a_system_without_apt_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FetchError, match="there is no apt"):
        apt_download("things", tmp_path, {})
