"""Why an Access-Request is refused: a closed list, which metrics and error codes go by, and the words for people.

    reason = Cause.BOUND.because("the service is bound to port 'a', and this is 'b'")
    reason               the sentence, for log and trace
    cause_of(reason)     Cause.BOUND, for metrics and MS-CHAP-Error

A cause alone is a reason, too. Nobody reads a cause out of a sentence.
"""

from __future__ import annotations

from enum import StrEnum


class Cause(StrEnum):
    """Its value is what metrics call it: the sentence without its particulars."""

    NO_USER_NAME = "no User-Name"
    NO_METHOD = "no method that we serve"
    UNKNOWN_USER = "unknown user"
    UNKNOWN_LINE = "unknown line"
    LINE_NOT_PROVED = "line login not signed"
    WRONG_PASSWORD = "wrong password"  # noqa: S105 -- words, not a password
    TOO_LITTLE_KEPT = "too little is kept of the password"
    EXPIRED = "the password has expired"
    NOT_CHANGED = "the password was not changed"
    DISABLED = "the service is not enabled"
    SUSPENDED = "the service is suspended"
    EXHAUSTED = "the volume is used up"
    HOURS = "outside the hours of the service"
    BOUND = "the service is bound elsewhere"
    TOO_MANY = "too many sessions at once"
    NO_ADDRESS = "no address is left"
    CERTIFICATE = "client certificate refused"
    NAMES_NOBODY = "the client certificate names no subscriber"
    BINDING = "crypto binding"
    EAP = "EAP"
    PROXY = "home server"
    LOOP = "loop"
    OTHER = "other"

    def __repr__(self) -> str:
        # Logs print reasons by repr, and a cause alone is one.
        return repr(self.value)

    def because(self, words: str) -> Reason:
        """This cause, in a sentence of its own."""
        return Reason(self, words)


class Reason(str):
    """A sentence for operators that knows its cause."""

    __slots__ = ("cause",)

    cause: Cause

    def __new__(cls, cause: Cause, words: str) -> Reason:
        made = super().__new__(cls, words)
        made.cause = cause
        return made


def cause_of(reason: str) -> Cause:
    """OTHER for words that nobody gave a cause."""
    if isinstance(reason, Cause):
        return reason
    return reason.cause if isinstance(reason, Reason) else Cause.OTHER
