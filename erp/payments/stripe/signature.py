"""The signature of Stripe's webhooks, as published: `Stripe-Signature: t=1492774577,v1=5257…,v1=…,v0=…`.

Each v1 is the hexadecimal HMAC-SHA256, under the endpoint's secret, of the time `t`, a point and the body as it came;
there are several while a secret is being rolled. Other schemes are left out of account. Pure.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from erp.payments.errors import SignatureRefused

TOLERANCE = timedelta(minutes=5)
"""What Stripe's own libraries allow between the signing and now; it defends against replays of a recorded request."""
_MAX_HEADER = 2_000


def verify(body: bytes, header: str, secrets: Iterable[str], now: datetime, tolerance: timedelta = TOLERANCE) -> None:
    """Raises SignatureRefused unless one of `secrets` signed the body, within `tolerance` of now."""
    signed_at, signatures = _parts(header)
    if abs(now - signed_at) > tolerance:
        raise SignatureRefused("the webhook was signed too long ago, or one of the two clocks is wrong")
    said = f"{int(signed_at.timestamp())}.".encode() + body
    for secret in secrets:
        right = hmac.digest(secret.encode(), said, "sha256").hex()
        # Every pair is compared: how long it takes says nothing about which one fitted.
        if any([hmac.compare_digest(right, given) for given in signatures]):  # noqa: C419
            return
    raise SignatureRefused("no secret of this endpoint made the signature")


def sign(body: bytes, secret: str, at: datetime) -> str:
    """The header that Stripe would send."""
    seconds = int(at.timestamp())
    return f"t={seconds},v1={hmac.digest(secret.encode(), f'{seconds}.'.encode() + body, 'sha256').hex()}"


def _parts(header: str) -> tuple[datetime, list[str]]:
    pairs = [part.partition("=") for part in header[:_MAX_HEADER].split(",")]
    times = [value for name, _, value in pairs if name.strip() == "t"]
    signatures = [value.strip() for name, _, value in pairs if name.strip() == "v1"]
    if len(times) != 1 or not times[0].isascii() or not times[0].isdecimal() or len(times[0]) > 11 or not signatures:
        raise SignatureRefused("send a Stripe-Signature header: t=…,v1=…")
    if not all(signature.isascii() for signature in signatures):
        raise SignatureRefused("a v1 signature is hexadecimal")
    return datetime.fromtimestamp(int(times[0]), UTC), signatures
