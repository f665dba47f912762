"""A published dataset of MNIST's format that is small, and a network that serves it well or badly."""

import gzip
import hashlib
import io
from email.message import Message
from types import SimpleNamespace

import numpy as np

from nnkit.data.datasets.mnist import MNIST
from nnkit.data.download import fetch, sources
from nnkit.data.download.sources import DataFile, Published
from nnkit.data.pictures import idx

MIRROR = "https://mirror.invalid/"


def contents():
    """Return the four files, 60 pictures to train on and 20 to test on, by name."""
    generator = np.random.default_rng(0)
    files = {}
    for part, size in (("train", 60), ("t10k", 20)):
        pictures = generator.integers(0, 256, (size, 28, 28), dtype=np.uint8)
        files[f"{part}-images-idx3-ubyte"] = idx.serialise(pictures)
        files[f"{part}-labels-idx1-ubyte"] = idx.serialise(np.arange(size, dtype=np.uint8) % 10)
    return files


def publish(monkeypatch, tmp_path, mirrors=(MIRROR,)):
    """Let data=mnist be the small dataset, the cache and the system's folders empty."""
    files = tuple(DataFile(name, len(c), hashlib.sha256(c).hexdigest()) for name, c in contents().items())
    monkeypatch.setattr(MNIST, "published", Published("MNIST", "mnist", files, mirrors))
    monkeypatch.setenv("NNKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sources, "SYSTEM_FOLDERS", ())
    # Not the clock's own: tests sleep too.
    monkeypatch.setattr(fetch, "time", SimpleNamespace(sleep=lambda seconds: None))


class Response(io.BytesIO):
    """What a server answers, with a length that may lie."""

    def __init__(self, url, content, length=None):
        super().__init__(content)
        self.headers = Message()
        self.headers["Content-Length"] = str(len(content) if length is None else length)
        self.url = url


def serve(monkeypatch, answer):
    """Let the network give `answer(file name, bytes)`; returns the list of what was asked."""
    asked = []

    def urlopen(request, timeout):
        name = request.full_url.removesuffix(".gz").rsplit("/", 1)[-1]
        asked.append(name)
        return answer(request.full_url, gzip.compress(contents()[name]))

    monkeypatch.setattr(fetch.urllib.request, "urlopen", urlopen)
    return asked
