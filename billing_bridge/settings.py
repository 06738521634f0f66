"""Settings of the billing bridge."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class BillingSettings:
    """How days are counted, cents decided and work cut."""

    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("Europe/Berlin"))
    """The usual zone, the legal entity's: of accounts that have none of their own, and of usage that is nobody's."""
    rounding: str = ROUND_HALF_UP
    """decimal.ROUND_* mode of the one rounding of each charge. Commercial rounding is the habit of the trade."""
    anchor_day: int = 1
    """Day of the month (1 … 31) on which the periods of new subscriptions begin. Stored with each subscription."""
    accounts_per_batch: int | None = None
    """Accounts rated and invoiced in one transaction each; None is what suits the database, see `batch_on`."""
    records_per_batch: int = 750
    """Usage records mediated in one transaction: bounds memory and how long the SQLite writer is held (about 0.1 s)."""
    poll_s: float = 1.0
    """Seconds between looks at the usage log when no commit of this process woke mediation earlier."""
    gather_s: float = 0.2
    """Seconds that mediation lets records gather after it was woken, so that it does not write once per commit."""
    share: float = 0.01
    """Share of the time that mediation may work while accounting uses all of a processor. A bill run that waits
    for it (`catch_up`) takes all it can get."""
    session_memory_days: int = 100
    """Days after which a session that nothing was heard of is forgotten. What is reported of it later cannot be told
    from what it reported before, and goes to suspense; a quarter and some days are more than any NAS keeps records."""
    prune_every_s: float = 3600.0
    """Seconds between deletions of forgotten sessions."""
    count_every_s: float = 60.0
    """Seconds between counts of the suspense for the metrics."""
    usage_wait_s: float = 900.0
    """Seconds that a bill run waits for sources of usage that lag, before it fails and names them."""

    def batch_on(self, *, sqlite: bool) -> int:
        """Accounts of a batch: enough of them that statements cost little beside them, few enough to show progress, and
        to hold SQLite's only writer for a fifth of a second at most."""
        return self.accounts_per_batch or (250 if sqlite else 500)
