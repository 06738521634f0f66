"""Usage from everywhere but RADIUS: files of call records, events over the API, flows, counters; and its ledger."""
