"""The API's description (OpenAPI 3.1), made from the endpoint declarations: it cannot differ from what is served."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from controller.http import browser
from controller.http.dispatch import API_PREFIX
from controller.http.endpoint import PUBLIC, Endpoint
from controller.http.problem import MEDIA_TYPE, ProblemOut, title

_PARAMETER = re.compile(r"{(\w+)(?::\w+)?}")

Schema = dict[str, Any]

DESCRIPTION = """
Send a token as `Authorization: Bearer …`. Lists are paginated by key: pass the `next` of a page as `after` of the next
request. Money is an exact amount as text with its currency, instants are ISO 8601 in UTC, rates are bit/s, volumes
octets; *downstream* is towards the subscriber. Every error is a problem (RFC 9457) with a stable `code`.
""".strip()


def document(endpoints: Sequence[Endpoint]) -> Schema:
    """The whole document as a JSON-able dict."""
    schemas, components = _schemas(endpoints)
    paths: dict[str, Schema] = {}
    for endpoint in sorted(endpoints, key=lambda e: (e.path, e.method)):
        path = API_PREFIX + _PARAMETER.sub(r"{\1}", endpoint.path)
        paths.setdefault(path, {})[endpoint.method.lower()] = _operation(endpoint, schemas, components)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Headend",
            "version": _version(),
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": area} for area in sorted({_area(e) for e in endpoints})],
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": {
                "Problem": {
                    "description": "Refused or failed",
                    "content": {MEDIA_TYPE: {"schema": _reference(schemas, ProblemOut, "serialization")}},
                }
            },
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": browser.COOKIE,
                    "description": f"A signed-in browser; what changes something also needs {browser.CSRF_HEADER}.",
                },
            },
        },
    }


_References = dict[tuple[Any, JsonSchemaMode], Schema]


def _schemas(endpoints: Sequence[Endpoint]) -> tuple[_References, dict[str, Schema]]:
    wanted: set[tuple[type[BaseModel], JsonSchemaMode]] = {(ProblemOut, "serialization")}
    for endpoint in endpoints:
        if endpoint.returns is not None:
            wanted.add((endpoint.returns, "serialization"))
        wanted |= {(model, "validation") for model in (endpoint.body, endpoint.query) if model is not None}
    references, definitions = models_json_schema(sorted(wanted, key=str), ref_template="#/components/schemas/{model}")
    found: dict[str, Schema] = definitions.get("$defs", {})
    return dict(references), found


def _reference(schemas: _References, model: type[BaseModel], mode: JsonSchemaMode) -> Schema:
    return schemas[(model, mode)]


def _operation(endpoint: Endpoint, schemas: _References, components: dict[str, Schema]) -> Schema:
    operation: Schema = {
        "operationId": _operation_id(endpoint),
        "summary": endpoint.summary,
        "tags": [_area(endpoint)],
        "responses": _responses(endpoint, schemas),
    }
    if endpoint.scope != PUBLIC:
        operation["security"] = [{"bearer": [endpoint.scope]}, {"session": [endpoint.scope]}]
    parameters = [_path_parameter(name) for name in _PARAMETER.findall(endpoint.path)]
    if endpoint.query is not None:
        name = _reference(schemas, endpoint.query, "validation")["$ref"].rsplit("/", 1)[1]
        parameters += _query_parameters(components[name])
    if parameters:
        operation["parameters"] = parameters
    if endpoint.body is not None:
        operation["requestBody"] = {
            "required": not endpoint.may_lack_body,
            "content": {"application/json": {"schema": _reference(schemas, endpoint.body, "validation")}},
        }
    return {**operation, **endpoint.extra}


def _path_parameter(name: str) -> Schema:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "schema": {"type": "string", "minLength": 1, "maxLength": 300},
    }


def _query_parameters(model: Schema) -> list[Schema]:
    required = set(model.get("required", ()))
    parameters = []
    for name, schema in model.get("properties", {}).items():
        parameter = {"name": name, "in": "query", "required": name in required, "schema": _without_null(schema)}
        if description := schema.get("description"):
            parameter["description"] = description
        parameters.append(parameter)
    return parameters


def _without_null(schema: Schema) -> Schema:
    """An absent parameter is its null: a query string cannot say null."""
    kept = {key: value for key, value in schema.items() if key not in ("anyOf", "description", "title")}
    if kept.get("default", ...) is None:
        del kept["default"]
    choices = [choice for choice in schema.get("anyOf", ()) if choice.get("type") != "null"]
    if len(choices) == 1:
        return {**kept, **choices[0]}
    return {**kept, "anyOf": choices} if choices else kept


def _responses(endpoint: Endpoint, schemas: _References) -> Schema:
    responses: Schema = {}
    if endpoint.returns is None and endpoint.media_type == "application/json":
        responses["204"] = {"description": title(204)}
    else:
        responses[str(endpoint.status)] = {
            "description": title(endpoint.status),
            "content": {kind: _content(endpoint, schemas) for kind in (endpoint.media_type, *endpoint.also)},
        }
    for status in sorted(_problem_statuses(endpoint)):
        responses.setdefault(str(status), {"$ref": "#/components/responses/Problem"})
    return responses


def _content(endpoint: Endpoint, schemas: _References) -> Schema:
    if endpoint.returns is None:
        return {}
    item = _reference(schemas, endpoint.returns, "serialization")
    if not endpoint.paged:
        return {"schema": item}
    page = {
        "type": "object",
        "properties": {"items": {"type": "array", "items": item}, "next": {"type": ["string", "null"]}},
        "required": ["items", "next"],
        "additionalProperties": False,
    }
    return {"schema": page}


def _problem_statuses(endpoint: Endpoint) -> set[int]:
    statuses = {400, 422, *endpoint.problems}
    if endpoint.scope != PUBLIC:
        statuses |= {401, 403}
    if "{" in endpoint.path or endpoint.method != "GET" or _names_entity(endpoint):
        statuses |= {404}
    if endpoint.method != "GET":
        statuses |= {409}
    if endpoint.body is not None:
        statuses |= {413, 415}
    return statuses


def _names_entity(endpoint: Endpoint) -> bool:
    """Whether its query says whose books are meant: an entity that is not there has none."""
    return endpoint.query is not None and "entity_id" in endpoint.query.model_fields


def _operation_id(endpoint: Endpoint) -> str:
    words = re.findall(r"[A-Za-z0-9]+", endpoint.path)
    return "_".join([endpoint.method.lower(), *words])


def _area(endpoint: Endpoint) -> str:
    return endpoint.scope.split(":")[0]


def _version() -> str:
    try:
        return version("headend")
    except PackageNotFoundError:
        return "0"
