"""What a server must not answer it refuses with a sentence, and goes on: a thousand requests of every wrong kind."""

import base64
import json
import random
import re
import socket
import threading
import time
from pathlib import Path

import pytest
from analysis.inspected import in_folder
from serving import server

SEED, COUNT = 19, 1_000
# Beginnings of files that a request must never bring to light.
SECRET = "the-content-of-a-file-of-the-server"
NASTY = (
    "/etc/passwd", "../../secret.txt", "secret.txt", "-", "~/.ssh/id_rsa", "file:///etc/passwd", "\\\\host\\share",
    "{{ 7 * 191 }}", "${7*191}", "{% include 'style.css' %}", "<script>alert(1)</script>", "$(touch owned)",
    "`touch owned`", "; touch owned", "| touch owned", "a\x00b", "\r\nSet-Cookie: a=b", "' OR 1=1 --", "%s%n", "\ud800",
    "𝕏" * 50, "", " ", "\u202e", "NaN", "1e999",
)  # fmt: skip
WRONG = (
    None, True, False, 0, -1, 1.5, 10**30, 10**300, -(10**18), "", "3", [], {}, [[]], [{}], [None], {"a": {"b": []}},
    [1, [2, [3, [4]]]], "x" * 20_000, list(range(400)),
)  # fmt: skip


def head(method="POST", path="/predict", *lines, host="localhost", kind="application/json"):
    given = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close", *lines]
    return "\r\n".join([*given, *([f"Content-Type: {kind}"] if kind else [])]).encode(
        "utf-8", "surrogateescape"
    )


def with_body(body, *lines, **options):
    return head(
        *options.pop("to", ("POST", "/predict")), f"Content-Length: {len(body)}", *lines, **options
    ) + (b"\r\n\r\n" + body)


def as_json(value):
    """Return JSON as a careless or hostile program writes it."""
    return json.dumps(value).encode("utf-8", "surrogatepass")


class Hostile:
    """Makes requests that must be refused.

    Args:
        field: The field of inputs of the run.
        good: A body that is answered.
    """

    def __init__(self, field, good, chance):
        self.field, self.good, self.chance = field, good, chance

    def request(self):
        make = self.chance.choice(
            (
                self.wrong_value, self.wrong_value, self.nasty_value, self.broken_json, self.bad_bytes, self.nested,
                self.not_finite, self.unknown_field, self.wrong_path, self.wrong_method, self.foreign_host,
                self.foreign_origin, self.wrong_kind, self.no_http, self.too_large, self.cut_off, self.long_head,
            )
        )  # fmt: skip
        return make.__name__, make()

    def wrong_value(self):
        name = self.chance.choice((self.field, "top_k", "proba"))
        rejected = [one for one in WRONG if not self.is_allowed(name, one)]
        return with_body(as_json({**self.good, name: self.chance.choice(rejected)}))

    @staticmethod
    def is_allowed(name, value):
        # null is what is absent.
        if name == "top_k":
            return value is None
        return (value is None or isinstance(value, bool)) if name == "proba" else False

    def nasty_value(self):
        text = self.chance.choice(NASTY)
        if self.field == "texts":
            # Any text is a text: what is no Unicode, or nothing at all, is refused.
            text = self.chance.choice(("\ud800", "", " ", "\udfff and more"))
        value = {"images": [text], "rows": [{text: 1.0}], "texts": [text]}[self.field]
        return with_body(as_json({self.field: value}))

    def broken_json(self):
        whole = as_json(self.good)
        place = self.chance.randrange(1, len(whole))
        how = self.chance.choice(
            (whole[:place], whole + b"}", whole.replace(b'"', b"'"), b"", b"\x00" * 20, b"[]")
        )
        return with_body(how)

    def bad_bytes(self):
        whole = bytearray(as_json(self.good))
        whole[self.chance.randrange(len(whole))] = self.chance.choice((0xFF, 0xC0, 0x80, 0xFE))
        return with_body(bytes(whole))

    def nested(self):
        depth = self.chance.choice((200, 5_000, 100_000, 400_000))
        sign = self.chance.choice(((b"[", b"]"), (b'{"a":', b"}")))
        closed = self.chance.choice((True, False))
        inner = sign[0] * depth + (b"1" + sign[1] * depth if closed else b"")
        return with_body(b'{"%s": %s}' % (self.field.encode(), inner))

    def not_finite(self):
        value = self.chance.choice((b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e400", b"9" * 5_000))
        return with_body(b'{"%s": [%s], "top_k": 2}' % (self.field.encode(), value))

    def unknown_field(self):
        name = self.chance.choice((*NASTY, "path", "file", "items", "topk", "__class__", "constructor"))
        return with_body(as_json({**self.good, name: self.chance.choice(WRONG)}))

    def wrong_path(self):
        path = self.chance.choice(
            (
                "/assets/../server.py", "/assets/%2e%2e/server.py", "/assets/..%2fserver.py", "/etc/passwd", "//evil/",
                "/assets/", "/assets/style.css/x", "/.git/config", "/%00", "/predict/../../secret.txt", "/{{7*191}}",
                "/assets/%2Fetc%2Fpasswd", "/" + "a" * 5_000, "/assets/C:%5Cwindows", "/outputs", "/docs", "/run.json",
            )
        )  # fmt: skip
        return head("GET", path) + b"\r\n\r\n"

    def wrong_method(self):
        method, path = self.chance.choice(
            (
                ("GET", "/predict"), ("PUT", "/predict"), ("DELETE", "/"), ("POST", "/"), ("PATCH", "/layers"),
                ("OPTIONS", "/predict"), ("TRACE", "/health"), ("POST", "/health"), ("BREW", "/generate"),
            )
        )  # fmt: skip
        return head(method, path, "Content-Length: 0") + b"\r\n\r\n"

    def foreign_host(self):
        host = self.chance.choice(
            ("evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "192.0.2.7",
             "[::2]", "", "a b", "localhost@evil.example", "xn--lcalhost-0za", "127.0.0.2", "[", "localhost:x:y")
        )  # fmt: skip
        return with_body(as_json(self.good), host=host)

    def foreign_origin(self):
        line = self.chance.choice(
            ("Origin: http://evil.example", "Origin: null", "Origin: https://localhost", "Origin: http://localhost:1",
             "Origin: http://localhost.evil.example", "Sec-Fetch-Site: cross-site", "Origin: file://")
        )  # fmt: skip
        return with_body(as_json(self.good), line)

    def wrong_kind(self):
        kind = self.chance.choice(
            ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "text/html",
             "application/json5", "video/mp4")
        )  # fmt: skip
        return with_body(as_json(self.good), kind=kind)

    def no_http(self):
        noise = bytes(self.chance.randrange(256) for _ in range(40))
        return self.chance.choice(
            (
                b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + noise + b"\r\n\r\n", noise + b"\r\n\r\n",
                b"GET / HTTP/9.9\r\n\r\n", b"GET /\r\n\r\n", b"POST /predict HTTP/1.1\r\nHost localhost\r\n\r\n",
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n",
                head("POST", "/predict", "Content-Length: -5") + b"\r\n\r\n",
                head("POST", "/predict", "Content-Length: 5", "Content-Length: 6") + b"\r\n\r\nhello",
                head("POST", "/predict", "Transfer-Encoding: gzip, chunked") + b"\r\n\r\n0\r\n\r\n",
                head("POST", "/predict", "Transfer-Encoding: chunked") + b"\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
                head("GET", "/", "Bad\x01Name: x") + b"\r\n\r\n", head("G\x00T", "/") + b"\r\n\r\n",
            )
        )  # fmt: skip

    def too_large(self):
        size = self.chance.choice((12_000_001, 10**12, 10**18, 10**40))
        return (
            head("POST", self.chance.choice(("/predict", "/layers")), f"Content-Length: {size}")
            + b"\r\n\r\n{"
        )

    def cut_off(self):
        """A body that ends before it should: the sender has gone."""
        whole = as_json(self.good)
        cut = whole[: self.chance.randrange(len(whole))]
        return self.chance.choice(
            (
                head("POST", "/predict", f"Content-Length: {len(whole)}") + b"\r\n\r\n" + cut,
                head("POST", "/predict", "Transfer-Encoding: chunked")
                + b"\r\n\r\n%x\r\n%s" % (len(whole), cut),
                head("POST", "/predict", "Transfer-Encoding: chunked") + b"\r\n\r\n5\r\n[1,2,\r\n",
                head("POST", "/predict")[: self.chance.randrange(1, 60)],
            )
        )

    def long_head(self):
        return head("GET", "/", f"X-Long: {'a' * self.chance.choice((40_000, 200_000))}") + b"\r\n\r\n"


GOOD = {
    "lenet5": ("images", None),
    "mlp": (
        "rows",
        {
            "sepal length (cm)": 5.1,
            "sepal width (cm)": 3.5,
            "petal length (cm)": 1.4,
            "petal width (cm)": 0.2,
        },
    ),
    "lstm": ("texts", "the cat saw"),
}
KINDS = {"lenet5": "pictures", "mlp": "table", "lstm": "texts"}


def is_refused(answer):
    """Return whether an answer is a client's error with a sentence."""
    first, _, rest = answer.partition(b"\r\n")
    body = rest.partition(b"\r\n\r\n")[2]
    if not re.fullmatch(rb"HTTP/1\.1 4\d\d .*", first):
        return False
    sentence = json.loads(body)["error"]
    return len(sentence) > 20 and " " in sentence and "Traceback" not in sentence


@pytest.mark.parametrize("name", GOOD)
def test_a_thousand_wrong_requests_are_refused_and_the_server_lives(name, monkeypatch, tmp_path):
    from test_serve_answers import drawn

    loaded = in_folder(name, monkeypatch)
    Path("secret.txt").write_text(SECRET)
    before = sorted(path.name for path in Path().iterdir())
    field, value = GOOD[name]
    good = {field: [value if value is not None else base64.b64encode(drawn()).decode()]}
    hostile = Hostile(field, good, random.Random(SEED))
    count = COUNT // len(GOOD) + 1
    with server(loaded, KINDS[name], slowest=2.0) as client:
        status, right = client.post("/predict", good)
        assert status == 200, right
        for number in range(count):
            kind, request = hostile.request()
            answer = client.raw(request, half_close=kind == "cut_off")
            assert is_refused(answer), (number, kind, request[:300], answer[:500])
            assert SECRET.encode() not in answer
            assert b"1337" not in answer.partition(b"\r\n\r\n")[2]
            if number % 50 == 0:
                assert client.post("/predict", good) == (200, right)
        assert client.post("/predict", good) == (200, right)
        assert client.get("/health")[1]["waiting"] == 0
    assert sorted(path.name for path in Path().iterdir()) == before


def test_a_text_that_is_called_like_a_file_is_a_text(monkeypatch):
    loaded = in_folder("lstm", monkeypatch)
    Path("secret.txt").write_text(f"{SECRET}\n" * 3)
    with server(loaded, "texts") as client:
        for text in ("secret.txt", "-", "/etc/passwd", "..", "*.csv"):
            status, found = client.post("/predict", {"texts": [text]})
            assert status == 200, found
            (one,) = found["predictions"]
            assert one["item"] == text
            assert SECRET not in json.dumps(found)


def test_bodies_that_do_not_arrive_are_given_up(monkeypatch):
    loaded = in_folder("mlp", monkeypatch)
    with server(loaded, "table", slowest=0.5) as client:
        slow = head("POST", "/predict", "Content-Length: 5000") + b"\r\n\r\n{"
        found = {}

        def trickle(number):
            with socket.create_connection(("127.0.0.1", client.port), timeout=20) as connection:
                connection.sendall(slow)
                began = time.monotonic()
                answer = b""
                while not answer.endswith(b"}") and time.monotonic() - began < 10:
                    try:
                        connection.sendall(b" ")
                        connection.settimeout(0.1)
                        answer += connection.recv(65536)
                    except TimeoutError:
                        continue
                    except ConnectionError:
                        break
                found[number] = answer

        threads = [threading.Thread(target=trickle, args=(number,)) for number in range(10)]
        for thread in threads:
            thread.start()
        # Others are answered meanwhile.
        assert client.get("/health")[0] == 200
        for thread in threads:
            thread.join()
    assert all(answer.startswith(b"HTTP/1.1 408 ") for answer in found.values()), found
    assert all(b"did not arrive within 0.5 s" in answer for answer in found.values())


def test_a_head_that_does_not_arrive_is_given_up(monkeypatch):
    from nnkit.serve import server as module

    monkeypatch.setattr(module, "_HEAD", 0.3)
    loaded = in_folder("mlp", monkeypatch)
    with server(loaded, "table") as client:
        answer = client.raw(b"POST /predict HTTP/1.1\r\nHost: loc")
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert client.raw(b"").startswith(b"HTTP/1.1 408 ")


def test_where_too_many_wait_a_request_is_told_when_to_come_again(monkeypatch):
    from nnkit.serve import worker

    monkeypatch.setattr(worker, "WAITING", 0)
    monkeypatch.setattr(worker, "STREAMS", 0)
    loaded = in_folder("gpt", monkeypatch)
    with server(loaded, "text") as client:
        for path, body in (("/predict", {"texts": ["the"]}), ("/generate", {"prompt": "the"})):
            status, headers, content = client.request(
                "POST", path, json.dumps(body).encode(), {"Content-Type": "application/json"}
            )
            assert status == 503
            assert headers["retry-after"] == "1"
            assert "try again" in json.loads(content)["error"]


def test_a_token_is_asked_for_and_kept_as_a_cookie(monkeypatch):
    loaded = in_folder("mlp", monkeypatch)
    with server(loaded, "table", token="a-secret-token") as client:
        port = client.port
        status, found = client.get("/openapi.json")
        assert status == 401
        assert "Authorization: Bearer TOKEN" in found["error"]
        assert client.get("/openapi.json", Authorization="Bearer a-wrong-token")[0] == 401
        assert client.get("/openapi.json", Authorization="Bearer a-secret-token")[0] == 200
        assert client.request("GET", "/?token=wrong")[0] == 401
        status, headers, _ = client.request("GET", "/?token=a-secret-token")
        assert status == 303
        assert headers["location"] == "/"
        cookie = headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert client.request("GET", "/", headers={"Cookie": cookie.partition(";")[0]})[0] == 200
        assert client.request("GET", "/", headers={"Cookie": f"nnkit-{port}=other"})[0] == 401
        # Whether the server is there may be asked by all.
        assert client.get("/health")[0] == 200


def test_every_answer_forbids_what_a_page_does_not_need(monkeypatch):
    loaded = in_folder("mlp", monkeypatch)
    with server(loaded, "table") as client:
        for path in ("/", "/api", "/assets/main.js", "/openapi.json", "/nothing"):
            _, headers, content = client.request("GET", path)
            assert "default-src 'none'" in headers["content-security-policy"]
            assert "unsafe" not in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
            assert "server" not in headers
            # No file of a page is from elsewhere.
            assert not re.findall(rb"(?:src|href)=\"(?:https?:)?//", content)


def test_the_document_describes_what_is_checked(monkeypatch):
    loaded = in_folder("mlp", monkeypatch)
    with server(loaded, "table") as client:
        _, found = client.get("/openapi.json")
        schema = found["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
        assert schema["required"] == ["rows"]
        assert [*schema["properties"]["rows"]["items"]["properties"]] == [*GOOD["mlp"][1]]
        least, most = (schema["properties"]["top_k"][name] for name in ("minimum", "maximum"))
        for value, status in ((least, 200), (most, 200), (least - 1, 400), (most + 1, 400)):
            assert client.post("/predict", {"rows": [GOOD["mlp"][1]], "top_k": value})[0] == status
        assert "/generate" not in found["paths"]
        status, answer = client.post("/generate", {"prompt": "a"})
        assert status == 422
        assert "writes no text" in answer["error"]
        # A column is missing: which one, and of how many.
        status, answer = client.post("/predict", {"rows": [{"sepal width (cm)": 1}]})
        assert status == 422
        assert "rows.jsonl lacks 3 of the 4 columns" in answer["error"]
        assert "/" not in answer["error"]
