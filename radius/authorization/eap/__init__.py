"""EAP over RADIUS (RFC 3748, RFC 3579): the conversation, its table, and one file per method."""
