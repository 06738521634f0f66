"""Fixtures that every test may use. Each real server is started by the tests themselves, on loopback, once per run."""

from __future__ import annotations

import gc
from collections.abc import Generator

import pytest
from dbos import Queue
from hypothesis import settings

from controller.store.jobs import Jobs
from tests.support import once, temporary

gc.disable()  # until all tests are found: what importing them makes stays to the end
temporary.choose()
once.choose()
Jobs.poll_s = 0.02
# How long an example takes is the bench's business: on a busy machine any of them may wait for half a second.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
# What a launch goes on with is asked for once a second: tests that launch again and again would wait for little else.
assert Queue.__init__.__kwdefaults__ is not None
Queue.__init__.__kwdefaults__["polling_interval_sec"] = 0.1

pytest_plugins = [
    "tests.support.browser",
    "tests.support.databases",
    "tests.support.finance",
    "tests.support.payments",
    "tests.support.metrics_server",
    "tests.support.mqtt",
    "tests.support.olt_server",
    "tests.support.disk",
    "tests.support.smtp",
    "tests.support.snmp",
    "tests.support.yang",
]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """From here on garbage is looked for among what tests make, not among all that was imported: a sixth of it all."""
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(20_000, 20, 20)
        gc.enable()
