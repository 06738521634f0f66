"""Stripe, as its published API documents it: signatures and events of webhooks, requests."""
