"""Routers by napalm: a subscriber's policer on a subinterface, as a merge candidate with diff, timer and rollback."""
