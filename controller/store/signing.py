"""Signs what others shall be able to check without us: Ed25519 (RFC 8032), the private key sealed in the database.

The first use makes the key. Its id is the beginning of the SHA-256 of the public key, which anybody may have; who
checks a signature compares the key with the one that was handed out, because a forger has a key as well.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from sqlalchemy import Column, LargeBinary, String, Table, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock
from controller.domain.ports import Secret
from controller.store.metadata import Instant, metadata
from controller.store.secrets import SecretBox

signing_key = Table(
    "store_signing_key",
    metadata,
    Column("purpose", String(32), primary_key=True),
    Column("public_key", LargeBinary(32), nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("made_at", Instant, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Signature:
    """`public_key` and `value` are base64."""

    key_id: str
    public_key: str
    value: str


class Signer:
    """The key for one purpose."""

    def __init__(self, box: SecretBox, clock: Clock, purpose: str) -> None:
        self._box = box
        self._clock = clock
        self._purpose = purpose

    async def public_key(self, conn: AsyncConnection) -> str:
        """In base64. `conn` is of a write transaction: the key is made if there is none."""
        return _text((await self._key(conn)).public_key().public_bytes_raw())

    async def sign(self, conn: AsyncConnection, content: bytes) -> Signature:
        """`conn` is of a write transaction. Raises RuleError when the key does not open."""
        key = await self._key(conn)
        public = key.public_key().public_bytes_raw()
        return Signature(key_id(public), _text(public), _text(key.sign(content)))

    async def _key(self, conn: AsyncConnection) -> Ed25519PrivateKey:
        found = await self._kept(conn)
        if found is not None:
            return found
        key = Ed25519PrivateKey.generate()
        values = {
            "purpose": self._purpose,
            "public_key": key.public_key().public_bytes_raw(),
            "sealed": self._box.seal(Secret(_text(key.private_bytes_raw())), self._context),
            "made_at": self._clock.now(),
        }
        make = sqlite.insert if conn.dialect.name == "sqlite" else postgresql.insert
        await conn.execute(make(signing_key).values(values).on_conflict_do_nothing())
        # Who made one at the same time was waited for, and that one is everybody's.
        found = await self._kept(conn)
        assert found is not None, "it was just made"
        return found

    async def _kept(self, conn: AsyncConnection) -> Ed25519PrivateKey | None:
        query = select(signing_key.c.sealed).where(signing_key.c.purpose == self._purpose)
        sealed = await conn.scalar(query)
        if sealed is None:
            return None
        return Ed25519PrivateKey.from_private_bytes(base64.b64decode(self._box.open(sealed, self._context).reveal()))

    @property
    def _context(self) -> str:
        return f"signing-key:{self._purpose}"


def key_id(public_key: bytes) -> str:
    """16 hexadecimal digits."""
    return hashlib.sha256(public_key).hexdigest()[:16]


def verified(public_key: str, content: bytes, value: str) -> bool:
    """Whether the holder of the key has signed `content`. False for what is no key or no signature at all."""
    try:
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key, validate=True))
        key.verify(base64.b64decode(value, validate=True), content)
    except (InvalidSignature, ValueError):
        return False
    return True


def _text(octets: bytes) -> str:
    return base64.b64encode(octets).decode()
