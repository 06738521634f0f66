"""Pages of RADIUS: sessions, quarantine, whois, pools, fair use, checks of NAS, and the live trace."""
