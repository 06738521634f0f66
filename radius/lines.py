"""Use cases of lines: which MAC address, circuit or port leads to a service without a password."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock
from controller.domain.errors import Conflict, NotFound
from controller.store import audit
from controller.store.engine import Database
from radius import line_repository, repository
from radius.authorization.line import Line
from radius.follower import Follower


class LineService:
    """Every call may be repeated; logins of this process follow at once."""

    def __init__(self, database: Database, clock: Clock, follower: Follower) -> None:
        self._database = database
        self._clock = clock
        self._follower = follower

    async def show(self, service_id: str) -> list[Line]:
        """Raises NotFound for a service without a RADIUS login."""
        async with self._database.read() as conn:
            await _known(conn, service_id)
            return await line_repository.lines_of(conn, service_id)

    async def put(self, service_id: str, lines: Sequence[Line], *, actor: str) -> list[Line]:
        """Replace a service's lines. Raises NotFound, and Conflict for a line that leads to another service."""
        now, wanted = self._clock.now(), set(lines)
        async with self._database.begin() as conn:
            await repository.take_turn(conn)
            await _known(conn, service_id)
            before = await line_repository.lines_of(conn, service_id)
            gained, lost = wanted - set(before), set(before) - wanted
            for line in gained:
                holder = await line_repository.holder_of(conn, line)
                if holder is not None and not holder[1] and holder[0] != service_id:
                    raise Conflict(f"{shown(line)} leads to service {holder[0]} already")
            if gained or lost:
                await line_repository.put_lines(conn, service_id, _sorted(gained), _sorted(lost), now)
                await audit.record(
                    conn,
                    now=now,
                    actor=actor,
                    action="subscriber.lines",
                    subject=f"service:{service_id}",
                    before={"lines": [shown(line) for line in before]},
                    after={"lines": [shown(line) for line in _sorted(wanted)]},
                )
        await self._follower.refresh_lines()
        return _sorted(wanted)


def shown(line: Line) -> str:
    """`circuit olt-1/1/1/4:0.100 at NAS 01a0…`, for people."""
    value = line.value.decode(errors="backslashreplace")
    return f"{line.kind} {value}" + (f" at NAS {line.nas_id}" if line.nas_id else "")


async def _known(conn: AsyncConnection, service_id: str) -> None:
    if await repository.get_subscriber(conn, service_id) is None:
        raise NotFound(f"service {service_id} has no RADIUS login")


def _sorted(lines: set[Line]) -> list[Line]:
    return sorted(lines, key=lambda line: (line.kind, line.value, line.nas_id))
