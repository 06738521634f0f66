"""The fields of each kind of thing, as these pages show them."""

from __future__ import annotations

from controller.web.office.table import Column

SESSION = (
    Column("State", "state", "state"),
    Column("Service", "service_id", "mono", link="/services/{service_id}"),
    Column("Address", "framed_ipv4", "mono"),
    Column("Station", "calling_station_id", "mono"),
    Column("NAS", "nas", sub="nas_port_id"),
    Column("Session id", "session_id", "mono", sub="session_key"),
    Column("Started", "started_at", "instant"),
    Column("Last heard", "last_event_at", "instant"),
    Column("Ended", "ended_at", "instant", sub="end_cause"),
    Column("Upstream", "upstream_octets", "octets"),
    Column("Downstream", "downstream_octets", "octets"),
)
SPEED = (
    Column("Profile by its Class", "profile_name"),
    Column("Downstream", "downstream_bps", "rate"),
    Column("Upstream", "upstream_bps", "rate"),
    Column("Said by", "source"),
    Column("At", "observed_at", "instant"),
)
ASKED = (
    Column("Asked at", "requested_at", "instant", sub="requested_by"),
    Column("What", "kind", sub="profile_name"),
    Column("State", "state", "state", sub="words"),
    Column("NAS says", "said"),
    Column("Requests", "tries", "number"),
    Column("Next", "next_at", "instant"),
)

QUARANTINE = (
    Column("Reported", "event_at", "instant"),
    Column("Whose", "username", link="/quarantine/{quarantine_id}", sub="nas"),
    Column("Why", "reason"),
    Column("State", "state", "state"),
    Column("Upstream held", "upstream_octets", "octets"),
    Column("Downstream held", "downstream_octets", "octets"),
    Column("Could carry", "could", "octets"),
    Column("Decided", "decided_at", "instant", sub="decided_by"),
)
HELD = (
    Column("State", "state", "state"),
    Column("Why", "reason"),
    Column("User name", "username"),
    Column("Session", "session_key", "mono", link="/sessions/{session_key}"),
    Column("NAS", "nas"),
    Column("Reported", "event_at", "instant"),
    Column("Upstream held", "upstream_octets", "octets"),
    Column("Downstream held", "downstream_octets", "octets"),
    Column("Upstream counter", "reported_upstream_octets", "octets"),
    Column("Downstream counter", "reported_downstream_octets", "octets"),
    Column("Upstream at most", "upstream_limit_octets", "octets"),
    Column("Downstream at most", "downstream_limit_octets", "octets"),
    Column("Packet", "packet_sha256", "digest"),
    Column("Decided", "decided_at", "instant", sub="decided_by"),
    Column("Reason given", "why"),
)

HOLDER = (
    Column("User name", "username"),
    Column("Service", "service_id", "mono", link="/services/{service_id}"),
    Column("Session", "session_id", "mono", link="/sessions/{session_key}"),
    Column("NAS", "nas"),
    Column("Station", "calling_station_id", "mono"),
    Column("Held", "network", "mono", sub="ports"),
    Column("From", "since", "instant"),
    Column("Until", "until", "instant", sub="certainty"),
)
EVIDENCE = (
    Column("Record", "record_id"),
    Column("Kind", "kind"),
    Column("Event", "event_at", "instant"),
    Column("Received", "received_at", "instant"),
    Column("Packet, SHA-256", "packet_sha256", "digest"),
    Column("Record, SHA-256", "record_sha256", "digest"),
    Column("Intact", "intact", "flag"),
)

NAS_CHECKS = (
    Column("NAS", "nas"),
    Column("Finding", "finding"),
    Column("Sessions", "sessions", "number"),
    Column("Live", "live", "number"),
    Column("Upstream", "upstream_octets", "octets"),
    Column("Downstream", "downstream_octets", "octets"),
    Column("More up than down", "upstream_heavy", "number"),
    Column("More down than up", "downstream_heavy", "number"),
    Column("Wrapped", "wrapped", "number"),
    Column("Silent", "silent", "number"),
)

POOLS = (
    Column("Pool", "name", link="/pools/{pool_id}", sub="kind"),
    Column("In use", "bar", "bar"),
    Column("Leased", "leased", "number"),
    Column("Held", "held", "number"),
    Column("Free", "free", "number"),
    Column("Size", "size", "number"),
    Column("Ranges", "written", "mono"),
)
LEASES = (
    Column("Address", "address", "mono"),
    Column("State", "state"),
    Column("Service", "service_id", "mono", link="/services/{service_id}/fair-use"),
    Column("Station", "station", "mono"),
    Column("Session", "session_key", "mono", link="/sessions/{session_key}"),
    Column("Held until", "held_until", "instant"),
    Column("Since", "changed_at", "instant"),
)

FAIR_USE = (
    Column("Used", "bar", "bar"),
    Column("Counted", "counted_octets", "octets"),
    Column("Limit", "limit_octets", "octets"),
    Column("Topped up", "topped_up_octets", "octets"),
    Column("Beyond it", "overshoot_octets", "octets"),
    Column("In force", "in_force"),
    Column("Upstream", "upstream_octets", "octets"),
    Column("Downstream", "downstream_octets", "octets"),
    Column("Period from", "period_start", "instant"),
    Column("Period until", "period_end", "instant"),
)
STEPS = (
    Column("Step", "number"),
    Column("From", "from_octets", "octets"),
    Column("Speed", "speed"),
    Column("Downstream", "downstream_bps", "rate"),
    Column("Upstream", "upstream_bps", "rate"),
    Column("Now", "now"),
)
STEPS_TAKEN = (
    Column("At", "at", "instant"),
    Column("Service", "service_id", "mono", link="/services/{service_id}/fair-use"),
    Column("Step", "taken"),
    Column("Used", "used_octets", "octets"),
    Column("Limit", "limit_octets", "octets"),
    Column("Overshoot", "overshoot_octets", "octets"),
)
