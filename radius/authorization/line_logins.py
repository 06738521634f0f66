"""Logins that a line makes, not a password: the NAS says which line it is, and that is all the proof there is.

Whoever can speak for the NAS can be anybody, so each kind is off until a NAS is registered with it, PPP is left to
passwords, and the request must be proved to be the NAS's: signed, or with a password that only the right secret
reveals. A MAC address is no secret. This is for lines that nobody else can plug into.
"""

from __future__ import annotations

from collections.abc import Callable
from hmac import compare_digest

from radius.authorization.admission import Admission, rejection
from radius.authorization.directory import Subscriber
from radius.authorization.line import MAC, Line, mac, named_by
from radius.protocol.authenticator import chap_response
from radius.protocol.cause import Cause
from radius.protocol.codes import Attr
from radius.protocol.nas import Nas
from radius.protocol.packet import Packet, attribute
from radius.protocol.server import Answer

_USER_NAME, _USER_PASSWORD = int(Attr.USER_NAME), int(Attr.USER_PASSWORD)
_CHAP_PASSWORD, _CHAP_CHALLENGE = int(Attr.CHAP_PASSWORD), int(Attr.CHAP_CHALLENGE)
_FRAMED_PROTOCOL, _MESSAGE_AUTHENTICATOR = int(Attr.FRAMED_PROTOCOL), int(Attr.MESSAGE_AUTHENTICATOR)
_PPP = 1

NOT_PROVED = rejection(
    Cause.LINE_NOT_PROVED.because(
        "a line login must be signed (Message-Authenticator): nothing else shows that the NAS sent it"
    )
)
UNKNOWN_LINE = rejection(
    Cause.UNKNOWN_LINE.because("unknown user, and no line of this NAS is known by what the request names")
)
WRONG_PASSWORD = rejection(Cause.WRONG_PASSWORD.because("the password of a MAC login is neither empty nor the address"))


Find = Callable[[Line], tuple[bytes, Subscriber] | None]
"""Whose line it is, as user name and subscriber."""


class LineLogins:
    """Decides requests of a NAS that line logins are allowed to."""

    def __init__(self, find: Find, admission: Admission) -> None:
        self._find = find
        self._admission = admission

    def decide(self, packet: Packet, nas: Nas) -> Answer | None:
        """None when the request is no line login at all. Raises PeerError for a malformed password."""
        if packet.integer(_FRAMED_PROTOCOL) == _PPP:
            return None
        for candidate in named_by(packet, nas):
            found = self._find(candidate)
            if found is None:
                continue
            known = _says_its_name(packet, nas)
            if candidate.kind == MAC and known is False:
                return WRONG_PASSWORD
            if not known and _MESSAGE_AUTHENTICATOR not in packet.offsets:
                return NOT_PROVED
            username, subscriber = found
            # The NAS accounts under the name it is told here (RFC 2865 §5.1).
            return self._admission.admit(subscriber, packet, nas, accept=attribute(_USER_NAME, username))
        return UNKNOWN_LINE


def _says_its_name(packet: Packet, nas: Nas) -> bool | None:
    """Whether the password is empty or the User-Name, as NAS fill it in; None when there is no password."""
    name = packet.get(_USER_NAME) or b""
    hidden, chap = packet.get(_USER_PASSWORD), packet.get(_CHAP_PASSWORD)
    if hidden is not None:
        said = nas.secret.reveal(hidden, packet.authenticator)
        return said in (b"", name) or (mac(said) is not None and mac(said) == mac(name))
    if chap is None:
        return None
    challenge = packet.get(_CHAP_CHALLENGE) or packet.authenticator
    return len(chap) == 17 and any(
        compare_digest(chap_response(chap[0], password, challenge), chap[1:]) for password in (b"", name)
    )
