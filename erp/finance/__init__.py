"""Invoices, payments, journal and ledger."""
