"""What is taken of each service of an account, as it is told over HTTP."""

from __future__ import annotations

from controller.domain.restriction import Measure
from controller.http.models import Instant, Out
from erp.dunning.model import Treatment
from erp.orders.served import Served


class ServiceOut(Out):
    """A line, or an item (`item_id`), with what is taken of it; `since` when an item is suspended. Only a suspended one
    can be unbilled."""

    kind: str
    name: str
    reference: str
    service_id: str
    item_id: str | None
    measure: str
    billed: bool
    since: Instant | None

    @classmethod
    def of(cls, found: Served, taken: Treatment) -> ServiceOut:
        held = found.suspension
        return cls(
            kind=found.kind.value,
            name=found.name,
            reference=found.reference,
            service_id=found.service_id,
            item_id=found.item_id,
            measure=taken.measure.value,
            billed=taken.billed or taken.measure is not Measure.SUSPEND,
            since=None if held is None else held.since,
        )
