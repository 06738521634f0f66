"""kill -9 of a controller between what is wanted of a session and its proof: it goes on, and each step happens once.

Disconnect wanted ─ sent, no answer yet ─ KILLED ─ sent again, ACK ─ not proved yet ─ KILLED ─ Stop ─ proved
"""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from radius.protocol.authenticator import SharedSecret
from radius.protocol.codes import DISCONNECT_ACK, DISCONNECT_REQUEST, Attr
from radius.protocol.packet import Packet, attribute, integer_attribute
from tests.support.killing import SECRET, TOKEN, Controller, wait_for

SHARED = SharedSecret(SECRET.encode())
START, STOP = 1, 2


class Nas(asyncio.DatagramProtocol):
    """Reports a session, and answers Disconnect when it may. Runs in a thread of its own: controllers come and go."""

    def __init__(self) -> None:
        self.asked: list[Packet] = []
        self.answers = threading.Event()
        self.acknowledged: list[int] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._identifier = 0
        opened = asyncio.run_coroutine_threadsafe(self._open(), self._loop)
        self._transport = opened.result(10)
        self.port = int(self._transport.get_extra_info("sockname")[1])

    async def _open(self) -> asyncio.DatagramTransport:
        transport, _ = await self._loop.create_datagram_endpoint(lambda: self, ("127.0.0.1", 0))
        return transport

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        packet = Packet.decode(data)
        if packet.code != DISCONNECT_REQUEST:
            self.acknowledged.append(packet.identifier)
            return
        SHARED.check_request_authenticator(packet)
        self.asked.append(packet)
        if self.answers.is_set():
            self._transport.sendto(SHARED.response(DISCONNECT_ACK, packet, b"", signed=False), addr)

    def report(self, acct_port: int, status: int) -> None:
        """Send a record until it is acknowledged."""
        self._identifier += 1
        body = integer_attribute(Attr.ACCT_STATUS_TYPE, status) + attribute(Attr.ACCT_SESSION_ID, b"s-1")
        body += attribute(Attr.USER_NAME, b"anna")
        record = SHARED.request(4, self._identifier, body, signed=False)

        def sent() -> bool:
            self._loop.call_soon_threadsafe(self._transport.sendto, record, ("127.0.0.1", acct_port))
            time.sleep(0.1)  # the pause of its retransmission
            return self._identifier in self.acknowledged

        wait_for(sent, "the record is acknowledged")

    def requests(self) -> set[bytes]:
        """Different requests: a retransmission is octet for octet the same."""
        return {packet.data for packet in self.asked}

    def connection_lost(self, exc: Exception | None) -> None:
        self._loop.stop()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._transport.close)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture
def nas() -> Iterator[Nas]:
    made = Nas()
    yield made
    made.close()


@pytest.mark.parametrize("kind", [pytest.param("sqlite", marks=pytest.mark.long), "postgresql"])
def test_a_disconnect_survives_kill_9_after_sending_and_after_the_answer(
    kind: str, tmp_path: Path, nas: Nas, request: pytest.FixtureRequest
) -> None:
    url = ""
    if kind == "postgresql":
        url = request.getfixturevalue("postgres").create(f"kill{uuid.uuid4().hex}")
    controller = Controller(tmp_path, url)
    api = httpx2.Client(
        base_url=f"http://127.0.0.1:{controller.http_port}/api/v1",
        headers={"Authorization": f"Bearer {TOKEN}"},
        timeout=30,
    )

    def answered(path: str) -> httpx2.Response | None:
        try:
            found = api.get(path)
        except httpx2.TransportError:
            return None
        return found if found.status_code == 200 else None

    def change() -> dict[str, object]:
        found = answered("/radius/changes")
        items = [] if found is None else found.json()["items"]
        assert len(items) <= 1, "one wish is one change, however often the controller dies"
        return items[0] if items else {"state": None}

    def disconnect(key: str) -> None:
        try:
            api.post(f"/sessions/{key}/disconnect", json={"reason": "test"})
        except httpx2.TransportError:
            return  # it was killed with the request under way

    try:
        controller.start()
        wait_for(lambda: answered("/sessions"), "the controller is ready")
        made = {"name": "bras", "address": "127.0.0.1", "secret": SECRET, "coa_port": nas.port}
        assert api.post("/nas", json=made).status_code == 201
        nas.report(controller.acct_port, START)
        wait_for(lambda: (found := answered("/sessions")) and found.json()["items"], "the session is listed")
        [session] = api.get("/sessions").json()["items"]

        asking = threading.Thread(target=disconnect, args=(session["session_key"],))
        asking.start()
        wait_for(lambda: nas.asked, "it is sent")
        controller.kill()
        asking.join(30)
        assert len(nas.requests()) == 1

        nas.answers.set()
        controller.start()
        wait_for(lambda: change()["state"] == "acknowledged", "what was under way is sent again and answered")
        assert change()["tries"] == 2
        sent = nas.requests()
        assert len(sent) == 2, "once more, by the one that came after"

        controller.kill()
        controller.start()
        wait_for(lambda: change()["state"] == "acknowledged", "it is known what was acknowledged")
        nas.report(controller.acct_port, STOP)
        wait_for(lambda: change()["state"] == "proved", "the Stop proves it")
        assert nas.requests() == sent, "nothing was sent again after the ACK"
    finally:
        api.close()
        controller.close()
