"""What shall become of live sessions: kept until it is so, or until it is given up for everybody to see (RFC 5176)."""
