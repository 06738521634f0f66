"""Customers are told before prepaid credit expires and when little of it is left: once each, not of what is over."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from billing_bridge.errors import NotPrepaid
from billing_bridge.prepaid.model import OCTETS, SECONDS
from billing_bridge.prepaid.service import NewTerms
from billing_bridge.prepaid.telling import PrepaidTelling
from controller.domain.credit import FinalAction
from controller.store.engine import Database
from controller.workflows.prepaid_notices import PrepaidNotices
from controller.workflows.prepaid_texts import told
from controller.workflows.routes_prepaid_notices import endpoints
from erp.crm.model import Contact
from erp.dunning.mail import Unclear
from erp.finance.words import LANGUAGES
from tests.support.api import api_client
from tests.support.dunning import KeptMail
from tests.support.prepaid import ACTOR, MB, SERVICE
from tests.unit.workflows.test_prepaid_sales import SalesWorld


class NoticeWorld(SalesWorld):
    def __init__(self, database: Database, directory: Path) -> None:
        super().__init__(database, directory)
        self.mail = KeptMail()

    def notices(self, process: str = "headend-1") -> PrepaidNotices:
        telling = PrepaidTelling(self.prepaid.clock, self.prepaid.prepaid)
        return PrepaidNotices(
            self.prepaid.database, self.prepaid.clock, self.isp.crm, telling, mailer=self.mail,
            sender="isp@example.net", process=process,
        )  # fmt: skip

    async def begin(
        self, unit: str = "EUR", *, keep: int | None = None, tell: int | None = None, low: int | None = None
    ) -> None:
        wanted = NewTerms(None, MB, 900, FinalAction.GARDEN, keep, tell, low)
        await self.open_on(wanted, unit, Contact("Erika", email="erika@example.org", language="de"))

    async def tick(self) -> list[str]:
        """What has been sent so far, after two processes have looked twice."""
        for notices in (self.notices(), self.notices("headend-2")) * 2:
            await notices.look()
            await notices.work()
        return [f"{mail.subject}: {mail.text}" for mail in self.mail.sent]

    async def on(self, day: date) -> list[str]:
        self.prepaid.clock.move_to(datetime(day.year, day.month, day.day, 9, tzinfo=UTC))
        return await self.tick()


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[NoticeWorld]:
    made = NoticeWorld(database, tmp_path)
    yield made
    await made.prepaid.log.close()


async def test_a_customer_is_told_once_a_week_before_credit_expires_and_again_before_it_does_after_a_top_up(
    world: NoticeWorld,
) -> None:
    """Topped up on 10 November for 30 days: it is gone on 10 December."""
    await world.begin(keep=30)
    assert (await world.prepaid.prepaid.show(SERVICE)).terms.notice_days == 7
    await world.top_up(1_000)
    assert await world.on(date(2026, 12, 2)) == []
    (said,) = await world.on(date(2026, 12, 3))
    for wanted in ("Ihr Prepaid-Guthaben gilt bis 09.12.2026", "von 10,00", "Net GmbH", SERVICE[-12:]):
        assert wanted in said
    assert (world.mail.sent[0].recipient, world.mail.sent[0].language) == ("erika@example.org", "de")
    assert len(await world.on(date(2026, 12, 4))) == 1
    # Who gives the same terms again tells nobody anew.
    wanted = NewTerms((await world.prepaid.prepaid.show(SERVICE)).terms.version_id, MB, 900, FinalAction.GARDEN, 30)
    await world.sales.open(SERVICE, world.account_id, "EUR", "EUR", wanted, actor=ACTOR)
    assert len(await world.on(date(2026, 12, 5))) == 1
    await world.top_up(500, "2")
    assert len(await world.on(date(2026, 12, 27))) == 1
    assert "bis 03.01.2027" in (await world.on(date(2026, 12, 28)))[1]


@pytest.mark.parametrize(
    ("keep", "tell", "days"), [(30, 3, 3), (10, None, 5), (1, None, 0), (30, 0, 0), (None, 3, None)]
)
async def test_the_terms_say_how_many_days_before(
    world: NoticeWorld, keep: int | None, tell: int | None, days: int | None
) -> None:
    await world.begin(keep=keep, tell=tell)
    await world.top_up(1_000)
    wallet = await world.prepaid.wallet()
    assert (await world.prepaid.prepaid.show(SERVICE)).terms.notice_days == days
    if not days:
        assert wallet.notice_on is None
        return
    assert wallet.expires_on is not None
    assert wallet.notice_on is not None
    assert (wallet.expires_on - wallet.notice_on).days == days


async def test_who_would_be_told_before_the_credit_is_there_is_refused(world: NoticeWorld) -> None:
    with pytest.raises(NotPrepaid, match="fewer days before it is gone than 30"):
        await world.begin(keep=30, tell=30)


async def test_what_is_over_before_it_is_sent_is_withdrawn(world: NoticeWorld) -> None:
    await world.begin(keep=30)
    await world.top_up(1_000)
    world.prepaid.clock.move_to(datetime(2026, 12, 3, 9, tzinfo=UTC))
    notices = world.notices()
    await notices.look()
    await world.top_up(500, "2")
    assert await world.tick() == []
    (found,) = await notices.page(state=None, account_id=None, after=None, limit=9)
    assert (found.state, found.words) == ("withdrawn", "the credit is kept longer, or has expired")


async def test_when_little_is_left_a_customer_is_told_once_until_there_is_more_again(world: NoticeWorld) -> None:
    await world.begin(OCTETS, low=2 * MB)
    await world.top_up(600, units=5 * MB, tax="0")
    await world.use(3 * MB)
    assert await world.tick() == [], "no less than 2 MB is left"
    await world.prepaid.report("interim", 4 * MB)
    (said,) = await world.tick()
    assert "Ihr Prepaid-Guthaben geht zur Neige" in said
    assert "noch 1 MB übrig" in said
    await world.prepaid.report("interim", 5 * MB)
    assert len(await world.tick()) == 1
    await world.top_up(600, "2", units=5 * MB, tax="0")
    await world.prepaid.later(minutes=1)
    await world.prepaid.report("interim", 8 * MB + 1)
    assert len(await world.tick()) == 2


async def test_a_closed_balance_tells_nobody(world: NoticeWorld) -> None:
    await world.begin(OCTETS, low=2 * MB, keep=30)
    await world.top_up(600, units=5 * MB, tax="0")
    await world.use(4 * MB)
    await world.prepaid.close()
    assert await world.on(date(2026, 12, 5)) == []


async def test_a_mail_that_may_not_have_arrived_waits_for_a_person(world: NoticeWorld) -> None:
    await world.begin(keep=30)
    await world.top_up(1_000)
    world.mail.refuse = Unclear("the connection broke")
    assert await world.on(date(2026, 12, 3)) == []
    async with api_client(endpoints(world.notices()), clock=world.prepaid.clock, actor=ACTOR) as api:
        (found,) = (await api.get("/prepaid-notices", params={"state": "uncertain"})).json()["items"]
        assert (found["service_id"], found["expires_on"]) == (SERVICE, "2026-12-10")
        path, said = f"/prepaid-notices/{found['notice_id']}/decide", {"arrived": False, "reason": "not in the log"}
        assert (await api.post(path, json=said)).json()["state"] == "waiting"
        assert (await api.post(path, json=said)).json()["code"] == "prepaid-notice-settled"
    assert len(await world.tick()) == 1


@pytest.mark.parametrize(("unit", "balance", "written"), [("EUR", 1_234, "12"), (SECONDS, 7_500, "2 h 5 min")])
def test_every_language_tells_both_in_words_of_its_own(unit: str, balance: int, written: str) -> None:
    said = set()
    for language in LANGUAGES:
        for expires_on in (None, date(2026, 12, 10)):
            made = told(
                locale=language,
                service_id=SERVICE,
                seller="Net GmbH",
                unit=unit,
                balance=balance,
                expires_on=expires_on,
            )
            assert written in made.text
            assert "{" not in made.text + made.title
            said.add(made.title)
    assert len(said) == 2 * len(LANGUAGES)
