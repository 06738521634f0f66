"""The demo in real time: records fall due, counters move, and now and then somebody's session ends or begins."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine

from lab.bras.client import NoAnswer
from lab.bras.nas import Bras, Rejected
from lab.clock import now
from lab.network import Network
from lab.world import Subscriber, World

COUNT_EVERY_S = 5.0
CHURN_EVERY_S = 20.0
INSIST_S = 0.5
AWAY_SHARE = 0.04
"""Share of the subscribers that are offline at any time."""


class Live:
    """Runs the network against the running controller until cancelled."""

    def __init__(self, network: Network, bras: Bras, world: World, broker_url: str) -> None:
        self._network = network
        self._bras = bras
        self._world = world
        self._fleet = network.fleet(broker_url) if broker_url else None
        self._chance = random.Random()
        self.refused: dict[str, str] = {}
        """Subscribers whose sign-in was rejected, with the server's words: they do not try again at once."""

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._bras.run())
            group.create_task(self._count())
            group.create_task(self._churn())
            if self._fleet is not None:
                group.create_task(until_cancelled(self._fleet.run()))

    async def _count(self) -> None:
        while True:
            self._network.count(now())
            await asyncio.sleep(COUNT_EVERY_S)

    async def _churn(self) -> None:
        while True:
            online, offline = self._split()
            if len(offline) > AWAY_SHARE * (len(online) + len(offline)):
                await self._sign_in(self._chance.choice(offline))
            elif online:
                await self._bras.logout(self._chance.choice(online).username)
            await asyncio.sleep(CHURN_EVERY_S * self._chance.uniform(0.5, 1.5))

    def _split(self) -> tuple[list[Subscriber], list[Subscriber]]:
        online: list[Subscriber] = []
        offline: list[Subscriber] = []
        for subscriber in self._world.subscribers:
            if subscriber.active and not subscriber.experiment:
                (online if self._bras.session_of(subscriber.username) else offline).append(subscriber)
        return online, offline

    async def _sign_in(self, subscriber: Subscriber) -> None:
        try:
            await self._bras.login(subscriber.username)
        except Rejected as rejected:
            self.refused[subscriber.username] = str(rejected)
        except NoAnswer:
            # The controller restarts, or is busy: the next turn tries again.
            self.refused[subscriber.username] = "no answer"


async def until_cancelled(work: Coroutine[None, None, None]) -> None:
    """Run `work`; once cancelled, cancel it again until it ends.

    An MQTT client that is cancelled says goodbye to its broker first; should that fail, the failure takes the place of
    the cancellation, and whoever reconnects on failures would go on for ever.
    """
    task = asyncio.create_task(work)
    try:
        await asyncio.shield(task)
    finally:
        while not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=INSIST_S)
