"""From bytes to a validated model: size, UTF-8, strict JSON (RFC 8259 within the limits of RFC 7493), pydantic.

Refuses with a Problem whatever a database or a caller's arithmetic would choke on later: NaN, NUL, lone surrogates,
integers beyond 64 bits, repeated names, bottomless nesting.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, NoReturn, get_origin

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request

from controller.http.problem import FieldError, Problem, invalid

MAX_BODY_OCTETS = 1_048_576
MAX_DEPTH = 64
MAX_INTEGER = 2**63 - 1
MAX_DIGITS = 30


async def read_body(request: Request, limit: int = MAX_BODY_OCTETS) -> bytes:
    """The whole body, at most `limit` octets: Problem 413 beyond, without reading the rest."""
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared[:20]) > limit:
        raise _too_large(limit)
    chunks, size = [], 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                raise _too_large(limit)
            chunks.append(chunk)
    except ClientDisconnect as error:
        raise Problem(400, "The connection ended before the body did.", code="incomplete") from error
    return b"".join(chunks)


def parse_body(raw: bytes, content_type: str, model: type[BaseModel]) -> BaseModel:
    """A JSON body as `model`. Raises Problem 415, 400 (not JSON) or 422 (not what is asked for)."""
    media_type, _, parameters = content_type.partition(";")
    if media_type.strip().lower() != "application/json":
        raise Problem(
            415, "Send the body as application/json.", code="media-type", headers={"Accept": "application/json"}
        )
    charset = parameters.partition("charset=")[2].strip().strip('"').lower()
    if charset not in ("", "utf-8", "utf8"):
        raise Problem(415, "JSON is UTF-8 (RFC 8259 section 8.1).", code="media-type")
    if not raw.strip():
        raise Problem(400, "A JSON body is expected.", code="json")
    document = parse_json(raw)
    check_storable(document, "body")
    try:
        # From the bytes again: only then a decimal number reaches a Decimal field without having been a float.
        parsed = model.model_validate_json(raw)
    except ValidationError as error:
        raise invalid(error, where="body", document=document) from error
    check_storable(parsed.model_dump(), "body")
    return parsed


def no_body(model: type[BaseModel]) -> BaseModel:
    """What a caller means who sends nothing where nothing must be said. Raises Problem 422."""
    try:
        return model.model_validate({})
    except ValidationError as error:
        raise invalid(error, where="body", document={}) from error


def parse_json(raw: bytes) -> Any:
    """Strict JSON. Raises Problem 400."""
    try:
        return json.loads(
            raw.decode("utf-8"), parse_constant=_refuse_constant, parse_float=Decimal, object_pairs_hook=_unique
        )
    except UnicodeDecodeError as error:
        raise Problem(400, "The body is not UTF-8.", code="json") from error
    except (ValueError, RecursionError, ArithmeticError) as error:
        raise Problem(400, "The body is not JSON that every program would read alike.", code="json") from error


def parse_query(pairs: Iterable[tuple[str, str]], model: type[BaseModel] | None) -> BaseModel | None:
    """The query string as `model`; without a model every parameter is unknown. Raises Problem 422."""
    values: dict[str, Any] = {}
    lists = {name for name, field in model.model_fields.items() if _is_list(field.annotation)} if model else set()
    for name, value in pairs:
        if name in lists:
            values.setdefault(name, []).append(value)
        elif name in values:
            raise _wrong("query", name, "given more than once")
        else:
            values[name] = value
    check_storable(values, "query")
    if model is None:
        if values:
            raise _wrong("query", next(iter(values)), "unknown parameter")
        return None
    try:
        parsed = model.model_validate(values)
    except ValidationError as error:
        raise invalid(error, where="query") from error
    check_storable(parsed.model_dump(), "query")
    return parsed


def check_path(values: Mapping[str, Any]) -> dict[str, str]:
    """Path parameters as text. What no id of ours could be is simply not found."""
    texts = {name: str(value) for name, value in values.items()}
    for value in texts.values():
        if not value or len(value) > 300 or _text_fault(value):
            raise Problem(404, "There is nothing at this address.", code="not-found")
    return texts


def check_storable(value: Any, where: str, path: str = "", depth: int = 0) -> None:
    """Raise Problem 400 or 422 for values that are JSON, but that no column and no counter of ours can hold."""
    if depth > MAX_DEPTH:
        raise Problem(400, "The body is nested too deeply.", code="json")
    match value:
        case str():
            if fault := _text_fault(value):
                raise _wrong(where, path, fault)
        case bool():
            return
        case int():
            if abs(value) > MAX_INTEGER:
                raise _wrong(where, path, "integers go up to 2^63-1")
        case float():
            if not math.isfinite(value):
                raise _wrong(where, path, "a finite number is expected")
        case Decimal():
            if not _decimal_fits(value):
                raise _wrong(where, path, f"decimals have at most {MAX_DIGITS} digits")
        case dict():
            for name, item in value.items():
                check_storable(str(name), where, path, depth + 1)
                check_storable(item, where, f"{path}/{name}" if path else str(name), depth + 1)
        case list() | tuple() | set() | frozenset():
            for index, item in enumerate(value):
                check_storable(item, where, f"{path}/{index}", depth + 1)


def _text_fault(text: str) -> str | None:
    if "\x00" in text:
        return "NUL is not text"
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        return "a lone surrogate is not text"
    return None


def _decimal_fits(value: Decimal) -> bool:
    if not value.is_finite():
        return False
    digits, exponent = value.as_tuple().digits, value.as_tuple().exponent
    return isinstance(exponent, int) and exponent >= -MAX_DIGITS and len(digits) + max(exponent, 0) <= MAX_DIGITS


def _is_list(annotation: Any) -> bool:
    return any(
        get_origin(part) in (list, tuple, set, frozenset) for part in (annotation, *getattr(annotation, "__args__", ()))
    )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a name is repeated")
    return values


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _wrong(where: str, path: str, detail: str) -> Problem:
    pointer = ("#/" + path) if path else "#"
    # A pointer may quote a hostile name back; the response is ASCII JSON, so it cannot break anything.
    return Problem(
        422, f"The {where} is not valid.", code="invalid", errors=[FieldError(pointer=_clean(pointer), detail=detail)]
    )


def _clean(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode()[:200]


def _too_large(limit: int) -> Problem:
    # The connection is closed because the rest of the body is not read.
    return Problem(413, f"The body is larger than {limit} octets.", code="too-large", headers={"Connection": "close"})
