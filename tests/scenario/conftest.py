"""A controller on either database, and the lab's network beside it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.controller import Controller
from tests.support.databases import PostgresServer
from tests.support.road import START, Network


@pytest.fixture(params=["sqlite", "postgresql"])
def controller(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Controller]:
    server: PostgresServer | None = None
    url, name = "", f"e{uuid.uuid4().hex}"
    if request.param == "postgresql":
        server = request.getfixturevalue("postgres")
        url = server.create(name)
    made = Controller(tmp_path / "data", database_url=url, demo_start=START)
    made.start()
    try:
        yield made
    finally:
        made.stop()
        if server is not None:
            server.drop(name)


@pytest.fixture
def network(controller: Controller, tmp_path: Path) -> Iterator[Network]:
    made = Network(tmp_path, controller)
    try:
        yield made
    finally:
        made.close()
