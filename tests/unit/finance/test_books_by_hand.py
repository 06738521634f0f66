"""Entries by hand need two people above the limit; the calendar posts revenue; cash flow adds up to what cash is."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from controller.domain.identity import BillRunId, new_id
from controller.domain.money import Money
from erp.finance import books_routes, proposal_routes
from erp.finance.books import FOUR_EYES_ABOVE
from erp.finance.errors import AlreadyDecided, AlreadyReversed, EntryRefused, NeedsApproval, NoSuchAccount, SameEyes
from erp.finance.journal import Posting
from erp.finance.proposals import Proposal, ProposalService
from erp.finance.recognising import Recogniser
from tests.support.api import api_client
from tests.support.finance import NOW, Books, manual


def two_sides(amount: str) -> list[Posting]:
    euro = Money.exact(amount, "EUR")
    return [Posting("0400", euro), Posting("1800", -euro)]


async def propose(proposals: ProposalService, amount: str, reference: str = "r", actor: str = "user:anna") -> Proposal:
    return await proposals.propose(
        reference=reference, description="a machine", postings=two_sides(amount), booked_on=None, actor=actor
    )


@pytest.fixture
def proposals(books: Books) -> ProposalService:
    return ProposalService(books.database, books.clock, books.books)


async def test_a_small_entry_is_posted_at_once(books: Books, proposals: ProposalService) -> None:
    found = await propose(proposals, str(FOUR_EYES_ABOVE))
    assert (found.state, found.decided_by) == ("posted", "user:anna")
    assert (await propose(proposals, str(FOUR_EYES_ABOVE))).entry_id == found.entry_id
    assert len(await books.books.entries(limit=10)) == 1


async def test_a_large_entry_waits_for_somebody_else(books: Books, proposals: ProposalService) -> None:
    with pytest.raises(NeedsApproval):
        await manual(books, "x", "0400", "1800", "10000.01")
    found = await propose(proposals, "10000.01")
    assert found.state == "waiting"
    assert await books.books.entries(limit=10) == []
    with pytest.raises(SameEyes):
        await proposals.approve(found.proposal_id, actor="user:anna")
    posted = await proposals.approve(found.proposal_id, actor="user:berta")
    assert (posted.state, posted.decided_by) == ("posted", "user:berta")
    (entry,) = await books.books.entries(limit=10)
    assert (entry.entry_id, entry.source) == (posted.entry_id, "manual:r")
    for again in (proposals.approve, lambda p, actor: proposals.refuse(p, reason="no", actor=actor)):
        with pytest.raises(AlreadyDecided):
            await again(found.proposal_id, actor="user:berta")


async def test_two_who_approve_at_once_post_once(books: Books, proposals: ProposalService) -> None:
    found = await propose(proposals, "20000.00")
    results = await asyncio.gather(
        *(proposals.approve(found.proposal_id, actor=f"user:{n}") for n in range(4)), return_exceptions=True
    )
    assert any(isinstance(r, Proposal) for r in results)
    assert all(isinstance(r, (Proposal, AlreadyDecided)) for r in results)
    assert len(await books.books.entries(limit=10)) == 1


async def test_an_approval_that_was_cut_off_is_finished_by_the_next(books: Books, proposals: ProposalService) -> None:
    """The entry is posted, and the process is gone before the decision is noted."""
    found = await propose(proposals, "20000.00")
    await books.books.post(
        reference="r", description="a machine", postings=two_sides("20000.00"), booked_on=None, actor="b", approved=True
    )
    with pytest.raises(AlreadyDecided, match="reverse it"):
        await proposals.refuse(found.proposal_id, reason="no", actor="user:berta")
    assert (await proposals.approve(found.proposal_id, actor="user:berta")).state == "posted"
    assert len(await books.books.entries(limit=10)) == 1


async def test_what_could_not_be_posted_is_not_proposed(proposals: ProposalService) -> None:
    wrong = [Posting("0400", Money(10**7, "EUR")), Posting("1800", Money(-(10**7) + 1, "EUR"))]
    with pytest.raises(EntryRefused, match="differ"):
        await proposals.propose(reference="a", description="x", postings=wrong, booked_on=None, actor="user:anna")
    nowhere = [Posting("9999", Money(10**7, "EUR")), Posting("1800", Money(-(10**7), "EUR"))]
    with pytest.raises(NoSuchAccount):
        await proposals.propose(reference="a", description="x", postings=nowhere, booked_on=None, actor="user:anna")
    await propose(proposals, "20000.00")
    with pytest.raises(EntryRefused, match="says something else"):
        await propose(proposals, "20000.01")


async def test_what_was_proposed_and_decided_stays(books: Books, proposals: ProposalService) -> None:
    found = await propose(proposals, "20000.00")
    refused = await proposals.refuse(found.proposal_id, reason="wrong account", actor="user:anna")
    assert (refused.state, refused.reason) == ("refused", "wrong account")
    for statement in (
        "UPDATE finance_entry_proposal SET actor = 'user:nobody'",
        "DELETE FROM finance_entry_decision",
    ):
        with pytest.raises(DBAPIError, match="never changed or deleted"):
            async with books.database.begin() as conn:
                await conn.execute(text(statement))


async def large_entry(books: Books, proposals: ProposalService) -> str:
    made = await propose(proposals, "20000.00")
    return str((await proposals.approve(made.proposal_id, actor="user:berta")).entry_id)


async def take_back(proposals: ProposalService, entry_id: str, reason: str = "twice") -> Proposal:
    return await proposals.propose_reversal(entry_id, reason=reason, booked_on=None, actor="user:anna")


async def test_a_large_entry_is_taken_back_by_two_people_only(books: Books, proposals: ProposalService) -> None:
    entry_id = await large_entry(books, proposals)
    with pytest.raises(NeedsApproval, match="entry-proposals/reversals"):
        await books.books.reverse(entry_id, reason="twice", booked_on=None, actor="user:anna")
    found = await take_back(proposals, entry_id)
    assert (found.state, found.reverses, found.because) == ("waiting", entry_id, "twice")
    assert (await take_back(proposals, entry_id)).proposal_id == found.proposal_id
    with pytest.raises(EntryRefused, match="waits already"):
        await take_back(proposals, entry_id, "another reason")
    with pytest.raises(SameEyes):
        await proposals.approve(found.proposal_id, actor="user:anna")
    assert len(await books.books.entries(limit=10)) == 1
    posted = await proposals.approve(found.proposal_id, actor="user:berta")
    back = await books.books.entry(str(posted.entry_id))
    assert (back.source, [p.amount.minor for p in back.postings]) == (f"reversal:{entry_id}", [-2000000, 2000000])
    with pytest.raises(AlreadyReversed):
        await take_back(proposals, entry_id)


async def test_a_small_entry_is_taken_back_at_once_and_a_refused_reversal_is_proposed_again(
    books: Books, proposals: ProposalService
) -> None:
    small = (await propose(proposals, "10.00", "small")).entry_id
    assert (await take_back(proposals, str(small))).state == "posted"
    entry_id = await large_entry(books, proposals)
    first = await take_back(proposals, entry_id)
    await proposals.refuse(first.proposal_id, reason="no", actor="user:berta")
    second = await take_back(proposals, entry_id)
    assert second.state == "waiting"
    assert second.proposal_id != first.proposal_id


async def test_a_reversal_whose_approval_was_cut_off_is_finished_by_the_next(
    books: Books, proposals: ProposalService
) -> None:
    entry_id = await large_entry(books, proposals)
    found = await take_back(proposals, entry_id)
    await books.books.reverse(entry_id, reason="twice", booked_on=None, actor="b", approved=True)
    with pytest.raises(AlreadyDecided, match="reverse it"):
        await proposals.refuse(found.proposal_id, reason="no", actor="user:berta")
    assert (await proposals.approve(found.proposal_id, actor="user:berta")).state == "posted"
    assert len(await books.books.entries(limit=10)) == 2


async def test_proposals_over_http(books: Books, proposals: ProposalService) -> None:
    body = {
        "reference": "r1",
        "description": "a machine",
        "postings": [
            {"code": "0400", "amount": {"amount": "12000.00", "currency": "EUR"}},
            {"code": "1800", "amount": {"amount": "-12000.00", "currency": "EUR"}},
        ],
    }
    endpoints = [*proposal_routes.endpoints(proposals), *books_routes.endpoints(books.books)]
    async with api_client(endpoints, clock=books.clock) as api:
        assert (await api.post("/journal-entries", json=body)).json()["code"] == NeedsApproval.code
        made = (await api.post("/entry-proposals", json=body)).json()
        assert made["state"] == "waiting"
        path = f"/entry-proposals/{made['proposal_id']}"
        assert (await api.post(f"{path}/approve")).json()["code"] == SameEyes.code
        assert [p["reference"] for p in (await api.get("/entry-proposals?state=waiting")).json()["items"]] == ["r1"]
        assert (await api.get("/entry-proposals?state=posted")).json()["items"] == []
        assert (await api.post(f"{path}/refuse", json={"reason": "no"})).json()["state"] == "refused"
        assert (await api.get(path)).json()["reason"] == "no"
        assert (await api.get("/entry-proposals/" + "0" * 32)).status_code == 404
        entry_id = await large_entry(books, proposals)
        refused = await api.post(f"/journal-entries/{entry_id}/reversal", json={"reason": "twice"})
        assert (refused.status_code, refused.json()["code"]) == (422, NeedsApproval.code)
        asked = await api.post("/entry-proposals/reversals", json={"entry_id": entry_id, "reason": "twice"})
        assert (asked.status_code, asked.json()["state"], asked.json()["reverses"]) == (201, "waiting", entry_id)


async def test_the_calendar_posts_what_was_earned_when_the_month_is_over_and_once(books: Books) -> None:
    account = await books.account()
    quarter = books.charge(account, "90.00", days=(date(2026, 11, 1), date(2027, 1, 30)))
    await books.finance.issue(BillRunId(new_id(NOW)), [quarter])
    calendar = Recogniser(books.clock, books.crm, books.revenue)
    assert await calendar.once() == []
    # 23:30 UTC on the last day is the next month in Berlin: December is over there, not in UTC.
    books.clock.move_to(datetime(2026, 12, 31, 22, 30, tzinfo=UTC))
    assert await calendar.once() == []
    books.clock.move_to(datetime(2026, 12, 31, 23, 30, tzinfo=UTC))
    (december,) = await calendar.once()
    assert (december.booked_on, december.description) == (date(2026, 12, 31), "Revenue earned in 2026-12")
    assert await calendar.once() == []
    books.clock.move_to(datetime(2027, 6, 1, tzinfo=UTC))
    (january,) = await calendar.once()
    assert january.booked_on == date(2027, 1, 31)
    assert {b.code: b.balance.minor for b in await books.books.trial_balance() if b.balance} == {
        "1200": 10710, "4400": -9000, "3806": -1710,
    }  # fmt: skip


async def test_cash_flow_is_by_what_it_was_for_and_adds_up(books: Books) -> None:
    account = await books.account()
    await manual(books, "capital", "1800", "2900", "5000.00", date(2026, 10, 1))
    await books.issue(account)
    await books.pay(account, "35.70", "t1")
    await manual(books, "switch", "0400", "1800", "1200.00")
    await manual(books, "rent", "6300", "1600", "100.00")
    await manual(books, "till", "1600", "1800", "300.00")
    (flow,) = await books.books.cash_flow(date(2026, 11, 1), date(2026, 11, 1))
    assert [(r.code, r.amount.minor) for r in flow.operating] == [("1200", 3570), ("6300", -10000)]
    assert [(r.code, r.amount.minor) for r in flow.investing] == [("0400", -120000)]
    assert (flow.opening.minor, flow.closing.minor, flow.difference.minor) == (500000, 373570, 0)
    (whole,) = await books.books.cash_flow(date(2026, 1, 1), date(2026, 12, 31))
    assert [(r.code, r.amount.minor) for r in whole.financing] == [("2900", 500000)]
    async with api_client(books_routes.endpoints(books.books), clock=books.clock) as api:
        told = (await api.get("/cash-flow?since=2026-11-01&as_of=2026-11-01")).json()["statements"][0]
        assert (told["change"]["amount"], told["difference"]["amount"]) == ("-1264.30", "0.00")
