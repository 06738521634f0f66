"""Which NAS a record is from: the box of a network, or behind a proxy, that it is put down to and may be asked at."""

from __future__ import annotations

from collections.abc import Callable

from radius.members import Members
from radius.ports import Recorder
from radius.protocol.behind import Boxes
from radius.protocol.nas import Nas
from radius.protocol.packet import Packet


class Reporting:
    """radius.ports.Recorder in front of the true one, for records of UDP and TLS alike."""

    def __init__(self, members: Members, recorder: Recorder) -> None:
        self._members = members
        self._recorder = recorder
        self._boxes = Boxes()

    def submit(self, packet: Packet, nas: Nas, received_us: int, respond: Callable[[], None]) -> None:
        """See the port."""
        nas = self._boxes.of(packet, nas)
        if nas.member_of is not None:
            self._members.seen(nas)
        self._recorder.submit(packet, nas, received_us, respond)

    def prove(self, respond: Callable[[], None]) -> None:
        self._recorder.prove(respond)
