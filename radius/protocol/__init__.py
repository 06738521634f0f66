"""Sans-I/O RADIUS: codec, authenticators, duplicates; no socket, clock or log."""
