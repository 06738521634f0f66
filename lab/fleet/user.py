"""One user of a NAS: dials, and when let in accounts for the session: Start, some Interim-Updates, Stop. No socket."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from lab.bras import codec
from lab.bras.records import INTERIM_UPDATE, START, STOP

DIAL = 0
OCTETS = 1_000_000
"""What a session moves between two records, each way; the subscriber receives ten times as much."""


@dataclass(slots=True)
class User:
    """`step` counts its requests: 0 dials, 1 starts, then Interim-Updates, at last the Stop (`records` in all)."""

    username: bytes
    password: bytes
    session_id: bytes
    address: bytes
    records: int
    started_s: float = 0.0
    """When its Start was made, by the clock that `request` is told."""
    step: int = 0
    acknowledged: int = 0
    """Records that were answered: what the controller must know from then on."""
    classes: list[bytes] = field(default_factory=list)
    refused: bool = False

    @property
    def is_done(self) -> bool:
        return self.refused or self.step > self.records

    @property
    def upstream_octets(self) -> int:
        """Of the record that was acknowledged last."""
        return max(0, self.acknowledged - 1) * OCTETS

    def request(self, identifier: int, secret: bytes, now_s: float) -> bytes:
        """The packet of this step. Made once: a retransmission is the same octets (RFC 5080 §2.2.1)."""
        common = [(codec.USER_NAME, self.username), (codec.CALLING_STATION_ID, self.session_id)]
        if self.step == DIAL:
            return codec.access_request(identifier, common, secret, self.password, chap=False)
        if self.step == 1:
            self.started_s = now_s
        moved = (self.step - 1) * OCTETS
        status = START if self.step == 1 else STOP if self.step == self.records else INTERIM_UPDATE
        record = [
            *common,
            (codec.ACCT_STATUS_TYPE, codec.number(status)),
            (codec.ACCT_SESSION_ID, self.session_id),
            (codec.FRAMED_IP_ADDRESS, self.address),
            (codec.ACCT_SESSION_TIME, codec.number(int(now_s - self.started_s))),
            (codec.ACCT_INPUT_OCTETS, codec.number(moved)),
            (codec.ACCT_OUTPUT_OCTETS, codec.number(moved * 10)),
            *((codec.CLASS, value) for value in self.classes),
        ]
        return codec.accounting_request(identifier, record, secret)

    def take(self, answer: bytes) -> None:
        """The verified answer to this step's request."""
        if self.step == DIAL:
            packet = codec.decode(answer)
            self.refused = packet.code != codec.ACCESS_ACCEPT
            self.classes = packet.all(codec.CLASS)
        else:
            self.acknowledged += 1
        self.step += 1


def is_answer(reply: bytes, request: bytes, secret: bytes) -> bool:
    """Whether `reply` is the server's to `request`, by its Response Authenticator (RFC 2865 §3)."""
    if len(reply) < 20 or reply[1] != request[1]:
        return False
    return hashlib.md5(reply[:4] + request[4:20] + reply[20:] + secret).digest() == reply[4:20]
