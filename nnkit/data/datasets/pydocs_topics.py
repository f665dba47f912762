"""Paragraphs of CPython's documentation, and which part of it each is from: texts to fine-tune on."""

import hashlib
import json
import platform
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from nnkit.data.base import Split
from nnkit.data.datasets.documentation import Document, documents, gathered
from nnkit.data.splits import settled_by_names
from nnkit.data.text.classes import LabelledRows
from nnkit.data.text.labelled_texts import LabelledTexts
from nnkit.data.tokenizing import TokenizerKind

# Raised when the same library gives other rows.
_FORMAT = 1
# Characters of a paragraph.
_SHORTEST, _LONGEST = 100, 600
# Share of a topic's paragraphs in the test and in the validation part, at most.
_HELD_OUT = 0.12

# Modules of old versions stand here as well; what no version has is not missed.
_CHAPTERS: Final = {
    "text": "codecs difflib encodings gettext locale re readline rlcompleter string stringprep textwrap unicodedata",
    "data types": "_collections_abc _pydatetime array bisect calendar collections copy copyreg datetime enum graphlib "
    "heapq pprint reprlib types weakref zoneinfo",
    "numbers and functions": "_pydecimal cmath colorsys decimal fractions functools math numbers operator random "
    "statistics",
    "files and formats": "bz2 compression configparser csv dbm filecmp fileinput fnmatch genericpath glob gzip "
    "linecache lzma netrc ntpath pathlib pickle pickletools plistlib posixpath shelve shutil sqlite3 stat tarfile "
    "tempfile tomllib zipfile zlib",
    "operating system": "_pyio argparse ctypes curses getopt getpass io logging optparse os platform pty time tty",
    "concurrency and sockets": "_threading_local asyncio concurrent contextvars multiprocessing queue sched select "
    "selectors signal socket ssl subprocess threading",
    "mail and data of the internet": "base64 binhex email json mailbox mailcap mimetypes quopri uu",
    "markup": "_markupbase html xml",
    "protocols of the internet": "asynchat asyncore cgi cgitb ftplib http imaplib ipaddress nntplib poplib smtpd "
    "smtplib socketserver telnetlib urllib uuid webbrowser wsgiref xdrlib xmlrpc",
    "graphics": "tkinter turtle turtledemo",
    "tests and debugging": "bdb cProfile doctest pdb profile profiling pstats timeit trace tracemalloc unittest",
    "packaging": "distutils ensurepip lib2to3 venv zipapp",
    "runtime": "__future__ _weakrefset abc annotationlib atexit builtins contextlib dataclasses gc inspect site "
    "sysconfig traceback typing warnings",
    "imports and syntax": "ast code codeop compileall dis imp importlib keyword modulefinder opcode pkgutil py_compile "
    "pyclbr pydoc runpy symtable tabnanny token tokenize zipimport",
}
_CHAPTER_OF: Final = {module: chapter for chapter, modules in _CHAPTERS.items() for module in modules.split()}
_LANGUAGE: Final = "language"

# A paragraph, what it is about, and the module or help topic it is from.
_Row = tuple[str, str, str]


@dataclass(kw_only=True, eq=False)
class PyDocsTopics(LabelledTexts):
    """Which part of Python's documentation a paragraph is from: a chapter of the library reference, or the language.

    Paragraphs are prose of 100 to 600 characters, without the name of what they describe, each once. A module is in
    one part of the split only: what stands around a paragraph of the test part was not trained on. No network is
    needed; each version of Python has other texts.
    """

    tokenizer: TokenizerKind = "wordpiece"
    max_length: int = 128
    markers: bool = True
    batch_size: int = 32

    def load(self) -> LabelledRows:
        """Gather the paragraphs, or find them in the cache.

        Raises:
            UserError: If this Python has others than that which prepared the run.
        """
        content = gathered("topics", ".jsonl", _FORMAT, _lines).read_bytes()
        found = self.unchanged(
            f"the documentation of Python {platform.python_version()}",
            hashlib.sha256(content).hexdigest(),
            "use the Python that prepared it",
        )
        rows: list[dict[str, Any]] = [json.loads(line) for line in content.splitlines()]
        return LabelledRows(
            title="Python's documentation",
            columns={"text": "text", "target": "topic"},
            texts=[row["text"] for row in rows],
            labels=[row["topic"] for row in rows],
            fingerprint=found,
            split_keys={"settled": settled_by_names([row["part"] for row in rows])},
        )


def _lines(library: Path) -> str:
    """Return the content of the file in the cache: a JSON object on each line."""
    rows = _unambiguous(_paragraphs(documents(library)))
    parts = _dealt(rows)
    records = ({"text": text, "topic": topic, "part": parts[topic, unit]} for text, topic, unit in rows)
    return "".join(json.dumps(record) + "\n" for record in records)


def _paragraphs(found: Iterable[Document]) -> Iterator[_Row]:
    for document in found:
        topic = chapter_of(document.module)
        for paragraph in re.split(r"\n\s*\n", document.text) if topic else ():
            text = " ".join(paragraph.split())
            # Examples for the interpreter are no prose.
            if topic and _SHORTEST <= len(text) <= _LONGEST and ">>>" not in text:
                yield text, topic, document.module or document.name


def _unambiguous(rows: Iterable[_Row]) -> list[_Row]:
    """Keep the first of equal paragraphs, and none that is in two parts of the documentation."""
    first: dict[str, _Row] = {}
    topics = defaultdict[str, set[str]](set)
    for row in rows:
        first.setdefault(row[0], row)
        topics[row[0]].add(row[1])
    return [row for text, row in first.items() if len(topics[text]) == 1]


def _dealt(rows: Iterable[_Row]) -> dict[tuple[str, str], Split]:
    """Return the split of each module of a topic: the first ones that fit, in an order by hash, are held out."""
    sizes = Counter((topic, unit) for _, topic, unit in rows)
    totals = Counter[str]()
    for (topic, _), size in sizes.items():
        totals[topic] += size
    filled = Counter[tuple[str, Split]]()
    parts: dict[tuple[str, str], Split] = {}
    for topic, unit in sorted(sizes, key=_shuffled):
        size, most = sizes[topic, unit], _HELD_OUT * totals[topic]
        held_out: tuple[Split, ...] = ("test", "val")
        fitting: list[Split] = [part for part in held_out if filled[topic, part] + size <= most]
        part = fitting[0] if fitting else "train"
        filled[topic, part] += size
        parts[topic, unit] = part
    return parts


def _shuffled(key: tuple[str, str]) -> str:
    return hashlib.sha256("/".join(key).encode()).hexdigest()


def chapter_of(module: str) -> str | None:
    """Return the part of the documentation that a module is described in.

    Args:
        module: Its dotted name; "" for a help topic, which is about the language itself.

    Returns:
        Name of the part, None for a module that is in none of them.
    """
    return _CHAPTER_OF.get(module.partition(".")[0]) if module else _LANGUAGE
