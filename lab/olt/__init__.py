"""An emulated OLT of the BBF TR-385 model: a NETCONF server over SSH that behaves, and misbehaves on request."""
