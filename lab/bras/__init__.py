"""An emulated broadband remote access server: a real RADIUS client with live subscriber sessions and a CoA listener."""
