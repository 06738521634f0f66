"""How money comes and goes: card gateways, direct debit, bank statements, the cash desk, refunds."""
