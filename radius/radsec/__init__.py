"""RADIUS over TLS (RFC 6614) and RADIUS/1.1 (RFC 9765): the stream, the certificates, both ends of a connection."""
