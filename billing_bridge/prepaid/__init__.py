"""Prepaid: balances that are never overdrawn, slices of them reserved for sessions, use debited once."""
