"""Which part of Python's documentation a module belongs to: chapters of its library reference, short ones joined."""

from typing import Final

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


def chapter_of(module: str) -> str | None:
    """Return the part of the documentation that a module is described in.

    Args:
        module: Its dotted name; "" for a help topic, which is about the language itself.

    Returns:
        Name of the part, None for a module that is in none of them.
    """
    return _CHAPTER_OF.get(module.partition(".")[0]) if module else _LANGUAGE
