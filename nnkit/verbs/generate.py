"""`nnkit generate RUN --prompt TEXT`: let a language model write on from a prompt."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nnkit.errors import UserError
from nnkit.run import find_run
from nnkit.terminal import is_terminal, printable

_HELP = """\
The text begins with the prompt and is shown as it is made; equal seeds give equal texts. A temperature below 1
keeps to likely tokens, since one odd token of a small model leads to more of them; 1 draws as the model says,
0 always takes the most probable token. --length counts tokens: characters, unless the run has another
tokenizer. Several samples are written at once and printed one after the other.
"""
_SEPARATOR = "-" * 24


def main(arguments: list[str]) -> int:
    """Print the prompt and what the model writes after it."""
    given = _parse(arguments)
    run = find_run(given.run, given.output_dir)
    from nnkit.decoding import Sampling

    try:
        sampling = Sampling(given.temperature, given.top_k, given.top_p)
    except ValueError as error:
        raise UserError(f"--{str(error).replace('_', '-', 1)}") from error
    from nnkit.generation import continuations, encode_prompt, language_model, whole
    from nnkit.reopen import open_run

    session = open_run(run).session
    network, tokenizer = language_model(session.task, session.data, str(run.path))
    prompt = _prompt(given.prompt)
    pieces = continuations(
        network,
        tokenizer,
        encode_prompt(tokenizer, prompt),
        length=given.length,
        sampling=sampling,
        seeds=(given.seed,),
        num_samples=given.samples,
        stop=given.stop,
    )
    if given.format == "jsonl":
        _write_lines(whole(pieces, given.samples), prompt, given)
    elif given.samples == 1:
        _stream(pieces, prompt)
    else:
        _write_texts(whole(pieces, given.samples), prompt)
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="nnkit generate", description="Let a language model write on.", epilog=_HELP
    )
    add = parser.add_argument
    add("run", metavar="RUN", help="run directory, the beginning of its name, or: last")
    add("--prompt", default="", metavar="TEXT", help="what the text begins with; - reads standard input")
    add("--length", type=int, default=500, metavar="N", help="tokens to write (default: 500)")
    add("--temperature", type=float, default=0.8, metavar="T", help="default: 0.8; 0: the most probable")
    add("--top-k", type=int, metavar="K", help="draw from the K most probable tokens only")
    add("--top-p", type=float, metavar="P", help="draw from the fewest that have this probability")
    add("--seed", type=int, default=0, metavar="S", help="another seed, another text (default: 0)")
    add("--stop", action="append", default=[], metavar="TEXT", help="end before TEXT; may be repeated")
    add("--samples", type=int, default=1, metavar="N", help="texts to write (default: 1)")
    add("--format", choices=("text", "jsonl"), default="text", help="default: text")
    runs = "where runs are looked for (default: outputs)"
    add("--output-dir", type=Path, default=Path("outputs"), metavar="DIR", help=runs)
    given = parser.parse_args(arguments)
    for name in ("length", "samples"):
        if getattr(given, name) < 1:
            parser.error(f"--{name} must be at least 1, not {getattr(given, name)}")
    if "" in given.stop:
        parser.error("--stop must name a text; every text holds the empty one")
    return given


def _prompt(given: str) -> str:
    if given != "-":
        return given
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise UserError(f"the prompt on standard input is not UTF-8 text (byte {error.start})") from error


def _show(text: str) -> None:
    # Control characters that a model has learnt must not reach a terminal; a file gets what was written.
    sys.stdout.write(printable(text) if is_terminal() else text)


def _stream(pieces: Iterator[list[str]], prompt: str) -> None:
    _show(prompt)
    last = prompt
    for (piece,) in pieces:
        if piece:
            _show(piece)
            sys.stdout.flush()
            last = piece
    if not last.endswith("\n"):
        _show("\n")


def _write_texts(texts: list[str], prompt: str) -> None:
    for number, text in enumerate(texts):
        if number:
            _show(f"{_SEPARATOR}\n")
        _show(prompt + text)
        if not (prompt + text).endswith("\n"):
            _show("\n")


def _write_lines(texts: list[str], prompt: str, given: argparse.Namespace) -> None:
    for number, text in enumerate(texts, 1):
        row: dict[str, Any] = {"sample": number, "prompt": prompt, "text": text, "seed": given.seed}
        row |= {"temperature": given.temperature, "top_k": given.top_k, "top_p": given.top_p}
        sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")
