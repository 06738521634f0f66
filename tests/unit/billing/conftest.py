"""The room of usage sources, and its API, over the world of the test file that asks for them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest

from billing_bridge.sources.service import SourceService
from tests.support.billing_world import BillingWorld
from tests.support.usage_sources import source_service, sources_api


@pytest.fixture
def sources(world: BillingWorld) -> SourceService:
    return source_service(world)


@pytest.fixture
async def api(world: BillingWorld, sources: SourceService) -> AsyncIterator[httpx2.AsyncClient]:
    async with sources_api(world, sources) as client:
        yield client
