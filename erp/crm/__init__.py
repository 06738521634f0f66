"""Parties, customers and accounts."""
