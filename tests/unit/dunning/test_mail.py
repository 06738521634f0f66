"""Mail over SMTP to a real server: what it accepts, refuses for good or for now, and what it never answered."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from controller.domain.errors import RuleError
from erp.dunning.mail import Mail, Never, NotNow, SmtpMailer, SmtpSettings, Unclear
from tests.support.ports import free_port
from tests.support.smtp import MailServer


def mail_to(recipient: str) -> Mail:
    return Mail(
        message_id="<0123@testnetz.example>",
        sender="billing@testnetz.example",
        recipient=recipient,
        subject="Mahnung zu INV-2026-000001 – überfällig",
        text="Grüße\n.ein Punkt am Anfang\n" + "lang " * 300,
        at=datetime(2026, 11, 18, 9, tzinfo=UTC),
        language="de-DE",
    )


def mailer(url: str) -> SmtpMailer:
    return SmtpMailer(SmtpSettings.of_url(url))


async def test_a_mail_arrives_as_it_was_written(mail_server: MailServer) -> None:
    await mailer(mail_server.url).send(mail_to("erika@example.net"))
    (found,) = mail_server.mails
    assert (found["To"], found["Message-ID"], found["Content-Language"]) == (
        "erika@example.net",
        "<0123@testnetz.example>",
        "de-DE",
    )
    assert found["Subject"] == "Mahnung zu INV-2026-000001 – überfällig"
    assert found["Auto-Submitted"] == "auto-generated"
    assert found.get_content().splitlines()[:2] == ["Grüße", ".ein Punkt am Anfang"]


@pytest.mark.parametrize(
    ("recipient", "expected"),
    [
        ("nobody@example.net", Never),
        ("busy@example.net", NotNow),
        ("erika@example.net\nBcc: all@example.net", Never),
        ("jörg@example.net", Never),
    ],
)
async def test_what_a_server_refuses_is_told_in_two_ways(
    mail_server: MailServer, recipient: str, expected: type[Exception]
) -> None:
    with pytest.raises(expected):
        await mailer(mail_server.url).send(mail_to(recipient))
    assert mail_server.mails == []


async def test_a_server_that_is_not_there_is_tried_again() -> None:
    with pytest.raises(NotNow):
        await mailer(f"smtp://127.0.0.1:{free_port()}").send(mail_to("erika@example.net"))


async def test_encryption_that_is_required_and_not_offered_sends_nothing(mail_server: MailServer) -> None:
    with pytest.raises(NotNow):
        await mailer(f"smtp+starttls://127.0.0.1:{mail_server.port}").send(mail_to("erika@example.net"))
    assert mail_server.mails == []


async def test_a_connection_that_ends_after_the_mail_leaves_it_unclear() -> None:
    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready\r\n")
        while line := await reader.readline():
            if line.startswith(b"DATA"):
                writer.write(b"354 go on\r\n")
                await reader.readuntil(b"\r\n.\r\n")
                break
            writer.write(b"250 OK\r\n")
        writer.close()

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Unclear):
            await mailer(f"smtp://127.0.0.1:{port}").send(mail_to("erika@example.net"))


@pytest.mark.parametrize(("after", "said"), [(b"", NotNow), (b"MAIL", NotNow), (b"DATA", Unclear)])
async def test_a_server_that_never_finishes_an_answer_is_left_in_time(after: bytes, said: type[Exception]) -> None:
    """Each line comes soon enough for the client; the last of them never comes."""

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def for_ever(code: bytes) -> None:
            while True:
                writer.write(code + b"-one moment\r\n")
                await writer.drain()
                await asyncio.sleep(0.05)

        try:
            if not after:
                await for_ever(b"220")
            writer.write(b"220 ready\r\n")
            while line := await reader.readline():
                if line.startswith(b"DATA"):
                    writer.write(b"354 go on\r\n")
                    await reader.readuntil(b"\r\n.\r\n")
                if line.startswith(after):
                    await for_ever(b"250")
                if not line.startswith(b"DATA"):
                    writer.write(b"250 OK\r\n")
        except ConnectionError:
            return
        finally:
            writer.close()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    impatient = SmtpMailer(replace(SmtpSettings.of_url(f"smtp://127.0.0.1:{port}"), timeout_s=0.3))
    try:
        async with asyncio.timeout(10):
            with pytest.raises(said):
                await impatient.send(mail_to("erika@example.net"))
    finally:
        server.close()


@pytest.mark.parametrize("url", ["http://mail.example.net", "smtp://", "smtp://mail.example.net:0", "smtp://h:99999"])
def test_what_is_no_mail_server_is_refused_in_words(url: str) -> None:
    with pytest.raises(RuleError, match="a mail server is"):
        SmtpSettings.of_url(url)


def test_a_url_says_everything() -> None:
    found = SmtpSettings.of_url("smtp+starttls://me%40isp:s%2Fcret@mail.example.net")
    assert (found.host, found.port, found.tls, found.username) == ("mail.example.net", 587, "starttls", "me@isp")
    assert found.password is not None
    assert found.password.reveal() == "s/cret"
    assert "s/cret" not in repr(found)
