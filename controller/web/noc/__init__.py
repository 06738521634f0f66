"""The page of the network operations centre: what is alive now, moving."""
