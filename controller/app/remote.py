"""The API of a running controller, for commands: where it is, with which token, its answers and its refusals.

HEADEND_URL and HEADEND_TOKEN say where; else demo.json in the data directory does, which `make run` writes.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2

from controller.app.settings import default_data_dir
from controller.domain.errors import RuleError

Json = dict[str, Any]


class Refused(RuleError):
    """The controller refused, or is not there."""

    code = "refused"


@dataclass(frozen=True)
class Place:
    """A controller, and what a command needs to speak to it and to its RADIUS ports; empty or 0 where not known."""

    url: str = ""
    token: str = ""
    radius_secret: str = ""
    auth_port: int = 0
    username: str = ""
    """A subscriber made for trying things out."""
    password: str = ""

    def __repr__(self) -> str:
        return f"Place({self.url!r})"


def find() -> Place:
    """From the environment, else from demo.json."""
    demo = _demo()
    sample: Json = next(iter(demo.get("subscribers", [])), {})
    return Place(
        url=os.environ.get("HEADEND_URL") or demo.get("http", ""),
        token=os.environ.get("HEADEND_TOKEN") or demo.get("token", ""),
        radius_secret=os.environ.get("HEADEND_RADIUS_SECRET") or demo.get("nas_secret", ""),
        auth_port=int(demo.get("auth_port", 0)),
        username=sample.get("username", ""),
        password=sample.get("password", ""),
    )


def _demo() -> Json:
    data_dir = os.environ.get("HEADEND_DATA_DIR")
    here = Path(data_dir) if data_dir else default_data_dir().with_name("headend-demo")
    try:
        found: Json = json.loads((here / "demo.json").read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise Refused(f"{here / 'demo.json'} cannot be read: {error}") from None
    return found


class Remote:
    """Calls below /api/v1. Raises Refused with the problem's words. A context manager."""

    def __init__(self, place: Place, *, transport: httpx2.BaseTransport | None = None) -> None:
        if not place.url or not place.token:
            raise Refused("which controller? Set HEADEND_URL and HEADEND_TOKEN (headend token create makes one)")
        self.url = place.url.rstrip("/")
        self._http = httpx2.Client(
            base_url=self.url + "/api/v1",
            headers={"Authorization": f"Bearer {place.token}"},
            timeout=60.0,
            trust_env=False,
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, path: str, **query: str | int) -> Json:
        return self._call("GET", path, params=query)

    def post(self, path: str, body: Json | None = None) -> Json:
        return self._call("POST", path, json=body or {})

    def upload(self, path: str, content: bytes, media_type: str = "application/xml", **query: str | int) -> Json:
        """Send a bank file as it is."""
        return self._call("POST", path, content=content, params=query, headers={"Content-Type": media_type})

    def put(self, path: str, body: Json) -> Json:
        return self._call("PUT", path, json=body)

    def patch(self, path: str, body: Json) -> Json:
        return self._call("PATCH", path, json=body)

    def raw(self, method: str, path: str, **more: Any) -> bytes:
        """What a call answers, as it is: JSON or a document."""
        with _told():
            answer = self._http.request(method, path, **more)
        _check(answer)
        return answer.content

    def all(self, path: str, **query: str | int) -> Iterator[Json]:
        """Every item of a list, page by page."""
        after: Json = {}
        while True:
            page = self.get(path, **query, limit=500, **after)
            yield from page["items"]
            if page["next"] is None:
                return
            after = {"after": page["next"]}

    def text(self, path: str, **query: str | int) -> Iterator[str]:
        """A document, as it comes."""
        with _told(), self._http.stream("GET", path, params=query) as answer:
            if answer.is_error:
                answer.read()
            _check(answer)
            yield from answer.iter_text()

    def events(self, path: str, **query: str | int) -> Iterator[tuple[str, Json]]:
        """(name, data) of server-sent events until the stream ends."""
        with _told(), self._http.stream("GET", path, params=query, timeout=httpx2.Timeout(60.0)) as answer:
            if answer.is_error:
                answer.read()
            _check(answer)
            name = ""
            for line in answer.iter_lines():
                field, _, value = line.partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    yield name, json.loads(value)

    def _call(self, method: str, path: str, **more: Any) -> Json:
        content = self.raw(method, path, **more)
        return dict(json.loads(content)) if content else {}


@contextmanager
def opened() -> Iterator[Remote]:
    """The controller's API for one command; a refusal becomes one line and exit status 2."""
    try:
        with Remote(find()) as api:
            yield api
    except RuleError as error:
        print(f"headend: {error}", file=sys.stderr)
        raise SystemExit(2) from None


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except httpx2.TransportError as error:
        raise Refused(f"the controller does not answer: {error}") from None


def _check(answer: httpx2.Response) -> None:
    if not answer.is_error:
        return
    try:
        problem = dict(answer.json())
    except ValueError:
        problem = {"detail": answer.text[:200]}
    said = str(problem.get("detail") or problem.get("title") or f"HTTP status {answer.status_code}")
    wrong = [f"{one['pointer'].removeprefix('#/')}: {one['detail']}" for one in problem.get("errors") or ()]
    raise Refused("; ".join([said, *wrong]))
