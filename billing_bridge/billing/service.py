"""Charges: who is entitled to what since when, and what a bill run finds due.

Entitlements come as events of verified services and are this room's own copy: billing goes on while orders and catalog
are away. A bill run rates batch by batch; each batch is one transaction that either exists with all its charges or not
at all, and is found again, not repeated, when a run is resumed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge import zones
from billing_bridge.billing import (
    assessment,
    charge_rows,
    drafts,
    evidence,
    holds,
    moved,
    pauses,
    payers,
    recurring,
    repository,
    runs,
    tariff_rows,
)
from billing_bridge.billing.counting import counted, in_order
from billing_bridge.billing.dating import put_on_own_days
from billing_bridge.billing.holds import PERSON, WHOLE_RUN, Hold
from billing_bridge.billing.model import (
    CHECKED,
    DONE,
    FAILED,
    OPEN,
    QUEUED,
    BillRun,
    ChargeDetail,
    RatedCharge,
)
from billing_bridge.billing.moved import Moved
from billing_bridge.billing.parts import packed
from billing_bridge.billing.repository import Entry
from billing_bridge.billing.second_rating import SecondRating
from billing_bridge.billing.tally import Tally
from billing_bridge.errors import FutureBillRun, UnbilledService, UnknownBillRun, UnknownCharge
from billing_bridge.mediation.repository import beginnings
from billing_bridge.settings import BillingSettings
from billing_bridge.sources import booked, calls, identifiers, ports
from billing_bridge.sources.identifiers import Timeline
from billing_bridge.sources.ports import Ports
from billing_bridge.sources.repository import records
from billing_bridge.suspense.settle import timeline_changed
from controller.domain.charge import Charge
from controller.domain.clock import Clock, local_date, require_utc
from controller.domain.errors import Conflict
from controller.domain.events import (
    AccountParentSet,
    ChargesRated,
    CustomerCreated,
    ItemHeld,
    ServiceActivated,
    ServiceChanged,
    ServiceOrdered,
    ServicePaused,
    ServiceTerminated,
)
from controller.domain.identity import (
    AccountId,
    BillRunId,
    ChargeId,
    OfferingVersionId,
    new_id,
)
from controller.domain.ports import TariffSource
from controller.store import audit, outbox
from controller.store.engine import Database
from controller.store.many import by_keys

_ACTOR = "system:billing_bridge"
_READINGS = 3
"""Usage that is mediated while a batch is read shows as a difference; then it is read again."""


class BillingService:
    """Rates what is due, batch by batch of a run, and keeps what it came to."""

    def __init__(
        self, database: Database, clock: Clock, tariffs: TariffSource[AsyncConnection], settings: BillingSettings
    ) -> None:
        self._database = database
        self._clock = clock
        self._tariffs = tariffs
        self._settings = settings
        self.second = SecondRating(database, clock, settings)

    async def on_customer_created(self, conn: AsyncConnection, event: CustomerCreated) -> None:
        """In which zone the days of its account are counted."""
        await zones.put(conn, event.account_id, event.zone, self._settings.zone)

    async def on_service_ordered(self, conn: AsyncConnection, event: ServiceOrdered) -> None:
        """Usage may come before the service is verified: from now on it is booked by the days of its account."""
        found = await zones.zones_of(conn, [event.account_id], self._settings.zone)
        if event.account_id in found.own:
            await put_on_own_days(conn, event.service_id, event.account_id, self._settings.zone, self._clock.now())

    async def on_service_activated(self, conn: AsyncConnection, event: ServiceActivated) -> None:
        """Open the timeline: the fee is due from the local day of verification."""
        await self._entitle(conn, Entry.of(event, event.version_id))

    async def on_service_changed(self, conn: AsyncConnection, event: ServiceChanged) -> None:
        """The new plan holds for the whole local day of the change."""
        await self._entitle(conn, Entry.of(event, event.version_id))

    async def on_service_terminated(self, conn: AsyncConnection, event: ServiceTerminated) -> None:
        """The local day of the termination is not charged."""
        await self._entitle(conn, Entry.of(event, None))

    async def on_item_held(self, conn: AsyncConnection, event: ItemHeld) -> None:
        """A product without a line: charged from the local day it is held, like a line."""
        await self._entitle(conn, Entry.of_item(event))

    async def on_account_parent_set(self, conn: AsyncConnection, event: AccountParentSet) -> None:
        """Who pays is asked when charges are made; what was charged stays with whom it was charged to."""
        await payers.add(conn, event)

    async def on_service_paused(self, conn: AsyncConnection, event: ServicePaused) -> None:
        """What the pause was and what it is may both change what is due: from the earlier of their first days."""
        if not await repository.rate_from(conn, event.subscription_id, event.first_on):
            raise UnbilledService(f"subscription {event.subscription_id} is not known yet")
        first_on = await pauses.add(conn, event)
        if first_on is not None:
            await repository.rate_from(conn, event.subscription_id, first_on)

    async def open_run(
        self,
        *,
        as_of: datetime | None,
        account_id: AccountId | None,
        usage_watermark: int,
        event_watermark: int,
        actor: str,
        dry: bool = False,
        preview_id: BillRunId | None = None,
        hold_changed: bool = False,
        hold: str = "",
    ) -> BillRun:
        """Record that a run shall happen. Raises FutureBillRun for an instant that has not come.

        With `preview_id` it is compared with that dry run, and with `hold_changed` accounts that differ from it wait.
        With `hold`, a reason, it waits as a whole before its first document.
        """
        now, at = self._clock.now(), self._instant(as_of)
        run = BillRun(
            bill_run_id=BillRunId(new_id(now)),
            as_of=at,
            account_id=account_id,
            state=QUEUED,
            usage_watermark=usage_watermark,
            event_watermark=event_watermark,
            accounts=0,
            batches=0,
            batches_done=0,
            charges=0,
            documents=0,
            actor=actor,
            created_at=now,
            finished_at=None,
            error=None,
            dry=dry,
            preview_id=preview_id,
            hold_changed=hold_changed,
        )
        async with self._database.begin() as conn:
            await runs.add(conn, run)
            if hold:
                await holds.put(conn, Hold(run.bill_run_id, WHOLE_RUN, PERSON, hold, now, actor))
            await audit.record(
                conn,
                now=now,
                actor=actor,
                action="bill-run.start",
                subject=f"bill-run:{run.bill_run_id}",
                after={"as_of": at.isoformat(), "account_id": account_id, "dry": dry, "preview_id": preview_id},
            )
        return run

    async def plan_run(self, bill_run_id: BillRunId) -> int:
        """Freeze the accounts into batches, once; returns the number of batches."""
        run = await self.bill_run(bill_run_id)
        size = self._settings.batch_on(sqlite=self._database.is_sqlite)
        async with self._database.begin() as conn:
            together = await payers.families(conn, run.account_id)
            return await runs.freeze(conn, bill_run_id, payers.batches(together, size))

    async def rate_batch(self, bill_run_id: BillRunId, batch: int) -> int:
        """Rate the accounts of one batch; returns how many charges it has. A rated batch is left as it is."""
        return len(await self.rate(bill_run_id, batch))

    async def rate(self, bill_run_id: BillRunId, batch: int) -> Sequence[Charge]:
        """Rate the accounts of one batch and count what was rated; returns its charges, ordered as `charges` does."""
        now = self._clock.now()
        async with self._database.begin() as conn:
            await by_keys(conn)
            as_of = await runs.as_of(conn, bill_run_id)
            frozen = await runs.lock_batch(conn, bill_run_id, batch)
            if frozen.state != OPEN:
                return await charge_rows.charges_of(conn, bill_run_id, batch)
            for _ in range(_READINGS):
                subscriptions = await repository.lock_subscriptions(conn, frozen.account_ids, self._settings.zone)
                found = await counted(conn, subscriptions, bill_run_id, as_of, self._settings)
                rated, tally = found.rated, found.tally
                if tally.all_read:
                    break
            await charge_rows.add_charges(conn, batch, rated, now)
            await repository.mark_rated(conn, [assessment.after(s, as_of) for s in subscriptions])
            await recurring.put(conn, bill_run_id, found.closing)
            await runs.set_rated(conn, bill_run_id, batch, len(rated), tally.to_json(), packed(found.parts))
            if rated:
                event = ChargesRated(
                    event_id=new_id(now),
                    at=now,
                    actor=_ACTOR,
                    bill_run_id=bill_run_id,
                    batch=batch,
                    charges=len(rated),
                )
                await outbox.append(conn, event)
        return in_order(rated)

    async def rate_dry(self, bill_run_id: BillRunId, batch: int) -> tuple[Sequence[Charge], Tally]:
        """What `rate` would find now. Writes nothing."""
        run = await self.bill_run(bill_run_id)
        async with self._database.read() as conn:
            await by_keys(conn)
            accounts = await runs.accounts_of(conn, bill_run_id, batch)
            return await self._look(conn, accounts, bill_run_id, run.as_of)

    async def preview(self, account_id: AccountId, as_of: datetime | None = None) -> Sequence[Charge]:
        """What an account would be charged as of an instant, or now. Raises FutureBillRun."""
        async with self._database.read() as conn:
            found, _ = await self._look(conn, [account_id], BillRunId(""), self._instant(as_of))
        return found

    async def accounts_of(self, bill_run_id: BillRunId, batch: int) -> Sequence[AccountId]:
        """The accounts that were frozen into a batch."""
        async with self._database.read() as conn:
            return await runs.accounts_of(conn, bill_run_id, batch)

    async def _look(
        self, conn: AsyncConnection, accounts: Sequence[AccountId], bill_run_id: BillRunId, as_of: datetime
    ) -> tuple[Sequence[Charge], Tally]:
        subscriptions = await repository.read_subscriptions(conn, accounts, self._settings.zone, None)
        found = await counted(conn, subscriptions, bill_run_id, as_of, self._settings)
        return in_order(found.rated), found.tally

    def _instant(self, as_of: datetime | None) -> datetime:
        """Raises FutureBillRun."""
        now = self._clock.now()
        at = require_utc(as_of) if as_of is not None else now
        if at > now:
            raise FutureBillRun(f"as_of {at.isoformat()} lies in the future; it is {now.isoformat()}")
        return at

    async def charges(self, bill_run_id: BillRunId, batch: int) -> Sequence[Charge]:
        """The charges of one batch, ordered by account, then period."""
        async with self._database.read() as conn:
            return await charge_rows.charges_of(conn, bill_run_id, batch)

    async def charges_of_accounts(self, bill_run_id: BillRunId, accounts: Sequence[AccountId]) -> Sequence[Charge]:
        """What a run charges these accounts, in the same order."""
        async with self._database.read() as conn:
            return await charge_rows.charges_of(conn, bill_run_id, accounts=accounts)

    async def note_waiting(self, bill_run_id: BillRunId, what: str | None) -> None:
        """Tell what a run waits for; None when it does not any more."""
        async with self._database.begin() as conn:
            await runs.note_waiting(conn, bill_run_id, what)

    async def finish_run(self, bill_run_id: BillRunId, *, error: str | None = None) -> bool:
        """The run is done, or failed with `error`; a new one takes up what is left. False when it has more to issue."""
        now = self._clock.now()
        async with self._database.begin() as conn:
            run = await runs.lock(conn, bill_run_id)
            assert run is not None
            if not (error or run.dry) and await self._more_to_issue(conn, run):
                return False
            await runs.finish(conn, bill_run_id, FAILED if error else DONE, now, error)
            await audit.record(
                conn,
                now=now,
                actor=_ACTOR,
                action="bill-run.finish",
                subject=f"bill-run:{bill_run_id}",
                after={"state": FAILED if error else DONE, "charges": run.charges, "documents": run.documents},
                reason=error,
            )
        return True

    async def _more_to_issue(self, conn: AsyncConnection, run: BillRun) -> bool:
        """Whether somebody was let go, or a batch was looked at again, since the last document."""
        if await runs.next_batch(conn, run.bill_run_id, (CHECKED,), 0, run.batches) is not None:
            return True
        return bool(await holds.to_rate(conn, run.bill_run_id) or await drafts.left(conn, run.bill_run_id))

    async def reopen_run(self, bill_run_id: BillRunId, *, actor: str) -> None:
        """Let a failed run go on; its batches stand as they were. Raises Conflict for one that is not failed."""
        async with self._database.begin() as conn:
            if not await runs.reopen(conn, bill_run_id):
                raise Conflict(f"bill run {bill_run_id} is not failed; somebody else has taken it up")
            await audit.record(
                conn,
                now=self._clock.now(),
                actor=actor,
                action="bill-run.redrive",
                subject=f"bill-run:{bill_run_id}",
            )

    async def bill_run(self, bill_run_id: BillRunId) -> BillRun:
        """Raises UnknownBillRun."""
        async with self._database.read() as conn:
            run = await runs.get(conn, bill_run_id)
        if run is None:
            raise UnknownBillRun(f"no bill run {bill_run_id}")
        return run

    async def bill_runs(self, after: tuple[int, str] | None, limit: int) -> list[BillRun]:
        async with self._database.read() as conn:
            return await runs.page(conn, after, limit)

    async def unfinished_runs(self) -> list[BillRunId]:
        async with self._database.read() as conn:
            return await runs.unfinished(conn)

    async def detail(self, charge_id: ChargeId) -> ChargeDetail:
        """Everything behind a charge. Raises UnknownCharge."""
        async with self._database.read() as conn:
            rated = await evidence.rated_charge(conn, charge_id)
            if rated is None:
                raise UnknownCharge(f"no charge {charge_id}")
            earlier = await evidence.earlier(conn, rated)
            timeline = await evidence.timeline(conn, rated.charge.subscription_id)
            paused = await evidence.paused(conn, rated.charge.subscription_id)
            held = [entry.version_id for entry in timeline if entry.version_id is not None]
            priced_as = OfferingVersionId(rated.arithmetic.get("priced_as", rated.charge.version_id))
            versions = await tariff_rows.tariffs(conn, [rated.charge.version_id, priced_as, *held])
            intervals = [i for day in rated.evidence for i in await evidence.intervals(conn, day)]
            called = [c for day in rated.calls for c in await booked.of_day(conn, day)]
            named = [i for interval in intervals if interval.source for i in interval.interval.record_ids]
            told = {s.record_id: s for s in await records(conn, [*named, *(c.record_id for c in called)])}
            known = await zones.zones_of(conn, [rated.charge.service_id], self._settings.zone)
            measured = Ports()
            if "last_record_id" in rated.arithmetic:
                service_id, until = rated.charge.service_id, rated.arithmetic["last_record_id"]
                found = await ports.of_services(conn, [service_id], rated.period.first_on, until)
                measured = found.get(service_id, measured)
        offerings = {version_id: tariff.offering_id for version_id, tariff in versions.items()}
        tariff = versions[priced_as]
        return ChargeDetail(
            rated, sum(earlier), len(earlier), tariff, offerings, timeline, paused, intervals,
            known.of(rated.charge.service_id), called, measured, told,
        )  # fmt: skip

    async def moved(self, rated: RatedCharge) -> list[Moved]:
        """What another service got of it after it was charged, and what it takes back of the charge before it."""
        async with self._database.read() as conn:
            return await moved.of_charge(conn, rated)

    async def owners(
        self, names: Iterable[str], service_ids: Iterable[str]
    ) -> tuple[Mapping[str, Timeline], Mapping[str, datetime]]:
        """What people decided about whose these usernames are, and when these services began."""
        async with self._database.read() as conn:
            decided = await identifiers.timelines(conn, identifiers.USERNAME, names)
            return decided, await beginnings(conn, service_ids)

    async def _entitle(self, conn: AsyncConnection, event: Entry) -> None:
        version_id, usual, now = event.version_id, self._settings.zone, self._clock.now()
        zone = await put_on_own_days(conn, event.service_id, event.account_id, usual, now)
        if version_id is not None and version_id not in await tariff_rows.tariffs(conn, [version_id]):
            await tariff_rows.put_tariff(conn, await self._tariffs.tariff_in(conn, version_id))
        await repository.put_subscription(conn, event, self._settings.anchor_day, local_date(event.at, zone))
        await repository.add_entitlement(conn, event)
        await timeline_changed(conn, event.service_id, zone=usual, now=now)
        await calls.change_of_timeline(conn, event.service_id, zone=usual, now=now)
