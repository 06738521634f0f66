"""A login of a prepaid service: what a slice becomes on the NAS, and what an empty balance is answered with."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from controller.domain.credit import FinalAction, NoCredit, Slice, Standing
from controller.domain.identity import ServiceId
from radius.authorization import restriction, terms
from radius.authorization.admission import Admission
from radius.authorization.credit import USED_UP, Credit
from radius.authorization.plan import Defaults
from radius.authorization.policy import Policy
from radius.protocol.cause import Cause, cause_of
from radius.protocol.codes import ACCESS_ACCEPT, ACCESS_REJECT, MIKROTIK, Attr
from radius.protocol.packet import Packet, attribute
from radius.protocol.server import Decision, Deferred
from radius.vendors.mark import read_class
from radius.vendors.reply import walked
from radius.vendors.terms import GARDEN_PROFILE
from tests.support.door import BERLIN, SHARED, StoppedClock, login
from tests.support.radius import GOLD, SERVICE, FakeSessions, directory, nas, subscriber

_TOTAL_LIMIT, _GIGAWORDS = 17, 18
NOTHING = "the prepaid balance is used up"


@dataclass
class FakeControl:
    """controller.domain.ports.CreditControl with one answer."""

    answer: Slice | NoCredit
    asked: list[tuple[str, str, str]] = field(default_factory=list)

    async def reserve(self, service_id: ServiceId, station: str, nas_id: str) -> Slice | NoCredit:
        self.asked.append((service_id, station, nas_id))
        return self.answer


async def decided(
    control: FakeControl | None, *, defaults: Defaults | None = None, packet: Packet | None = None, **row: object
) -> Decision:
    made = Admission(StoppedClock(), BERLIN, FakeSessions())
    made.credit = None if control is None else Credit(control)
    logins = directory()
    logins._defaults = defaults or Defaults()
    logins.apply(subscriber(**({"prepaid": True} | row)))
    answer = Policy(logins, made).decide(packet or login(mac="02:00:00:00:00:01"), nas())
    return await answer.decide() if isinstance(answer, Deferred) else answer


def reply(decision: Decision) -> Packet:
    return Packet.decode(SHARED.response(decision.code, login(), decision.attributes, signed=True))


async def test_a_slice_of_octets_is_the_nass_own_limit_and_above_32_bits_in_gigawords() -> None:
    control = FakeControl(Slice(octets=5 * 2**32 + 7))
    found = reply(await decided(control))
    assert found.vendor(MIKROTIK, _TOTAL_LIMIT) == (7).to_bytes(4, "big")
    assert found.vendor(MIKROTIK, _GIGAWORDS) == (5).to_bytes(4, "big")
    assert found.integer(Attr.SESSION_TIMEOUT) == 86_400
    assert control.asked == [(SERVICE, "020000000001", "n" * 32)]


@pytest.mark.parametrize(("own_s", "told_s"), [(300, 300), (86_400, 600), (0, 600)])
async def test_a_slice_of_seconds_is_a_session_timeout_unless_a_shorter_one_holds(own_s: int, told_s: int) -> None:
    written = terms.read({"session_timeout_s": own_s})
    decision = await decided(FakeControl(Slice(seconds=600)), terms=written)
    told = [octets[2:] for kind, octets in walked(decision.attributes) if kind == Attr.SESSION_TIMEOUT]
    assert [int.from_bytes(value, "big") for value in told] == [told_s]


async def test_an_empty_balance_is_refused_with_words_for_the_subscriber() -> None:
    decision = await decided(FakeControl(NoCredit(FinalAction.DISCONNECT, NOTHING)))
    assert (decision.code, decision.reason, cause_of(decision.reason)) == (ACCESS_REJECT, NOTHING, Cause.EXHAUSTED)
    assert reply(decision).get(Attr.REPLY_MESSAGE) == USED_UP.encode()


async def test_in_the_garden_class_names_it_and_what_is_the_subscribers_own_stays() -> None:
    decision = await decided(FakeControl(NoCredit(FinalAction.GARDEN, NOTHING)))
    assert decision.code == ACCESS_ACCEPT
    found = reply(decision)
    mark = read_class(found.get(Attr.CLASS))
    assert mark is not None
    assert (mark.service_id, mark.profile_name) == (SERVICE, GARDEN_PROFILE)
    assert found.get(Attr.FRAMED_IP_ADDRESS) == bytes((100, 64, 0, 7))
    without = await decided(FakeControl(NoCredit(FinalAction.GARDEN, NOTHING)), defaults=Defaults(garden=None))
    assert without.code == ACCESS_REJECT, "where there is no garden, nobody can be put into it"


async def test_what_is_refused_for_another_reason_reserves_nothing_and_no_control_lets_nobody_in() -> None:
    control = FakeControl(Slice(octets=1))
    assert (await decided(control, enabled=False)).code == ACCESS_REJECT
    assert (await decided(control, terms=terms.read({"nas_ids": ["x" * 32]}))).code == ACCESS_REJECT
    assert control.asked == []
    refused = await decided(None)
    assert (refused.code, cause_of(refused.reason)) == (ACCESS_REJECT, Cause.EXHAUSTED)


async def test_beside_eap_there_are_no_words_for_the_subscriber() -> None:
    eap = attribute(Attr.EAP_MESSAGE, bytes((4, 1, 0, 4)))
    made = Admission(StoppedClock(), BERLIN, FakeSessions())
    made.credit = Credit(FakeControl(NoCredit(FinalAction.DISCONNECT, NOTHING)))
    logins = directory(subscriber(prepaid=True))
    found = logins.find(b"anna")
    assert found is not None
    answer = made.admit(found, login(), nas(), reject=eap)
    assert isinstance(answer, Deferred)
    decision = await answer.decide()
    assert (decision.code, decision.attributes) == (ACCESS_REJECT, eap)


@pytest.mark.parametrize(
    ("credit", "walled", "barred"),
    [(None, False, False), (Standing.OPEN, False, False), (Standing.GARDEN, True, False), (Standing.OUT, False, True)],
)
def test_an_empty_balance_holds_beside_what_others_have_taken(
    credit: Standing | None, walled: bool, barred: bool
) -> None:
    row = {"suspended": False, "throttle": None, "restriction": None, "credit": credit}
    held = restriction.of_row(row)
    assert (held.suspended, held.barred) == (walled, barred)
    assert (restriction.speed(held, GOLD) is None) == barred
