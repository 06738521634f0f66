"""E-mail, by any SMTP server (RFC 5321) that one is given: one connection per mail, encrypted where it offers that.

What it says is told in three ways, since each wants another answer: accepted, not now, and never.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Protocol
from urllib.parse import unquote, urlsplit

import aiosmtplib
from aiosmtplib.errors import SMTPException, SMTPResponseException, SMTPSenderRefused, SMTPTimeoutError

from controller.domain.errors import HeadendError, RuleError
from controller.domain.ports import Secret


class NotNow(HeadendError):
    """The mail was certainly not accepted; the same may be later."""


class Never(HeadendError):
    """This mail will never be accepted: there is no such address, or it is refused."""


class Unclear(HeadendError):
    """The connection broke after the mail was sent and before it was answered for."""


@dataclass(frozen=True, slots=True)
class Mail:
    """`message_id` stays the same however often a mail is sent, so that whoever receives it twice can tell."""

    message_id: str
    sender: str
    recipient: str
    subject: str
    text: str
    at: datetime
    language: str


class Mailer(Protocol):
    async def send(self, mail: Mail) -> None:
        """Returns when the mail was accepted. Raises NotNow, Never or Unclear."""
        ...


@dataclass(frozen=True, slots=True)
class SmtpSettings:
    """`tls` is "starttls" (required), "implicit", "opportunistic" or "none"."""

    host: str
    port: int = 587
    tls: str = "opportunistic"
    username: str = ""
    password: Secret | None = None
    timeout_s: float = 30.0
    """For each part of the conversation to its last octet: the greeting with the login, the envelope, the mail."""

    def __post_init__(self) -> None:
        if self.tls not in ("starttls", "implicit", "opportunistic", "none"):
            raise RuleError(f"SMTP knows starttls, implicit, opportunistic and none, not {self.tls!r}")

    @classmethod
    def of_url(cls, url: str) -> SmtpSettings:
        """From smtp://, smtp+starttls:// or smtps://user:password@host:port. Raises RuleError."""
        parts = urlsplit(url)
        tls = {"smtp": "opportunistic", "smtp+starttls": "starttls", "smtps": "implicit"}.get(parts.scheme)
        try:
            port = parts.port
        except ValueError:
            port = 0
        if tls is None or not parts.hostname or port == 0:
            raise RuleError("a mail server is smtp://, smtp+starttls:// or smtps://, with host and perhaps port")
        password = None if parts.password is None else Secret(unquote(parts.password))
        default = 465 if tls == "implicit" else 587 if tls == "starttls" else 25
        return cls(parts.hostname, port or default, tls, unquote(parts.username or ""), password)


class SmtpMailer:
    """Implements Mailer."""

    def __init__(self, settings: SmtpSettings) -> None:
        self._settings = settings

    async def send(self, mail: Mail) -> None:
        settings = self._settings
        try:
            octets = _message(mail).as_bytes(policy=SMTP)
        except ValueError as error:
            raise Never(f"no mail can be addressed to {mail.recipient!r}: {error}") from error
        client = aiosmtplib.SMTP(
            hostname=settings.host,
            port=settings.port,
            timeout=settings.timeout_s,
            use_tls=settings.tls == "implicit",
            start_tls={"starttls": True, "opportunistic": None}.get(settings.tls, False),
            validate_certs=settings.tls in ("starttls", "implicit"),
        )
        try:
            await self._open(client)
            await self._hand_over(client, mail, octets)
        finally:
            client.close()

    async def _open(self, client: aiosmtplib.SMTP) -> None:
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                await client.connect()
                if self._settings.username and self._settings.password is not None:
                    await client.login(self._settings.username, self._settings.password.reveal())
        except (SMTPException, OSError) as error:
            raise NotNow(f"{self._settings.host}: {_words(error)}") from error

    async def _hand_over(self, client: aiosmtplib.SMTP, mail: Mail, octets: bytes) -> None:
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                await client.mail(mail.sender)
                await client.rcpt(mail.recipient)
        except SMTPResponseException as error:
            mine = isinstance(error, SMTPSenderRefused)
            raise (Never if error.code >= 500 and not mine else NotNow)(_words(error)) from error
        except UnicodeEncodeError as error:
            raise Never(f"{mail.recipient!r} needs SMTPUTF8") from error
        except (SMTPException, OSError) as error:
            raise NotNow(_words(error)) from error
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                await client.data(octets)
        except SMTPTimeoutError as error:
            raise Unclear(_words(error)) from error
        except SMTPResponseException as error:
            if error.code < 400:  # what aiosmtplib makes of a connection that ended within an answer
                raise Unclear(_words(error)) from error
            raise (Never if error.code >= 500 else NotNow)(_words(error)) from error
        except (SMTPException, OSError) as error:
            raise Unclear(_words(error)) from error


def _message(mail: Mail) -> EmailMessage:
    message = EmailMessage()
    message.set_content(mail.text)
    message["From"] = mail.sender
    message["To"] = mail.recipient
    message["Subject"] = mail.subject
    message["Date"] = format_datetime(mail.at)
    message["Message-ID"] = mail.message_id
    message["Content-Language"] = mail.language
    message["Auto-Submitted"] = "auto-generated"
    return message


def _words(error: Exception) -> str:
    if isinstance(error, SMTPResponseException):
        return f"{error.code} {error.message}"
    return str(error) or type(error).__name__
