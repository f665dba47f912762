"""What `POST /generate` answers: text that goes on token by token, an answer to a text, or the masked tokens of one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from torch import Tensor

from nnkit.decoding.sampling import Sampling
from nnkit.errors import UserError
from nnkit.inference.answering import beam_for, replies
from nnkit.inference.filling import fill
from nnkit.inference.generation import continuations, encode_prompt, language_model
from nnkit.serve.fields import Field, ListOf, Number, Text
from nnkit.serve.refusal import Refusal

if TYPE_CHECKING:
    from nnkit.serve.served import Served

# Tokens that may be written, and candidates that are shown of each.
_LENGTH, _CANDIDATES = 2_000, 8
# Seconds after which a text is ended.
TIME_LIMIT = 120.0

_PROMPT = Text("prompt", "what the text begins with, or what is read", default="")
_FIELDS: dict[str, list[Field]] = {
    "on": [
        _PROMPT,
        Number("length", "tokens to write, at most", default=200, least=1, most=_LENGTH),
        Number("temperature", "0: the most probable token", default=0.8, most=100, whole=False),
        Number("top_k", "draw from the most probable tokens", least=1, most=1_000_000),
        Number("top_p", "draw from the fewest with this probability", least=1e-6, most=1, whole=False),
        Number("seed", "another seed, another text", default=0, most=2**31 - 1),
        ListOf("stop", "end before one of these", default=[], item=Text("stop", "a text"), most=16),
    ],
    "answer": [
        _PROMPT,
        Number("length", "tokens of an answer, at most", least=1, most=_LENGTH),
        Number("beam", "answers kept at each step", least=1, most=64),
        Number("nbest", "answers wanted, the best first", default=1, least=1, most=64),
        Number("length_penalty", "0: by probability; more: longer texts", most=10, whole=False),
    ],
    "masked": [
        _PROMPT,
        Text("next", "what may follow the prompt"),
        Number("top_k", "tokens to rank for each mask", default=5, least=1, most=1_000),
    ],
}


def fields(served: Served) -> list[Field]:
    """Return what a request to write may hold; nothing where the run does not write."""
    return _FIELDS.get(served.task.writes or "", [])


def lines(served: Served, asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Write, and yield each line of the answer as an object; see `fields`.

    The last one of a text that goes on has ``done``, the others what is new: a piece of text, the token, its
    probability, and the most probable tokens at its place.

    Args:
        served: The run.
        asked: The values of its fields.

    Raises:
        Refusal: If the run does not write, or what is asked does not go together.
        UserError: If the prompt cannot be read, or the network has diverged.
    """
    writes = {"on": _continue, "answer": _answer, "masked": _fill}.get(served.task.writes or "")
    if writes is None:
        raise Refusal(
            422,
            f"{served.name} writes no text, its task is {type(served.task).__name__}: POST /predict applies it",
        )
    return writes(served, asked)


def _continue(served: Served, asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
    network, tokenizer = language_model(served.task, served.data, served.name)
    began, seen = time.monotonic(), list[dict[str, Any]]()
    pieces = continuations(
        network,
        tokenizer,
        encode_prompt(tokenizer, asked["prompt"]),
        length=asked["length"],
        sampling=Sampling(asked["temperature"], asked["top_k"], asked["top_p"]),
        seeds=(asked["seed"],),
        stop=[text for text in asked["stop"] if text],
        watch=_noting(served, seen),
    )
    text, count, reason = "", 0, "length"
    for (piece,) in pieces:
        text += piece
        if seen:
            count += 1
            yield {"text": piece, **seen.pop()}
        elif piece:
            yield {"text": piece}
        if time.monotonic() - began > TIME_LIMIT:
            reason = f"time limit of {TIME_LIMIT:.0f} s"
            break
    if count < asked["length"] and reason == "length":
        reason = "stop"
    yield {"done": reason, "prompt": asked["prompt"], "text": text, "tokens": count, "seed": asked["seed"]}


def _noting(served: Served, seen: list[dict[str, Any]]) -> Callable[[Tensor, Tensor], None]:
    """Return what notes a token that was drawn, and what the network said of it and of the others."""

    def note(scores: Tensor, drawn: Tensor) -> None:
        shares = scores[0].float().softmax(-1)
        best = shares.topk(min(_CANDIDATES, len(shares)))
        token = int(drawn[0])
        names = served.data.token_texts([token, *best.indices.tolist()])
        values = [round(float(share), 6) for share in (shares[token], *best.values)]
        ranked = [[name, share] for name, share in zip(names[1:], values[1:], strict=True)]
        seen.append({"token": names[0], "probability": values[0], "candidates": ranked})

    return note


def _answer(served: Served, asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
    source = asked["prompt"].strip()
    if not source:
        raise UserError('there is nothing to read: send a text as "prompt"')
    beam = beam_for(
        served.task, size=asked["beam"], num=asked["nbest"], length_penalty=asked["length_penalty"]
    )
    found = replies(served.task, served.data, source, run=served.name, beam=beam, max_len=asked["length"])
    for rank, reply in enumerate(found[: asked["nbest"]], 1):
        yield {"rank": rank, "prompt": source, "text": reply.text, "score": round(reply.score, 6)}


def _fill(served: Served, asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
    found = fill(
        served.task, served.data, asked["prompt"], asked["next"], top_k=asked["top_k"], run=served.name
    )
    ranked = [
        [{"token": token, "probability": round(share, 6)} for token, share in candidates]
        for candidates in found.candidates
    ]
    row = {"prompt": asked["prompt"], "text": found.text, "hidden": ranked}
    yield row if found.follows is None else {**row, "next": asked["next"], "follows": round(found.follows, 6)}
