"""One file per vendor: SpeedProfile to reply attributes."""
