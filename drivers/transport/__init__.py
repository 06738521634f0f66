"""Sessions to devices: NETCONF over SSH."""
