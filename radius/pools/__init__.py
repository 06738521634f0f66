"""Address pools of ours: IPv4 addresses, IPv6 addresses or prefixes, and delegated prefixes, held and leased."""
