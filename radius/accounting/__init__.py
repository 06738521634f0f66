"""From accounting packet to usage record and session."""
