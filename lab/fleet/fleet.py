"""The fleet: so many NAS with some source ports each, one request per user under way, retransmitted as RFC 5080 §2.2.1
says: 2 s, doubled, spread by a tenth, at most 16 s. A login is given up after 30 s, a record never (until the end).

An identifier is unique for a source port and a server port (RFC 2865 §3): whoever finds none waits, as users do at a
real NAS. One thread, one selector; the clock is read once for many datagrams.
"""

from __future__ import annotations

import heapq
import random
import selectors
import socket
import time
from collections import deque
from dataclasses import dataclass, field

from lab.bras.codec import BadPacket
from lab.fleet.figures import Report, Seen, percentile
from lab.fleet.network import Faults, Line
from lab.fleet.user import DIAL, User, is_answer

IRT_S, MRT_S, MRD_S = 2.0, 16.0, 30.0


@dataclass(slots=True)
class Exchange:
    """One request and its answer."""

    user: User
    port: Port
    request: bytes
    destination: tuple[str, int]
    began_s: float
    last_s: float = 0.0
    wait_s: float = 0.0
    sent: int = 0
    arrived: int = 0
    """Transmissions that the line let through. A second copy of one is nobody's due (RFC 5080 §2.2.2)."""
    answers_lost: int = 0
    """Answers to it that the line lost."""
    is_over: bool = False


@dataclass(slots=True)
class Port:
    """A source port; its identifiers for either server port, those used longest ago first."""

    number: int
    opened: socket.socket
    free: dict[int, deque[int]] = field(default_factory=dict)
    open: dict[tuple[int, int], Exchange] = field(default_factory=dict)


class Fleet:
    """`run` dials all `users` at once. NAS n has the address 127.0.1.(n+1)."""

    def __init__(
        self, users: list[User], secret: bytes, auth_port: int, acct_port: int, *,
        nas: int, ports_per_nas: int, faults: Faults, seed: int, pause_s: float,
    ) -> None:  # fmt: skip
        self._users = users
        self._secret = secret
        self._destinations = {True: ("127.0.0.1", auth_port), False: ("127.0.0.1", acct_port)}
        self._dice = random.Random(seed)
        self._line = Line(faults, self._dice)
        self._pause_s = pause_s
        self._selector = selectors.DefaultSelector()
        self._ports: list[Port] = []
        for number in range(nas * ports_per_nas):
            opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            opened.bind((f"127.0.1.{number % nas + 1}", 0))
            opened.setblocking(False)
            port = Port(
                number, opened, {destination[1]: deque(range(256)) for destination in self._destinations.values()}
            )
            self._selector.register(opened, selectors.EVENT_READ, port)
            self._ports.append(port)
        self._ready: deque[tuple[int, User]] = deque()
        self._timers: list[tuple[float, int, str, object]] = []
        self._count = 0
        self._began_s = self._logged_in_s = self._drained_s = self._busy_s = 0.0
        self._unfinished = 0
        self.logins, self.records = Seen(), Seen()

    def run(self, seconds: float) -> Report:
        """Until everybody is done, or for so long."""
        self._busy_s = time.process_time()
        self._began_s = now_s = time.monotonic()
        self._unfinished = len(self._users)
        self._ready.extend(enumerate(self._users))
        while self._unfinished and now_s - self._began_s < seconds:
            self._begin_what_can(now_s)
            wait_s = max(0.0, self._timers[0][0] - now_s) if self._timers else 0.05
            for key, _ in self._selector.select(min(wait_s, 0.05)):
                self._drain(key.data)
            now_s = time.monotonic()
            self._let_time_pass(now_s)
        for port in self._ports:
            self._selector.unregister(port.opened)
            port.opened.close()
        return self._report()

    def _begin_what_can(self, now_s: float) -> None:
        for _ in range(min(len(self._ready), 512)):
            number, user = self._ready.popleft()
            port = self._ports[number % len(self._ports)]
            destination = self._destinations[user.step == DIAL]
            if not port.free[destination[1]]:
                self._ready.append((number, user))
                continue
            identifier = port.free[destination[1]].popleft()
            exchange = Exchange(user, port, user.request(identifier, self._secret, now_s), destination, now_s)
            port.open[destination[1], identifier] = exchange
            self._transmit(exchange, time.monotonic())

    def _transmit(self, exchange: Exchange, now_s: float) -> None:
        seen = self._seen(exchange)
        if exchange.sent and exchange.user.step == DIAL and now_s - exchange.began_s >= MRD_S:
            if exchange.answers_lost < exchange.arrived:
                seen.given_up += 1
            else:
                seen.lost_on_the_line += 1
            exchange.user.refused = True
            self._finish(exchange, now_s)
            return
        spread = self._dice.uniform(-0.1, 0.1)
        exchange.wait_s = IRT_S * (1 + spread) if not exchange.sent else exchange.wait_s * (2 + spread)
        if exchange.wait_s > MRT_S:
            exchange.wait_s = MRT_S * (1 + spread)
        if not exchange.sent:
            exchange.began_s = now_s
        exchange.sent += 1
        exchange.last_s = now_s
        seen.transmissions += 1
        arrivals = self._line.arrivals()
        exchange.arrived += bool(arrivals)
        for delay_s in arrivals:
            if delay_s:
                self._later(now_s + delay_s, "send", exchange)
            else:
                self._send(exchange)
        self._later(now_s + exchange.wait_s, "retry", exchange)

    @staticmethod
    def _send(exchange: Exchange) -> None:
        try:
            exchange.port.opened.sendto(exchange.request, exchange.destination)
        except OSError:
            return  # as if the line had lost it: the timer repeats it

    def _drain(self, port: Port) -> None:
        now_s = time.monotonic()
        for _ in range(256):
            try:
                reply, source = port.opened.recvfrom(4096)
            except OSError:
                return
            arrivals = self._line.arrivals()
            if not arrivals and (exchange := self._answered_by(port, reply, source)) is not None:
                exchange.answers_lost += 1
            for delay_s in arrivals:
                if delay_s:
                    self._later(now_s + delay_s, "reply", (port, reply, source))
                else:
                    self._answered(port, reply, source, now_s)

    def _answered_by(self, port: Port, reply: bytes, source: tuple[str, int]) -> Exchange | None:
        """The open exchange that this is the answer to; none for a second copy, or one that is late."""
        exchange = port.open.get((source[1], reply[1])) if len(reply) >= 20 else None
        if exchange is None or exchange.is_over or not is_answer(reply, exchange.request, self._secret):
            return None
        return exchange

    def _answered(self, port: Port, reply: bytes, source: tuple[str, int], now_s: float) -> None:
        exchange = self._answered_by(port, reply, source)
        if exchange is None:
            return
        self._seen(exchange).answered(now_s - exchange.began_s, now_s - exchange.last_s)
        if exchange.user.step == DIAL:
            self._logged_in_s = now_s - self._began_s
        try:
            exchange.user.take(reply)
        except BadPacket:
            exchange.user.refused = True
        self._finish(exchange, now_s)

    def _finish(self, exchange: Exchange, now_s: float) -> None:
        exchange.is_over = True
        place = exchange.destination[1], exchange.request[1]
        del exchange.port.open[place]
        exchange.port.free[place[0]].append(place[1])
        self._drained_s = now_s - self._began_s
        user = exchange.user
        if user.is_done:
            self._unfinished -= 1
        elif self._pause_s and user.step > 1:
            self._later(now_s + self._pause_s * self._dice.uniform(0.5, 1.5), "go on", (exchange.port, user))
        else:
            self._ready.append((exchange.port.number, user))

    def _let_time_pass(self, now_s: float) -> None:
        while self._timers and self._timers[0][0] <= now_s:
            _, _, kind, what = heapq.heappop(self._timers)
            if isinstance(what, Exchange):
                if not what.is_over:
                    self._transmit(what, now_s) if kind == "retry" else self._send(what)
            elif isinstance(what, tuple) and kind == "reply":
                port, reply, source = what
                self._answered(port, reply, source, now_s)
            elif isinstance(what, tuple):
                self._ready.append((what[0].number, what[1]))

    def _later(self, at_s: float, kind: str, what: object) -> None:
        self._count += 1
        heapq.heappush(self._timers, (at_s, self._count, kind, what))

    def _seen(self, exchange: Exchange) -> Seen:
        return self.logins if exchange.user.step == DIAL else self.records

    def _report(self) -> Report:
        logins, records, line = self.logins, self.records, self._line
        accepted = sum(1 for user in self._users if user.step > 0 and not user.refused)
        acknowledged = sum(user.acknowledged for user in self._users)
        return Report(
            users=len(self._users),
            accepted=accepted,
            rejected=sum(1 for user in self._users if user.step > 0 and user.refused),
            logins_given_up=logins.given_up,
            logins_lost_on_the_line=logins.lost_on_the_line,
            login_p50_s=percentile(logins.last_to_answer, 0.5),
            login_p99_s=percentile(logins.last_to_answer, 0.99),
            login_p99_with_losses_s=percentile(logins.first_to_answer, 0.99),
            login_transmissions=logins.transmissions,
            records_acknowledged=acknowledged,
            records_not_acknowledged=sum(user.records for user in self._users if not user.refused) - acknowledged,
            record_p99_s=percentile(records.last_to_answer, 0.99),
            record_transmissions=records.transmissions,
            lines_lost=line.lost,
            lines_duplicated=line.duplicated,
            lines_reordered=line.reordered,
            logged_in_s=self._logged_in_s,
            drained_s=self._drained_s,
            fleet_busy_s=time.process_time() - self._busy_s,
        )
