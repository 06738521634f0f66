"""The lab's OLT as a fixture. The emulator is imported only by tests that use it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from lab.olt.server import OltServer


@pytest.fixture
async def olt() -> AsyncIterator[OltServer]:
    """An OLT with two PON ports in the test's own event loop, in strict mode."""
    from lab.olt.device import OltSettings
    from lab.olt.server import OltServer

    async with OltServer(OltSettings(pon_ports=2)) as server:
        yield server
