"""Secrets at rest: AES-256-GCM under a key file of mode 0600 in the data directory.

A sealed value is `version ‖ nonce ‖ ciphertext ‖ tag`, bound to what it belongs to (`context`, e.g. "nas:0190…"), so a
row copied onto another one does not open. The key file holds one base64 key per line; the first seals, all open, so a
key can be rotated by putting a new line on top.
"""

from __future__ import annotations

import base64
import hmac
import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from controller.domain.errors import RuleError
from controller.domain.ports import Secret

_VERSION = b"\x01"
_NONCE_LENGTH = 12


class SecretBox:
    """Seals and opens secrets. One per process, made by `load_or_create`."""

    def __init__(self, keys: list[bytes]) -> None:
        if not keys:
            raise RuleError("the key file holds no key", code="key-file")
        self._ciphers = [AESGCM(key) for key in keys]
        self._oldest = keys[-1]

    def seal(self, secret: Secret, context: str) -> bytes:
        nonce = secrets.token_bytes(_NONCE_LENGTH)
        return _VERSION + nonce + self._ciphers[0].encrypt(nonce, secret.reveal().encode(), context.encode())

    def mark(self, context: str) -> bytes:
        """Eight octets that this installation alone makes of a context, also after its key was rotated."""
        return hmac.digest(self._oldest, context.encode(), "sha256")[:8]

    def open(self, sealed: bytes, context: str) -> Secret:
        """Raises RuleError when no key fits, or the value belongs to another context."""
        if sealed[:1] != _VERSION:
            raise RuleError("unknown version of a sealed secret", code="sealed-secret")
        nonce, body = sealed[1 : 1 + _NONCE_LENGTH], sealed[1 + _NONCE_LENGTH :]
        for cipher in self._ciphers:
            try:
                return Secret(cipher.decrypt(nonce, body, context.encode()).decode())
            except InvalidTag:
                continue
        raise RuleError(f"no key in the key file opens the secret of {context}", code="sealed-secret")


def load_or_create(path: Path) -> SecretBox:
    """Read the key file, or make it with mode 0600. Raises RuleError for one that others may read, or that is none."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        pass
    else:
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64encode(AESGCM.generate_key(256)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
    if path.stat().st_mode & 0o077:
        raise RuleError(f"{path} may be read by others: run chmod 600 {path}", code="key-file")
    try:
        return SecretBox([base64.b64decode(line, validate=True) for line in path.read_bytes().split()])
    except ValueError:
        raise RuleError(f"{path} holds what is no key: bring back the file that was there", code="key-file") from None
