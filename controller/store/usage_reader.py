"""Reads the usage log and proves it: the UsageReader port over `store_usage_record` and `store_usage_link`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from sqlalchemy import Row, func, or_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.usage import LoggedRecord
from controller.store.engine import Database
from controller.store.metadata import from_micros
from controller.store.usage_chain import FIRST_PREVIOUS, link_digest, record_digest
from controller.store.usage_log import usage_links, usage_records

_IDS_PER_QUERY = 500
_PIECE = 20_000
_CLOCK_STEP_US = 2_000_000
"""How far the clock may have been set back between the arrival of a record and its commit."""
_LONGEST_WAIT_US = 3_600_000_000

# A link this old belongs to a transaction that is long over (writers' transactions are ended after a minute), even
# where its transaction id means nothing any more: a restored dump counts transactions anew.
_SETTLED_US = 3_600_000_000


class UsageLogReader:
    """UsageReader of controller.domain.ports."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def watermark(self) -> int:
        """Highest record id below which no record can still appear; 0 for an empty log."""
        query = select(usage_links.c.last_record_id).order_by(usage_links.c.last_record_id.desc()).limit(1)
        if not self._database.is_sqlite:
            # Ids and transaction ids ascend together, so whatever a transaction older than every running one wrote
            # has nothing below it still to come.
            oldest_running = text("pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
            settled = text(f"(extract(epoch FROM clock_timestamp()) * 1000000)::bigint - {_SETTLED_US}")
            query = query.where(
                or_(
                    usage_links.c.transaction_id < oldest_running,
                    usage_links.c.committed_us < settled,
                )
            )
        async with self._database.read() as conn:
            return await conn.scalar(query) or 0

    async def records_after(self, record_id: int, until: int, limit: int) -> AsyncIterator[LoggedRecord]:
        """Records with record_id < id ≤ until, ascending, at most `limit`."""
        query = (
            select(usage_records)
            .where(usage_records.c.record_id > record_id, usage_records.c.record_id <= until)
            .order_by(usage_records.c.record_id)
            .limit(limit)
        )
        async with self._database.read() as conn:
            rows = (await conn.execute(query)).all()
        for row in rows:
            yield _logged(row)

    async def records(self, record_ids: Sequence[int]) -> Sequence[LoggedRecord]:
        """The records with these ids that exist, ascending."""
        found: list[LoggedRecord] = []
        wanted = sorted(set(record_ids))
        async with self._database.read() as conn:
            for start in range(0, len(wanted), _IDS_PER_QUERY):
                some = usage_records.c.record_id.in_(wanted[start : start + _IDS_PER_QUERY])
                rows = await conn.execute(select(usage_records).where(some).order_by(usage_records.c.record_id))
                found.extend(_logged(row) for row in rows)
        return found

    async def find_received(
        self, session_key: str, received_us: int, packet_prefix: bytes | None = None
    ) -> LoggedRecord | None:
        """The first record of a session that was received at that microsecond or later, near it in the log; None where
        the log does not reach back so far.

        `packet_prefix` is what its packet's digest must begin with. Found through the commits of that time, because the
        log has no index by session: a record waits in memory for seconds, and as long as the database is away.
        """
        first = (
            select(usage_links.c.first_record_id)
            .where(usage_links.c.committed_us >= received_us - _CLOCK_STEP_US)
            .order_by(usage_links.c.committed_us)
            .limit(1)
        )
        last = (
            select(func.max(usage_links.c.last_record_id))
            .where(usage_links.c.committed_us >= received_us - _CLOCK_STEP_US)
            .where(usage_links.c.committed_us <= received_us + _LONGEST_WAIT_US)
        )
        async with self._database.read() as conn:
            begin, end = await conn.scalar(first), await conn.scalar(last)
            if begin is None or end is None:
                return None
            # In pieces: the record mostly lies in the first commit, and the rest of the hour is not read for it.
            while begin <= end:
                query = (
                    select(usage_records)
                    .where(usage_records.c.record_id.between(begin, begin + _PIECE - 1))
                    .where(usage_records.c.session_key == session_key, usage_records.c.received_us >= received_us)
                    .order_by(usage_records.c.record_id)
                )
                for row in await conn.execute(query):
                    if packet_prefix is None or row.packet_sha256.startswith(packet_prefix):
                        return _logged(row)
                begin += _PIECE
        return None

    async def verify_chain(self, record_ids: Sequence[int]) -> Sequence[str]:
        """Recompute the links that cover `record_ids`; a sentence for each fault, naming record or link."""
        faults: list[str] = []
        covered_until = 0
        async with self._database.read() as conn:
            for record_id in sorted(set(record_ids)):
                if record_id <= covered_until:
                    continue
                link = await _link_over(conn, record_id)
                if link is None:
                    faults.append(f"record {record_id}: no link of the hash chain covers it")
                    continue
                covered_until = link.last_record_id
                faults += await _faults_of(conn, link)
        return faults

    async def verify_all(self) -> Sequence[str]:
        """The same for the whole log, and that no link of any writer's chain is missing."""
        faults: list[str] = []
        async with self._database.read() as conn:
            chains = select(usage_links.c.writer, func.count(), func.max(usage_links.c.number))
            for writer, count, highest in await conn.execute(chains.group_by(usage_links.c.writer)):
                if count != highest:
                    faults.append(f"writer {writer}: {highest - count} of {highest} links are missing")
            for link in (await conn.execute(select(usage_links).order_by(usage_links.c.first_record_id))).all():
                faults += await _faults_of(conn, link)
            linked = await conn.scalar(select(func.sum(usage_links.c.records))) or 0
            stored = await conn.scalar(select(func.count()).select_from(usage_records)) or 0
        if stored > linked:
            faults.append(f"{stored - linked} records stand in the log without a link")
        return faults


async def _link_over(conn: AsyncConnection, record_id: int) -> Row[Any] | None:
    query = (
        select(usage_links)
        .where(usage_links.c.first_record_id <= record_id)
        .order_by(usage_links.c.first_record_id.desc())
        .limit(1)
    )
    link = (await conn.execute(query)).one_or_none()
    return link if link is not None and link.last_record_id >= record_id else None


async def _faults_of(conn: AsyncConnection, link: Row[Any]) -> list[str]:
    """What is wrong with one link: its records one by one, then the link itself, then where it is fastened."""
    rows = await conn.execute(
        select(usage_records)
        .where(usage_records.c.record_id.between(link.first_record_id, link.last_record_id))
        .order_by(usage_records.c.record_id)
    )
    stored = {row.record_id: row for row in rows}
    expected = range(link.first_record_id, link.last_record_id + 1)
    faults = [f"record {record_id}: missing from the log" for record_id in expected if record_id not in stored]
    faults += [
        f"record {row.record_id}: stored octets do not match its digest"
        for row in stored.values()
        if not _is_intact(row)
    ]
    if not faults:
        digests = [stored[record_id].record_sha256 for record_id in expected]
        made = link_digest(link.previous, link.writer, link.number, link.first_record_id, link.committed_us, digests)
        if made != link.link or link.records != len(digests):
            faults.append(
                f"link {link.writer}/{link.number}: records {link.first_record_id} to {link.last_record_id}"
                " do not add up to it"
            )
    if link.previous != await _link_before(conn, link):
        faults.append(f"link {link.writer}/{link.number}: does not follow the link before it")
    return faults


async def _link_before(conn: AsyncConnection, link: Row[Any]) -> bytes | None:
    if link.number == 1:
        return FIRST_PREVIOUS
    found: bytes | None = await conn.scalar(
        select(usage_links.c.link).where(usage_links.c.writer == link.writer, usage_links.c.number == link.number - 1)
    )
    return found


def _is_intact(row: Row[Any]) -> bool:
    return _logged(row).intact


def _logged(row: Row[Any]) -> LoggedRecord:
    """By position: followers read every record there is."""
    (
        record_id, kind, session_key, nas_id, acct_session_id, username, service_id, event_us, received_us,
        session_time_s, upstream, downstream, packet_sha256, digest,
    ) = tuple(row)  # fmt: skip
    fields = (
        kind, session_key, nas_id, acct_session_id, username, service_id, event_us, received_us,
        session_time_s, upstream, downstream,
    )  # fmt: skip
    return LoggedRecord(
        record_id,
        kind,
        session_key,
        nas_id,
        acct_session_id,
        username,
        service_id,
        from_micros(event_us),
        from_micros(received_us),
        session_time_s,
        upstream,
        downstream,
        packet_sha256,
        digest,
        record_digest(packet_sha256, fields) == digest,
    )
