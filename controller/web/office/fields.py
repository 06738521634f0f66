"""The fields of each kind of thing, as its lists and its own page show them."""

from __future__ import annotations

from controller.web.office.table import Column

SESSIONS = (
    Column("User name", "username", link="/sessions/{session_key}", sub="framed_ipv4"),
    Column("State", "state", "state"),
    Column("Session id", "session_id", "mono"),
    Column("Started", "started_at", "instant"),
    Column("Last heard", "last_event_at", "instant"),
    Column("Ended", "ended_at", "instant", sub="end_cause"),
    Column("Upstream", "upstream_octets", "octets"),
    Column("Downstream", "downstream_octets", "octets"),
)

ORDERS = (
    Column("Customer", "customer", link="/orders/{order_id}", sub="action_label"),
    Column("State", "state", "state"),
    Column("Step", "step"),
    Column("Cause", "cause", sub="owner_team"),
    Column("Made", "created_at", "instant"),
    Column("Changed", "changed_at", "instant"),
)
ORDERS_OF_CUSTOMER = (Column("Order", "order_id", "mono", link="/orders/{order_id}", sub="action"), *ORDERS[1:])
ORDER = (
    Column("Customer", "customer", link="/customers/{customer_id}"),
    Column("Action", "action"),
    *ORDERS[1:4],
    Column("User name", "username"),
    Column("Service", "service_id", "mono", link="/services/{service_id}"),
    Column("Attempt", "attempt"),
    Column("Requested by", "requested_by"),
    Column("Cancelled by", "cancelled_by"),
    Column("Made", "created_at", "instant"),
    Column("Changed", "changed_at", "instant"),
)
ORDER_HISTORY = (
    Column("State", "state", "state"),
    Column("At", "at", "instant"),
    Column("By", "actor"),
    Column("Cause", "cause"),
)
ORDER_STEPS = (
    Column("Step", "name"),
    Column("State", "state", "state"),
    Column("Started", "started_at", "instant"),
    Column("Ended", "ended_at", "instant"),
    Column("Tries", "tries"),
    Column("Cause", "cause"),
    Column("Evidence", "evidence", sub="verdict"),
)

PLACED = (
    Column("User name", "username", "mono"),
    Column("Password", "password", "mono"),
    Column("State", "state", "state"),
    Column("Service", "service_id", "mono"),
    Column("Order", "order_id", "mono", link="/orders/{order_id}"),
)
PRICE_EFFECT = (
    Column("Offering", "price.offering"),
    Column("Monthly fee, net", "price.monthly_fee", "money"),
    Column("Today", "price.monthly_fee_before", "money"),
    Column("Difference", "price.monthly_difference", "money"),
    Column("Tax %", "price.tax_percent"),
    Column("Usage", "price.beyond"),
    Column("Downstream", "price.downstream_bps", "rate"),
    Column("Upstream", "price.upstream_bps", "rate"),
)

CUSTOMERS = (
    Column("Name", "name", link="/customers/{customer_id}"),
    Column("E-mail", "email"),
    Column("Address", "address"),
    Column("Since", "created_at", "instant"),
)
ORDERING_CUSTOMERS = (Column("Name", "name", link="/customers/{customer_id}/order"), *CUSTOMERS[1:])
CUSTOMER = (
    Column("Customer", "customer_id", "mono"),
    Column("Account", "account_id", "mono"),
    *CUSTOMERS[1:3],
    Column("Phone", "phone"),
    Column("Tax id", "tax_id"),
    Column("Currency", "currency"),
    Column("Time zone", "zone"),
    Column("Since", "created_at", "instant"),
)
SUBSCRIPTIONS = (
    Column("User name", "username", link="/sessions?q={username}"),
    Column("State", "state", "state"),
    Column("Service", "service_id", "mono", link="/services/{service_id}"),
    Column("Active since", "activated_at", "instant"),
    Column("Ended", "ended_at", "instant"),
)

SERVICE = (
    Column("Service", "service_id", "mono"),
    Column("Standing", "standing", "state"),
    Column("Taken by dunning", "measure"),
    Column("Profile", "profile_name"),
    Column("Downstream", "downstream_bps", "rate"),
    Column("Upstream", "upstream_bps", "rate"),
    Column("Desired since", "desired_at", "instant"),
    Column("Verified", "verified_at", "instant"),
    Column("Last error", "last_error"),
)
ORDERED_ATTACHMENTS = (
    Column("Device", "device", link="/devices/{device_id}", sub="kind"),
    Column("PON port", "pon_port"),
    Column("Interface", "interface"),
    Column("ONU", "onu_serial", "mono"),
    Column("VLAN", "subscriber_vlan"),
)
ATTACHMENTS = (
    *ORDERED_ATTACHMENTS,
    Column("Present", "observed.present", "flag"),
    Column("Downstream seen", "observed.downstream_bps", "rate"),
    Column("Upstream seen", "observed.upstream_bps", "rate"),
    Column("Observed", "observed_at", "instant"),
)
SESSION_CHANGES = (
    Column("Asked at", "requested_at", "instant"),
    Column("Session", "session_key", "mono"),
    Column("Profile", "profile_name"),
    Column("Answer", "result", sub="detail"),
)
CHANGES = (
    Column("Asked at", "requested_at", "instant", sub="requested_by"),
    Column("What", "kind", sub="profile_name"),
    Column("State", "state", "state", sub="words"),
    Column("Requests", "tries", "number"),
    Column("Answer", "answer"),
    Column("Next", "next_at", "instant"),
    Column("Session", "session_key", "mono"),
)

DEVICES = (
    Column("Device", "name", link="/devices/{device_id}"),
    Column("State", "state", "state", sub="detail"),
    Column("Driver", "driver"),
    Column("Address", "host", "mono"),
    Column("Last word", "checked_at", "instant"),
)
DEVICE = (
    *DEVICES[1:4],
    Column("Port", "port"),
    Column("User", "username"),
    Column("Host key", "host_key_sha256", "mono"),
    Column("SNMP", "snmp_version"),
    Column("SNMP port", "snmp_port"),
    Column("Last word", "checked_at", "instant"),
    Column("Registered", "created_at", "instant"),
)

NAS = (
    Column("Name", "name", link="/nas/{nas_id}"),
    Column("Address", "address", "mono"),
    Column("Attributes", "vendor"),
    Column("CoA port", "coa_port"),
    Column("Interim, s", "interim_interval_s"),
    Column("Enabled", "enabled", "flag"),
    Column("Registered", "created_at", "instant"),
)
ONE_NAS = (
    Column("Address", "address", "mono"),
    Column("Attributes", "vendor"),
    Column("Enabled", "enabled", "flag"),
    Column("CoA port", "coa_port"),
    Column("CoA over", "coa_over"),
    Column("Interim, s", "interim_interval_s"),
    Column("Port speed", "port_speed_bps", "rate"),
    Column("Needs Message-Authenticator", "require_message_authenticator", "flag"),
    Column("Limits Proxy-State", "limit_proxy_state", "flag"),
    Column("Signs CoA and Disconnect", "sign_dynamic_requests", "flag"),
    Column("Class proves a speed", "class_proves_speed", "flag"),
    Column("Disconnect when it refuses", "disconnect_when_refused", "flag"),
    Column("Swaps octets", "swaps_octets", "flag"),
    Column("Adds IPv6 octets", "adds_ipv6_octets", "flag"),
    Column("TLS identity", "tls_identity", "mono"),
    Column("Lines may log in", "lines"),
    Column("Further attributes", "template"),
    Column("Former secret until", "former_until", "instant"),
    Column("Registered", "created_at", "instant"),
    Column("Changed", "updated_at", "instant"),
)
WEAK_NAS = (
    Column("Name", "name", link="/nas/{nas_id}"),
    Column("Address", "address", "mono"),
    Column("What is weak", "weak_by"),
    Column("Sent so far", "requests_seen"),
    Column("What to do", "advice"),
)
OFFERINGS = (
    Column("Name", "name", link="/offerings/{offering_id}", sub="description"),
    Column("Kind", "kind"),
    Column("Monthly fee, net", "now.monthly_fee", "money", sub="in_others"),
    Column("Downstream", "now.downstream_bps", "rate"),
    Column("Upstream", "now.upstream_bps", "rate"),
    Column("Usage", "now.beyond"),
    Column("Version", "now.number"),
    Column("Valid from", "now.effective_on"),
)
OFFERING = (
    Column("Kind", "kind"),
    Column("Description", "description"),
    Column("Monthly fee, net", "now.monthly_fee", "money", sub="in_others"),
    Column("Usage", "now.beyond"),
    Column("Tax %", "now.tax_percent"),
    Column("Downstream", "now.downstream_bps", "rate"),
    Column("Upstream", "now.upstream_bps", "rate"),
)
VERSION_PRICES = (
    Column("Price", "code", "mono"),
    Column("What it says", "text"),
)
TRIAL = (
    Column("Subscriptions", "subscriptions", "number"),
    Column("Pay more", "dearer", "number"),
    Column("Pay less", "cheaper", "number"),
    Column("Pay the same", "same", "number"),
    Column("Last month, net", "before", "money"),
    Column("By these prices, net", "after", "money"),
    Column("Difference", "difference", "money"),
)
TRIAL_PRICES = (
    Column("Price", "code", "mono"),
    Column("Last month, net", "before", "money"),
    Column("By these prices, net", "after", "money"),
)
TRIAL_EFFECTS = (
    Column("Subscription", "subscription_id", "mono"),
    Column("From", "first_on"),
    Column("Until (not included)", "until_on"),
    Column("Last month, net", "before", "money"),
    Column("By these prices, net", "after", "money"),
    Column("Difference", "difference", "money"),
)
STOCK = (
    Column("Serial", "serial", "mono", sub="model"),
    Column("Kind", "kind"),
    Column("State", "state", "state"),
    Column("Where", "place"),
    Column("Holder", "holder"),
    Column("Moved", "moved_at", "instant"),
)
SUSPENSE = (
    Column("Waits since", "entered_at", "instant", sub="age"),
    Column("Reason", "reason", link="/suspense/{suspense_id}", sub="detail"),
    Column("State", "state", "state"),
    Column("Whose", "whose", "mono"),
    Column("Used", "since", "instant"),
    Column("Volume", "volume", "figure"),
    Column("Worth at most", "value", "money"),
)
SUSPENSE_ITEM = (
    *SUSPENSE[:1],
    Column("Reason", "reason", sub="detail"),
    *SUSPENSE[2:],
    Column("Source", "source"),
    Column("Record of the source", "source_record_id"),
    Column("Seconds", "duration_s"),
    Column("Session", "session_key", "mono"),
    Column("Day", "day"),
    Column("Charged on", "counted_on"),
    Column("Decided", "decided_at", "instant", sub="decided_by"),
)
PARKED = (
    Column("Parked", "parked_at", "instant"),
    Column("Event", "name", sub="subscriber"),
    Column("Position", "position"),
    Column("Attempts", "attempts"),
    Column("Error", "error"),
)

AUDIT = (
    Column("At", "at", "instant"),
    Column("Who", "actor"),
    Column("What", "action"),
    Column("Object", "object", "mono"),
    Column("Before", "before", "mono"),
    Column("After", "after", "mono"),
    Column("Why", "reason"),
)
