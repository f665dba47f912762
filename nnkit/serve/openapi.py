"""The OpenAPI 3.1 document of a run's endpoints, made from the fields that check the requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nnkit import __version__
from nnkit.serve import writing
from nnkit.serve.fields import Field

if TYPE_CHECKING:
    from nnkit.serve.served import Served

_ERRORS = {
    "400": "the body is wrong: not JSON, an unknown field, a value out of range",
    "401": "the token is missing or wrong, where the server has one",
    "403": "a page of another origin asks",
    "408": "the body did not arrive in time",
    "413": "the body is too large",
    "415": "the body is of another content type",
    "421": "the Host is not this server's",
    "422": "an input cannot be read",
    "503": "too many requests wait; Retry-After says when to come again",
}


def document(served: Served) -> dict[str, Any]:
    """Return the document.

    Args:
        served: The run.
    """
    form = served.form.field
    contributions = {
        "type": "boolean",
        "description": "whether what each part of the input adds to the answer is computed as well",
        "default": False,
    }
    paths: dict[str, Any] = {
        "/predict": {
            "post": _operation("predict inputs, as nnkit predict does", served.predict_fields, served)
        },
        "/layers": {
            "post": _operation("what every layer does with the first input", [form], served, contributions)
        },
        "/health": {
            "get": {
                "operationId": "health",
                "summary": "whether the server is there, and what it has answered",
                "responses": _responses("counts of requests and batches", "application/json", errors=False),
            }
        },
    }
    if fields := writing.fields(served):
        paths["/generate"] = {
            "post": _operation(
                "write, one JSON object a line as it is made", fields, served, kind="application/x-ndjson"
            )
        }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"nnkit serve {served.name}",
            "version": __version__,
            "description": _about(served),
        },
        "paths": paths,
        "components": {
            "schemas": {
                "Error": {
                    "type": "object",
                    "required": ["error"],
                    "properties": {"error": {"type": "string", "description": "a sentence"}},
                }
            },
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _about(served: Served) -> str:
    return ", ".join(f"{name} {value}" for name, value in served.facts.items())


def _operation(
    summary: str,
    fields: Sequence[Field],
    served: Served,
    more: dict[str, Any] | None = None,
    kind: str = "application/json",
) -> dict[str, Any]:
    properties = {field.name: field.schema() for field in fields}
    if more is not None:
        properties["contributions"] = more
    schema = {
        "type": "object",
        "properties": properties,
        "required": [field.name for field in fields if field.required],
        "additionalProperties": False,
    }
    content: dict[str, Any] = {"application/json": {"schema": schema}}
    if served.form.name == "images" and "images" in properties:
        content["image/*"] = {"schema": {"type": "string", "format": "binary"}}
    return {
        "operationId": summary.split()[0].strip(",") if kind != "application/x-ndjson" else "generate",
        "summary": summary,
        "requestBody": {"required": True, "content": content},
        "responses": _responses("the answer", kind),
    }


def _responses(description: str, kind: str, errors: bool = True) -> dict[str, Any]:
    found: dict[str, Any] = {
        "200": {"description": description, "content": {kind: {"schema": {"type": "object"}}}}
    }
    reference = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    for status, text in _ERRORS.items() if errors else ():
        found[status] = {"description": text, "content": reference}
    return found
