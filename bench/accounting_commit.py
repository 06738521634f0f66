"""What one accounting record costs between the verified packet and the durable row, without sockets.

    python -m bench.accounting_commit sqlite+aiosqlite:////tmp/x/headend.db
    python -m bench.accounting_commit postgresql+psycopg://postgres@127.0.0.1:5432/headend

A closed loop keeps so many records outstanding as a NAS fleet would, and counts the CPU of this process, and of the
PostgreSQL process that serves the commits (where it runs on this machine).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from controller.app.schema import metadata
from controller.domain.clock import SystemClock
from controller.domain.identity import NasId
from controller.store.engine import Database
from controller.store.usage_log import UsageLog
from radius.accounting.recorder import AccountingRecorder
from radius.protocol.authenticator import SharedSecret
from radius.protocol.codes import ACCOUNTING_REQUEST, Attr
from radius.protocol.nas import Nas
from radius.protocol.packet import Packet, attribute, encode, integer_attribute

_STATUS = {"start": 1, "interim": 3, "stop": 2}
_GROUP = 1_000
"""Sessions that start together; their Interims and Stops come in the same order."""


@dataclass(frozen=True, slots=True)
class CommitCost:
    """`process_us` and `server_us` are CPU microseconds per record, of this process and of PostgreSQL's backend."""

    records: int
    records_per_s: float
    process_us: float
    server_us: float
    records_per_commit: float


async def measure(url: str, records: int, outstanding: int) -> CommitCost:
    """Store `records` records, a third each Start, Interim and Stop, and count what it took."""
    database = Database(url)
    async with database.begin() as conn:
        await conn.run_sync(metadata.create_all)
    log = UsageLog(database, f"bench-{time.time_ns()}")
    recorder = AccountingRecorder(database, SystemClock(), log, lambda _username: None)
    task = asyncio.create_task(recorder.run())
    packets = _packets(records, tag=time.time_ns() // 1_000_000)
    server = None if database.is_sqlite else await log.call(lambda bulk: bulk.query("SELECT pg_backend_pid()")[0][0])
    nas = Nas(NasId("a" * 32), "bench", "127.0.0.1", SharedSecret(b"secret"))
    done, slots = asyncio.Event(), outstanding
    sent = answered = 0

    def send() -> None:
        nonlocal sent, slots
        while slots and sent < len(packets):
            recorder.submit(packets[sent], nas, time.time_ns() // 1000, respond)
            sent += 1
            slots -= 1

    def respond() -> None:
        nonlocal answered, slots
        answered += 1
        slots += 1
        if answered == len(packets):
            done.set()
        elif slots >= outstanding // 2 or answered == sent:
            asyncio.get_running_loop().call_soon(send)

    commits, cpu_s, server_s, started_s = 0, time.process_time(), _cpu_of(server), time.perf_counter()
    send()
    await asyncio.wait([task, asyncio.create_task(done.wait())], return_when=asyncio.FIRST_COMPLETED)
    elapsed_s = time.perf_counter() - started_s
    cpu_s, server_s, commits = time.process_time() - cpu_s, _cpu_of(server) - server_s, recorder.counters.commits
    task.cancel()
    await asyncio.wait([task])
    await log.close()
    await database.close()
    return CommitCost(
        len(packets), len(packets) / elapsed_s, cpu_s / len(packets) * 1e6, server_s / len(packets) * 1e6,
        len(packets) / commits,
    )  # fmt: skip


def _cpu_of(process: int | None) -> float:
    if process is None:
        return 0.0
    return int(Path(f"/proc/{process}/schedstat").read_text().split()[0]) / 1e9


def _packets(records: int, tag: int) -> list[Packet]:
    return [
        _packet(n, step, kind, tag)
        for first in range(0, records // 3, _GROUP)
        for step, kind in enumerate(_STATUS)
        for n in range(first, min(first + _GROUP, records // 3))
    ]


def _packet(n: int, step: int, kind: str, tag: int) -> Packet:
    body = [
        attribute(Attr.USER_NAME, b"user%06d" % n),
        attribute(Attr.NAS_IP_ADDRESS, bytes((10, 255, 0, 1))),
        attribute(Attr.NAS_IDENTIFIER, b"bras-01.pop1"),
        integer_attribute(Attr.NAS_PORT, n),
        integer_attribute(Attr.NAS_PORT_TYPE, 15),
        attribute(Attr.NAS_PORT_ID, b"ge-0/0/1.%d:%d-%d" % (100 + n % 900, n // 4096, n % 4096)),
        attribute(Attr.CALLING_STATION_ID, b"02:00:00:%02x:%02x:%02x" % (n >> 16 & 255, n >> 8 & 255, n & 255)),
        attribute(Attr.ACCT_SESSION_ID, b"8%07x%08x" % (tag % 2**28, n)),
        integer_attribute(Attr.ACCT_STATUS_TYPE, _STATUS[kind]),
        integer_attribute(Attr.FRAMED_IP_ADDRESS, 0x64400000 + n),
        attribute(Attr.CLASS, b"c1:%08x:gold-100" % n),
        integer_attribute(Attr.EVENT_TIMESTAMP, int(time.time()) + step),
        integer_attribute(Attr.ACCT_DELAY_TIME, 0),
    ]
    if step:
        body += [
            integer_attribute(Attr.ACCT_SESSION_TIME, 300 * (step + 1)),
            integer_attribute(Attr.ACCT_INPUT_OCTETS, 1_000_003 * n & 0xFFFFFFFF),
            integer_attribute(Attr.ACCT_OUTPUT_OCTETS, 9_000_011 * n & 0xFFFFFFFF),
            integer_attribute(Attr.ACCT_INPUT_PACKETS, n),
            integer_attribute(Attr.ACCT_OUTPUT_PACKETS, n),
            integer_attribute(Attr.ACCT_INPUT_GIGAWORDS, step),
            integer_attribute(Attr.ACCT_OUTPUT_GIGAWORDS, step + 1),
        ]
    return Packet.decode(encode(ACCOUNTING_REQUEST, n & 255, n.to_bytes(16, "big"), b"".join(body)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--records", type=int, default=90_000)
    parser.add_argument("--outstanding", type=int, default=256)
    arguments = parser.parse_args()
    cost = asyncio.run(measure(arguments.url, arguments.records, arguments.outstanding))
    json.dump(asdict(cost), sys.stdout)
    print()


if __name__ == "__main__":
    main()
