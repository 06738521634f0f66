"""What the fleet says of a login that nobody answered: whose fault it was decides what a test may conclude."""

from __future__ import annotations

import socket
import threading

import pytest

from lab.bras import codec
from lab.fleet import fleet as fleet_module
from lab.fleet.__main__ import users
from lab.fleet.figures import Report
from lab.fleet.fleet import Fleet
from lab.fleet.network import Faults, Line

SECRET = b"secret-of-the-fleet"
GOOD, BAD = Faults(), Faults(loss=1.0)


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The timers of RFC 5080 a hundred times faster."""
    for name in ("IRT_S", "MRT_S", "MRD_S"):
        monkeypatch.setattr(fleet_module, name, getattr(fleet_module, name) / 100)


class Server:
    """Lets everybody in, or says nothing; an empty datagram ends it."""

    def __init__(self, *, silent: bool) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._silent = silent
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            datagram, source = self._socket.recvfrom(4096)
            if not datagram:
                return
            if not self._silent:
                self._socket.sendto(codec.reply(codec.decode(datagram), codec.ACCESS_ACCEPT, [], SECRET), source)

    def stop(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join()
        self._socket.close()


class LosesAnswers(Line):
    """Requests leave it, one after the other in turn with the answers, which do not arrive."""

    def arrivals(self) -> tuple[float, ...]:
        self._turn = not getattr(self, "_turn", False)
        return (0.0,) if self._turn else ()


def dial(*, silent: bool, faults: Faults, line: type[Line] = Line, monkeypatch: pytest.MonkeyPatch) -> Report:
    """One login, whose session is not accounted for."""
    monkeypatch.setattr(fleet_module, "Line", line)
    server = Server(silent=silent)
    try:
        fleet = Fleet(
            users(1, "analytical-engine", 0, seed=1), SECRET, server.port, server.port,
            nas=1, ports_per_nas=1, faults=faults, seed=1, pause_s=0.0,
        )  # fmt: skip
        return fleet.run(10)
    finally:
        server.stop()


def test_a_login_that_is_answered_is_in(monkeypatch: pytest.MonkeyPatch) -> None:
    report = dial(silent=False, faults=GOOD, monkeypatch=monkeypatch)
    assert (report.accepted, report.logins_given_up, report.logins_lost_on_the_line) == (1, 0, 0)


def test_a_login_is_given_up_where_the_controller_owed_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    report = dial(silent=True, faults=GOOD, monkeypatch=monkeypatch)
    assert (report.accepted, report.logins_given_up, report.logins_lost_on_the_line) == (0, 1, 0)


@pytest.mark.parametrize(("faults", "line"), [(BAD, Line), (GOOD, LosesAnswers)], ids=["requests", "answers"])
def test_a_login_whose_requests_or_answers_the_line_lost_is_the_lines(
    faults: Faults, line: type[Line], monkeypatch: pytest.MonkeyPatch
) -> None:
    report = dial(silent=False, faults=faults, line=line, monkeypatch=monkeypatch)
    assert (report.accepted, report.logins_given_up, report.logins_lost_on_the_line) == (0, 0, 1)
