"""`nnkit generate RUN --prompt TEXT`: let a run write, on from a prompt or from one text another."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnkit.cli.parser import Given
from nnkit.cli.verbs import OUTPUT_DIR, RUN, Option, Verb
from nnkit.cli.verbs.predict import Complaints
from nnkit.errors import UserError
from nnkit.files.paths import expand
from nnkit.ui.report import show, table
from nnkit.ui.terminal import is_terminal, json_line, printable

if TYPE_CHECKING:
    from nnkit.decoding.sampling import Sampling
    from nnkit.inference.answering import Reply
    from nnkit.inference.filling import Filled
    from nnkit.runs.session import Session

_MODEL, _PAIRS, _MASKED = (
    "A language model writes on",
    "One text is written from another",
    "Masked tokens are predicted (BERT)",
)
VERB = Verb(
    "generate",
    (RUN,),
    (
        Option("--prompt", "what the text begins with, or what is read; -: stdin", "TEXT", without=""),
        Option("--length", "tokens to write, at most (language model: 500)", "N", int, at_least=1),
        Option("--format", "how it is printed", "text|jsonl", choices=("text", "jsonl"), without="text"),
        OUTPUT_DIR,
        Option("--temperature", "default: 0.8; 0: the most probable", "T", float, section=_MODEL),
        Option("--top-k", "draw from the K most probable tokens; BERT: show K (5)", "K", int, section=_MODEL),
        Option("--top-p", "draw from the fewest that have this probability", "P", float, section=_MODEL),
        Option("--seed", "another seed, another text (default: 0)", "S", int, section=_MODEL),
        Option("--stop", "end before TEXT; may be repeated", "TEXT", many=True, section=_MODEL),
        Option("--samples", "texts to write (default: 1)", "N", int, at_least=1, section=_MODEL),
        Option("--prompts", "a prompt on each line; -: stdin", "FILE", section=_MODEL),
        Option("--beam", "beam size (default: as in the run's test)", "N", int, at_least=1, section=_PAIRS),
        Option("--nbest", "hypotheses, best first (default: 1)", "K", int, at_least=1, section=_PAIRS),
        Option("--length-penalty", "0: by probability; more: longer texts", "A", float, section=_PAIRS),
        Option("--next", "print how probable it is that TEXT follows", "TEXT", section=_MASKED),
    ),
    (
        "A language model writes on: the text begins with the prompt and is shown as it is made; equal seeds give "
        "equal texts. A temperature below 1 keeps to likely tokens, since one odd token of a small model leads to more "
        "of them; 1 draws as the model says, 0 always takes the most probable token. --length counts tokens: "
        "characters, unless the run has another tokenizer. Several samples are written at once and printed one after "
        "the other. The lines of --prompts are written on from side by side, and printed in order: each as --prompt "
        "alone would be.",
        "A run that writes one text from another (seq2seq, translation) reads the prompt and prints its hypothesis; "
        "nothing is random. With --nbest each hypothesis stands behind its score: its log-probability over the length "
        "penalty.",
        "A run of BERT's pre-training predicts the [MASK] tokens of the prompt, and shows the most probable tokens for "
        "each.",
    ),
)
SEPARATOR = "-" * 24


def run(given: Given) -> int:
    """Print what the run writes for a prompt."""
    if "" in given.stop:
        raise UserError("--stop must name a text; every text holds the empty one")
    from nnkit.runs.run import find_run

    found = find_run(given.run, given.output_dir)
    from nnkit.runs.reopen import open_run

    session = open_run(found).session
    given.path = str(found.path)
    way = _way(session, given.path)
    way.settle(given)
    if given.prompts is not None:
        return _continue_many(session, given)
    way.write(session, _prompt(given.prompt), given)
    return 0


@dataclass(frozen=True)
class _Way:
    """How runs of some tasks write.

    Attributes:
        what: What such a run does, for sentences.
        defaults: The flags it knows beside those of all, with their values if they are not typed.
        write: Prints what is written for a prompt.
    """

    what: str
    defaults: dict[str, Any]
    write: Callable[[Session, str, Given], None]

    def settle(self, given: Given) -> None:
        """Fill in the flags that were not typed.

        Raises:
            UserError: If one was typed that this way does not know.
        """
        strange = [name for way in _WAYS for name in way.defaults if name not in self.defaults]
        for name in strange:
            if getattr(given, name) not in (None, []):
                flags = ", ".join(map(_flag, self.defaults))
                raise UserError(f"{_flag(name)} is not for a run that {self.what}, which knows {flags}")
        for name, value in self.defaults.items():
            if getattr(given, name) is None:
                setattr(given, name, value)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _way(session: Session, run: str) -> _Way:
    """Return how a run writes; one that does not write at all is refused."""
    from nnkit.inference.generation import language_model

    if session.task.writes == "answer":
        return _ANSWERS
    if session.task.writes == "masked":
        return _FILLS
    language_model(session.task, session.data, run)
    return _CONTINUES


def _continue(session: Session, prompt: str, given: Given) -> None:
    from nnkit.inference.generation import continuations, encode_prompt, language_model, whole

    network, tokenizer = language_model(session.task, session.data, given.path)
    pieces = continuations(
        network,
        tokenizer,
        encode_prompt(tokenizer, prompt),
        length=given.length,
        sampling=_sampling(given),
        seeds=(given.seed,),
        num_samples=given.samples,
        stop=given.stop,
    )
    if given.format == "jsonl":
        _write_lines(whole(pieces, given.samples), prompt, given)
    elif given.samples == 1:
        stream(pieces, prompt)
    else:
        _write_texts(whole(pieces, given.samples), prompt)


def _sampling(given: Given) -> Sampling:
    from nnkit.decoding.sampling import Sampling

    try:
        return Sampling(given.temperature, given.top_k, given.top_p)
    except ValueError as error:
        raise UserError(f"--{str(error).replace('_', '-', 1)}") from error


def _continue_many(session: Session, given: Given) -> int:
    """Write on from each line of a file, in order; return 2 if one cannot be a prompt."""
    from nnkit.inference.generation import encode_prompt, language_model
    from nnkit.inference.many_prompts import continuations_of_many

    if given.prompt:
        raise UserError("--prompt and --prompts are both given: one prompt, or a file of them")
    network, tokenizer = language_model(session.task, session.data, given.path)
    complaints, known = Complaints(), deque[str]()

    def tokens() -> Iterator[list[int]]:
        for name, prompt in _lines(given.prompts):
            try:
                encoded = encode_prompt(tokenizer, prompt)
                if network.max_len is not None and len(encoded) > network.max_len:
                    raise UserError(
                        f"it has {len(encoded):,} tokens, and the model reads at most {network.max_len:,}"
                    )
            except UserError as error:
                complaints.add(name, str(error))
                continue
            known.append(prompt)
            yield encoded

    found = continuations_of_many(
        network,
        tokenizer,
        tokens(),
        length=given.length,
        sampling=_sampling(given),
        seeds=(given.seed,),
        num_samples=given.samples,
        stop=given.stop,
    )
    is_first = True
    for texts in found:
        prompt = known.popleft()
        if given.format == "jsonl":
            _write_lines(texts, prompt, given)
        else:
            _show("" if is_first else f"{SEPARATOR}\n")
            _write_texts(texts, prompt)
        sys.stdout.flush()
        is_first = False
    complaints.close()
    if is_first and not complaints.count:
        raise UserError(f"--prompts {given.prompts}: there is no prompt in it")
    return 2 if complaints.count else 0


def _lines(name: str) -> Iterator[tuple[str, str]]:
    """Yield the lines of a file that are not blank, with a name for each."""
    from nnkit.data.text.items import decoded_lines

    if name == "-":
        lines: Iterable[str] = (line.rstrip("\r\n") for line in sys.stdin)
    else:
        path = expand(name)
        if not path.is_file():
            raise UserError(f"--prompts {name}: there is no such file")
        lines = decoded_lines(path, None, report=True)
    try:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield f"{'stdin' if name == '-' else name}:{number}", line
    except UnicodeDecodeError as error:
        raise UserError(f"standard input is not UTF-8 text (byte {error.start})") from error


def _answer(session: Session, prompt: str, given: Given) -> None:
    from nnkit.inference.answering import beam_for, replies

    beam = beam_for(session.task, size=given.beam, num=given.nbest, length_penalty=given.length_penalty)
    # The line break at the end of standard input is no part of a source.
    source = prompt.strip()
    if not source:
        raise UserError("there is nothing to read: give a text with --prompt")
    found = replies(session.task, session.data, source, run=given.path, beam=beam, max_len=given.length)
    _write_replies(found[: given.nbest], source, given)


def _fill(session: Session, prompt: str, given: Given) -> None:
    from nnkit.inference.filling import fill

    if given.top_k < 1:
        raise UserError(f"--top-k must be at least 1, not {given.top_k}")
    found = fill(session.task, session.data, prompt, given.next, top_k=given.top_k, run=given.path)
    _write_filled(found, prompt, given)


# A default of None is the run's own.
_CONTINUES = _Way(
    "writes on",
    {
        "length": 500,
        "temperature": 0.8,
        "top_k": None,
        "top_p": None,
        "seed": 0,
        "stop": [],
        "samples": 1,
        "prompts": None,
    },
    _continue,
)
_ANSWERS = _Way(
    "writes one text from another",
    {"length": None, "beam": None, "nbest": 1, "length_penalty": None},
    _answer,
)
_FILLS = _Way("fills in what is masked", {"top_k": 5, "next": None}, _fill)
_WAYS = (_CONTINUES, _ANSWERS, _FILLS)


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


def stream(pieces: Iterator[list[str]], prompt: str) -> None:
    """Print a text as it is made: the prompt, then each piece."""
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
            _show(f"{SEPARATOR}\n")
        _show(prompt + text)
        if not (prompt + text).endswith("\n"):
            _show("\n")


def _write_lines(texts: list[str], prompt: str, given: Given) -> None:
    for number, text in enumerate(texts, 1):
        row: dict[str, Any] = {"sample": number, "prompt": prompt, "text": text, "seed": given.seed}
        row |= {"temperature": given.temperature, "top_k": given.top_k, "top_p": given.top_p}
        sys.stdout.write(json_line(row, sys.stdout))


def _write_replies(found: list[Reply], prompt: str, given: Given) -> None:
    for rank, reply in enumerate(found, 1):
        if given.format == "jsonl":
            row = {"rank": rank, "prompt": prompt, "text": reply.text, "score": round(reply.score, 6)}
            sys.stdout.write(json_line(row, sys.stdout))
        else:
            _show(f"{reply.score:.4f}\t{reply.text}\n" if given.nbest > 1 else f"{reply.text}\n")


def _write_filled(found: Filled, prompt: str, given: Given) -> None:
    if given.format == "jsonl":
        ranked = [
            [{"token": token, "probability": round(share, 6)} for token, share in candidates]
            for candidates in found.candidates
        ]
        row: dict[str, Any] = {"prompt": prompt, "text": found.text, "hidden": ranked}
        if found.follows is not None:
            row |= {"next": given.next, "follows": round(found.follows, 6)}
        sys.stdout.write(json_line(row, sys.stdout))
        return
    _show(f"{found.text}\n")
    if found.candidates:
        headers = ["[MASK]", *map(str, range(1, len(found.candidates[0]) + 1))]
        rows = [
            [str(number), *(f"{token}  {share:.1%}" for token, share in candidates)]
            for number, candidates in enumerate(found.candidates, 1)
        ]
        show(table(headers, rows))
    if found.follows is not None:
        _show(f"the second text follows the first: {found.follows:.1%}\n")
