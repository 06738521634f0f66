"""RADIUS AAA for NAS and BRAS."""
