"""The EAP conversations under way in this process, by the State that ties their packets together (RFC 2865 §5.24).

Bounded and in memory: whoever begins a conversation has proved nothing yet, so the oldest gives way when the table is
full, and an idle one is forgotten after `lifetime_s`. A conversation that is lost costs its peer a new beginning.

Several processes that share a port with SO_REUSEPORT need no common table: the kernel chooses the process by source and
destination address and port, so the packets of one NAS socket come to one process for as long as the set of processes
stays the same. RFC 2865 §5.24 and RFC 3579 §2.6.1 let a NAS change the server in the midst of a conversation only to
start it anew, and that is what happens where a NAS changes its source port in between or a worker joins or leaves.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict

from radius.authorization.eap.method import Method, Step
from radius.protocol.nas import Nas

STATE_LENGTH = 16


class EapSession:
    """One conversation. `outstanding` is the identifier that the next Response must bear (RFC 3748 §4.1).

    `last_response` and `last_step` answer a Response that comes again under another RADIUS authenticator: the
    conversation must not step twice, and the peer that lost our Request needs the same one. `tried` holds the methods
    proposed so far; `method` is None before the first and after the end. `busy` while a thread makes a step of it.
    """

    __slots__ = (
        "busy",
        "identity",
        "kind",
        "last_response",
        "last_step",
        "method",
        "nas",
        "outstanding",
        "started",
        "state",
        "touched_s",
        "tried",
    )

    def __init__(self, state: bytes, nas: Nas, now_s: float) -> None:
        self.state = state
        self.nas = nas
        self.touched_s = now_s
        self.identity: bytes | None = None
        self.outstanding = 0
        self.method: Method | None = None
        self.kind = 0
        self.started = False
        self.busy = False
        self.tried: set[int] = set()
        self.last_response = b""
        self.last_step: Step | None = None


class EapSessions:
    """State → conversation, least recently used first. `lifetime_s` counts from the last packet.

    One inside a TLS handshake takes 60 KB: a full table of them is half a gigabyte.
    """

    def __init__(self, *, capacity: int = 8_192, lifetime_s: float = 60.0) -> None:
        self._capacity = capacity
        self._lifetime_s = lifetime_s
        self._sessions: OrderedDict[bytes, EapSession] = OrderedDict()
        self.displaced = 0
        """Conversations given up for newer ones before their time."""

    def __len__(self) -> int:
        return len(self._sessions)

    def begin(self, nas: Nas, now_s: float) -> EapSession:
        """A new conversation under a State that nobody can guess."""
        self._expire(now_s)
        if len(self._sessions) >= self._capacity:
            self._sessions.popitem(last=False)
            self.displaced += 1
        session = EapSession(secrets.token_bytes(STATE_LENGTH), nas, now_s)
        self._sessions[session.state] = session
        return session

    def find(self, state: bytes, nas: Nas, now_s: float) -> EapSession | None:
        """The conversation of this State; None when it is unknown, over, or another NAS's."""
        self._expire(now_s)
        session = self._sessions.get(state)
        # By id: a NAS that was changed meanwhile is a new object, and still the same NAS.
        if session is None or session.nas.nas_id != nas.nas_id:
            return None
        session.touched_s = now_s
        self._sessions.move_to_end(state)
        return session

    def _expire(self, now_s: float) -> None:
        sessions = self._sessions
        while sessions:
            oldest = next(iter(sessions.values()))
            if now_s - oldest.touched_s < self._lifetime_s:
                return
            del sessions[oldest.state]
