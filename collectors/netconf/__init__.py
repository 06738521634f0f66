"""Operational state over NETCONF."""
