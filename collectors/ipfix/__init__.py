"""Flows of exporters over IPFIX: messages, what they say of subscribers' addresses, and the socket."""
