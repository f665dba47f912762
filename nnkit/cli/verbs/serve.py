"""`nnkit serve RUN`: a page on this machine on which the run answers, and an endpoint for programs."""

from __future__ import annotations

import secrets
import sys
import threading
from importlib.util import find_spec

from nnkit.cli.parser import Given
from nnkit.cli.verbs import OUTPUT_DIR, RUN, Option, Verb
from nnkit.errors import UserError
from nnkit.machine import signals
from nnkit.ui.terminal import printable

_LOOPBACK, _PORT, _LAST_PORT = "127.0.0.1", 8000, 65_535
# Characters of a token.
_SHORTEST = 8
_NEEDED = ("starlette", "uvicorn")
VERB = Verb(
    "serve",
    (RUN,),
    (
        Option("--port", "where it listens; 0: a free port", "N", int, at_least=0, without=_PORT),
        Option("--open", "open the page in the browser"),
        Option("--host", "let other machines in by this address of this one; needs a token", "HOST"),
        Option("--token", "what requests must bring; with --host one is made if none is given", "TOKEN"),
        OUTPUT_DIR,
    ),
    (
        "The page suits the data of the run. Images: draw or drop one, and every layer lights up. Texts: the classes, "
        "what each token adds, attention. Language models: text that goes on, with the probabilities of the next "
        "tokens. Masked words, translation with its alignment, a form for a table, a window for a series.",
        "Programs ask POST /predict, POST /generate and POST /layers; the page /api describes them. Requests that come "
        "together are answered as one batch. Needs: pip install 'nnkit[serve]'",
        "Other machines cannot reach it. Ctrl-C ends it, after what was asked has been answered.",
    ),
    (
        ("nnkit serve last --open", ""),
        ("nnkit serve last --host 0.0.0.0", "other machines too, with the token that is printed"),
    ),
)


def run(given: Given) -> int:
    """Serve the run until a signal comes, and return the exit code of that."""
    host, token = _checked(given)
    from nnkit.serve.opening import opened
    from nnkit.serve.server import listen
    from nnkit.serve.server import run as serve

    with listen(host, given.port) as listening, opened(given.run, given.output_dir) as served:
        port = listening.getsockname()[1]
        name = f"[{host}]" if ":" in host else host
        address = f"http://{name}:{port}/" + (f"?token={token}" if token else "")
        sys.stdout.write(f"{address}\n    {printable(served.name)}; Ctrl-C ends it\n")
        sys.stdout.flush()
        if given.open:
            _open(address)
        with signals.noted():
            serve(served, listening, host=host, token=token)
    return 128 + signals.stop() if signals.stop() else 0


def _checked(given: Given) -> tuple[str, str | None]:
    """Return where to listen, and the token.

    Raises:
        UserError: If a package is missing, or an option is out of range.
    """
    lacking = [name for name in _NEEDED if find_spec(name) is None]
    if lacking:
        raise UserError(
            f"nnkit serve needs {' and '.join(lacking)}, which {'are' if len(lacking) > 1 else 'is'} not installed\n"
            "    pip install 'nnkit[serve]'"
        )
    if given.port > _LAST_PORT:
        raise UserError(f"--port must be at most {_LAST_PORT}, not {given.port}; 0 takes a free one")
    token = given.token
    if token is not None and (
        len(token) < _SHORTEST
        or not all(sign.isalnum() or sign in "-_" for sign in token)
        or not token.isascii()
    ):
        raise UserError(
            f"--token must have at least {_SHORTEST} letters, digits, - or _; without --token one is made"
        )
    host = given.host or _LOOPBACK
    from nnkit.serve.guard import is_loopback

    if token is None and not is_loopback(host):
        token = secrets.token_urlsafe(18)
    return host, token


def _open(address: str) -> None:
    """Open the page once the server is there; a browser may take long to return."""
    import webbrowser

    threading.Timer(0.5, webbrowser.open, [address]).start()
