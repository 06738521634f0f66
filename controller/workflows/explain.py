"""Explains an invoice line down to the accounting packets it came from, and adds them up again.

    invoice line → charge → price version, arithmetic
                      ├─ recurring: entitled days, and the verified event that opened them
                      └─ usage: days → intervals → records of the usage log, each with digest and hash chain

Nothing stored is believed that can be computed: growth is taken from the records again, cut at midnight again, summed
and priced again, and compared with what the line says. Every difference is a fault that names its record.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from types import MappingProxyType
from zoneinfo import ZoneInfo

from billing_bridge.billing.hours import cut, usage_of
from billing_bridge.billing.model import BookedInterval, ChargeDetail, DayUsage
from billing_bridge.billing.pauses import in_force
from billing_bridge.billing.service import BillingService
from billing_bridge.mediation.attribution import split_by_day
from billing_bridge.rating.line import Line, Usage
from billing_bridge.rating.proration import Change, Held, holdings
from billing_bridge.rating.rate import rate
from billing_bridge.sources.booked import BookedCall
from billing_bridge.sources.identifiers import Timeline, owner
from billing_bridge.sources.ports import Ports
from controller.domain.charge import ChargeKind
from controller.domain.clock import local_date
from controller.domain.identity import InvoiceLineId
from controller.domain.money import Money
from controller.domain.ports import UsageReader
from controller.domain.usage import LoggedRecord, SessionTotals
from controller.workflows.explain_corrections import of_adjustment, of_credit, printed_faults
from controller.workflows.explain_moves import of_moves
from controller.workflows.explain_sources import called, measured, told_by
from erp.finance.errors import DocumentAltered
from erp.finance.model import Invoice, InvoiceLine
from erp.finance.service import FinanceService

_NO_PORTS = Ports()
_BY_DECISION = ", a day without a plan: charged by decision of a person"


@dataclass(frozen=True, slots=True)
class RecordEvidence:
    """One record behind a line, and what it added on the days of the line, computed from the records."""

    record: LoggedRecord
    upstream_octets: int
    downstream_octets: int


@dataclass(frozen=True, slots=True)
class Explanation:
    """`steps` is the arithmetic in words, `faults` everything that does not hold.

    `detail` is what rating made of it, for a credit what it made of the line taken back; None where nothing was rated.
    """

    invoice: Invoice
    line: InvoiceLine
    detail: ChargeDetail | None
    steps: tuple[str, ...]
    records: tuple[RecordEvidence, ...]
    faults: tuple[str, ...]

    @property
    def intact(self) -> bool:
        """Whether every figure was found again."""
        return not self.faults


class Explainer:
    """Days are those of the zone in which the account of each charge is."""

    def __init__(self, finance: FinanceService, billing: BillingService, usage: UsageReader) -> None:
        self._finance = finance
        self._billing = billing
        self._usage = usage

    async def explain(self, line_id: str) -> Explanation:
        """Raises UnknownInvoiceLine."""
        line = await self._finance.line(InvoiceLineId(line_id))
        invoice = await self._finance.invoice(line.invoice_id)
        if line.credits_line_id is not None:
            return await self._credit(invoice, line, line.credits_line_id)
        if not line.version_id:
            steps, faults = await of_adjustment(self._finance, invoice, line)
            return Explanation(invoice, line, None, tuple(steps), (), tuple(faults))
        return await self._rated(invoice, line)

    async def _credit(self, invoice: Invoice, line: InvoiceLine, line_id: str) -> Explanation:
        """What it takes back is explained with it."""
        back = await self.explain(line_id)
        steps, faults = await of_credit(self._finance, invoice, line, back.line, back.invoice)
        number = back.invoice.number
        steps += [f"{number}: {step}" for step in back.steps]
        faults += [f"{number}: {fault}" for fault in back.faults]
        return Explanation(invoice, line, back.detail, tuple(steps), back.records, tuple(faults))

    async def _rated(self, invoice: Invoice, line: InvoiceLine) -> Explanation:
        detail = await self._billing.detail(line.charge_id)
        faults = await self._document_faults(invoice, line, detail)
        zone = detail.zone
        held = _held(detail, zone)
        if detail.rated.charge.kind is ChargeKind.USAGE:
            logged = [booked for booked in detail.intervals if booked.source is None]
            ids = sorted({i for booked in logged for i in booked.interval.record_ids})
            records = {r.record_id: r for r in await self._usage.records(ids)}
            names = {r.username for r in records.values()}
            services = {r.service_id for r in records.values() if r.service_id is not None}
            owners, began = await self._billing.owners(names, services)
            moves = await self._billing.moved(detail.rated)
            once_theirs = {m.booked.interval_id for m in moves if m.was_theirs and isinstance(m.booked, BookedInterval)}
            added = added_up(logged, records, zone, owners, began, once_theirs)
            faults += _record_faults(ids, records) + added.faults
            faults += list(await self._usage.verify_chain(ids)) if ids else []
            others, other_faults = measured([b for b in detail.intervals if b.source is not None], detail.told)
            added = added.and_also(others)
            calls, call_steps, call_faults = called(detail)
            faults += other_faults + call_faults
            faults += [f"record {i} of a port: its digest does not cover what is stored" for i in detail.ports.altered]
            usage = added.usage(detail.rated.evidence, zone, calls, detail.ports)
            line_again = _line(detail, held, usage, zone)
            steps, wrong = _usage_steps(detail, added.octets, line_again, call_steps, told_by(others))
            steps += await of_moves(self._finance, moves, line.charge_id)
            evidence = tuple(added.evidence)
        else:
            steps, wrong = _fee_steps(detail, held, _line(detail, held, Usage(), zone))
            evidence = ()
        return Explanation(invoice, line, detail, tuple(steps), evidence, tuple(dict.fromkeys(faults + wrong)))

    async def _document_faults(self, invoice: Invoice, line: InvoiceLine, detail: ChargeDetail) -> list[str]:
        """The line is the charge, and the document says what it said when it was issued."""
        faults = []
        charge = detail.rated.charge
        parts = [p for p in await self._finance.lines(invoice.invoice_id) if p.charge_id == line.charge_id]
        said = (
            sum((p.agreed for p in parts), Money.zero(charge.net.currency)),
            sum(p.quantity for p in parts),
            line.unit_price,
            parts[0].first_on,
            parts[-1].until_on,
        )
        rated = (charge.net, charge.quantity, charge.unit_price, charge.first_on, charge.until_on)
        if said != rated:
            faults.append(f"line {line.line_id}: does not say what its charge {charge.charge_id} says")
        try:
            content = await self._finance.content(invoice.invoice_id)
        except DocumentAltered as error:
            return [*faults, str(error)]
        return faults + printed_faults(line, invoice, content)


@dataclass(frozen=True, slots=True)
class AddedUp:
    """Octets per local day, and what each record added, both computed from the records alone."""

    intervals: Sequence[BookedInterval]
    """As they ought to have been booked."""
    octets: Mapping[date, int]
    evidence: Sequence[RecordEvidence]
    faults: list[str]

    def and_also(self, others: Sequence[BookedInterval]) -> AddedUp:
        """With intervals of other sources, which were added up already."""
        octets = dict(self.octets)
        for booked in others:
            carried = booked.interval.upstream_octets + booked.interval.downstream_octets
            octets[booked.day] = octets.get(booked.day, 0) + carried
        return replace(self, intervals=[*self.intervals, *others], octets=octets)

    def usage(
        self, days: Sequence[DayUsage], zone: ZoneInfo, calls: Sequence[BookedCall] = (), ports: Ports = _NO_PORTS
    ) -> Usage:
        """For the rating function, on the days on which the charge counted it."""
        by_day: dict[tuple[str, date], list[BookedInterval]] = {}
        for booked in self.intervals:
            by_day.setdefault((booked.interval.service_id, booked.day), []).append(booked)
        found = [
            day._replace(
                upstream_octets=sum(i.interval.upstream_octets for i in by_day.get((day.service_id, day.day), ())),
                downstream_octets=sum(i.interval.downstream_octets for i in by_day.get((day.service_id, day.day), ())),
            )
            for day in days
        ]
        return usage_of(found, {key: cut(intervals, zone) for key, intervals in by_day.items()}, calls, ports)


def added_up(
    intervals: Sequence[BookedInterval],
    records: Mapping[int, LoggedRecord],
    zone: ZoneInfo,
    owners: Mapping[str, Timeline] = MappingProxyType({}),
    began: Mapping[str, datetime] = MappingProxyType({}),
    once_theirs: Collection[int] = (),
) -> AddedUp:
    """Recompute every interval from the records it names. A difference is a fault naming the record.

    An interval is the service's that its record names; or by decision of a person about the username (`owners`); or
    another's, where it ends before the record's service `began`: the session changed hands; or it was (`once_theirs`)
    by a decision of which a later one took it back.
    """
    octets: dict[date, int] = {}
    by_record: dict[int, tuple[int, int]] = {}
    faults: list[str] = []
    right: list[BookedInterval] = []
    for booked in intervals:
        last = records.get(booked.interval.record_ids[-1])
        if last is None:
            continue  # named as missing with the records
        upstream, downstream = _part(booked, last, records, zone)
        if (upstream, downstream) != (booked.interval.upstream_octets, booked.interval.downstream_octets):
            faults.append(
                f"record {last.record_id}: adds {upstream}/{downstream} octets up/down on {booked.day}, "
                f"charged were {booked.interval.upstream_octets}/{booked.interval.downstream_octets}"
            )
        if booked.interval_id not in once_theirs and not _is_theirs(booked, last, owners, began):
            faults.append(f"record {last.record_id}: belongs to service {last.service_id}")
        again = replace(booked.interval, upstream_octets=upstream, downstream_octets=downstream)
        right.append(replace(booked, interval=again))
        octets[booked.day] = octets.get(booked.day, 0) + upstream + downstream
        before = by_record.get(last.record_id, (0, 0))
        by_record[last.record_id] = (before[0] + upstream, before[1] + downstream)
    named = sorted({i for booked in intervals for i in booked.interval.record_ids} & set(records))
    evidence = [RecordEvidence(records[i], *by_record.get(i, (0, 0))) for i in named]
    return AddedUp(right, octets, evidence, faults)


def _part(
    booked: BookedInterval, last: LoggedRecord, records: Mapping[int, LoggedRecord], zone: ZoneInfo
) -> tuple[int, int]:
    """What the last record of an interval added on the interval's day."""
    before = SessionTotals()
    for record_id in booked.interval.record_ids[:-1]:
        known = records.get(record_id)
        if known is not None:
            before = before.grown_by(known.upstream_octets, known.downstream_octets)
    after = before.grown_by(last.upstream_octets, last.downstream_octets)
    parts = split_by_day(
        booked.grown_since,
        last.event_at,
        after.upstream_octets - before.upstream_octets,
        after.downstream_octets - before.downstream_octets,
        zone,
        (booked.interval.since, booked.interval.until),
    )
    own = [p for p in parts if p.day == booked.day and p.since == booked.interval.since]
    return (own[0].upstream_octets, own[0].downstream_octets) if own else (0, 0)


def _is_theirs(
    booked: BookedInterval, last: LoggedRecord, owners: Mapping[str, Timeline], began: Mapping[str, datetime]
) -> bool:
    interval = booked.interval
    if last.service_id is None or last.service_id == interval.service_id:
        return True
    at = interval.since if interval.since < interval.until else interval.until
    if owner(owners.get(last.username, ()), at) == interval.service_id:
        return True
    return last.service_id in began and interval.until <= began[last.service_id]


def _record_faults(ids: Sequence[int], records: Mapping[int, LoggedRecord]) -> list[str]:
    faults = [f"record {i}: missing from the usage log" for i in ids if i not in records]
    altered = [r.record_id for r in records.values() if not r.intact]
    return faults + [f"record {i}: its digest does not cover what is stored" for i in altered]


def _usage_steps(
    detail: ChargeDetail, octets: Mapping[date, int], line: Line | None, calls: Sequence[str], told: Mapping[date, str]
) -> tuple[list[str], list[str]]:
    """The days of a usage line, and its arithmetic done again with what the records add up to.

    `told` names the records of other sources than RADIUS, whose own are listed one by one.
    """
    steps: list[str] = [*calls]
    faults: list[str] = []
    for day in detail.rated.evidence:
        steps.append(
            f"{day.day}  {octets.get(day.day, 0):>16} octets in {day.intervals} intervals"
            + (f": {told[day.day]}" if day.day in told else "")
            + ("" if _entitled(day.day, detail.rated.arithmetic["spans"]) else _BY_DECISION)
        )
        if octets.get(day.day, 0) != day.octets:
            faults.append(f"{day.day}: records add up to {octets.get(day.day, 0)} octets, charged were {day.octets}")
    return _priced(detail, line, steps, faults)


def _entitled(day: date, spans: Sequence[Sequence[str]]) -> bool:
    return any(first_on <= day.isoformat() < until_on for first_on, until_on in spans)


def _fee_steps(detail: ChargeDetail, held: Held | None, line: Line | None) -> tuple[list[str], list[str]]:
    """The events that entitle to the days of a fee line, and its arithmetic done again from them."""
    steps, faults = [], []
    for entry in detail.timeline:
        what = f"version {entry.version_id}" if entry.version_id else "nothing"
        steps.append(
            f"from {entry.at.isoformat()} entitled to {what}: {entry.event_name}, order {entry.order_id}, "
            f"event {entry.event_id}"
        )
    for said in detail.pauses:
        if said.sequence <= detail.rated.arithmetic["pause_sequence"]:
            span = said.pause.span
            steps.append(
                f"paused ({said.kind}) from {span.first_on} until {span.until_on} (exclusive) at "
                f"{said.pause.percent} % of the fees: said by {said.actor} at {said.at.isoformat()}"
            )
    days, charged = held.days if held else 0, detail.rated.arithmetic["entitled_days"]
    if days != charged:
        faults.append(f"the timeline entitles to {days} days, charged were {charged}")
    return _priced(detail, line, steps, faults)


def _held(detail: ChargeDetail, zone: ZoneInfo) -> Held | None:
    """The days of the version by the timeline as it was known when the charge was made."""
    known = [e for e in detail.timeline if e.sequence <= detail.rated.arithmetic["timeline_sequence"]]
    changes = [Change(local_date(e.at, zone), e.version_id, e.quantity) for e in known]
    pauses = in_force(detail.pauses, detail.rated.arithmetic["pause_sequence"])
    return holdings(changes, detail.rated.period, detail.offerings, pauses).get(detail.rated.charge.version_id)


def _line(detail: ChargeDetail, held: Held | None, usage: Usage, zone: ZoneInfo) -> Line | None:
    """What the rating function makes of the evidence; None when it no longer charges for this price."""
    lines = rate(detail.tariff, held, zone, usage) if held else []
    return next((line for line in lines if line.code == detail.rated.code), None)


def _priced(
    detail: ChargeDetail, line: Line | None, steps: list[str], faults: list[str]
) -> tuple[list[str], list[str]]:
    currency, rounding = detail.tariff.currency, detail.rated.arithmetic["rounding"]
    amount = Money.rounded(line.exact, currency, rounding) if line else Money.zero(currency)
    steps += line.steps if line else ["nothing is due for it any more"]
    steps.append(f"rounded once ({rounding}): {amount}")
    return _difference(detail, amount, steps, faults)


def _difference(
    detail: ChargeDetail, amount: Money, steps: list[str], faults: list[str]
) -> tuple[list[str], list[str]]:
    """What the period costs, less what had been charged for it, is the line."""
    charge = detail.rated.charge
    earlier = Money(detail.earlier_minor, amount.currency)
    net = amount - earlier
    if count := detail.earlier_charges:
        steps.append(f"less {earlier} charged before in {count} charge{'s' if count > 1 else ''} = {net}")
    if net != charge.net:
        faults.append(f"charge {charge.charge_id}: comes to {net}, charged were {charge.net}")
    return steps, faults
