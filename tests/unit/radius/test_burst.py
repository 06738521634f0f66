"""Answers that fall due together reach their askers one by one, whatever the kernel can do."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterator

import pytest

from radius.burst import Burst
from radius.protocol.duplicates import Source


class Counting(socket.socket):
    """A socket that counts its calls and fails as it is told."""

    calls = 0
    refuses_segments: int | None = None
    refuses: int | None = None

    def sendmsg(self, *arguments: object) -> int:
        self.calls += 1
        if self.refuses_segments is not None:
            raise OSError(self.refuses_segments, "no segments")
        return super().sendmsg(*arguments)  # type: ignore[arg-type]

    def sendto(self, *arguments: object) -> int:
        self.calls += 1
        if self.refuses is not None:
            raise OSError(self.refuses, "nothing goes")
        return super().sendto(*arguments)  # type: ignore[call-overload, no-any-return]


@pytest.fixture(params=[(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")], ids=["IPv4", "IPv6"])
def ours(request: pytest.FixtureRequest) -> Iterator[Counting]:
    family, address = request.param
    with Counting(family, socket.SOCK_DGRAM) as opened:
        opened.bind((address, 0))
        yield opened


@pytest.fixture
def asker(ours: Counting) -> Iterator[socket.socket]:
    with socket.socket(ours.family, socket.SOCK_DGRAM) as opened:
        opened.bind((ours.getsockname()[0], 0))
        opened.settimeout(5)
        yield opened


def replies(count: int, length: int = 20) -> list[bytes]:
    return [index.to_bytes(4, "big") + bytes(length - 4) for index in range(count)]


def send(ours: Counting, asker: socket.socket, sent: list[bytes]) -> list[tuple[Source, OSError]]:
    lost: list[tuple[Source, OSError]] = []
    to = asker.getsockname()

    async def turn() -> None:
        burst = Burst(ours, lambda source, error: lost.append((source, error)))
        for reply in sent:
            burst.add(reply, to)
        await asyncio.sleep(0)

    asyncio.run(turn())
    return lost


def received(asker: socket.socket, count: int) -> list[bytes]:
    datagrams = [asker.recv(4096) for _ in range(count)]
    asker.setblocking(False)
    with pytest.raises(BlockingIOError):
        asker.recv(4096)
    return datagrams


def test_a_hundred_answers_are_a_hundred_datagrams_in_two_calls(ours: Counting, asker: socket.socket) -> None:
    sent = replies(100)
    assert send(ours, asker, sent) == []
    assert received(asker, 100) == sent
    assert ours.calls == 2, "64 and 36"


def test_answers_of_several_lengths_keep_their_own(ours: Counting, asker: socket.socket) -> None:
    sent = replies(5) + replies(6, 38) + replies(1, 4000) + replies(5, 1500) + replies(2, 30)
    assert send(ours, asker, sent) == []
    assert sorted(received(asker, len(sent))) == sorted(sent)
    assert ours.calls == 1 + 1 + 1 + 5 + 2, "what is few or long goes one by one"


@pytest.mark.parametrize("reason", [errno.EINVAL, errno.EIO, errno.EAGAIN])
def test_where_the_kernel_cannot_cut_they_are_sent_one_by_one(
    ours: Counting, asker: socket.socket, reason: int
) -> None:
    ours.refuses_segments = reason
    sent = replies(70)
    assert send(ours, asker, sent) == []
    assert received(asker, 70) == sent
    assert ours.calls == 70 + (2 if reason == errno.EAGAIN else 1), "what it will never do is asked for once"


def test_each_answer_that_the_kernel_does_not_take_is_told(ours: Counting, asker: socket.socket) -> None:
    ours.refuses_segments = ours.refuses = errno.ENETUNREACH
    lost = send(ours, asker, replies(7))
    assert [(source, error.errno) for source, error in lost] == [(asker.getsockname(), errno.ENETUNREACH)] * 7


def test_nothing_is_sent_from_a_socket_that_was_closed_meanwhile(ours: Counting, asker: socket.socket) -> None:
    to = asker.getsockname()

    async def turn() -> None:
        burst = Burst(ours, lambda _source, error: pytest.fail(str(error)))
        burst.add(b"x" * 20, to)
        ours.close()
        await asyncio.sleep(0)

    asyncio.run(turn())
    assert ours.calls == 0
