"""Settings of payments."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PaymentsSettings:
    """What one person may decide alone, and how long the program is patient."""

    alone_up_to_minor: int = 5_000
    """A refund above so many minor units is approved by somebody else than who asked for it."""
    refund_request_days: int = 30
    """A refund that nobody approves for so long is refused, and what it had reserved is free."""
    claim_return_fee: bool = True
    """What a bank takes for a direct debit that comes back is claimed from who was to pay it, on a document.

    That of legal entities which have not decided about it (PUT /payment-settings).
    """
    webhook_octets: int = 262_144
    """The largest body of a webhook that is read."""
    bank_file_octets: int = 20_000_000
    """The largest bank file that is read."""
    poll_s: float = 2.0
    """How often events stored by another process are looked for; our own are handled at once."""
    request_timeout_s: float = 20.0
    """How long a gateway may take to answer one request."""
    ask_again_s: float = 60.0
    """How often a gateway is asked again for what it did not answer."""
