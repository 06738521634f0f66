"""Dunning: what becomes of invoices that are not paid, and of those that are disputed, step by step."""
