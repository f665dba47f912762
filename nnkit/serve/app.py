"""The routes: the page and its files, the endpoints, and what describes them."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import Future
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from nnkit.errors import NnkitError
from nnkit.serve import lighting, writing
from nnkit.serve.fields import Flag, checked, parse
from nnkit.serve.guard import printed
from nnkit.serve.openapi import document
from nnkit.serve.page import Page
from nnkit.serve.refusal import Refusal
from nnkit.serve.served import Asked, Served
from nnkit.serve.worker import Stream, Worker

# Bytes of a body, seconds until it must be there, and seconds until an answer must be.
MOST_BYTES, SLOWEST, LONGEST = 12_000_000, 20.0, 60.0
CONTRIBUTIONS = Flag(
    "contributions",
    "whether what each part of the input adds to the answer is computed as well",
    default=False,
)

_log = logging.getLogger("nnkit")

Handler = Callable[[Request], Awaitable[Response]]


class Endpoints:
    """What answers requests.

    Args:
        served: The run.
        worker: Its worker.
        slowest: Seconds until the body of a request must be there.
    """

    def __init__(self, served: Served, worker: Worker, *, slowest: float = SLOWEST) -> None:
        self._served, self._worker, self._slowest = served, worker, slowest
        self._page = Page(served)
        self._document = document(served)

    def application(self) -> Starlette:
        """Return the application."""
        routes = [
            Route("/", self.page, methods=["GET"]),
            Route("/api", self.api, methods=["GET"]),
            Route("/assets/{name}", self.asset, methods=["GET"]),
            Route("/openapi.json", self.openapi, methods=["GET"]),
            Route("/health", self.health, methods=["GET"]),
            Route("/predict", self.predict, methods=["POST"]),
            Route("/layers", self.layers, methods=["POST"]),
            Route("/generate", self.generate, methods=["POST"]),
        ]
        handlers: Mapping[Any, Any] = {
            NnkitError: _mistake,
            HTTPException: _no_route,
            ClientDisconnect: _gone,
            Exception: _bug,
        }
        return Starlette(routes=routes, exception_handlers=dict(handlers))

    async def page(self, request: Request) -> Response:
        """Return the page with the widget."""
        return Response(self._page.index, media_type="text/html")

    async def api(self, request: Request) -> Response:
        """Return the page that shows the OpenAPI document."""
        return Response(self._page.api, media_type="text/html")

    async def asset(self, request: Request) -> Response:
        """Return a file of the pages, one of a fixed set."""
        found = self._page.assets.get(request.path_params["name"])
        if found is None:
            raise HTTPException(404)
        content, kind = found
        return Response(content, media_type=kind)

    async def openapi(self, request: Request) -> Response:
        """Return the OpenAPI document."""
        return _json(self._document)

    async def health(self, request: Request) -> Response:
        """Return that the server is there, and what it has answered."""
        counts = self._worker.counts
        return _json(
            {
                "status": "ok",
                "run": self._served.name,
                "waiting": self._worker.waiting,
                "requests": counts.requests,
                "batches": counts.batches,
                "mean_batch": round(counts.mean, 3),
                "largest_batch": counts.largest,
            }
        )

    async def predict(self, request: Request) -> Response:
        """Answer what nnkit predict would."""
        given = await self._asked(request, self._served.predict_fields)
        values = given[self._served.form.name]
        asked = Asked(values, given["top_k"], given["proba"])
        answer = await _answered(self._worker.predict(asked, self._served.form.count(values)))
        found: dict[str, Any] = {"predictions": answer.predictions}
        return _json({**found, "notes": answer.notes} if answer.notes else found)

    async def layers(self, request: Request) -> Response:
        """Answer what every layer does with an input."""
        given = await self._asked(request, [self._served.form.field, CONTRIBUTIONS])
        values, more = given[self._served.form.name], given["contributions"]
        found = await _answered(self._worker.call(lambda: lighting.layers(self._served, values, more)))
        return _json(found)

    async def generate(self, request: Request) -> Response:
        """Write, line by line as it is made."""
        asked = await self._asked(request, writing.fields(self._served))
        loop, queue = asyncio.get_running_loop(), asyncio.Queue[dict[str, Any] | None]()

        def put(line: dict[str, Any] | None) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(queue.put_nowait, line)

        stream = Stream(lambda: writing.lines(self._served, asked), put)
        self._worker.stream(stream)
        first = await asyncio.wait_for(queue.get(), LONGEST)
        if first is None:
            raise Refusal(422, "there is nothing to write: send a text as prompt")
        if "error" in first:
            raise Refusal(int(first.get("status", 422)), str(first["error"]))
        return StreamingResponse(_lines(first, queue, stream), media_type="application/x-ndjson")

    async def _asked(self, request: Request, fields: Any) -> dict[str, Any]:
        """Return the fields of a body: JSON, or a picture file as it is."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        is_picture = kind.startswith("image/") and self._served.form.name == "images"
        if not fields:
            raise Refusal(422, f"{self._served.name} writes no text: POST /predict applies it")
        if not is_picture and kind != "application/json":
            also = " or a picture file as image/png" if self._served.form.name == "images" else ""
            raise Refusal(
                415,
                f"the body must be application/json{also}, not {printed(kind) if kind else 'without a type'}",
            )
        body = await self._body(request)
        if is_picture:
            return {**{field.name: field.default for field in fields}, "images": [body]}
        return checked(parse(body), fields)

    async def _body(self, request: Request) -> bytes:
        """Return the body; one that is too large or too slow is refused."""
        claimed = request.headers.get("content-length", "0")
        if claimed.isdigit() and int(claimed[:20]) > MOST_BYTES:
            raise _too_large()
        content = bytearray()
        try:
            async with asyncio.timeout(self._slowest):
                async for chunk in request.stream():
                    content += chunk
                    if len(content) > MOST_BYTES:
                        raise _too_large()
        except TimeoutError as error:
            raise Refusal(
                408,
                f"the body did not arrive within {self._slowest:g} s: send it again",
                {"Connection": "close"},
            ) from error
        return bytes(content)


def _json(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return JSON of ASCII alone: a sentence may quote what is no Unicode."""
    body = json.dumps(content, allow_nan=False).encode()
    return Response(body, status, headers, media_type="application/json")


def _too_large() -> Refusal:
    text = f"the body is too large, at most {MOST_BYTES:,} bytes are read: send fewer inputs at a time"
    return Refusal(413, text, {"Connection": "close"})


async def _answered(future: Future[Any]) -> Any:
    """Return what a future brings; one that takes too long is given up."""
    try:
        return await asyncio.wait_for(asyncio.wrap_future(future), LONGEST)
    except TimeoutError as error:
        text = f"there was no answer within {LONGEST:g} s: send fewer inputs at a time"
        raise Refusal(503, text, {"Retry-After": "10"}) from error


async def _lines(
    first: dict[str, Any], queue: asyncio.Queue[dict[str, Any] | None], stream: Stream
) -> AsyncIterator[bytes]:
    line: dict[str, Any] | None = first
    try:
        while line is not None:
            yield json.dumps(line, ensure_ascii=False).encode() + b"\n"
            line = await queue.get()
    finally:
        # The reader may have gone.
        stream.cancelled = True


async def _mistake(request: Request, error: Exception) -> Response:
    status = error.status if isinstance(error, Refusal) else 422
    headers = error.headers if isinstance(error, Refusal) else {}
    if isinstance(error, NnkitError) and not isinstance(error, Refusal) and error.exit_code == 1:
        status = 500
    return _json({"error": str(error)}, status, headers)


async def _no_route(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    path, method = printed(request.url.path), printed(request.method)
    known = "GET /, /api, /openapi.json, /health; POST /predict, /layers, /generate"
    text = (
        f"{method} is not for {path}; there are {known}"
        if status == 405
        else f"there is nothing at {path}; there are {known}"
    )
    headers = getattr(error, "headers", None)
    return _json({"error": text}, status, headers)


async def _gone(request: Request, error: Exception) -> Response:
    return _json({"error": "the request ended early"}, 400)


async def _bug(request: Request, error: Exception) -> Response:
    _log.error("a request failed", exc_info=error)
    text = f"the server failed ({type(error).__name__}); its log has what went wrong"
    return _json({"error": text}, 500)
