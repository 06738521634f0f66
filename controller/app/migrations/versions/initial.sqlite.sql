CREATE TABLE billing_bridge_tariff (
    version_id VARCHAR(32) NOT NULL,
    offering_id VARCHAR(32) NOT NULL,
    offering_name VARCHAR(200) NOT NULL,
    number INTEGER NOT NULL,
    effective_on DATE NOT NULL,
    currency VARCHAR(3) NOT NULL,
    tax_percent VARCHAR(40) NOT NULL,
    tax_category VARCHAR(4) NOT NULL,
    kind VARCHAR(16) NOT NULL,
    cycle VARCHAR(12) NOT NULL,
    "plan" TEXT NOT NULL,
    names TEXT NOT NULL,
    profile_name VARCHAR(32),
    downstream_bps BIGINT,
    upstream_bps BIGINT,
    CONSTRAINT pk_billing_bridge_tariff PRIMARY KEY (version_id)
)
;;
CREATE TABLE billing_bridge_subscription (
    subscription_id VARCHAR(32) NOT NULL,
    account_id VARCHAR(32) NOT NULL,
    service_id VARCHAR(32) NOT NULL,
    anchor_day INTEGER NOT NULL,
    phase_on DATE NOT NULL,
    rate_from_on DATE NOT NULL,
    usage_billed_until_on DATE,
    entitled_from_on DATE,
    entitled_until_on DATE,
    CONSTRAINT pk_billing_bridge_subscription PRIMARY KEY (subscription_id)
)
;;
CREATE INDEX ix_billing_bridge_subscription_service_id ON billing_bridge_subscription (service_id)
;;
CREATE INDEX ix_billing_bridge_subscription_account_id ON billing_bridge_subscription (account_id)
;;
CREATE TABLE billing_bridge_account_terms (
    account_id VARCHAR(32) NOT NULL,
    anchor_day INTEGER NOT NULL,
    changed_at BIGINT NOT NULL,
    CONSTRAINT pk_billing_bridge_account_terms PRIMARY KEY (account_id)
)
;;
CREATE TABLE billing_bridge_own_zone (
    owner_id VARCHAR(32) NOT NULL,
    zone VARCHAR(64) NOT NULL,
    CONSTRAINT pk_billing_bridge_own_zone PRIMARY KEY (owner_id)
)
;;
CREATE TABLE billing_bridge_payer (
    sequence INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    account_id VARCHAR(32) NOT NULL,
    since DATE NOT NULL,
    payer_id VARCHAR(32) NOT NULL,
    heading VARCHAR(120) NOT NULL,
    event_id VARCHAR(32) NOT NULL,
    CONSTRAINT uq_billing_bridge_payer_event_id UNIQUE (event_id)
)
;;
CREATE INDEX ix_billing_bridge_payer_payer_id ON billing_bridge_payer (payer_id)
;;
CREATE INDEX ix_billing_bridge_payer_account_id ON billing_bridge_payer (account_id)
;;
CREATE TABLE billing_bridge_rerating (
    sequence INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    offering_id VARCHAR(32) NOT NULL,
    first_on DATE NOT NULL,
    until_on DATE NOT NULL,
    version_id VARCHAR(32),
    priced_as VARCHAR(32),
    subscriptions INTEGER NOT NULL,
    reason VARCHAR(200) NOT NULL,
    actor VARCHAR(128) NOT NULL,
    at BIGINT NOT NULL
)
;;
CREATE TABLE billing_bridge_position (
    name VARCHAR(32) NOT NULL,
    record_id BIGINT NOT NULL,
    last_interval_id BIGINT NOT NULL,
    CONSTRAINT pk_billing_bridge_position PRIMARY KEY (name)
)
;;
CREATE TABLE billing_bridge_session (
    session_key VARCHAR(64) NOT NULL,
    service_id VARCHAR(32),
    upstream_octets BIGINT NOT NULL,
    downstream_octets BIGINT NOT NULL,
    upstream_record_id BIGINT,
    downstream_record_id BIGINT,
    seen_until BIGINT NOT NULL,
    heard_at BIGINT NOT NULL,
    CONSTRAINT pk_billing_bridge_session PRIMARY KEY (session_key)
)
;;
CREATE TABLE billing_bridge_usage_interval (
    interval_id INTEGER NOT NULL,
    service_id VARCHAR(32) NOT NULL,
    day DATE NOT NULL,
    session_key VARCHAR(64) NOT NULL,
    grown_since BIGINT NOT NULL,
    since BIGINT NOT NULL,
    until BIGINT NOT NULL,
    upstream_octets BIGINT NOT NULL,
    downstream_octets BIGINT NOT NULL,
    record_ids VARCHAR(64) NOT NULL,
    adjustment BOOLEAN NOT NULL,
    source VARCHAR(64),
    CONSTRAINT pk_billing_bridge_usage_interval PRIMARY KEY (interval_id)
)
;;
CREATE INDEX ix_billing_bridge_usage_interval_service_id_day ON billing_bridge_usage_interval (service_id, day, interval_id)
;;
CREATE TABLE billing_bridge_usage_day (
    service_id VARCHAR(32) NOT NULL,
    day DATE NOT NULL,
    upstream_octets BIGINT NOT NULL,
    downstream_octets BIGINT NOT NULL,
    intervals INTEGER NOT NULL,
    last_interval_id BIGINT NOT NULL,
    CONSTRAINT pk_billing_bridge_usage_day PRIMARY KEY (service_id, day)
)
;;
CREATE TABLE billing_bridge_suspense (
    suspense_id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    reason VARCHAR(32) NOT NULL,
    state VARCHAR(16) NOT NULL,
    since BIGINT NOT NULL,
    until BIGINT NOT NULL,
    upstream_octets BIGINT NOT NULL,
    downstream_octets BIGINT NOT NULL,
    entered_at BIGINT NOT NULL,
    session_key VARCHAR(64),
    username VARCHAR(253),
    nas_id VARCHAR(32),
    record_ids VARCHAR(64),
    service_id VARCHAR(32),
    day DATE,
    detail VARCHAR(200),
    version_id VARCHAR(32),
    counted_on DATE,
    grown_since BIGINT,
    accepted_at BIGINT,
    source VARCHAR(64),
    source_record_id BIGINT,
    duration_s BIGINT,
    last_interval_id BIGINT,
    decided_at BIGINT,
    decided_by VARCHAR(128)
)
;;
CREATE INDEX ix_billing_bridge_suspense_service_id_day ON billing_bridge_suspense (service_id, day)
;;
CREATE INDEX ix_billing_bridge_suspense_username ON billing_bridge_suspense (username)
;;
CREATE INDEX ix_billing_bridge_suspense_source_record_id ON billing_bridge_suspense (source_record_id)
;;
CREATE INDEX ix_billing_bridge_suspense_state ON billing_bridge_suspense (state, suspense_id)
;;
CREATE TABLE billing_bridge_bill_run (
    bill_run_id VARCHAR(32) NOT NULL,
    as_of BIGINT NOT NULL,
    account_id VARCHAR(32),
    state VARCHAR(16) NOT NULL,
    dry BOOLEAN NOT NULL,
    preview_id VARCHAR(32),
    hold_changed BOOLEAN NOT NULL,
    phase VARCHAR(16) NOT NULL,
    usage_watermark BIGINT NOT NULL,
    event_watermark BIGINT NOT NULL,
    accounts INTEGER NOT NULL,
    batches INTEGER NOT NULL,
    actor VARCHAR(128) NOT NULL,
    created_at BIGINT NOT NULL,
    finished_at BIGINT,
    error TEXT,
    waiting_for TEXT,
    contents BOOLEAN NOT NULL,
    CONSTRAINT pk_billing_bridge_bill_run PRIMARY KEY (bill_run_id)
)
;;
CREATE INDEX ix_billing_bridge_bill_run_state ON billing_bridge_bill_run (state)
;;
CREATE INDEX ix_billing_bridge_bill_run_created_at ON billing_bridge_bill_run (created_at, bill_run_id)
;;
CREATE TABLE billing_bridge_recurring (
    subscription_id VARCHAR(32) NOT NULL,
    currency VARCHAR(3) NOT NULL,
    version_id VARCHAR(32) NOT NULL,
    quantity INTEGER NOT NULL,
    minor BIGINT NOT NULL,
    bill_run_id VARCHAR(32) NOT NULL,
    CONSTRAINT pk_billing_bridge_recurring PRIMARY KEY (subscription_id)
)
;;
CREATE TABLE billing_bridge_exception (
    exception_id VARCHAR(32) NOT NULL,
    bill_run_id VARCHAR(32) NOT NULL,
    account_id VARCHAR(32) NOT NULL,
    number INTEGER NOT NULL,
    batch INTEGER NOT NULL,
    state VARCHAR(12) NOT NULL,
    currency VARCHAR(3) NOT NULL,
    net_minor BIGINT NOT NULL,
    at_stake_minor BIGINT NOT NULL,
    checks TEXT NOT NULL,
    findings TEXT NOT NULL,
    found_at BIGINT NOT NULL,
    created_by VARCHAR(128) NOT NULL,
    assigned_to VARCHAR(128),
    released_by VARCHAR(128),
    released_at BIGINT,
    release_reason TEXT,
    approved_by VARCHAR(128),
    approved_at BIGINT,
    approval_reason TEXT,
    CONSTRAINT pk_billing_bridge_exception PRIMARY KEY (exception_id),
    CONSTRAINT uq_billing_bridge_exception_bill_run_id UNIQUE (bill_run_id, account_id, number)
)
;;
CREATE INDEX ix_billing_bridge_exception_account_id ON billing_bridge_exception (account_id)
;;
CREATE INDEX ix_billing_bridge_exception_state ON billing_bridge_exception (state, exception_id)
;;
CREATE TABLE billing_bridge_check_limit (
    currency VARCHAR(3) NOT NULL,
    four_eyes VARCHAR(40) NOT NULL,
    usage VARCHAR(40) NOT NULL,
    other VARCHAR(40) NOT NULL,
    changed_by VARCHAR(128) NOT NULL,
    changed_at BIGINT NOT NULL,
    CONSTRAINT pk_billing_bridge_check_limit PRIMARY KEY (currency)
)
;;
CREATE TABLE billing_bridge_reconciliation (
    service_id VARCHAR(32) NOT NULL,
    day DATE NOT NULL,
    radius_octets BIGINT NOT NULL,
    counter_octets BIGINT,
    billed_octets BIGINT NOT NULL,
    charged_octets BIGINT NOT NULL,
    reasons TEXT NOT NULL,
    unexplained_octets BIGINT NOT NULL,
    verdict VARCHAR(12) NOT NULL,
    overhead_ppm INTEGER,
    looked_at BIGINT NOT NULL,
    CONSTRAINT pk_billing_bridge_reconciliation PRIMARY KEY (service_id, day)
)
;;
CREATE INDEX ix_billing_bridge_reconciliation_day ON billing_bridge_reconciliation (day, verdict, service_id)
;;
CREATE TABLE billing_bridge_leak (
    looked_at BIGINT NOT NULL,
    side VARCHAR(16) NOT NULL,
    rank INTEGER NOT NULL,
    body TEXT NOT NULL,
    CONSTRAINT pk_billing_bridge_leak PRIMARY KEY (looked_at, side, rank)
)
;;
CREATE TABLE billing_bridge_leak_day (
    day DATE NOT NULL,
    side VARCHAR(16) NOT NULL,
    currency VARCHAR(3) NOT NULL,
    items INTEGER NOT NULL,
    per_day_minor BIGINT NOT NULL,
    looked_at BIGINT NOT NULL,
    CONSTRAINT pk_billing_bridge_leak_day PRIMARY KEY (day, side, currency)
)
;;
CREATE TABLE billing_bridge_recount_position (
    name VARCHAR(32) NOT NULL,
    record_id BIGINT NOT NULL,
    CONSTRAINT pk_billing_bridge_recount_position PRIMARY KEY (name)
)
;;
CREATE TABLE billing_bridge_recount_session (
    session_key VARCHAR(64) NOT NULL,
    service_id VARCHAR(32),
    upstream_octets BIGINT NOT NULL,
    downstream_octets BIGINT NOT NULL,
    seen_until BIGINT NOT NULL,
    heard_at BIGINT NOT NULL,
    is_open BOOLEAN NOT NULL,
    CONSTRAINT pk_billing_bridge_recount_session PRIMARY KEY (session_key)
)
;;
CREATE TABLE billing_bridge_recount_day (
    service_id VARCHAR(32) NOT NULL,
    day DATE NOT NULL,
    octets BIGINT NOT NULL,
    late_octets BIGINT NOT NULL,
    CONSTRAINT pk_billing_bridge_recount_day PRIMARY KEY (service_id, day)
)
;;
CREATE INDEX ix_billing_bridge_recount_day_day ON billing_bridge_recount_day (day)
;;
CREATE TABLE billing_bridge_prepaid (
    service_id VARCHAR(32) NOT NULL,
    account_id VARCHAR(32) NOT NULL,
    unit VARCHAR(8) NOT NULL,
    currency VARCHAR(3) NOT NULL,
    balance BIGINT NOT NULL CONSTRAINT ck_billing_bridge_prepaid_not_overdrawn CHECK (balance >= 0),
    reserved BIGINT NOT NULL,
    worth_minor BIGINT NOT NULL CONSTRAINT ck_billing_bridge_prepaid_worth CHECK (worth_minor >= 0),
    overshoot BIGINT NOT NULL,
    standing VARCHAR(8) NOT NULL,
    opened_at BIGINT NOT NULL,
    closing_at BIGINT,
    closed_at BIGINT,
    expires_on DATE,
    notice_on DATE,
    low_notice VARCHAR(4),
    owed BIGINT DEFAULT '0' NOT NULL CONSTRAINT ck_billing_bridge_prepaid_owed CHECK (owed >= 0),
    CONSTRAINT pk_billing_bridge_prepaid PRIMARY KEY (service_id),
    CONSTRAINT ck_billing_bridge_prepaid_reserved_once CHECK (reserved >= 0 AND reserved <= balance)
)
;;
CREATE INDEX ix_billing_bridge_prepaid_notice_on ON billing_bridge_prepaid (notice_on) WHERE notice_on IS NOT NULL
;;
CREATE INDEX ix_billing_bridge_prepaid_expires_on ON billing_bridge_prepaid (expires_on) WHERE expires_on IS NOT NULL
;;
CREATE INDEX ix_billing_bridge_prepaid_low_notice ON billing_bridge_prepaid (low_notice) WHERE low_notice = 'due'
;;
CREATE INDEX ix_billing_bridge_prepaid_account_id ON billing_bridge_prepaid (account_id)
;;
CREATE TABLE billing_bridge_prepaid_position (
    follower VARCHAR(16) NOT NULL,
    record_id BIGINT NOT NULL,
    CONSTRAINT pk_billing_bridge_prepaid_position PRIMARY KEY (follower)
)
;;
CREATE TABLE billing_bridge_source (
    name VARCHAR(64) NOT NULL,
    title VARCHAR(120) NOT NULL,
    measure VARCHAR(8) NOT NULL,
    identifier_kind VARCHAR(16) NOT NULL,
    bills BOOLEAN NOT NULL,
    awaited BOOLEAN NOT NULL,
    lateness_s INTEGER,
    mapping TEXT,
    complete_until BIGINT,
    deliveries BIGINT NOT NULL,
    link BLOB NOT NULL,
    registered_at BIGINT NOT NULL,
    registered_by VARCHAR(128) NOT NULL,
    retired_at BIGINT,
    CONSTRAINT pk_billing_bridge_source PRIMARY KEY (name)
)
;;
CREATE TABLE billing_bridge_source_record (
    record_id INTEGER NOT NULL,
    source VARCHAR(64) NOT NULL,
    record_key VARCHAR(200) NOT NULL,
    delivery BIGINT NOT NULL,
    line INTEGER NOT NULL,
    accepted_at BIGINT NOT NULL,
    state VARCHAR(16) NOT NULL,
    identifier_kind VARCHAR(16) NOT NULL,
    identifier VARCHAR(253) NOT NULL,
    since BIGINT,
    until BIGINT,
    upstream_octets BIGINT,
    downstream_octets BIGINT,
    duration_s BIGINT,
    number VARCHAR(64),
    content TEXT NOT NULL,
    content_sha256 VARCHAR(64) NOT NULL,
    record_sha256 VARCHAR(64) NOT NULL,
    CONSTRAINT pk_billing_bridge_source_record PRIMARY KEY (record_id),
    CONSTRAINT uq_billing_bridge_source_record_source UNIQUE (source, record_key)
)
;;
CREATE INDEX ix_billing_bridge_source_record_identifier ON billing_bridge_source_record (identifier_kind, identifier)
;;
CREATE INDEX ix_billing_bridge_source_record_source_accepted_at ON billing_bridge_source_record (source, accepted_at)
;;
CREATE TABLE billing_bridge_call (
    call_id INTEGER NOT NULL,
    service_id VARCHAR(32) NOT NULL,
    day DATE NOT NULL,
    at BIGINT NOT NULL,
    duration_s BIGINT NOT NULL,
    number VARCHAR(64) NOT NULL,
    source VARCHAR(64) NOT NULL,
    record_id BIGINT NOT NULL,
    adjustment BOOLEAN NOT NULL,
    turn INTEGER NOT NULL,
    CONSTRAINT pk_billing_bridge_call PRIMARY KEY (call_id),
    CONSTRAINT uq_billing_bridge_call_record_id UNIQUE (record_id, turn),
    CONSTRAINT ck_billing_bridge_call_turn CHECK ((turn % 2 = 0) = (duration_s > 0))
)
;;
CREATE INDEX ix_billing_bridge_call_service_id_day ON billing_bridge_call (service_id, day, call_id)
;;
CREATE TABLE billing_bridge_usage_move (
    measure VARCHAR(8) NOT NULL,
    last_id BIGINT NOT NULL,
    first_id BIGINT NOT NULL,
    kind VARCHAR(16) NOT NULL,
    identifier VARCHAR(253) NOT NULL,
    since BIGINT NOT NULL,
    CONSTRAINT pk_billing_bridge_usage_move PRIMARY KEY (measure, last_id)
)
;;
CREATE TABLE billing_bridge_identifier (
    kind VARCHAR(16) NOT NULL,
    identifier VARCHAR(253) NOT NULL,
    since BIGINT NOT NULL,
    service_id VARCHAR(32),
    overrides BOOLEAN NOT NULL,
    mapped_at BIGINT NOT NULL,
    mapped_by VARCHAR(128) NOT NULL,
    CONSTRAINT pk_billing_bridge_identifier PRIMARY KEY (kind, identifier, since)
)
;;
CREATE TABLE billing_bridge_service_source (
    service_id VARCHAR(32) NOT NULL,
    measure VARCHAR(8) NOT NULL,
    since BIGINT NOT NULL,
    source VARCHAR(64) NOT NULL,
    claimed BOOLEAN NOT NULL,
    decided_by VARCHAR(128) NOT NULL,
    CONSTRAINT pk_billing_bridge_service_source PRIMARY KEY (service_id, measure, since)
)
;;
CREATE TABLE billing_bridge_usage_compared (
    service_id VARCHAR(32) NOT NULL,
    day DATE NOT NULL,
    source VARCHAR(64) NOT NULL,
    upstream_octets BIGINT NOT NULL,
    downstream_octets BIGINT NOT NULL,
    calls INTEGER NOT NULL,
    duration_s BIGINT NOT NULL,
    records INTEGER NOT NULL,
    CONSTRAINT pk_billing_bridge_usage_compared PRIMARY KEY (service_id, day, source)
)
;;
CREATE TABLE billing_bridge_usage_hour (
    source VARCHAR(64) NOT NULL,
    hour BIGINT NOT NULL,
    accepted_records BIGINT NOT NULL,
    accepted_amount BIGINT NOT NULL,
    rated_records BIGINT NOT NULL,
    rated_amount BIGINT NOT NULL,
    unrated_records BIGINT NOT NULL,
    unrated_amount BIGINT NOT NULL,
    suspense_records BIGINT NOT NULL,
    suspense_amount BIGINT NOT NULL,
    duplicate_records BIGINT NOT NULL,
    duplicate_amount BIGINT NOT NULL,
    CONSTRAINT pk_billing_bridge_usage_hour PRIMARY KEY (source, hour)
)
;;
CREATE TABLE collectors_health (
    device_id VARCHAR(64) NOT NULL,
    source VARCHAR(16) NOT NULL,
    reachable BOOLEAN NOT NULL,
    checked_at BIGINT NOT NULL,
    valid_until BIGINT NOT NULL,
    detail TEXT NOT NULL,
    uptime_s BIGINT,
    CONSTRAINT pk_collectors_health PRIMARY KEY (device_id, source)
)
;;
CREATE TABLE collectors_usage_position (
    follower VARCHAR(64) NOT NULL,
    record_id INTEGER NOT NULL,
    CONSTRAINT pk_collectors_usage_position PRIMARY KEY (follower)
)
;;
CREATE TABLE collectors_usage_session (
    session_key VARCHAR(32) NOT NULL,
    service_id VARCHAR(32),
    nas_id VARCHAR(32) NOT NULL,
    ordinal INTEGER NOT NULL,
    upstream_octets BIGINT NOT NULL,
    downstream_octets BIGINT NOT NULL,
    second BIGINT NOT NULL,
    in_second INTEGER NOT NULL,
    heard_at BIGINT NOT NULL,
    CONSTRAINT pk_collectors_usage_session PRIMARY KEY (session_key)
)
;;
CREATE TABLE collectors_usage_session_count (
    service_id VARCHAR(32) NOT NULL,
    nas_id VARCHAR(32) NOT NULL,
    sessions INTEGER NOT NULL,
    CONSTRAINT pk_collectors_usage_session_count PRIMARY KEY (service_id, nas_id)
)
;;
CREATE TABLE collectors_onu (
    device_id VARCHAR(64) NOT NULL,
    serial VARCHAR(16) NOT NULL,
    pon_port VARCHAR(64) NOT NULL,
    first_seen_at BIGINT NOT NULL,
    last_seen_at BIGINT NOT NULL,
    CONSTRAINT pk_collectors_onu PRIMARY KEY (device_id, serial)
)
;;
CREATE INDEX ix_collectors_onu_last_seen_at ON collectors_onu (last_seen_at)
;;
CREATE TABLE collectors_bin_life (
    life VARCHAR(64) NOT NULL,
    seen_at BIGINT NOT NULL,
    CONSTRAINT pk_collectors_bin_life PRIMARY KEY (life)
)
;;
CREATE TABLE collectors_open_bin (
    record_key VARCHAR(96) NOT NULL,
    life VARCHAR(64) NOT NULL,
    source VARCHAR(64) NOT NULL,
    kind VARCHAR(16) NOT NULL,
    title VARCHAR(120) NOT NULL,
    identifier VARCHAR(253) NOT NULL,
    since BIGINT NOT NULL,
    until BIGINT NOT NULL,
    upstream_octets BIGINT NOT NULL,
    downstream_octets BIGINT NOT NULL,
    CONSTRAINT pk_collectors_open_bin PRIMARY KEY (record_key)
)
;;
CREATE INDEX ix_collectors_open_bin_life ON collectors_open_bin (life)
;;
CREATE TABLE app_user (
    user_id VARCHAR(32) NOT NULL,
    name VARCHAR(64) NOT NULL,
    password_hash TEXT NOT NULL,
    role VARCHAR(16) NOT NULL,
    state VARCHAR(16) NOT NULL,
    created_at BIGINT NOT NULL,
    CONSTRAINT pk_app_user PRIMARY KEY (user_id),
    CONSTRAINT ck_app_user_state CHECK (state IN ('active', 'disabled')),
    CONSTRAINT uq_app_user_name UNIQUE (name)
)
;;
CREATE TABLE app_token (
    token_id VARCHAR(32) NOT NULL,
    name VARCHAR(64) NOT NULL,
    prefix VARCHAR(16) NOT NULL,
    digest BLOB NOT NULL,
    scopes TEXT NOT NULL,
    created_by VARCHAR(128) NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT,
    CONSTRAINT pk_app_token PRIMARY KEY (token_id),
    CONSTRAINT uq_app_token_digest UNIQUE (digest)
)
;;
CREATE TABLE provisioning_device (
    device_id VARCHAR(32) NOT NULL,
    name VARCHAR(64) NOT NULL,
    host VARCHAR(255) NOT NULL,
    driver VARCHAR(32),
    port INTEGER NOT NULL,
    username VARCHAR(64) NOT NULL,
    secret BLOB,
    host_key_sha256 VARCHAR(64),
    snmp_version VARCHAR(4),
    snmp_port INTEGER,
    snmp_user VARCHAR(64),
    snmp_auth_protocol VARCHAR(16),
    snmp_priv_protocol VARCHAR(16),
    snmp_community BLOB,
    snmp_auth_key BLOB,
    snmp_priv_key BLOB,
    created_at BIGINT NOT NULL,
    lease_holder VARCHAR(64),
    lease_until BIGINT,
    CONSTRAINT pk_provisioning_device PRIMARY KEY (device_id),
    CONSTRAINT uq_provisioning_device_name UNIQUE (name)
)
;;
CREATE TABLE provisioning_service (
    service_id VARCHAR(32) NOT NULL,
    present BOOLEAN NOT NULL,
    profile_name VARCHAR(32) NOT NULL,
    downstream_bps BIGINT NOT NULL,
    upstream_bps BIGINT NOT NULL,
    revision INTEGER NOT NULL,
    desired_at BIGINT NOT NULL,
    desired_by VARCHAR(128) NOT NULL,
    standing VARCHAR(16) NOT NULL,
    verified_at BIGINT,
    differences TEXT NOT NULL,
    last_error TEXT,
    checked_at BIGINT,
    restriction TEXT,
    restricting_since BIGINT,
    CONSTRAINT pk_provisioning_service PRIMARY KEY (service_id)
)
;;
CREATE INDEX ix_provisioning_service_standing ON provisioning_service (standing)
;;
CREATE INDEX ix_provisioning_service_checked_at ON provisioning_service (checked_at)
;;
CREATE INDEX ix_provisioning_service_restricting_since ON provisioning_service (restricting_since)
;;
CREATE TABLE store_audit (
    sequence INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at BIGINT NOT NULL,
    actor VARCHAR(128) NOT NULL,
    action VARCHAR(64) NOT NULL,
    object VARCHAR(160) NOT NULL,
    "before" TEXT,
    "after" TEXT,
    reason TEXT,
    digest BLOB NOT NULL
)
;;
CREATE INDEX ix_store_audit_at ON store_audit (at)
;;
CREATE INDEX ix_store_audit_object ON store_audit (object)
;;
CREATE TABLE store_executor (
    executor_id VARCHAR(64) NOT NULL,
    data_dir_id VARCHAR(32) NOT NULL,
    life VARCHAR(32),
    beats BIGINT NOT NULL,
    CONSTRAINT pk_store_executor PRIMARY KEY (executor_id)
)
;;
CREATE TABLE store_outbox (
    position INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    event_id VARCHAR(32) NOT NULL,
    name VARCHAR(64) NOT NULL,
    at BIGINT NOT NULL,
    actor VARCHAR(128) NOT NULL,
    payload TEXT NOT NULL,
    CONSTRAINT uq_store_outbox_event_id UNIQUE (event_id)
)
;;
CREATE TABLE store_outbox_position (
    subscriber VARCHAR(64) NOT NULL,
    position INTEGER NOT NULL,
    CONSTRAINT pk_store_outbox_position PRIMARY KEY (subscriber)
)
;;
CREATE TABLE store_outbox_parked (
    subscriber VARCHAR(64) NOT NULL,
    position INTEGER NOT NULL,
    error TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    parked_at BIGINT NOT NULL,
    CONSTRAINT pk_store_outbox_parked PRIMARY KEY (subscriber, position)
)
;;
CREATE INDEX ix_store_outbox_parked_parked_at ON store_outbox_parked (parked_at)
;;
CREATE TABLE store_signing_key (
    purpose VARCHAR(32) NOT NULL,
    public_key BLOB NOT NULL,
    sealed BLOB NOT NULL,
    made_at BIGINT NOT NULL,
    CONSTRAINT pk_store_signing_key PRIMARY KEY (purpose)
)
;;
CREATE TABLE store_usage_record (
    record_id INTEGER NOT NULL,
    kind VARCHAR(8) NOT NULL,
    session_key VARCHAR(32) NOT NULL,
    nas_id VARCHAR(32) NOT NULL,
    acct_session_id BLOB NOT NULL,
    username VARCHAR(253) NOT NULL,
    service_id VARCHAR(32),
    event_us BIGINT NOT NULL,
    received_us BIGINT NOT NULL,
    session_time_s BIGINT,
    upstream_octets BIGINT,
    downstream_octets BIGINT,
    packet_sha256 BLOB NOT NULL,
    record_sha256 BLOB NOT NULL,
    CONSTRAINT pk_store_usage_record PRIMARY KEY (record_id)
)
;;
CREATE TRIGGER store_usage_record_no_update BEFORE UPDATE ON store_usage_record BEGIN SELECT RAISE(ABORT, 'the usage log is append-only'); END
;;
CREATE TRIGGER store_usage_record_no_delete BEFORE DELETE ON store_usage_record BEGIN SELECT RAISE(ABORT, 'the usage log is append-only'); END
;;
CREATE TABLE store_usage_link (
    writer VARCHAR(64) NOT NULL,
    number BIGINT NOT NULL,
    first_record_id BIGINT NOT NULL,
    last_record_id BIGINT NOT NULL,
    records INTEGER NOT NULL,
    previous BLOB NOT NULL,
    link BLOB NOT NULL,
    committed_us BIGINT NOT NULL,
    transaction_id BIGINT,
    CONSTRAINT pk_store_usage_link PRIMARY KEY (writer, number),
    CONSTRAINT uq_store_usage_link_first_record_id UNIQUE (first_record_id),
    CONSTRAINT uq_store_usage_link_last_record_id UNIQUE (last_record_id)
)
;;
CREATE INDEX ix_store_usage_link_committed_us ON store_usage_link (committed_us)
;;
CREATE TRIGGER store_usage_link_no_update BEFORE UPDATE ON store_usage_link BEGIN SELECT RAISE(ABORT, 'the usage log is append-only'); END
;;
CREATE TRIGGER store_usage_link_no_delete BEFORE DELETE ON store_usage_link BEGIN SELECT RAISE(ABORT, 'the usage log is append-only'); END
;;
CREATE TABLE catalog_offering (
    offering_id VARCHAR(32) NOT NULL,
    name VARCHAR(120) NOT NULL,
    description TEXT NOT NULL,
    kind VARCHAR(16) NOT NULL,
    names TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    CONSTRAINT pk_catalog_offering PRIMARY KEY (offering_id),
    CONSTRAINT uq_catalog_offering_name UNIQUE (name)
)
;;
CREATE TABLE crm_entity (
    entity_id VARCHAR(32) NOT NULL,
    name VARCHAR(120) NOT NULL,
    zone VARCHAR(64) NOT NULL,
    currency VARCHAR(3) NOT NULL,
    locale VARCHAR(16) NOT NULL,
    address TEXT NOT NULL,
    tax_id VARCHAR(64) NOT NULL,
    country VARCHAR(2) NOT NULL,
    iban VARCHAR(34),
    created_at BIGINT NOT NULL,
    CONSTRAINT pk_crm_entity PRIMARY KEY (entity_id),
    CONSTRAINT uq_crm_entity_name UNIQUE (name)
)
;;
CREATE TABLE dunning_policy (
    policy_id VARCHAR(32) NOT NULL,
    segment VARCHAR(32) NOT NULL,
    currency VARCHAR(3) NOT NULL,
    version INTEGER NOT NULL,
    effective_on DATE NOT NULL,
    written TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    actor VARCHAR(128) NOT NULL,
    CONSTRAINT pk_dunning_policy PRIMARY KEY (policy_id),
    CONSTRAINT uq_dunning_policy_segment UNIQUE (segment, currency, version),
    CONSTRAINT uq_dunning_policy_effective_on UNIQUE (segment, currency, effective_on)
)
;;
CREATE TABLE dunning_segment (
    assignment_id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    account_id VARCHAR(32) NOT NULL,
    segment VARCHAR(32) NOT NULL,
    since DATE NOT NULL,
    reason VARCHAR(200) NOT NULL,
    created_at BIGINT NOT NULL,
    actor VARCHAR(128) NOT NULL
)
;;
CREATE INDEX ix_dunning_segment_account_id ON dunning_segment (account_id)
;;
CREATE TABLE dunning_notice (
    notice_id VARCHAR(32) NOT NULL,
    account_id VARCHAR(32) NOT NULL,
    day DATE NOT NULL,
    text VARCHAR(32) NOT NULL,
    channel VARCHAR(8) NOT NULL CONSTRAINT ck_dunning_notice_channel CHECK (channel IN ('email', 'letter')),
    recipient VARCHAR(254) NOT NULL,
    locale VARCHAR(16) NOT NULL,
    state VARCHAR(12) NOT NULL CONSTRAINT ck_dunning_notice_state CHECK (state IN ('waiting', 'sending', 'sent', 'withdrawn', 'uncertain')),
    tries INTEGER NOT NULL,
    next_at BIGINT NOT NULL,
    claimed_by VARCHAR(64),
    content TEXT,
    content_sha256 BLOB,
    pdf BLOB,
    words VARCHAR(500),
    created_at BIGINT NOT NULL,
    settled_at BIGINT,
    settled_on DATE,
    CONSTRAINT pk_dunning_notice PRIMARY KEY (notice_id),
    CONSTRAINT uq_dunning_notice_account_id UNIQUE (account_id, day)
)
;;
CREATE INDEX ix_dunning_notice_state ON dunning_notice (state, next_at)
;;
CREATE TABLE dunning_pause (
    pause_id VARCHAR(32) NOT NULL,
    account_id VARCHAR(32) NOT NULL,
    kind VARCHAR(12) NOT NULL CONSTRAINT ck_dunning_pause_kind CHECK (kind IN ('hold', 'promise', 'collections')),
    first_on DATE NOT NULL,
    until_on DATE,
    lifts BOOLEAN NOT NULL,
    amount_minor BIGINT,
    reason VARCHAR(300) NOT NULL,
    created_at BIGINT NOT NULL,
    actor VARCHAR(128) NOT NULL,
    ended_at BIGINT,
    ended_by VARCHAR(128),
    CONSTRAINT pk_dunning_pause PRIMARY KEY (pause_id),
    CONSTRAINT ck_dunning_pause_days CHECK (until_on IS NULL OR until_on >= first_on)
)
;;
CREATE INDEX ix_dunning_pause_account_id ON dunning_pause (account_id)
;;
CREATE TABLE dunning_plan (
    plan_id VARCHAR(32) NOT NULL,
    account_id VARCHAR(32) NOT NULL,
    opening_minor BIGINT NOT NULL,
    made_on DATE NOT NULL,
    grace_days INTEGER NOT NULL,
    reason VARCHAR(300) NOT NULL,
    created_at BIGINT NOT NULL,
    actor VARCHAR(128) NOT NULL,
    ended_on DATE,
    ended_by VARCHAR(128),
    CONSTRAINT pk_dunning_plan PRIMARY KEY (plan_id)
)
;;
CREATE INDEX ix_dunning_plan_account_id ON dunning_plan (account_id)
;;
CREATE TABLE dunning_dispute (
    dispute_id VARCHAR(32) NOT NULL,
    account_id VARCHAR(32) NOT NULL,
    invoice_id VARCHAR(32) NOT NULL,
    line_id VARCHAR(32),
    currency VARCHAR(3) NOT NULL,
    amount_minor BIGINT NOT NULL CONSTRAINT ck_dunning_dispute_positive CHECK (amount_minor > 0),
    reason VARCHAR(500) NOT NULL,
    state VARCHAR(8) NOT NULL CONSTRAINT ck_dunning_dispute_state CHECK (state IN ('open', 'upheld', 'rejected')),
    opened_on DATE NOT NULL,
    opened_at BIGINT NOT NULL,
    opened_by VARCHAR(128) NOT NULL,
    until_on DATE,
    resolved_at BIGINT,
    resolved_by VARCHAR(128),
    resolution VARCHAR(500),
    credit_note_id VARCHAR(32),
    CONSTRAINT pk_dunning_dispute PRIMARY KEY (dispute_id)
)
;;
CREATE INDEX ix_dunning_dispute_account_id ON dunning_dispute (account_id)
;;
CREATE INDEX ix_dunning_dispute_invoice_id ON dunning_dispute (invoice_id)
;;
CREATE INDEX ix_dunning_dispute_state ON dunning_dispute (state, opened_at)
;;
CREATE TABLE dunning_run (
    day DATE NOT NULL,
    accounts INTEGER NOT NULL,
    steps INTEGER NOT NULL,
    changed INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    started_at BIGINT NOT NULL,
    finished_at BIGINT,
    CONSTRAINT pk_dunning_run PRIMARY KEY (day)
)
;;
CREATE TABLE finance_contract (
    contract_id VARCHAR(32) NOT NULL,
    entity_id VARCHAR(32) NOT NULL,
    account_id VARCHAR(32) NOT NULL,
    subscription_id VARCHAR(32),
    reference VARCHAR(60) NOT NULL,
    currency VARCHAR(3) NOT NULL,
    created_at BIGINT NOT NULL,
    actor VARCHAR(128) NOT NULL,
    CONSTRAINT pk_finance_contract PRIMARY KEY (contract_id),
    CONSTRAINT uq_finance_contract_entity_id UNIQUE (entity_id, reference),
    CONSTRAINT uq_finance_contract_subscription_id UNIQUE (subscription_id)
)
;;
CREATE INDEX ix_finance_contract_account_id ON finance_contract (account_id)
;;
CREATE INDEX ix_finance_contract_subscription_id ON finance_contract (subscription_id)
;;
CREATE TRIGGER finance_contract_no_update BEFORE UPDATE ON finance_contract BEGIN SELECT RAISE(ABORT, 'finance_contract: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_contract_no_delete BEFORE DELETE ON finance_contract BEGIN SELECT RAISE(ABORT, 'finance_contract: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_contract_no_replace BEFORE INSERT ON finance_contract WHEN EXISTS (SELECT 1 FROM finance_contract WHERE (contract_id = NEW.contract_id) OR (entity_id = NEW.entity_id AND reference = NEW.reference) OR (subscription_id = NEW.subscription_id)) BEGIN SELECT RAISE(ABORT, 'finance_contract: posted rows are never changed or deleted (UNIQUE constraint failed)'); END
;;
CREATE TABLE finance_recognition (
    recognition_id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    entity_id VARCHAR(32) NOT NULL,
    month DATE NOT NULL,
    upto BIGINT NOT NULL,
    at BIGINT NOT NULL,
    actor VARCHAR(128) NOT NULL
)
;;
CREATE INDEX ix_finance_recognition_entity_id ON finance_recognition (entity_id, recognition_id)
;;
CREATE TRIGGER finance_recognition_no_update BEFORE UPDATE ON finance_recognition BEGIN SELECT RAISE(ABORT, 'finance_recognition: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_recognition_no_delete BEFORE DELETE ON finance_recognition BEGIN SELECT RAISE(ABORT, 'finance_recognition: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_recognition_no_replace BEFORE INSERT ON finance_recognition WHEN EXISTS (SELECT 1 FROM finance_recognition WHERE (recognition_id = NEW.recognition_id)) BEGIN SELECT RAISE(ABORT, 'finance_recognition: posted rows are never changed or deleted (UNIQUE constraint failed)'); END
;;
CREATE TABLE finance_control_check (
    entity_id VARCHAR(32) NOT NULL,
    looked_at BIGINT NOT NULL,
    name VARCHAR(32) NOT NULL,
    currency VARCHAR(3) NOT NULL,
    code VARCHAR(8) NOT NULL,
    as_of DATE,
    subledger_minor BIGINT NOT NULL,
    by_hand_minor BIGINT NOT NULL,
    ledger_minor BIGINT NOT NULL,
    CONSTRAINT pk_finance_control_check PRIMARY KEY (entity_id, looked_at, name, currency)
)
;;
CREATE INDEX ix_finance_control_check_name ON finance_control_check (entity_id, name, currency, looked_at)
;;
CREATE TRIGGER finance_control_check_no_update BEFORE UPDATE ON finance_control_check BEGIN SELECT RAISE(ABORT, 'finance_control_check: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_control_check_no_delete BEFORE DELETE ON finance_control_check BEGIN SELECT RAISE(ABORT, 'finance_control_check: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_control_check_no_replace BEFORE INSERT ON finance_control_check WHEN EXISTS (SELECT 1 FROM finance_control_check WHERE (entity_id = NEW.entity_id AND looked_at = NEW.looked_at AND name = NEW.name AND currency = NEW.currency)) BEGIN SELECT RAISE(ABORT, 'finance_control_check: posted rows are never changed or deleted (UNIQUE constraint failed)'); END
;;
CREATE TABLE finance_account (
    entity_id VARCHAR(32) NOT NULL,
    code VARCHAR(8) NOT NULL,
    name VARCHAR(80) NOT NULL,
    kind VARCHAR(16) NOT NULL CONSTRAINT ck_finance_account_kind CHECK (kind IN ('asset', 'liability', 'equity', 'revenue', 'expense')),
    parent VARCHAR(8),
    role VARCHAR(32),
    control VARCHAR(32),
    CONSTRAINT pk_finance_account PRIMARY KEY (entity_id, code),
    CONSTRAINT fk_finance_account_entity_id_finance_account FOREIGN KEY(entity_id, parent) REFERENCES finance_account (entity_id, code),
    CONSTRAINT uq_finance_account_entity_id UNIQUE (entity_id, role)
)
;;
CREATE TABLE finance_journal_entry (
    entry_id VARCHAR(32) NOT NULL,
    entity_id VARCHAR(32) NOT NULL,
    posted_at BIGINT NOT NULL,
    booked_on DATE NOT NULL,
    regards_on DATE,
    description VARCHAR(200) NOT NULL,
    source VARCHAR(80) NOT NULL,
    postings INTEGER NOT NULL CONSTRAINT ck_finance_journal_entry_two_sides CHECK (postings >= 2),
    CONSTRAINT pk_finance_journal_entry PRIMARY KEY (entry_id),
    CONSTRAINT uq_finance_journal_entry_entity_day UNIQUE (entry_id, entity_id, booked_on),
    CONSTRAINT uq_finance_journal_entry_source UNIQUE (source)
)
;;
CREATE INDEX ix_finance_journal_entry_by_hand ON finance_journal_entry (entity_id) WHERE substr(source, 1, 7) = 'manual:'
;;
CREATE INDEX ix_finance_journal_entry_posted_at ON finance_journal_entry (posted_at, entry_id)
;;
CREATE TRIGGER finance_journal_entry_no_update BEFORE UPDATE ON finance_journal_entry BEGIN SELECT RAISE(ABORT, 'finance_journal_entry: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_journal_entry_no_delete BEFORE DELETE ON finance_journal_entry BEGIN SELECT RAISE(ABORT, 'finance_journal_entry: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_journal_entry_no_replace BEFORE INSERT ON finance_journal_entry WHEN EXISTS (SELECT 1 FROM finance_journal_entry WHERE (entry_id = NEW.entry_id)) BEGIN SELECT RAISE(ABORT, 'finance_journal_entry: posted rows are never changed or deleted (UNIQUE constraint failed)'); END
;;
CREATE TRIGGER finance_journal_entry_open_period BEFORE INSERT ON finance_journal_entry WHEN NEW.booked_on < (SELECT closed_until FROM finance_period_change WHERE entity_id = NEW.entity_id ORDER BY change_id DESC LIMIT 1) BEGIN SELECT RAISE(ABORT, 'finance_journal_entry: the period is closed'); END
;;
CREATE TRIGGER finance_journal_entry_needs_keys BEFORE INSERT ON finance_journal_entry WHEN (SELECT foreign_keys FROM pragma_foreign_keys) = 0 BEGIN SELECT RAISE(ABORT, 'finance_journal_entry: PRAGMA foreign_keys=ON first, the balance hangs on it'); END
;;
CREATE TRIGGER finance_journal_entry_opens AFTER INSERT ON finance_journal_entry BEGIN INSERT INTO finance_balance (entry_id, what, amount) VALUES (NEW.entry_id, '#', NEW.postings); END
;;
CREATE TABLE finance_period_change (
    change_id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    entity_id VARCHAR(32) NOT NULL,
    closed_until DATE NOT NULL,
    at BIGINT NOT NULL,
    actor VARCHAR(128) NOT NULL,
    reason VARCHAR(200) NOT NULL
)
;;
CREATE INDEX ix_finance_period_change_entity_id ON finance_period_change (entity_id, change_id)
;;
CREATE TRIGGER finance_period_change_no_update BEFORE UPDATE ON finance_period_change BEGIN SELECT RAISE(ABORT, 'finance_period_change: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_period_change_no_delete BEFORE DELETE ON finance_period_change BEGIN SELECT RAISE(ABORT, 'finance_period_change: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_period_change_no_replace BEFORE INSERT ON finance_period_change WHEN EXISTS (SELECT 1 FROM finance_period_change WHERE (change_id = NEW.change_id)) BEGIN SELECT RAISE(ABORT, 'finance_period_change: posted rows are never changed or deleted (UNIQUE constraint failed)'); END
;;
CREATE TABLE finance_zero (
    z BIGINT NOT NULL CONSTRAINT ck_finance_zero_zero CHECK (z = 0),
    CONSTRAINT pk_finance_zero PRIMARY KEY (z)
)
;;
INSERT INTO finance_zero (z) VALUES (0)
;;
CREATE TRIGGER finance_zero_stays BEFORE DELETE ON finance_zero BEGIN SELECT RAISE(ABORT, 'finance_zero: the zero stays'); END
;;
CREATE TABLE finance_series (
    entity_id VARCHAR(32) NOT NULL,
    series VARCHAR(24) NOT NULL,
    last_number BIGINT NOT NULL,
    CONSTRAINT pk_finance_series PRIMARY KEY (entity_id, series)
)
;;
CREATE TABLE finance_adjustment_due (
    account_id VARCHAR(32) NOT NULL,
    reference VARCHAR(200) NOT NULL,
    net_minor BIGINT NOT NULL,
    currency VARCHAR(3) NOT NULL,
    tax_percent VARCHAR(40) NOT NULL,
    item VARCHAR(200) NOT NULL,
    reason VARCHAR(400) NOT NULL,
    tax_category VARCHAR(4) NOT NULL,
    tax_included BOOLEAN NOT NULL,
    first_on DATE,
    subscription_id VARCHAR(32) NOT NULL,
    names TEXT NOT NULL,
    actor VARCHAR(128) NOT NULL,
    noted_at BIGINT NOT NULL,
    next_at BIGINT NOT NULL,
    attempts INTEGER NOT NULL,
    detail VARCHAR(300) NOT NULL,
    withdrawn_at BIGINT,
    CONSTRAINT pk_finance_adjustment_due PRIMARY KEY (account_id, reference)
)
;;
CREATE INDEX ix_finance_adjustment_due_next_at ON finance_adjustment_due (next_at)
;;
CREATE TABLE finance_resale (
    account_id VARCHAR(32) NOT NULL,
    since DATE NOT NULL,
    reseller_id VARCHAR(32),
    percent VARCHAR(40) NOT NULL,
    changed_at BIGINT NOT NULL,
    changed_by VARCHAR(128) NOT NULL,
    CONSTRAINT pk_finance_resale PRIMARY KEY (account_id, since)
)
;;
CREATE INDEX ix_finance_resale_reseller_id ON finance_resale (reseller_id)
;;
CREATE TRIGGER finance_resale_no_update BEFORE UPDATE ON finance_resale BEGIN SELECT RAISE(ABORT, 'finance_resale: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_resale_no_delete BEFORE DELETE ON finance_resale BEGIN SELECT RAISE(ABORT, 'finance_resale: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_resale_no_replace BEFORE INSERT ON finance_resale WHEN EXISTS (SELECT 1 FROM finance_resale WHERE (account_id = NEW.account_id AND since = NEW.since)) BEGIN SELECT RAISE(ABORT, 'finance_resale: posted rows are never changed or deleted (UNIQUE constraint failed)'); END
;;
CREATE TABLE finance_levy_rule (
    entity_id VARCHAR(32) NOT NULL,
    code VARCHAR(40) NOT NULL,
    since DATE NOT NULL,
    until_on DATE,
    name VARCHAR(120) NOT NULL,
    authority VARCHAR(120) NOT NULL,
    area VARCHAR(80) NOT NULL,
    kinds VARCHAR(200) NOT NULL,
    percent VARCHAR(40) NOT NULL,
    per_line VARCHAR(40) NOT NULL,
    upon VARCHAR(400) NOT NULL,
    created_at BIGINT NOT NULL,
    actor VARCHAR(128) NOT NULL,
    CONSTRAINT pk_finance_levy_rule PRIMARY KEY (entity_id, code, since)
)
;;
CREATE TRIGGER finance_levy_rule_no_update BEFORE UPDATE ON finance_levy_rule BEGIN SELECT RAISE(ABORT, 'finance_levy_rule: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_levy_rule_no_delete BEFORE DELETE ON finance_levy_rule BEGIN SELECT RAISE(ABORT, 'finance_levy_rule: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_levy_rule_no_replace BEFORE INSERT ON finance_levy_rule WHEN EXISTS (SELECT 1 FROM finance_levy_rule WHERE (entity_id = NEW.entity_id AND code = NEW.code AND since = NEW.since)) BEGIN SELECT RAISE(ABORT, 'finance_levy_rule: posted rows are never changed or deleted (UNIQUE constraint failed)'); END
;;
CREATE TABLE finance_tax_rate (
    entity_id VARCHAR(32) NOT NULL,
    agreed VARCHAR(12) NOT NULL,
    since DATE NOT NULL,
    area VARCHAR(80) NOT NULL,
    percent VARCHAR(40) NOT NULL,
    created_at BIGINT NOT NULL,
    actor VARCHAR(128) NOT NULL,
    CONSTRAINT pk_finance_tax_rate PRIMARY KEY (entity_id, agreed, since, area)
)
;;
CREATE TRIGGER finance_tax_rate_no_update BEFORE UPDATE ON finance_tax_rate BEGIN SELECT RAISE(ABORT, 'finance_tax_rate: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_tax_rate_no_delete BEFORE DELETE ON finance_tax_rate BEGIN SELECT RAISE(ABORT, 'finance_tax_rate: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_tax_rate_no_replace BEFORE INSERT ON finance_tax_rate WHEN EXISTS (SELECT 1 FROM finance_tax_rate WHERE (entity_id = NEW.entity_id AND agreed = NEW.agreed AND since = NEW.since AND area = NEW.area)) BEGIN SELECT RAISE(ABORT, 'finance_tax_rate: posted rows are never changed or deleted (UNIQUE constraint failed)'); END
;;
CREATE TABLE finance_tax_place (
    account_id VARCHAR(32) NOT NULL,
    since DATE NOT NULL,
    area VARCHAR(80) NOT NULL,
    created_at BIGINT NOT NULL,
    actor VARCHAR(128) NOT NULL,
    CONSTRAINT pk_finance_tax_place PRIMARY KEY (account_id, since)
)
;;
CREATE TRIGGER finance_tax_place_no_update BEFORE UPDATE ON finance_tax_place BEGIN SELECT RAISE(ABORT, 'finance_tax_place: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_tax_place_no_delete BEFORE DELETE ON finance_tax_place BEGIN SELECT RAISE(ABORT, 'finance_tax_place: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_tax_place_no_replace BEFORE INSERT ON finance_tax_place WHEN EXISTS (SELECT 1 FROM finance_tax_place WHERE (account_id = NEW.account_id AND since = NEW.since)) BEGIN SELECT RAISE(ABORT, 'finance_tax_place: posted rows are never changed or deleted (UNIQUE constraint failed)'); END
;;
CREATE TABLE finance_tax_exemption (
    exemption_id VARCHAR(32) NOT NULL,
    account_id VARCHAR(32) NOT NULL,
    first_on DATE NOT NULL,
    until_on DATE NOT NULL,
    reason VARCHAR(200) NOT NULL,
    category VARCHAR(4) NOT NULL,
    code VARCHAR(40) NOT NULL,
    created_at BIGINT NOT NULL,
    actor VARCHAR(128) NOT NULL,
    CONSTRAINT pk_finance_tax_exemption PRIMARY KEY (exemption_id),
    CONSTRAINT ck_finance_tax_exemption_days CHECK (until_on > first_on)
)
;;
CREATE INDEX ix_finance_tax_exemption_account_id ON finance_tax_exemption (account_id)
;;
CREATE TRIGGER finance_tax_exemption_no_update BEFORE UPDATE ON finance_tax_exemption BEGIN SELECT RAISE(ABORT, 'finance_tax_exemption: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_tax_exemption_no_delete BEFORE DELETE ON finance_tax_exemption BEGIN SELECT RAISE(ABORT, 'finance_tax_exemption: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_tax_exemption_no_replace BEFORE INSERT ON finance_tax_exemption WHEN EXISTS (SELECT 1 FROM finance_tax_exemption WHERE (exemption_id = NEW.exemption_id)) BEGIN SELECT RAISE(ABORT, 'finance_tax_exemption: posted rows are never changed or deleted (UNIQUE constraint failed)'); END
;;
CREATE TABLE inventory_item (
    item_id VARCHAR(32) NOT NULL,
    serial VARCHAR(64) NOT NULL,
    kind VARCHAR(32) NOT NULL,
    model VARCHAR(120) NOT NULL,
    state VARCHAR(16) NOT NULL,
    place VARCHAR(120) NOT NULL,
    holder VARCHAR(160) NOT NULL,
    order_id VARCHAR(32),
    service_id VARCHAR(32),
    received_at BIGINT NOT NULL,
    moved_at BIGINT NOT NULL,
    CONSTRAINT pk_inventory_item PRIMARY KEY (item_id),
    CONSTRAINT uq_inventory_item_serial UNIQUE (serial)
)
;;
CREATE INDEX ix_inventory_item_order_id ON inventory_item (order_id)
;;
CREATE INDEX ix_inventory_item_service_id ON inventory_item (service_id)
;;
CREATE TABLE orders_idempotency (
    actor VARCHAR(128) NOT NULL,
    "key" VARCHAR(128) NOT NULL,
    body BLOB NOT NULL,
    order_id VARCHAR(32) NOT NULL,
    created_at BIGINT NOT NULL,
    CONSTRAINT pk_orders_idempotency PRIMARY KEY (actor, "key")
)
;;
CREATE TABLE payments_gateway (
    name VARCHAR(32) NOT NULL,
    entity_id VARCHAR(32) NOT NULL,
    kind VARCHAR(16) NOT NULL,
    api_base VARCHAR(200) NOT NULL,
    api_key BLOB,
    webhook_secret BLOB NOT NULL,
    former_secret BLOB,
    former_until BIGINT,
    updated_at BIGINT NOT NULL,
    actor VARCHAR(128) NOT NULL,
    CONSTRAINT pk_payments_gateway PRIMARY KEY (name)
)
;;
CREATE TABLE payments_refund (
    refund_id VARCHAR(32) NOT NULL,
    payment_id VARCHAR(32) NOT NULL,
    account_id VARCHAR(32) NOT NULL,
    amount_minor BIGINT NOT NULL CONSTRAINT ck_payments_refund_positive CHECK (amount_minor > 0),
    currency VARCHAR(3) NOT NULL,
    way VARCHAR(8) NOT NULL,
    state VARCHAR(12) NOT NULL,
    reason VARCHAR(300) NOT NULL,
    creditor VARCHAR(70) NOT NULL,
    iban VARCHAR(34) NOT NULL,
    requested_by VARCHAR(128) NOT NULL,
    requested_at BIGINT NOT NULL,
    approved_by VARCHAR(128),
    changed_at BIGINT NOT NULL,
    provider_id VARCHAR(255),
    file_id VARCHAR(32),
    detail VARCHAR(300) NOT NULL,
    CONSTRAINT pk_payments_refund PRIMARY KEY (refund_id)
)
;;
CREATE INDEX ix_payments_refund_file_id ON payments_refund (file_id)
;;
CREATE INDEX ix_payments_refund_payment_id ON payments_refund (payment_id)
;;
CREATE INDEX ix_payments_refund_state ON payments_refund (state, refund_id)
;;
CREATE INDEX ix_payments_refund_account_id ON payments_refund (account_id)
;;
CREATE TABLE payments_entity_settings (
    entity_id VARCHAR(32) NOT NULL,
    claim_return_fee BOOLEAN NOT NULL,
    updated_at BIGINT NOT NULL,
    actor VARCHAR(128) NOT NULL,
    CONSTRAINT pk_payments_entity_settings PRIMARY KEY (entity_id)
)
;;
CREATE TABLE payments_bank_account (
    bank_account_id VARCHAR(32) NOT NULL,
    entity_id VARCHAR(32) NOT NULL,
    name VARCHAR(70) NOT NULL,
    iban VARCHAR(34) NOT NULL,
    bic VARCHAR(11) NOT NULL,
    currency VARCHAR(3) NOT NULL,
    creditor_id VARCHAR(35) NOT NULL,
    created_at BIGINT NOT NULL,
    actor VARCHAR(128) NOT NULL,
    CONSTRAINT pk_payments_bank_account PRIMARY KEY (bank_account_id),
    CONSTRAINT uq_payments_bank_account_iban UNIQUE (iban)
)
;;
CREATE TABLE payments_bank_file (
    file_id VARCHAR(32) NOT NULL,
    sha256 BLOB NOT NULL,
    name VARCHAR(120) NOT NULL,
    kind VARCHAR(16) NOT NULL,
    statements INTEGER NOT NULL,
    lines INTEGER NOT NULL,
    content BLOB,
    received_at BIGINT NOT NULL,
    actor VARCHAR(128) NOT NULL,
    CONSTRAINT pk_payments_bank_file PRIMARY KEY (file_id),
    CONSTRAINT uq_payments_bank_file_sha256 UNIQUE (sha256)
)
;;
CREATE TRIGGER payments_bank_file_no_update BEFORE UPDATE ON payments_bank_file BEGIN SELECT RAISE(ABORT, 'payments_bank_file: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER payments_bank_file_no_delete BEFORE DELETE ON payments_bank_file BEGIN SELECT RAISE(ABORT, 'payments_bank_file: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER payments_bank_file_no_replace BEFORE INSERT ON payments_bank_file WHEN EXISTS (SELECT 1 FROM payments_bank_file WHERE (file_id = NEW.file_id) OR (sha256 = NEW.sha256)) BEGIN SELECT RAISE(ABORT, 'payments_bank_file: posted rows are never changed or deleted (UNIQUE constraint failed)'); END
;;
CREATE TABLE payments_mandate (
    mandate_id VARCHAR(32) NOT NULL,
    account_id VARCHAR(32) NOT NULL,
    reference VARCHAR(35) NOT NULL,
    scheme VARCHAR(4) NOT NULL CONSTRAINT ck_payments_mandate_scheme CHECK (scheme IN ('CORE', 'B2B')),
    recurrent INTEGER NOT NULL,
    signed_on DATE NOT NULL,
    iban VARCHAR(34) NOT NULL,
    bic VARCHAR(11) NOT NULL,
    debtor VARCHAR(70) NOT NULL,
    state VARCHAR(10) NOT NULL,
    collected INTEGER NOT NULL,
    last_on DATE,
    created_at BIGINT NOT NULL,
    actor VARCHAR(128) NOT NULL,
    CONSTRAINT pk_payments_mandate PRIMARY KEY (mandate_id),
    CONSTRAINT uq_payments_mandate_reference UNIQUE (reference)
)
;;
CREATE INDEX ix_payments_mandate_account_id ON payments_mandate (account_id)
;;
CREATE TABLE payments_till (
    till_id VARCHAR(32) NOT NULL,
    entity_id VARCHAR(32) NOT NULL,
    name VARCHAR(40) NOT NULL,
    currency VARCHAR(3) NOT NULL,
    created_at BIGINT NOT NULL,
    actor VARCHAR(128) NOT NULL,
    CONSTRAINT pk_payments_till PRIMARY KEY (till_id),
    CONSTRAINT uq_payments_till_name UNIQUE (name)
)
;;
CREATE TABLE radius_nas (
    nas_id VARCHAR(32) NOT NULL,
    name VARCHAR(64) NOT NULL,
    address VARCHAR(45) NOT NULL,
    secret BLOB NOT NULL,
    vendor VARCHAR(32) NOT NULL,
    coa_port INTEGER NOT NULL,
    interim_interval_s INTEGER NOT NULL,
    missed_interims INTEGER,
    require_message_authenticator BOOLEAN NOT NULL,
    sign_dynamic_requests BOOLEAN NOT NULL,
    class_proves_speed BOOLEAN NOT NULL,
    disconnect_when_refused BOOLEAN NOT NULL,
    swaps_octets BOOLEAN NOT NULL,
    adds_ipv6_octets BOOLEAN NOT NULL,
    port_speed_bps BIGINT NOT NULL,
    reply_attributes TEXT,
    line_logins VARCHAR(32) DEFAULT '' NOT NULL,
    limit_proxy_state BOOLEAN DEFAULT 0 NOT NULL,
    tls_identity VARCHAR(255),
    coa_over VARCHAR(3),
    coa_address VARCHAR(45),
    coa_secret BLOB,
    coa_takes VARCHAR(32) DEFAULT 'rate filter disconnect' NOT NULL,
    former_secret BLOB,
    former_until BIGINT,
    enabled BOOLEAN NOT NULL,
    revision BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    CONSTRAINT pk_radius_nas PRIMARY KEY (nas_id),
    CONSTRAINT uq_radius_nas_name UNIQUE (name),
    CONSTRAINT uq_radius_nas_address UNIQUE (address),
    CONSTRAINT uq_radius_nas_tls_identity UNIQUE (tls_identity)
)
;;
CREATE INDEX ix_radius_nas_revision ON radius_nas (revision)
;;
CREATE TABLE radius_nas_member (
    nas_id VARCHAR(32) NOT NULL,
    network_id VARCHAR(32) NOT NULL,
    address VARCHAR(45) NOT NULL,
    names BLOB NOT NULL,
    first_seen_at BIGINT NOT NULL,
    CONSTRAINT pk_radius_nas_member PRIMARY KEY (nas_id)
)
;;
CREATE INDEX ix_radius_nas_member_network_id ON radius_nas_member (network_id)
;;
CREATE TABLE radius_subscriber (
    username VARCHAR(253) NOT NULL,
    service_id VARCHAR(32) NOT NULL,
    password BLOB NOT NULL,
    password_form VARCHAR(8) DEFAULT 'clear' NOT NULL,
    password_choice VARCHAR(8),
    password_expired BOOLEAN DEFAULT 0 NOT NULL,
    profile_name VARCHAR(32) NOT NULL,
    downstream_bps BIGINT NOT NULL,
    upstream_bps BIGINT NOT NULL,
    framed_ipv4 VARCHAR(15),
    enabled BOOLEAN NOT NULL,
    withdrawn BOOLEAN NOT NULL,
    suspended BOOLEAN DEFAULT 0 NOT NULL,
    ipv6_prefix VARCHAR(43),
    delegated_prefix VARCHAR(43),
    terms TEXT,
    throttle TEXT,
    restriction TEXT,
    credit VARCHAR(8),
    revision BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    CONSTRAINT pk_radius_subscriber PRIMARY KEY (username)
)
;;
CREATE INDEX ix_radius_subscriber_delegated_prefix ON radius_subscriber (delegated_prefix) WHERE delegated_prefix IS NOT NULL
;;
CREATE INDEX ix_radius_subscriber_framed_ipv4 ON radius_subscriber (framed_ipv4) WHERE framed_ipv4 IS NOT NULL
;;
CREATE INDEX ix_radius_subscriber_ipv6_prefix ON radius_subscriber (ipv6_prefix) WHERE ipv6_prefix IS NOT NULL
;;
CREATE INDEX ix_radius_subscriber_revision ON radius_subscriber (revision)
;;
CREATE UNIQUE INDEX uq_radius_subscriber_service_id ON radius_subscriber (service_id) WHERE withdrawn = 0
;;
CREATE TABLE radius_line (
    kind VARCHAR(8) NOT NULL,
    nas_id VARCHAR(32) NOT NULL,
    value BLOB NOT NULL,
    service_id VARCHAR(32) NOT NULL,
    withdrawn BOOLEAN NOT NULL,
    revision BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    CONSTRAINT pk_radius_line PRIMARY KEY (kind, nas_id, value)
)
;;
CREATE INDEX ix_radius_line_service_id ON radius_line (service_id)
;;
CREATE INDEX ix_radius_line_revision ON radius_line (revision)
;;
CREATE TABLE radius_accepted (
    service_id VARCHAR(32) NOT NULL,
    line VARCHAR(320) NOT NULL,
    until BIGINT NOT NULL,
    CONSTRAINT pk_radius_accepted PRIMARY KEY (service_id, line)
)
;;
CREATE TABLE radius_offering (
    profile_name VARCHAR(32) NOT NULL,
    terms TEXT,
    revision BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    CONSTRAINT pk_radius_offering PRIMARY KEY (profile_name)
)
;;
CREATE INDEX ix_radius_offering_revision ON radius_offering (revision)
;;
CREATE TABLE radius_realm (
    realm VARCHAR(253) NOT NULL,
    becomes VARCHAR(253),
    revision BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    CONSTRAINT pk_radius_realm PRIMARY KEY (realm)
)
;;
CREATE INDEX ix_radius_realm_revision ON radius_realm (revision)
;;
CREATE TABLE radius_trace (
    trace_id VARCHAR(32) NOT NULL,
    process VARCHAR(16) NOT NULL,
    target TEXT NOT NULL,
    packets INTEGER NOT NULL,
    learnt TEXT NOT NULL,
    ends_at BIGINT NOT NULL,
    CONSTRAINT pk_radius_trace PRIMARY KEY (trace_id)
)
;;
CREATE TABLE radius_trace_event (
    trace_id VARCHAR(32) NOT NULL,
    process VARCHAR(16) NOT NULL,
    number BIGINT NOT NULL,
    at VARCHAR(32) NOT NULL,
    body TEXT NOT NULL,
    CONSTRAINT pk_radius_trace_event PRIMARY KEY (trace_id, process, number)
)
;;
CREATE TABLE radius_session (
    session_key VARCHAR(32) NOT NULL,
    revision BIGINT NOT NULL,
    last_event_us BIGINT NOT NULL,
    last_seen_us BIGINT NOT NULL,
    session_time_s BIGINT,
    upstream_octets BIGINT NOT NULL,
    downstream_octets BIGINT NOT NULL,
    evidence_us BIGINT,
    recent BLOB NOT NULL,
    state VARCHAR(8) NOT NULL,
    started_us BIGINT NOT NULL,
    start_seen BOOLEAN NOT NULL,
    ended_us BIGINT,
    end_cause VARCHAR(32),
    provisional BOOLEAN NOT NULL,
    final_unknown BOOLEAN NOT NULL,
    counter_fell BOOLEAN NOT NULL,
    framed_ipv4 VARCHAR(15),
    last_class BLOB,
    last_rate VARCHAR(253),
    counter_state VARCHAR(96),
    service_id VARCHAR(32),
    nas_id VARCHAR(32) NOT NULL,
    acct_session_id BLOB NOT NULL,
    life INTEGER NOT NULL,
    username VARCHAR(253) NOT NULL,
    interim_s INTEGER NOT NULL,
    calling_station_id VARCHAR(253),
    nas_port_id VARCHAR(253),
    CONSTRAINT pk_radius_session PRIMARY KEY (session_key)
)
 WITHOUT ROWID
;;
CREATE UNIQUE INDEX uq_radius_session_life ON radius_session (acct_session_id, nas_id, life)
;;
CREATE INDEX ix_radius_session_service_id ON radius_session (service_id)
;;
CREATE TABLE radius_session_history (
    session_key VARCHAR(32) NOT NULL,
    revision BIGINT NOT NULL,
    last_event_us BIGINT NOT NULL,
    last_seen_us BIGINT NOT NULL,
    session_time_s BIGINT,
    upstream_octets BIGINT NOT NULL,
    downstream_octets BIGINT NOT NULL,
    evidence_us BIGINT,
    recent BLOB NOT NULL,
    state VARCHAR(8) NOT NULL,
    started_us BIGINT NOT NULL,
    start_seen BOOLEAN NOT NULL,
    ended_us BIGINT,
    end_cause VARCHAR(32),
    provisional BOOLEAN NOT NULL,
    final_unknown BOOLEAN NOT NULL,
    counter_fell BOOLEAN NOT NULL,
    framed_ipv4 VARCHAR(15),
    last_class BLOB,
    last_rate VARCHAR(253),
    counter_state VARCHAR(96),
    service_id VARCHAR(32),
    nas_id VARCHAR(32) NOT NULL,
    acct_session_id BLOB NOT NULL,
    life INTEGER NOT NULL,
    username VARCHAR(253) NOT NULL,
    interim_s INTEGER NOT NULL,
    calling_station_id VARCHAR(253),
    nas_port_id VARCHAR(253),
    CONSTRAINT radius_session_history_pkey PRIMARY KEY (last_seen_us, session_key)
)
 WITHOUT ROWID
;;
CREATE INDEX ix_radius_session_history_service_id ON radius_session_history (service_id, session_key)
;;
CREATE INDEX ix_radius_session_history_username ON radius_session_history (username, session_key)
;;
CREATE INDEX ix_radius_session_history_framed_ipv4 ON radius_session_history (framed_ipv4, session_key)
;;
CREATE INDEX ix_radius_session_history_key ON radius_session_history (session_key)
;;
CREATE INDEX ix_radius_session_history_life ON radius_session_history (acct_session_id, nas_id)
;;
CREATE TABLE radius_session_address (
    session_key VARCHAR(32) NOT NULL,
    network VARCHAR(49) NOT NULL,
    first_port INTEGER NOT NULL,
    since_us BIGINT NOT NULL,
    last_port INTEGER NOT NULL,
    kind VARCHAR(16) NOT NULL,
    until_us BIGINT,
    received_us BIGINT NOT NULL,
    packet_sha256 BLOB NOT NULL,
    CONSTRAINT pk_radius_session_address PRIMARY KEY (session_key, network, first_port, since_us)
)
 WITHOUT ROWID
;;
CREATE INDEX ix_radius_session_address_network ON radius_session_address (network, since_us)
;;
CREATE TABLE radius_quarantine (
    quarantine_id VARCHAR(32) NOT NULL,
    session_key VARCHAR(32) NOT NULL,
    nas_id VARCHAR(32) NOT NULL,
    acct_session_id BLOB NOT NULL,
    username VARCHAR(253) NOT NULL,
    service_id VARCHAR(32),
    reason VARCHAR(64) NOT NULL,
    upstream_octets BIGINT NOT NULL,
    downstream_octets BIGINT NOT NULL,
    reported_upstream_octets BIGINT,
    reported_downstream_octets BIGINT,
    upstream_limit_octets BIGINT,
    downstream_limit_octets BIGINT,
    session_time_s BIGINT,
    event_us BIGINT NOT NULL,
    received_us BIGINT NOT NULL,
    packet_sha256 BLOB NOT NULL,
    state VARCHAR(12) NOT NULL,
    decided_by VARCHAR(128),
    decided_at BIGINT,
    why VARCHAR(400),
    CONSTRAINT pk_radius_quarantine PRIMARY KEY (quarantine_id)
)
;;
CREATE INDEX ix_radius_quarantine_session_key ON radius_quarantine (session_key)
;;
CREATE INDEX ix_radius_quarantine_state ON radius_quarantine (state)
;;
CREATE TABLE radius_nas_restart (
    nas_id VARCHAR(32) NOT NULL,
    boundary_us BIGINT NOT NULL,
    seen_us BIGINT NOT NULL,
    kind VARCHAR(8) NOT NULL,
    recent BLOB NOT NULL,
    CONSTRAINT pk_radius_nas_restart PRIMARY KEY (nas_id)
)
;;
CREATE TABLE radius_change (
    change_id VARCHAR(32) NOT NULL,
    session_key VARCHAR(32) NOT NULL,
    service_id VARCHAR(32),
    nas_id VARCHAR(32) NOT NULL,
    kind VARCHAR(12) NOT NULL,
    profile_name VARCHAR(32),
    downstream_bps BIGINT,
    upstream_bps BIGINT,
    limit_octets BIGINT,
    limit_s BIGINT,
    limit_before BIGINT,
    state VARCHAR(12) NOT NULL,
    by_disconnect BOOLEAN NOT NULL,
    tries INTEGER NOT NULL,
    requested_at BIGINT NOT NULL,
    requested_by VARCHAR(128) NOT NULL,
    next_at BIGINT NOT NULL,
    asked_at BIGINT,
    last_result VARCHAR(8),
    last_error_cause BIGINT,
    last_detail TEXT,
    words TEXT,
    closed_at BIGINT,
    claimed_by VARCHAR(64),
    taken_at BIGINT,
    CONSTRAINT pk_radius_change PRIMARY KEY (change_id)
)
;;
CREATE UNIQUE INDEX uq_radius_change_open ON radius_change (session_key) WHERE state IN ('waiting', 'acknowledged')
;;
CREATE INDEX ix_radius_change_session_key ON radius_change (session_key, change_id)
;;
CREATE INDEX ix_radius_change_service_id ON radius_change (service_id, change_id)
;;
CREATE INDEX ix_radius_change_due ON radius_change (next_at) WHERE state IN ('waiting', 'acknowledged')
;;
CREATE TABLE radius_visited_session (
    nas_id VARCHAR(32) NOT NULL,
    acct_session_id BLOB NOT NULL,
    operator BLOB NOT NULL,
    seen_at BIGINT NOT NULL,
    CONSTRAINT pk_radius_visited_session PRIMARY KEY (nas_id, acct_session_id)
)
;;
CREATE INDEX ix_radius_visited_session_seen_at ON radius_visited_session (seen_at)
;;
CREATE TABLE radius_relayed_request (
    request_id VARCHAR(32) NOT NULL,
    nas_id VARCHAR(32) NOT NULL,
    code INTEGER NOT NULL,
    attributes BLOB NOT NULL,
    expires_at BIGINT NOT NULL,
    taken BOOLEAN NOT NULL,
    result VARCHAR(8),
    error_cause BIGINT,
    detail TEXT,
    CONSTRAINT pk_radius_relayed_request PRIMARY KEY (request_id)
)
;;
CREATE INDEX ix_radius_relayed_request_nas_id ON radius_relayed_request (nas_id)
;;
CREATE INDEX ix_radius_relayed_request_expires_at ON radius_relayed_request (expires_at)
;;
CREATE TABLE radius_pool (
    pool_id VARCHAR(32) NOT NULL,
    name VARCHAR(64) NOT NULL,
    kind VARCHAR(12) NOT NULL,
    ranges TEXT NOT NULL,
    prefix_length INTEGER NOT NULL,
    hold_s INTEGER NOT NULL,
    size BIGINT NOT NULL,
    made BIGINT NOT NULL,
    withdrawn BOOLEAN NOT NULL,
    revision BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    CONSTRAINT pk_radius_pool PRIMARY KEY (pool_id)
)
;;
CREATE INDEX ix_radius_pool_revision ON radius_pool (revision)
;;
CREATE TABLE radius_pool_lease (
    pool_id VARCHAR(32) NOT NULL,
    position BIGINT NOT NULL,
    address VARCHAR(43) NOT NULL,
    state VARCHAR(8) NOT NULL,
    changed_us BIGINT NOT NULL,
    service_id VARCHAR(32),
    station VARCHAR(300) NOT NULL,
    grant_id VARCHAR(32),
    nas_id VARCHAR(32),
    session_key VARCHAR(32),
    held_since_us BIGINT,
    held_until_us BIGINT,
    CONSTRAINT pk_radius_pool_lease PRIMARY KEY (pool_id, position)
)
;;
CREATE INDEX ix_radius_pool_lease_free ON radius_pool_lease (pool_id, state, changed_us, position)
;;
CREATE INDEX ix_radius_pool_lease_service_id ON radius_pool_lease (service_id)
;;
CREATE INDEX ix_radius_pool_lease_address ON radius_pool_lease (address)
;;
CREATE TABLE radius_home_server (
    name VARCHAR(64) NOT NULL,
    pool VARCHAR(64) NOT NULL,
    transport VARCHAR(8) NOT NULL,
    host VARCHAR(253) NOT NULL,
    auth_port INTEGER NOT NULL,
    acct_port INTEGER NOT NULL,
    secret BLOB,
    tls_identity VARCHAR(255) NOT NULL,
    priority INTEGER NOT NULL,
    balanced BOOLEAN NOT NULL,
    status_checks BOOLEAN NOT NULL,
    require_message_authenticator BOOLEAN NOT NULL,
    enabled BOOLEAN NOT NULL,
    updated_at BIGINT NOT NULL,
    CONSTRAINT pk_radius_home_server PRIMARY KEY (name)
)
;;
CREATE INDEX ix_radius_home_server_pool ON radius_home_server (pool)
;;
CREATE TABLE radius_proxy_realm (
    realm VARCHAR(253) NOT NULL,
    pool VARCHAR(64) NOT NULL,
    accounting VARCHAR(8) NOT NULL,
    strips BOOLEAN NOT NULL,
    request_drops TEXT NOT NULL,
    reply_allows TEXT,
    updated_at BIGINT NOT NULL,
    CONSTRAINT pk_radius_proxy_realm PRIMARY KEY (realm)
)
;;
CREATE TABLE radius_mirror (
    mirror_id VARCHAR(32) NOT NULL,
    digest BLOB NOT NULL,
    realm VARCHAR(253) NOT NULL,
    pool VARCHAR(64) NOT NULL,
    packet BLOB NOT NULL,
    received_us BIGINT NOT NULL,
    due_us BIGINT NOT NULL,
    attempts INTEGER NOT NULL,
    CONSTRAINT pk_radius_mirror PRIMARY KEY (mirror_id),
    CONSTRAINT uq_radius_mirror_digest UNIQUE (digest)
)
;;
CREATE INDEX ix_radius_mirror_due ON radius_mirror (due_us)
;;
CREATE TABLE radius_quota (
    service_id VARCHAR(32) NOT NULL,
    allowance TEXT NOT NULL,
    step INTEGER NOT NULL,
    period_end_us BIGINT NOT NULL,
    stepped_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    CONSTRAINT pk_radius_quota PRIMARY KEY (service_id)
)
;;
CREATE INDEX ix_radius_quota_period_end_us ON radius_quota (period_end_us)
;;
CREATE TABLE radius_quota_usage (
    service_id VARCHAR(32) NOT NULL,
    period_start_us BIGINT NOT NULL,
    upstream_octets BIGINT NOT NULL,
    downstream_octets BIGINT NOT NULL,
    topped_up_octets BIGINT NOT NULL,
    CONSTRAINT pk_radius_quota_usage PRIMARY KEY (service_id, period_start_us)
)
 WITHOUT ROWID
;;
CREATE TABLE radius_quota_session (
    session_key VARCHAR(32) NOT NULL,
    service_id VARCHAR(32) NOT NULL,
    upstream_octets BIGINT NOT NULL,
    downstream_octets BIGINT NOT NULL,
    event_us BIGINT NOT NULL,
    CONSTRAINT pk_radius_quota_session PRIMARY KEY (session_key)
)
 WITHOUT ROWID
;;
CREATE INDEX ix_radius_quota_session_service_id ON radius_quota_session (service_id)
;;
CREATE TABLE radius_quota_position (
    follower VARCHAR(16) NOT NULL,
    record_id BIGINT NOT NULL,
    CONSTRAINT pk_radius_quota_position PRIMARY KEY (follower)
)
;;
CREATE TABLE radius_quota_top_up (
    top_up_id VARCHAR(32) NOT NULL,
    service_id VARCHAR(32) NOT NULL,
    reference VARCHAR(64) NOT NULL,
    octets BIGINT NOT NULL,
    period_start_us BIGINT NOT NULL,
    actor VARCHAR(128) NOT NULL,
    at BIGINT NOT NULL,
    CONSTRAINT pk_radius_quota_top_up PRIMARY KEY (top_up_id)
)
;;
CREATE UNIQUE INDEX uq_radius_quota_top_up_reference ON radius_quota_top_up (service_id, reference)
;;
CREATE TABLE radius_quota_step (
    step_id VARCHAR(32) NOT NULL,
    service_id VARCHAR(32) NOT NULL,
    step INTEGER NOT NULL,
    profile_name VARCHAR(32),
    period_start_us BIGINT NOT NULL,
    limit_octets BIGINT,
    used_octets BIGINT NOT NULL,
    at BIGINT NOT NULL,
    CONSTRAINT pk_radius_quota_step PRIMARY KEY (step_id)
)
;;
CREATE INDEX ix_radius_quota_step_service_id ON radius_quota_step (service_id)
;;
CREATE TABLE billing_bridge_entitlement (
    sequence INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    subscription_id VARCHAR(32) NOT NULL,
    at BIGINT NOT NULL,
    version_id VARCHAR(32),
    quantity INTEGER NOT NULL,
    event_id VARCHAR(32) NOT NULL,
    event_name VARCHAR(64) NOT NULL,
    order_id VARCHAR(32) NOT NULL,
    CONSTRAINT fk_billing_bridge_entitlement_subscription_id_billing_bridge_subscription FOREIGN KEY(subscription_id) REFERENCES billing_bridge_subscription (subscription_id),
    CONSTRAINT fk_billing_bridge_entitlement_version_id_billing_bridge_tariff FOREIGN KEY(version_id) REFERENCES billing_bridge_tariff (version_id),
    CONSTRAINT uq_billing_bridge_entitlement_event_id UNIQUE (event_id)
)
;;
CREATE INDEX ix_billing_bridge_entitlement_subscription_id ON billing_bridge_entitlement (subscription_id)
;;
CREATE TABLE billing_bridge_pause (
    sequence INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    subscription_id VARCHAR(32) NOT NULL,
    pause_id VARCHAR(32) NOT NULL,
    kind VARCHAR(16) NOT NULL,
    first_on DATE NOT NULL,
    until_on DATE NOT NULL,
    percent INTEGER NOT NULL,
    event_id VARCHAR(32) NOT NULL,
    actor VARCHAR(128) NOT NULL,
    at BIGINT NOT NULL,
    CONSTRAINT fk_billing_bridge_pause_subscription_id_billing_bridge_subscription FOREIGN KEY(subscription_id) REFERENCES billing_bridge_subscription (subscription_id),
    CONSTRAINT uq_billing_bridge_pause_event_id UNIQUE (event_id)
)
;;
CREATE INDEX ix_billing_bridge_pause_subscription_id ON billing_bridge_pause (subscription_id)
;;
CREATE TABLE billing_bridge_anchor_change (
    sequence INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    subscription_id VARCHAR(32) NOT NULL,
    said_on DATE NOT NULL,
    anchor_day INTEGER NOT NULL,
    actor VARCHAR(128) NOT NULL,
    at BIGINT NOT NULL,
    CONSTRAINT fk_billing_bridge_anchor_change_subscription_id_billing_bridge_subscription FOREIGN KEY(subscription_id) REFERENCES billing_bridge_subscription (subscription_id)
)
;;
CREATE INDEX ix_billing_bridge_anchor_change_subscription_id ON billing_bridge_anchor_change (subscription_id)
;;
CREATE TABLE billing_bridge_price_correction (
    sequence INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    version_id VARCHAR(32) NOT NULL,
    priced_as VARCHAR(32) NOT NULL,
    first_on DATE NOT NULL,
    until_on DATE NOT NULL,
    reason VARCHAR(200) NOT NULL,
    actor VARCHAR(128) NOT NULL,
    at BIGINT NOT NULL,
    CONSTRAINT fk_billing_bridge_price_correction_priced_as_billing_bridge_tariff FOREIGN KEY(priced_as) REFERENCES billing_bridge_tariff (version_id)
)
;;
CREATE INDEX ix_billing_bridge_price_correction_version_id ON billing_bridge_price_correction (version_id)
;;
CREATE TABLE billing_bridge_charge (
    charge_id VARCHAR(32) NOT NULL,
    bill_run_id VARCHAR(32) NOT NULL,
    batch INTEGER NOT NULL,
    account_id VARCHAR(32) NOT NULL,
    subscription_id VARCHAR(32) NOT NULL,
    service_id VARCHAR(32) NOT NULL,
    version_id VARCHAR(32) NOT NULL,
    kind VARCHAR(16) NOT NULL,
    code VARCHAR(40) NOT NULL,
    period_first_on DATE NOT NULL,
    period_until_on DATE NOT NULL,
    attempt INTEGER NOT NULL,
    first_on DATE NOT NULL,
    until_on DATE NOT NULL,
    item VARCHAR(200) NOT NULL,
    description VARCHAR(400) NOT NULL,
    heading VARCHAR(120) NOT NULL,
    quantity VARCHAR(40) NOT NULL,
    unit VARCHAR(8) NOT NULL,
    unit_price VARCHAR(40) NOT NULL,
    net_minor BIGINT NOT NULL,
    currency VARCHAR(3) NOT NULL,
    tax_percent VARCHAR(40) NOT NULL,
    octets BIGINT NOT NULL,
    days INTEGER NOT NULL,
    adjustment BOOLEAN NOT NULL,
    arithmetic TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    CONSTRAINT pk_billing_bridge_charge PRIMARY KEY (charge_id),
    CONSTRAINT uq_billing_bridge_charge_subscription_id UNIQUE (subscription_id, period_first_on, version_id, kind, code, attempt),
    CONSTRAINT fk_billing_bridge_charge_subscription_id_billing_bridge_subscription FOREIGN KEY(subscription_id) REFERENCES billing_bridge_subscription (subscription_id),
    CONSTRAINT fk_billing_bridge_charge_version_id_billing_bridge_tariff FOREIGN KEY(version_id) REFERENCES billing_bridge_tariff (version_id)
)
;;
CREATE INDEX ix_billing_bridge_charge_bill_run_id_batch ON billing_bridge_charge (bill_run_id, batch)
;;
CREATE INDEX ix_billing_bridge_charge_account_id ON billing_bridge_charge (account_id)
;;
CREATE TABLE billing_bridge_bill_batch (
    bill_run_id VARCHAR(32) NOT NULL,
    batch INTEGER NOT NULL,
    account_ids TEXT NOT NULL,
    state VARCHAR(16) NOT NULL,
    charges INTEGER NOT NULL,
    documents INTEGER NOT NULL,
    totals TEXT,
    parts BLOB,
    moved_at BIGINT,
    taken_by INTEGER,
    taken_until BIGINT,
    CONSTRAINT pk_billing_bridge_bill_batch PRIMARY KEY (bill_run_id, batch),
    CONSTRAINT fk_billing_bridge_bill_batch_bill_run_id_billing_bridge_bill_run FOREIGN KEY(bill_run_id) REFERENCES billing_bridge_bill_run (bill_run_id)
)
;;
CREATE INDEX ix_billing_bridge_bill_batch_state ON billing_bridge_bill_batch (bill_run_id, state, batch)
;;
CREATE TABLE billing_bridge_bill_draft (
    bill_run_id VARCHAR(32) NOT NULL,
    account_id VARCHAR(32) NOT NULL,
    currency VARCHAR(3) NOT NULL,
    batch INTEGER NOT NULL,
    charges INTEGER NOT NULL,
    agreed_minor BIGINT NOT NULL,
    net_minor BIGINT NOT NULL,
    tax_minor BIGINT NOT NULL,
    sha256 BLOB NOT NULL,
    issued BOOLEAN NOT NULL,
    content BLOB,
    CONSTRAINT pk_billing_bridge_bill_draft PRIMARY KEY (bill_run_id, account_id, currency),
    CONSTRAINT fk_billing_bridge_bill_draft_bill_run_id_billing_bridge_bill_run FOREIGN KEY(bill_run_id) REFERENCES billing_bridge_bill_run (bill_run_id)
)
;;
CREATE INDEX ix_billing_bridge_bill_draft_batch ON billing_bridge_bill_draft (bill_run_id, batch)
;;
CREATE TABLE billing_bridge_bill_rated_again (
    bill_run_id VARCHAR(32) NOT NULL,
    account_id VARCHAR(32) NOT NULL,
    number INTEGER NOT NULL,
    rated_at BIGINT NOT NULL,
    released_by VARCHAR(128) NOT NULL,
    release_reason TEXT NOT NULL,
    "before" BLOB NOT NULL,
    "after" BLOB,
    outcome VARCHAR(16),
    CONSTRAINT pk_billing_bridge_bill_rated_again PRIMARY KEY (bill_run_id, account_id, number),
    CONSTRAINT fk_billing_bridge_bill_rated_again_bill_run_id_billing_bridge_bill_run FOREIGN KEY(bill_run_id) REFERENCES billing_bridge_bill_run (bill_run_id)
)
;;
CREATE TABLE billing_bridge_bill_certificate (
    bill_run_id VARCHAR(32) NOT NULL,
    number INTEGER NOT NULL,
    made_at BIGINT NOT NULL,
    text TEXT NOT NULL,
    sha256 BLOB NOT NULL,
    CONSTRAINT pk_billing_bridge_bill_certificate PRIMARY KEY (bill_run_id, number),
    CONSTRAINT fk_billing_bridge_bill_certificate_bill_run_id_billing_bridge_bill_run FOREIGN KEY(bill_run_id) REFERENCES billing_bridge_bill_run (bill_run_id)
)
;;
CREATE TRIGGER billing_bridge_bill_certificate_immutable_update BEFORE UPDATE ON billing_bridge_bill_certificate BEGIN SELECT RAISE(ABORT, 'a certificate is never changed or deleted'); END
;;
CREATE TRIGGER billing_bridge_bill_certificate_immutable_delete BEFORE DELETE ON billing_bridge_bill_certificate BEGIN SELECT RAISE(ABORT, 'a certificate is never changed or deleted'); END
;;
CREATE TABLE billing_bridge_bill_hold (
    bill_run_id VARCHAR(32) NOT NULL,
    account_id VARCHAR(32) NOT NULL,
    source VARCHAR(16) NOT NULL,
    reason TEXT NOT NULL,
    held_at BIGINT NOT NULL,
    held_by VARCHAR(128) NOT NULL,
    released_at BIGINT,
    released_by VARCHAR(128),
    release_reason TEXT,
    to_rate BOOLEAN NOT NULL,
    CONSTRAINT pk_billing_bridge_bill_hold PRIMARY KEY (bill_run_id, account_id, source),
    CONSTRAINT fk_billing_bridge_bill_hold_bill_run_id_billing_bridge_bill_run FOREIGN KEY(bill_run_id) REFERENCES billing_bridge_bill_run (bill_run_id)
)
;;
CREATE INDEX ix_billing_bridge_bill_hold_released_at ON billing_bridge_bill_hold (released_at, held_at)
;;
CREATE TABLE billing_bridge_prepaid_closing (
    service_id VARCHAR(32) NOT NULL,
    record_id BIGINT NOT NULL,
    until_at BIGINT NOT NULL,
    is_over BOOLEAN NOT NULL,
    pay_out BOOLEAN NOT NULL,
    actor VARCHAR(128) NOT NULL,
    CONSTRAINT pk_billing_bridge_prepaid_closing PRIMARY KEY (service_id),
    CONSTRAINT fk_billing_bridge_prepaid_closing_service_id_billing_bridge_prepaid FOREIGN KEY(service_id) REFERENCES billing_bridge_prepaid (service_id)
)
;;
CREATE TABLE billing_bridge_prepaid_terms (
    sequence INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    service_id VARCHAR(32) NOT NULL,
    since BIGINT NOT NULL,
    version_id VARCHAR(32),
    slice BIGINT NOT NULL CONSTRAINT ck_billing_bridge_prepaid_terms_slice CHECK (slice > 0),
    validity_s INTEGER NOT NULL,
    action VARCHAR(12) NOT NULL,
    actor VARCHAR(128) NOT NULL,
    credit_days INTEGER CONSTRAINT ck_billing_bridge_prepaid_terms_credit_days CHECK (credit_days > 0),
    notice_days INTEGER,
    low_below BIGINT,
    CONSTRAINT fk_billing_bridge_prepaid_terms_service_id_billing_bridge_prepaid FOREIGN KEY(service_id) REFERENCES billing_bridge_prepaid (service_id)
)
;;
CREATE INDEX ix_billing_bridge_prepaid_terms_service_id ON billing_bridge_prepaid_terms (service_id)
;;
CREATE TRIGGER billing_bridge_prepaid_terms_immutable_update BEFORE UPDATE ON billing_bridge_prepaid_terms BEGIN SELECT RAISE(ABORT, 'terms of a prepaid service are only ever added'); END
;;
CREATE TRIGGER billing_bridge_prepaid_terms_immutable_delete BEFORE DELETE ON billing_bridge_prepaid_terms BEGIN SELECT RAISE(ABORT, 'terms of a prepaid service are only ever added'); END
;;
CREATE TABLE billing_bridge_prepaid_session (
    reservation_id VARCHAR(32) NOT NULL,
    service_id VARCHAR(32) NOT NULL,
    station VARCHAR(300) NOT NULL,
    nas_id VARCHAR(32) NOT NULL,
    session_key VARCHAR(32),
    state VARCHAR(8) NOT NULL,
    upstream_octets BIGINT NOT NULL,
    downstream_octets BIGINT NOT NULL,
    seconds BIGINT NOT NULL,
    open BIGINT NOT NULL CONSTRAINT ck_billing_bridge_prepaid_session_open CHECK (open >= 0),
    seen_until BIGINT NOT NULL,
    free_until BIGINT,
    expires_at BIGINT NOT NULL,
    heard_at BIGINT NOT NULL,
    nas_limit BIGINT DEFAULT '0' NOT NULL,
    CONSTRAINT pk_billing_bridge_prepaid_session PRIMARY KEY (reservation_id),
    CONSTRAINT fk_billing_bridge_prepaid_session_service_id_billing_bridge_prepaid FOREIGN KEY(service_id) REFERENCES billing_bridge_prepaid (service_id),
    CONSTRAINT uq_billing_bridge_prepaid_session_session_key UNIQUE (session_key)
)
;;
CREATE INDEX ix_billing_bridge_prepaid_session_service_id ON billing_bridge_prepaid_session (service_id)
;;
CREATE INDEX ix_billing_bridge_prepaid_session_held ON billing_bridge_prepaid_session (expires_at) WHERE open > 0 OR state IN ('pending', 'shut')
;;
CREATE TABLE billing_bridge_prepaid_used (
    service_id VARCHAR(32) NOT NULL,
    terms BIGINT NOT NULL,
    period_on DATE NOT NULL,
    used BIGINT NOT NULL,
    debited BIGINT NOT NULL,
    CONSTRAINT pk_billing_bridge_prepaid_used PRIMARY KEY (service_id, terms, period_on),
    CONSTRAINT fk_billing_bridge_prepaid_used_service_id_billing_bridge_prepaid FOREIGN KEY(service_id) REFERENCES billing_bridge_prepaid (service_id)
)
;;
CREATE TABLE billing_bridge_prepaid_call (
    service_id VARCHAR(32) NOT NULL,
    call_id VARCHAR(64) NOT NULL,
    number VARCHAR(32) NOT NULL,
    began_at BIGINT NOT NULL,
    terms BIGINT NOT NULL,
    period_on DATE NOT NULL,
    granted_s INTEGER NOT NULL,
    duration_s INTEGER,
    debited BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    CONSTRAINT pk_billing_bridge_prepaid_call PRIMARY KEY (service_id, call_id),
    CONSTRAINT fk_billing_bridge_prepaid_call_service_id_billing_bridge_prepaid FOREIGN KEY(service_id) REFERENCES billing_bridge_prepaid (service_id)
)
;;
CREATE INDEX ix_billing_bridge_prepaid_call_held ON billing_bridge_prepaid_call (expires_at) WHERE granted_s > 0
;;
CREATE TABLE billing_bridge_prepaid_day (
    service_id VARCHAR(32) NOT NULL,
    day DATE NOT NULL,
    debited BIGINT NOT NULL,
    earned_minor BIGINT NOT NULL,
    posted_minor BIGINT DEFAULT '0' NOT NULL,
    lapsed_minor BIGINT DEFAULT '0' NOT NULL,
    lapsed_posted_minor BIGINT DEFAULT '0' NOT NULL,
    CONSTRAINT pk_billing_bridge_prepaid_day PRIMARY KEY (service_id, day),
    CONSTRAINT fk_billing_bridge_prepaid_day_service_id_billing_bridge_prepaid FOREIGN KEY(service_id) REFERENCES billing_bridge_prepaid (service_id)
)
;;
CREATE INDEX ix_billing_bridge_prepaid_day_unposted ON billing_bridge_prepaid_day (day) WHERE earned_minor <> posted_minor OR lapsed_minor <> lapsed_posted_minor
;;
CREATE TABLE billing_bridge_prepaid_movement (
    sequence INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    service_id VARCHAR(32) NOT NULL,
    kind VARCHAR(12) NOT NULL,
    "key" VARCHAR(120) NOT NULL,
    amount BIGINT NOT NULL,
    reserved_change BIGINT NOT NULL,
    balance_after BIGINT NOT NULL,
    reserved_after BIGINT NOT NULL,
    overshoot BIGINT NOT NULL,
    worth_change_minor BIGINT NOT NULL,
    session_key VARCHAR(32),
    record_id BIGINT,
    actor VARCHAR(128) NOT NULL,
    at BIGINT NOT NULL,
    CONSTRAINT fk_billing_bridge_prepaid_movement_service_id_billing_bridge_prepaid FOREIGN KEY(service_id) REFERENCES billing_bridge_prepaid (service_id)
)
;;
CREATE INDEX ix_billing_bridge_prepaid_movement_service_id ON billing_bridge_prepaid_movement (service_id, sequence)
;;
CREATE UNIQUE INDEX uq_billing_bridge_prepaid_movement_key ON billing_bridge_prepaid_movement (service_id, "key")
;;
CREATE TRIGGER billing_bridge_prepaid_movement_immutable_update BEFORE UPDATE ON billing_bridge_prepaid_movement BEGIN SELECT RAISE(ABORT, 'movements of a prepaid balance are only ever added'); END
;;
CREATE TRIGGER billing_bridge_prepaid_movement_immutable_delete BEFORE DELETE ON billing_bridge_prepaid_movement BEGIN SELECT RAISE(ABORT, 'movements of a prepaid balance are only ever added'); END
;;
CREATE TABLE billing_bridge_prepaid_notice (
    notice_id VARCHAR(32) NOT NULL,
    service_id VARCHAR(32) NOT NULL,
    what VARCHAR(40) NOT NULL,
    expires_on DATE,
    account_id VARCHAR(32) NOT NULL,
    recipient VARCHAR(254) NOT NULL,
    locale VARCHAR(16) NOT NULL,
    title VARCHAR(300) NOT NULL,
    text TEXT NOT NULL,
    state VARCHAR(12) NOT NULL,
    tries INTEGER NOT NULL,
    next_at BIGINT NOT NULL,
    claimed_by VARCHAR(64),
    words VARCHAR(500),
    created_at BIGINT NOT NULL,
    settled_at BIGINT,
    CONSTRAINT pk_billing_bridge_prepaid_notice PRIMARY KEY (notice_id),
    CONSTRAINT uq_billing_bridge_prepaid_notice_service_id UNIQUE (service_id, what),
    CONSTRAINT fk_billing_bridge_prepaid_notice_service_id_billing_bridge_prepaid FOREIGN KEY(service_id) REFERENCES billing_bridge_prepaid (service_id)
)
;;
CREATE INDEX ix_billing_bridge_prepaid_notice_account_id ON billing_bridge_prepaid_notice (account_id)
;;
CREATE INDEX ix_billing_bridge_prepaid_notice_state ON billing_bridge_prepaid_notice (state, next_at)
;;
CREATE TABLE billing_bridge_delivery (
    delivery_id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    source VARCHAR(64) NOT NULL,
    number BIGINT NOT NULL,
    name VARCHAR(200) NOT NULL,
    content_sha256 BLOB NOT NULL,
    received_at BIGINT NOT NULL,
    received_by VARCHAR(128) NOT NULL,
    first_record_id BIGINT NOT NULL,
    accepted INTEGER NOT NULL,
    rated INTEGER NOT NULL,
    unrated INTEGER NOT NULL,
    suspense INTEGER NOT NULL,
    duplicate INTEGER NOT NULL,
    complete_until BIGINT,
    previous BLOB NOT NULL,
    link BLOB NOT NULL,
    CONSTRAINT uq_billing_bridge_delivery_source UNIQUE (source, number),
    CONSTRAINT fk_billing_bridge_delivery_source_billing_bridge_source FOREIGN KEY(source) REFERENCES billing_bridge_source (name)
)
;;
CREATE TABLE app_browser_session (
    digest BLOB NOT NULL,
    user_id VARCHAR(32) NOT NULL,
    created_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    CONSTRAINT pk_app_browser_session PRIMARY KEY (digest),
    CONSTRAINT fk_app_browser_session_user_id_app_user FOREIGN KEY(user_id) REFERENCES app_user (user_id)
)
;;
CREATE INDEX ix_app_browser_session_user_id ON app_browser_session (user_id)
;;
CREATE INDEX ix_app_browser_session_expires_at ON app_browser_session (expires_at)
;;
CREATE TABLE provisioning_attachment (
    service_id VARCHAR(32) NOT NULL,
    device_id VARCHAR(32) NOT NULL,
    position INTEGER NOT NULL,
    kind VARCHAR(8) NOT NULL,
    port VARCHAR(64) NOT NULL,
    onu_serial VARCHAR(16),
    subscriber_vlan INTEGER NOT NULL,
    bound_serial VARCHAR(16),
    bound_vlan INTEGER,
    vlan_space VARCHAR(64) NOT NULL,
    observed TEXT,
    observed_at BIGINT,
    CONSTRAINT pk_provisioning_attachment PRIMARY KEY (service_id, device_id),
    CONSTRAINT uq_provisioning_attachment_vlan UNIQUE (device_id, vlan_space, bound_vlan),
    CONSTRAINT fk_provisioning_attachment_service_id_provisioning_service FOREIGN KEY(service_id) REFERENCES provisioning_service (service_id),
    CONSTRAINT fk_provisioning_attachment_device_id_provisioning_device FOREIGN KEY(device_id) REFERENCES provisioning_device (device_id),
    CONSTRAINT uq_provisioning_attachment_bound_serial UNIQUE (bound_serial)
)
;;
CREATE TABLE provisioning_session_change (
    change_id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    service_id VARCHAR(32) NOT NULL,
    session_key VARCHAR(160) NOT NULL,
    profile_name VARCHAR(32) NOT NULL,
    requested_at BIGINT NOT NULL,
    result VARCHAR(16) NOT NULL,
    error_cause INTEGER,
    detail TEXT NOT NULL,
    CONSTRAINT fk_provisioning_session_change_service_id_provisioning_service FOREIGN KEY(service_id) REFERENCES provisioning_service (service_id)
)
;;
CREATE INDEX ix_provisioning_session_change_service_id ON provisioning_session_change (service_id)
;;
CREATE TABLE catalog_version (
    version_id VARCHAR(32) NOT NULL,
    offering_id VARCHAR(32) NOT NULL,
    number INTEGER NOT NULL,
    effective_on DATE NOT NULL,
    currency VARCHAR(3) NOT NULL,
    tax_percent VARCHAR(40) NOT NULL,
    tax_category VARCHAR(4) NOT NULL,
    "plan" TEXT NOT NULL,
    profile_name VARCHAR(32),
    downstream_bps BIGINT,
    upstream_bps BIGINT,
    created_at BIGINT NOT NULL,
    used_at BIGINT,
    CONSTRAINT pk_catalog_version PRIMARY KEY (version_id),
    CONSTRAINT uq_catalog_version_offering_id UNIQUE (offering_id, number),
    CONSTRAINT fk_catalog_version_offering_id_catalog_offering FOREIGN KEY(offering_id) REFERENCES catalog_offering (offering_id)
)
;;
CREATE INDEX ix_catalog_version_profile_name ON catalog_version (profile_name)
;;
CREATE TRIGGER catalog_version_immutable_update BEFORE UPDATE ON catalog_version WHEN OLD.used_at IS NOT NULL BEGIN SELECT RAISE(ABORT, 'an offering version in use is never changed'); END
;;
CREATE TRIGGER catalog_version_immutable_delete BEFORE DELETE ON catalog_version WHEN OLD.used_at IS NOT NULL BEGIN SELECT RAISE(ABORT, 'an offering version in use is never changed'); END
;;
CREATE TABLE crm_customer (
    customer_id VARCHAR(32) NOT NULL,
    entity_id VARCHAR(32) NOT NULL,
    name VARCHAR(120) NOT NULL,
    email VARCHAR(254) NOT NULL,
    phone VARCHAR(40) NOT NULL,
    address TEXT NOT NULL,
    language VARCHAR(35) NOT NULL,
    tax_id VARCHAR(64) NOT NULL,
    created_at BIGINT NOT NULL,
    CONSTRAINT pk_crm_customer PRIMARY KEY (customer_id),
    CONSTRAINT fk_crm_customer_entity_id_crm_entity FOREIGN KEY(entity_id) REFERENCES crm_entity (entity_id)
)
;;
CREATE INDEX ix_crm_customer_entity_id ON crm_customer (entity_id)
;;
CREATE TABLE dunning_step (
    step_id VARCHAR(32) NOT NULL,
    account_id VARCHAR(32) NOT NULL,
    invoice_id VARCHAR(32) NOT NULL,
    since_on DATE NOT NULL,
    number INTEGER NOT NULL,
    name VARCHAR(32) NOT NULL,
    policy_id VARCHAR(32) NOT NULL,
    taken_on DATE NOT NULL,
    taken_at BIGINT NOT NULL,
    notice_id VARCHAR(32),
    CONSTRAINT pk_dunning_step PRIMARY KEY (step_id),
    CONSTRAINT uq_dunning_step_invoice_id UNIQUE (invoice_id, since_on, number),
    CONSTRAINT fk_dunning_step_notice_id_dunning_notice FOREIGN KEY(notice_id) REFERENCES dunning_notice (notice_id)
)
;;
CREATE INDEX ix_dunning_step_account_id ON dunning_step (account_id)
;;
CREATE INDEX ix_dunning_step_taken_at ON dunning_step (taken_at, step_id)
;;
CREATE INDEX ix_dunning_step_notice_id ON dunning_step (notice_id)
;;
CREATE TABLE dunning_plan_invoice (
    plan_id VARCHAR(32) NOT NULL,
    invoice_id VARCHAR(32) NOT NULL,
    CONSTRAINT pk_dunning_plan_invoice PRIMARY KEY (plan_id, invoice_id),
    CONSTRAINT fk_dunning_plan_invoice_plan_id_dunning_plan FOREIGN KEY(plan_id) REFERENCES dunning_plan (plan_id)
)
;;
CREATE INDEX ix_dunning_plan_invoice_invoice_id ON dunning_plan_invoice (invoice_id)
;;
CREATE TABLE dunning_instalment (
    plan_id VARCHAR(32) NOT NULL,
    due_on DATE NOT NULL,
    amount_minor BIGINT NOT NULL CONSTRAINT ck_dunning_instalment_positive CHECK (amount_minor > 0),
    CONSTRAINT pk_dunning_instalment PRIMARY KEY (plan_id, due_on),
    CONSTRAINT fk_dunning_instalment_plan_id_dunning_plan FOREIGN KEY(plan_id) REFERENCES dunning_plan (plan_id)
)
;;
CREATE TABLE dunning_evidence (
    dispute_id VARCHAR(32) NOT NULL,
    line_id VARCHAR(32) NOT NULL,
    content TEXT NOT NULL,
    sha256 BLOB NOT NULL,
    frozen_at BIGINT NOT NULL,
    CONSTRAINT pk_dunning_evidence PRIMARY KEY (dispute_id, line_id),
    CONSTRAINT fk_dunning_evidence_dispute_id_dunning_dispute FOREIGN KEY(dispute_id) REFERENCES dunning_dispute (dispute_id)
)
;;
CREATE TABLE finance_contract_change (
    contract_id VARCHAR(32) NOT NULL,
    version INTEGER NOT NULL,
    at_on DATE NOT NULL,
    added_minor BIGINT NOT NULL,
    reason VARCHAR(200) NOT NULL,
    created_at BIGINT NOT NULL,
    actor VARCHAR(128) NOT NULL,
    CONSTRAINT pk_finance_contract_change PRIMARY KEY (contract_id, version),
    CONSTRAINT fk_finance_contract_change_contract_id_finance_contract FOREIGN KEY(contract_id) REFERENCES finance_contract (contract_id)
)
;;
CREATE TRIGGER finance_contract_change_no_update BEFORE UPDATE ON finance_contract_change BEGIN SELECT RAISE(ABORT, 'finance_contract_change: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_contract_change_no_delete BEFORE DELETE ON finance_contract_change BEGIN SELECT RAISE(ABORT, 'finance_contract_change: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_contract_change_no_replace BEFORE INSERT ON finance_contract_change WHEN EXISTS (SELECT 1 FROM finance_contract_change WHERE (contract_id = NEW.contract_id AND version = NEW.version)) BEGIN SELECT RAISE(ABORT, 'finance_contract_change: posted rows are never changed or deleted (UNIQUE constraint failed)'); END
;;
CREATE TABLE finance_contract_movement (
    contract_id VARCHAR(32) NOT NULL,
    entry_id VARCHAR(32) NOT NULL,
    billed_minor BIGINT NOT NULL,
    earned_minor BIGINT NOT NULL,
    CONSTRAINT pk_finance_contract_movement PRIMARY KEY (contract_id, entry_id),
    CONSTRAINT fk_finance_contract_movement_contract_id_finance_contract FOREIGN KEY(contract_id) REFERENCES finance_contract (contract_id),
    CONSTRAINT fk_finance_contract_movement_entry_id_finance_journal_entry FOREIGN KEY(entry_id) REFERENCES finance_journal_entry (entry_id)
)
;;
CREATE TRIGGER finance_contract_movement_no_update BEFORE UPDATE ON finance_contract_movement BEGIN SELECT RAISE(ABORT, 'finance_contract_movement: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_contract_movement_no_delete BEFORE DELETE ON finance_contract_movement BEGIN SELECT RAISE(ABORT, 'finance_contract_movement: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_contract_movement_no_replace BEFORE INSERT ON finance_contract_movement WHEN EXISTS (SELECT 1 FROM finance_contract_movement WHERE (contract_id = NEW.contract_id AND entry_id = NEW.entry_id)) BEGIN SELECT RAISE(ABORT, 'finance_contract_movement: posted rows are never changed or deleted (UNIQUE constraint failed)'); END
;;
CREATE TABLE finance_posting (
    entry_id VARCHAR(32) NOT NULL,
    line INTEGER NOT NULL,
    entity_id VARCHAR(32) NOT NULL,
    booked_on DATE NOT NULL,
    code VARCHAR(8) NOT NULL,
    currency VARCHAR(3) NOT NULL,
    amount_minor BIGINT NOT NULL CONSTRAINT ck_finance_posting_not_zero CHECK (amount_minor <> 0),
    CONSTRAINT pk_finance_posting PRIMARY KEY (entry_id, line),
    CONSTRAINT fk_finance_posting_entry_id_finance_journal_entry FOREIGN KEY(entry_id, entity_id, booked_on) REFERENCES finance_journal_entry (entry_id, entity_id, booked_on),
    CONSTRAINT fk_finance_posting_entity_id_finance_account FOREIGN KEY(entity_id, code) REFERENCES finance_account (entity_id, code)
)
;;
CREATE INDEX ix_finance_posting_entity_id ON finance_posting (entity_id, code, currency, booked_on, amount_minor)
;;
CREATE TRIGGER finance_posting_no_update BEFORE UPDATE ON finance_posting BEGIN SELECT RAISE(ABORT, 'finance_posting: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_posting_no_delete BEFORE DELETE ON finance_posting BEGIN SELECT RAISE(ABORT, 'finance_posting: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_posting_no_replace BEFORE INSERT ON finance_posting WHEN EXISTS (SELECT 1 FROM finance_posting WHERE (entry_id = NEW.entry_id AND line = NEW.line)) BEGIN SELECT RAISE(ABORT, 'finance_posting: posted rows are never changed or deleted (UNIQUE constraint failed)'); END
;;
CREATE TRIGGER finance_posting_needs_keys BEFORE INSERT ON finance_posting WHEN (SELECT foreign_keys FROM pragma_foreign_keys) = 0 BEGIN SELECT RAISE(ABORT, 'finance_posting: PRAGMA foreign_keys=ON first, the balance hangs on it'); END
;;
CREATE TRIGGER finance_posting_counts AFTER INSERT ON finance_posting BEGIN INSERT OR IGNORE INTO finance_balance (entry_id, what, amount) VALUES (NEW.entry_id, NEW.currency, NEW.amount_minor); UPDATE finance_balance SET amount = (SELECT SUM(amount_minor) FROM finance_posting WHERE entry_id = NEW.entry_id AND currency = NEW.currency) WHERE entry_id = NEW.entry_id AND what = NEW.currency; UPDATE finance_balance SET amount = (SELECT postings FROM finance_journal_entry WHERE entry_id = NEW.entry_id) - (SELECT COUNT(*) FROM finance_posting WHERE entry_id = NEW.entry_id) WHERE entry_id = NEW.entry_id AND what = '#'; END
;;
CREATE TABLE finance_entry_proposal (
    proposal_id VARCHAR(32) NOT NULL,
    entity_id VARCHAR(32) NOT NULL,
    reference VARCHAR(60) NOT NULL,
    description VARCHAR(200) NOT NULL,
    booked_on DATE,
    postings TEXT NOT NULL,
    reverses VARCHAR(32),
    because VARCHAR(200) NOT NULL,
    at BIGINT NOT NULL,
    actor VARCHAR(128) NOT NULL,
    CONSTRAINT pk_finance_entry_proposal PRIMARY KEY (proposal_id),
    CONSTRAINT uq_finance_entry_proposal_entity_id UNIQUE (entity_id, reference),
    CONSTRAINT fk_finance_entry_proposal_reverses_finance_journal_entry FOREIGN KEY(reverses) REFERENCES finance_journal_entry (entry_id)
)
;;
CREATE INDEX ix_finance_entry_proposal_reverses ON finance_entry_proposal (reverses)
;;
CREATE TRIGGER finance_entry_proposal_no_update BEFORE UPDATE ON finance_entry_proposal BEGIN SELECT RAISE(ABORT, 'finance_entry_proposal: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_entry_proposal_no_delete BEFORE DELETE ON finance_entry_proposal BEGIN SELECT RAISE(ABORT, 'finance_entry_proposal: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_entry_proposal_no_replace BEFORE INSERT ON finance_entry_proposal WHEN EXISTS (SELECT 1 FROM finance_entry_proposal WHERE (proposal_id = NEW.proposal_id) OR (entity_id = NEW.entity_id AND reference = NEW.reference)) BEGIN SELECT RAISE(ABORT, 'finance_entry_proposal: posted rows are never changed or deleted (UNIQUE constraint failed)'); END
;;
CREATE TABLE finance_balance (
    entry_id VARCHAR(32) NOT NULL,
    what VARCHAR(3) NOT NULL,
    amount BIGINT NOT NULL,
    CONSTRAINT pk_finance_balance PRIMARY KEY (entry_id, what),
    CONSTRAINT fk_finance_balance_amount_finance_zero FOREIGN KEY(amount) REFERENCES finance_zero (z) DEFERRABLE INITIALLY DEFERRED
)
;;
CREATE TRIGGER finance_balance_true BEFORE UPDATE ON finance_balance WHEN NEW.entry_id <> OLD.entry_id OR NEW.what <> OLD.what OR NEW.amount <> CASE NEW.what WHEN '#' THEN (SELECT postings FROM finance_journal_entry WHERE entry_id = NEW.entry_id) - (SELECT COUNT(*) FROM finance_posting WHERE entry_id = NEW.entry_id) ELSE (SELECT SUM(amount_minor) FROM finance_posting WHERE entry_id = NEW.entry_id AND currency = NEW.what) END BEGIN SELECT RAISE(ABORT, 'finance_balance: kept by triggers only'); END
;;
CREATE TRIGGER finance_balance_stays BEFORE DELETE ON finance_balance BEGIN SELECT RAISE(ABORT, 'finance_balance: kept by triggers only'); END
;;
CREATE TABLE finance_invoice (
    invoice_id VARCHAR(32) NOT NULL,
    entity_id VARCHAR(32) NOT NULL,
    series VARCHAR(24) NOT NULL,
    sequence BIGINT NOT NULL,
    number VARCHAR(40) NOT NULL,
    kind VARCHAR(12) NOT NULL,
    account_id VARCHAR(32) NOT NULL,
    customer_id VARCHAR(32) NOT NULL,
    bill_run_id VARCHAR(32) NOT NULL,
    entry_id VARCHAR(32),
    issued_at BIGINT NOT NULL,
    issued_on DATE NOT NULL,
    due_on DATE NOT NULL,
    currency VARCHAR(3) NOT NULL,
    net_minor BIGINT NOT NULL,
    tax_minor BIGINT NOT NULL,
    total_minor BIGINT NOT NULL,
    content TEXT NOT NULL,
    content_sha256 BLOB NOT NULL,
    draft_sha256 BLOB NOT NULL,
    CONSTRAINT pk_finance_invoice PRIMARY KEY (invoice_id),
    CONSTRAINT ck_finance_invoice_total CHECK (total_minor = net_minor + tax_minor),
    CONSTRAINT uq_finance_invoice_account_id_bill_run_id UNIQUE (account_id, bill_run_id, currency),
    CONSTRAINT uq_finance_invoice_series_sequence UNIQUE (entity_id, series, sequence),
    CONSTRAINT uq_finance_invoice_number UNIQUE (entity_id, number),
    CONSTRAINT fk_finance_invoice_entry_id_finance_journal_entry FOREIGN KEY(entry_id) REFERENCES finance_journal_entry (entry_id)
)
;;
CREATE INDEX ix_finance_invoice_account_id_issued_at ON finance_invoice (account_id, issued_at)
;;
CREATE INDEX ix_finance_invoice_issued_at ON finance_invoice (issued_at, invoice_id)
;;
CREATE INDEX ix_finance_invoice_bill_run_id ON finance_invoice (bill_run_id)
;;
CREATE INDEX ix_finance_invoice_customer_id ON finance_invoice (customer_id)
;;
CREATE TRIGGER finance_invoice_no_update BEFORE UPDATE ON finance_invoice BEGIN SELECT RAISE(ABORT, 'finance_invoice: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_invoice_no_delete BEFORE DELETE ON finance_invoice BEGIN SELECT RAISE(ABORT, 'finance_invoice: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_invoice_no_replace BEFORE INSERT ON finance_invoice WHEN EXISTS (SELECT 1 FROM finance_invoice WHERE (invoice_id = NEW.invoice_id) OR (entity_id = NEW.entity_id AND series = NEW.series AND sequence = NEW.sequence) OR (entity_id = NEW.entity_id AND number = NEW.number)) BEGIN SELECT RAISE(ABORT, 'finance_invoice: posted rows are never changed or deleted (UNIQUE constraint failed)'); END
;;
CREATE TABLE finance_payment (
    payment_id VARCHAR(32) NOT NULL,
    entity_id VARCHAR(32) NOT NULL,
    account_id VARCHAR(32) NOT NULL,
    kind VARCHAR(16) NOT NULL CONSTRAINT ck_finance_payment_kind CHECK (kind IN ('payment', 'write-off')),
    amount_minor BIGINT NOT NULL CONSTRAINT ck_finance_payment_positive CHECK (amount_minor > 0),
    currency VARCHAR(3) NOT NULL,
    method VARCHAR(32) NOT NULL,
    reference VARCHAR(140) NOT NULL,
    received_at BIGINT NOT NULL,
    recorded_at BIGINT NOT NULL,
    entry_id VARCHAR(32) NOT NULL,
    actor VARCHAR(128) NOT NULL,
    CONSTRAINT pk_finance_payment PRIMARY KEY (payment_id),
    CONSTRAINT uq_finance_payment_method UNIQUE (method, reference),
    CONSTRAINT fk_finance_payment_entry_id_finance_journal_entry FOREIGN KEY(entry_id) REFERENCES finance_journal_entry (entry_id)
)
;;
CREATE INDEX ix_finance_payment_account_id ON finance_payment (account_id)
;;
CREATE INDEX ix_finance_payment_recorded_at ON finance_payment (recorded_at, payment_id)
;;
CREATE TRIGGER finance_payment_no_update BEFORE UPDATE ON finance_payment BEGIN SELECT RAISE(ABORT, 'finance_payment: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_payment_no_delete BEFORE DELETE ON finance_payment BEGIN SELECT RAISE(ABORT, 'finance_payment: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_payment_no_replace BEFORE INSERT ON finance_payment WHEN EXISTS (SELECT 1 FROM finance_payment WHERE (payment_id = NEW.payment_id) OR (method = NEW.method AND reference = NEW.reference)) BEGIN SELECT RAISE(ABORT, 'finance_payment: posted rows are never changed or deleted (UNIQUE constraint failed)'); END
;;
CREATE TABLE finance_deposit (
    deposit_id VARCHAR(32) NOT NULL,
    entity_id VARCHAR(32) NOT NULL,
    account_id VARCHAR(32) NOT NULL,
    amount_minor BIGINT NOT NULL CONSTRAINT ck_finance_deposit_positive CHECK (amount_minor > 0),
    currency VARCHAR(3) NOT NULL,
    reference VARCHAR(60) NOT NULL,
    entry_id VARCHAR(32) NOT NULL,
    taken_at BIGINT NOT NULL,
    taken_by VARCHAR(128) NOT NULL,
    CONSTRAINT pk_finance_deposit PRIMARY KEY (deposit_id),
    CONSTRAINT uq_finance_deposit_account_id UNIQUE (account_id, reference),
    CONSTRAINT fk_finance_deposit_entry_id_finance_journal_entry FOREIGN KEY(entry_id) REFERENCES finance_journal_entry (entry_id)
)
;;
CREATE TRIGGER finance_deposit_no_update BEFORE UPDATE ON finance_deposit BEGIN SELECT RAISE(ABORT, 'finance_deposit: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_deposit_no_delete BEFORE DELETE ON finance_deposit BEGIN SELECT RAISE(ABORT, 'finance_deposit: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_deposit_no_replace BEFORE INSERT ON finance_deposit WHEN EXISTS (SELECT 1 FROM finance_deposit WHERE (deposit_id = NEW.deposit_id) OR (account_id = NEW.account_id AND reference = NEW.reference)) BEGIN SELECT RAISE(ABORT, 'finance_deposit: posted rows are never changed or deleted (UNIQUE constraint failed)'); END
;;
CREATE TABLE finance_prepayment (
    prepayment_id VARCHAR(32) NOT NULL,
    entity_id VARCHAR(32) NOT NULL,
    account_id VARCHAR(32) NOT NULL,
    service_id VARCHAR(32) NOT NULL,
    reference VARCHAR(60) NOT NULL,
    paid_minor BIGINT NOT NULL CONSTRAINT ck_finance_prepayment_positive CHECK (paid_minor > 0),
    net_minor BIGINT NOT NULL,
    currency VARCHAR(3) NOT NULL,
    tax_percent VARCHAR(40) NOT NULL,
    tax_category VARCHAR(4) NOT NULL,
    "into" VARCHAR(8) NOT NULL,
    entry_id VARCHAR(32) NOT NULL,
    taken_at BIGINT NOT NULL,
    taken_by VARCHAR(128) NOT NULL,
    CONSTRAINT pk_finance_prepayment PRIMARY KEY (prepayment_id),
    CONSTRAINT uq_finance_prepayment_service_id UNIQUE (service_id, reference),
    CONSTRAINT fk_finance_prepayment_entry_id_finance_journal_entry FOREIGN KEY(entry_id) REFERENCES finance_journal_entry (entry_id)
)
;;
CREATE TRIGGER finance_prepayment_no_update BEFORE UPDATE ON finance_prepayment BEGIN SELECT RAISE(ABORT, 'finance_prepayment: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_prepayment_no_delete BEFORE DELETE ON finance_prepayment BEGIN SELECT RAISE(ABORT, 'finance_prepayment: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_prepayment_no_replace BEFORE INSERT ON finance_prepayment WHEN EXISTS (SELECT 1 FROM finance_prepayment WHERE (prepayment_id = NEW.prepayment_id) OR (service_id = NEW.service_id AND reference = NEW.reference)) BEGIN SELECT RAISE(ABORT, 'finance_prepayment: posted rows are never changed or deleted (UNIQUE constraint failed)'); END
;;
CREATE TABLE finance_receipt (
    receipt_id VARCHAR(32) NOT NULL,
    entity_id VARCHAR(32) NOT NULL,
    series VARCHAR(24) NOT NULL,
    sequence BIGINT NOT NULL,
    number VARCHAR(40) NOT NULL,
    kind VARCHAR(12) NOT NULL CONSTRAINT ck_finance_receipt_kind CHECK (kind IN ('receipt', 'refund')),
    account_id VARCHAR(32) NOT NULL,
    service_id VARCHAR(32) NOT NULL,
    reference VARCHAR(60) NOT NULL,
    entry_id VARCHAR(32) NOT NULL,
    issued_at BIGINT NOT NULL,
    issued_on DATE NOT NULL,
    net_minor BIGINT NOT NULL,
    tax_minor BIGINT NOT NULL,
    total_minor BIGINT NOT NULL,
    currency VARCHAR(3) NOT NULL,
    content TEXT NOT NULL,
    content_sha256 BLOB NOT NULL,
    CONSTRAINT pk_finance_receipt PRIMARY KEY (receipt_id),
    CONSTRAINT uq_finance_receipt_entity_id UNIQUE (entity_id, series, sequence),
    CONSTRAINT uq_finance_receipt_service_id UNIQUE (service_id, kind, reference),
    CONSTRAINT ck_finance_receipt_total CHECK (total_minor = net_minor + tax_minor),
    CONSTRAINT uq_finance_receipt_entry_id UNIQUE (entry_id),
    CONSTRAINT fk_finance_receipt_entry_id_finance_journal_entry FOREIGN KEY(entry_id) REFERENCES finance_journal_entry (entry_id)
)
;;
CREATE INDEX ix_finance_receipt_account_id ON finance_receipt (account_id)
;;
CREATE INDEX ix_finance_receipt_service_id ON finance_receipt (service_id)
;;
CREATE TRIGGER finance_receipt_no_update BEFORE UPDATE ON finance_receipt BEGIN SELECT RAISE(ABORT, 'finance_receipt: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_receipt_no_delete BEFORE DELETE ON finance_receipt BEGIN SELECT RAISE(ABORT, 'finance_receipt: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_receipt_no_replace BEFORE INSERT ON finance_receipt WHEN EXISTS (SELECT 1 FROM finance_receipt WHERE (receipt_id = NEW.receipt_id) OR (entity_id = NEW.entity_id AND series = NEW.series AND sequence = NEW.sequence) OR (entry_id = NEW.entry_id)) BEGIN SELECT RAISE(ABORT, 'finance_receipt: posted rows are never changed or deleted (UNIQUE constraint failed)'); END
;;
CREATE TABLE finance_commission (
    reseller_id VARCHAR(32) NOT NULL,
    month DATE NOT NULL,
    currency VARCHAR(3) NOT NULL,
    net_minor BIGINT NOT NULL,
    share_minor BIGINT NOT NULL,
    entry_id VARCHAR(32),
    settled_at BIGINT NOT NULL,
    settled_by VARCHAR(128) NOT NULL,
    CONSTRAINT pk_finance_commission PRIMARY KEY (reseller_id, month, currency),
    CONSTRAINT fk_finance_commission_entry_id_finance_journal_entry FOREIGN KEY(entry_id) REFERENCES finance_journal_entry (entry_id)
)
;;
CREATE TRIGGER finance_commission_no_update BEFORE UPDATE ON finance_commission BEGIN SELECT RAISE(ABORT, 'finance_commission: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_commission_no_delete BEFORE DELETE ON finance_commission BEGIN SELECT RAISE(ABORT, 'finance_commission: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_commission_no_replace BEFORE INSERT ON finance_commission WHEN EXISTS (SELECT 1 FROM finance_commission WHERE (reseller_id = NEW.reseller_id AND month = NEW.month AND currency = NEW.currency)) BEGIN SELECT RAISE(ABORT, 'finance_commission: posted rows are never changed or deleted (UNIQUE constraint failed)'); END
;;
CREATE TABLE inventory_move (
    sequence INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    item_id VARCHAR(32) NOT NULL,
    at BIGINT NOT NULL,
    actor VARCHAR(128) NOT NULL,
    from_place VARCHAR(120) NOT NULL,
    to_place VARCHAR(120) NOT NULL,
    state VARCHAR(16) NOT NULL,
    why TEXT NOT NULL,
    CONSTRAINT fk_inventory_move_item_id_inventory_item FOREIGN KEY(item_id) REFERENCES inventory_item (item_id)
)
;;
CREATE INDEX ix_inventory_move_item_id ON inventory_move (item_id)
;;
CREATE TRIGGER inventory_move_immutable_update BEFORE UPDATE ON inventory_move BEGIN SELECT RAISE(ABORT, 'stock moves are never changed'); END
;;
CREATE TRIGGER inventory_move_immutable_delete BEFORE DELETE ON inventory_move BEGIN SELECT RAISE(ABORT, 'stock moves are never changed'); END
;;
CREATE TABLE payments_event (
    event_key INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    gateway VARCHAR(32) NOT NULL,
    provider_id VARCHAR(255) NOT NULL,
    type VARCHAR(255) NOT NULL,
    object_id VARCHAR(255) NOT NULL,
    intent_id VARCHAR(255),
    created_at BIGINT NOT NULL,
    received_at BIGINT NOT NULL,
    body TEXT NOT NULL,
    sha256 BLOB NOT NULL,
    deliveries INTEGER NOT NULL,
    state VARCHAR(12) NOT NULL,
    detail VARCHAR(300) NOT NULL,
    attempts INTEGER NOT NULL,
    handled_at BIGINT,
    CONSTRAINT uq_payments_event_gateway UNIQUE (gateway, provider_id),
    CONSTRAINT fk_payments_event_gateway_payments_gateway FOREIGN KEY(gateway) REFERENCES payments_gateway (name)
)
;;
CREATE INDEX ix_payments_event_intent ON payments_event (gateway, intent_id)
;;
CREATE INDEX ix_payments_event_state ON payments_event (state, event_key)
;;
CREATE TABLE payments_gateway_customer (
    gateway VARCHAR(32) NOT NULL,
    customer VARCHAR(255) NOT NULL,
    account_id VARCHAR(32) NOT NULL,
    since BIGINT NOT NULL,
    actor VARCHAR(128) NOT NULL,
    CONSTRAINT pk_payments_gateway_customer PRIMARY KEY (gateway, customer),
    CONSTRAINT fk_payments_gateway_customer_gateway_payments_gateway FOREIGN KEY(gateway) REFERENCES payments_gateway (name)
)
;;
CREATE INDEX ix_payments_gateway_customer_account_id ON payments_gateway_customer (account_id)
;;
CREATE TABLE payments_card_payment (
    gateway VARCHAR(32) NOT NULL,
    intent_id VARCHAR(255) NOT NULL,
    charge_id VARCHAR(255),
    customer VARCHAR(255),
    payer VARCHAR(140) NOT NULL,
    amount_minor BIGINT NOT NULL,
    currency VARCHAR(3) NOT NULL,
    paid_at BIGINT NOT NULL,
    account_id VARCHAR(32),
    payment_id VARCHAR(32),
    suspense_entry_id VARCHAR(32),
    CONSTRAINT pk_payments_card_payment PRIMARY KEY (gateway, intent_id),
    CONSTRAINT ck_payments_card_payment_whose CHECK ((payment_id IS NULL) = (account_id IS NULL)),
    CONSTRAINT fk_payments_card_payment_gateway_payments_gateway FOREIGN KEY(gateway) REFERENCES payments_gateway (name),
    CONSTRAINT uq_payments_card_payment_payment_id UNIQUE (payment_id)
)
;;
CREATE INDEX ix_payments_card_payment_account_id ON payments_card_payment (account_id)
;;
CREATE TABLE payments_card_attempt (
    attempt_id VARCHAR(32) NOT NULL,
    gateway VARCHAR(32) NOT NULL,
    account_id VARCHAR(32) NOT NULL,
    invoice_id VARCHAR(32),
    amount_minor BIGINT NOT NULL,
    currency VARCHAR(3) NOT NULL,
    customer VARCHAR(255) NOT NULL,
    method VARCHAR(255) NOT NULL,
    state VARCHAR(12) NOT NULL,
    intent_id VARCHAR(255),
    detail VARCHAR(300) NOT NULL,
    asked_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    actor VARCHAR(128) NOT NULL,
    reference VARCHAR(80),
    CONSTRAINT pk_payments_card_attempt PRIMARY KEY (attempt_id),
    CONSTRAINT fk_payments_card_attempt_gateway_payments_gateway FOREIGN KEY(gateway) REFERENCES payments_gateway (name),
    CONSTRAINT uq_payments_card_attempt_reference UNIQUE (reference)
)
;;
CREATE INDEX ix_payments_card_attempt_intent_id ON payments_card_attempt (intent_id)
;;
CREATE INDEX ix_payments_card_attempt_account_id ON payments_card_attempt (account_id)
;;
CREATE INDEX ix_payments_card_attempt_invoice_id ON payments_card_attempt (invoice_id)
;;
CREATE TABLE payments_dispute (
    gateway VARCHAR(32) NOT NULL,
    dispute_id VARCHAR(255) NOT NULL,
    intent_id VARCHAR(255) NOT NULL,
    currency VARCHAR(3) NOT NULL,
    withdrawn_minor BIGINT NOT NULL,
    fees_minor BIGINT NOT NULL,
    status VARCHAR(32) NOT NULL,
    reason VARCHAR(80) NOT NULL,
    told_at BIGINT NOT NULL,
    final INTEGER NOT NULL,
    steps INTEGER NOT NULL,
    CONSTRAINT pk_payments_dispute PRIMARY KEY (gateway, dispute_id),
    CONSTRAINT fk_payments_dispute_gateway_payments_gateway FOREIGN KEY(gateway) REFERENCES payments_gateway (name)
)
;;
CREATE TABLE payments_balance_transaction (
    gateway VARCHAR(32) NOT NULL,
    transaction_id VARCHAR(255) NOT NULL,
    source VARCHAR(255) NOT NULL,
    kind VARCHAR(64) NOT NULL,
    amount_minor BIGINT NOT NULL,
    fee_minor BIGINT NOT NULL,
    currency VARCHAR(3) NOT NULL,
    state VARCHAR(8) NOT NULL,
    entry_id VARCHAR(32),
    detail VARCHAR(300) NOT NULL,
    told_at BIGINT NOT NULL,
    CONSTRAINT pk_payments_balance_transaction PRIMARY KEY (gateway, transaction_id),
    CONSTRAINT fk_payments_balance_transaction_gateway_payments_gateway FOREIGN KEY(gateway) REFERENCES payments_gateway (name)
)
;;
CREATE INDEX ix_payments_balance_transaction_state ON payments_balance_transaction (state)
;;
CREATE TABLE payments_payout (
    gateway VARCHAR(32) NOT NULL,
    payout_id VARCHAR(255) NOT NULL,
    amount_minor BIGINT NOT NULL,
    currency VARCHAR(3) NOT NULL,
    arrival_on DATE NOT NULL,
    trace VARCHAR(255) NOT NULL,
    state VARCHAR(8) NOT NULL,
    line_id VARCHAR(32),
    checked VARCHAR(8) NOT NULL,
    difference_minor BIGINT NOT NULL,
    detail VARCHAR(300) NOT NULL,
    told_at BIGINT NOT NULL,
    CONSTRAINT pk_payments_payout PRIMARY KEY (gateway, payout_id),
    CONSTRAINT fk_payments_payout_gateway_payments_gateway FOREIGN KEY(gateway) REFERENCES payments_gateway (name)
)
;;
CREATE INDEX ix_payments_payout_checked ON payments_payout (checked)
;;
CREATE INDEX ix_payments_payout_state ON payments_payout (state, amount_minor)
;;
CREATE TABLE payments_statement (
    statement_id VARCHAR(32) NOT NULL,
    bank_account_id VARCHAR(32) NOT NULL,
    file_id VARCHAR(32) NOT NULL,
    ident VARCHAR(140) NOT NULL,
    first_on DATE NOT NULL,
    last_on DATE NOT NULL,
    opening_minor BIGINT NOT NULL,
    closing_minor BIGINT NOT NULL,
    sha256 BLOB NOT NULL,
    note VARCHAR(300) NOT NULL,
    CONSTRAINT pk_payments_statement PRIMARY KEY (statement_id),
    CONSTRAINT uq_payments_statement_bank_account_id UNIQUE (bank_account_id, ident, last_on),
    CONSTRAINT fk_payments_statement_bank_account_id_payments_bank_account FOREIGN KEY(bank_account_id) REFERENCES payments_bank_account (bank_account_id),
    CONSTRAINT fk_payments_statement_file_id_payments_bank_file FOREIGN KEY(file_id) REFERENCES payments_bank_file (file_id)
)
;;
CREATE INDEX ix_payments_statement_last_on ON payments_statement (bank_account_id, last_on)
;;
CREATE INDEX ix_payments_statement_file_id ON payments_statement (file_id)
;;
CREATE TRIGGER payments_statement_no_update BEFORE UPDATE ON payments_statement BEGIN SELECT RAISE(ABORT, 'payments_statement: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER payments_statement_no_delete BEFORE DELETE ON payments_statement BEGIN SELECT RAISE(ABORT, 'payments_statement: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER payments_statement_no_replace BEFORE INSERT ON payments_statement WHEN EXISTS (SELECT 1 FROM payments_statement WHERE (statement_id = NEW.statement_id)) BEGIN SELECT RAISE(ABORT, 'payments_statement: posted rows are never changed or deleted (UNIQUE constraint failed)'); END
;;
CREATE TABLE payments_collection (
    collection_id VARCHAR(32) NOT NULL,
    bank_account_id VARCHAR(32) NOT NULL,
    message_id VARCHAR(35) NOT NULL,
    form VARCHAR(16) NOT NULL,
    collect_on DATE NOT NULL,
    items INTEGER NOT NULL,
    total_minor BIGINT NOT NULL,
    currency VARCHAR(3) NOT NULL,
    state VARCHAR(8) NOT NULL,
    sha256 BLOB NOT NULL,
    content TEXT NOT NULL,
    made_at BIGINT NOT NULL,
    sent_at BIGINT,
    actor VARCHAR(128) NOT NULL,
    CONSTRAINT pk_payments_collection PRIMARY KEY (collection_id),
    CONSTRAINT fk_payments_collection_bank_account_id_payments_bank_account FOREIGN KEY(bank_account_id) REFERENCES payments_bank_account (bank_account_id),
    CONSTRAINT uq_payments_collection_message_id UNIQUE (message_id)
)
;;
CREATE TABLE payments_transfer_file (
    file_id VARCHAR(32) NOT NULL,
    bank_account_id VARCHAR(32) NOT NULL,
    message_id VARCHAR(35) NOT NULL,
    items INTEGER NOT NULL,
    total_minor BIGINT NOT NULL,
    currency VARCHAR(3) NOT NULL,
    sha256 BLOB NOT NULL,
    content TEXT NOT NULL,
    made_at BIGINT NOT NULL,
    actor VARCHAR(128) NOT NULL,
    CONSTRAINT pk_payments_transfer_file PRIMARY KEY (file_id),
    CONSTRAINT fk_payments_transfer_file_bank_account_id_payments_bank_account FOREIGN KEY(bank_account_id) REFERENCES payments_bank_account (bank_account_id),
    CONSTRAINT uq_payments_transfer_file_message_id UNIQUE (message_id)
)
;;
CREATE TRIGGER payments_transfer_file_no_update BEFORE UPDATE ON payments_transfer_file BEGIN SELECT RAISE(ABORT, 'payments_transfer_file: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER payments_transfer_file_no_delete BEFORE DELETE ON payments_transfer_file BEGIN SELECT RAISE(ABORT, 'payments_transfer_file: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER payments_transfer_file_no_replace BEFORE INSERT ON payments_transfer_file WHEN EXISTS (SELECT 1 FROM payments_transfer_file WHERE (file_id = NEW.file_id) OR (message_id = NEW.message_id)) BEGIN SELECT RAISE(ABORT, 'payments_transfer_file: posted rows are never changed or deleted (UNIQUE constraint failed)'); END
;;
CREATE TABLE payments_shift (
    shift_id VARCHAR(32) NOT NULL,
    till_id VARCHAR(32) NOT NULL,
    number INTEGER NOT NULL,
    opened_at BIGINT NOT NULL,
    opened_by VARCHAR(128) NOT NULL,
    opening_minor BIGINT NOT NULL,
    closed_at BIGINT,
    closed_by VARCHAR(128),
    expected_minor BIGINT,
    counted_minor BIGINT,
    reason VARCHAR(300) NOT NULL,
    CONSTRAINT pk_payments_shift PRIMARY KEY (shift_id),
    CONSTRAINT uq_payments_shift_till_id UNIQUE (till_id, number),
    CONSTRAINT fk_payments_shift_till_id_payments_till FOREIGN KEY(till_id) REFERENCES payments_till (till_id)
)
;;
CREATE UNIQUE INDEX uq_payments_shift_open ON payments_shift (till_id) WHERE closed_at IS NULL
;;
CREATE TABLE billing_bridge_charge_usage (
    charge_id VARCHAR(32) NOT NULL,
    service_id VARCHAR(32) NOT NULL,
    first_on DATE NOT NULL,
    until_on DATE NOT NULL,
    days TEXT NOT NULL,
    CONSTRAINT pk_billing_bridge_charge_usage PRIMARY KEY (charge_id),
    CONSTRAINT fk_billing_bridge_charge_usage_charge_id_billing_bridge_charge FOREIGN KEY(charge_id) REFERENCES billing_bridge_charge (charge_id)
)
;;
CREATE INDEX ix_billing_bridge_charge_usage_until_on ON billing_bridge_charge_usage (until_on)
;;
CREATE TABLE billing_bridge_charge_calls (
    charge_id VARCHAR(32) NOT NULL,
    day DATE NOT NULL,
    service_id VARCHAR(32) NOT NULL,
    calls INTEGER NOT NULL,
    duration_s BIGINT NOT NULL,
    last_call_id BIGINT NOT NULL,
    CONSTRAINT pk_billing_bridge_charge_calls PRIMARY KEY (charge_id, day),
    CONSTRAINT fk_billing_bridge_charge_calls_charge_id_billing_bridge_charge FOREIGN KEY(charge_id) REFERENCES billing_bridge_charge (charge_id)
)
;;
CREATE TABLE crm_account (
    account_id VARCHAR(32) NOT NULL,
    customer_id VARCHAR(32) NOT NULL,
    currency VARCHAR(3) NOT NULL,
    zone VARCHAR(64) NOT NULL,
    created_at BIGINT NOT NULL,
    CONSTRAINT pk_crm_account PRIMARY KEY (account_id),
    CONSTRAINT uq_crm_account_customer_id UNIQUE (customer_id),
    CONSTRAINT fk_crm_account_customer_id_crm_customer FOREIGN KEY(customer_id) REFERENCES crm_customer (customer_id)
)
;;
CREATE TABLE finance_promise (
    promise_id VARCHAR(32) NOT NULL,
    contract_id VARCHAR(32) NOT NULL,
    version INTEGER NOT NULL,
    position INTEGER NOT NULL,
    name VARCHAR(120) NOT NULL,
    role VARCHAR(32) NOT NULL,
    stand_alone_minor BIGINT NOT NULL,
    share_minor BIGINT NOT NULL,
    first_on DATE NOT NULL,
    until_on DATE,
    CONSTRAINT pk_finance_promise PRIMARY KEY (promise_id),
    CONSTRAINT fk_finance_promise_contract_id_finance_contract_change FOREIGN KEY(contract_id, version) REFERENCES finance_contract_change (contract_id, version),
    CONSTRAINT uq_finance_promise_contract_id UNIQUE (contract_id, version, position)
)
;;
CREATE TRIGGER finance_promise_no_update BEFORE UPDATE ON finance_promise BEGIN SELECT RAISE(ABORT, 'finance_promise: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_promise_no_delete BEFORE DELETE ON finance_promise BEGIN SELECT RAISE(ABORT, 'finance_promise: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_promise_no_replace BEFORE INSERT ON finance_promise WHEN EXISTS (SELECT 1 FROM finance_promise WHERE (promise_id = NEW.promise_id)) BEGIN SELECT RAISE(ABORT, 'finance_promise: posted rows are never changed or deleted (UNIQUE constraint failed)'); END
;;
CREATE TABLE finance_entry_decision (
    proposal_id VARCHAR(32) NOT NULL,
    entry_id VARCHAR(32),
    reason VARCHAR(200) NOT NULL,
    at BIGINT NOT NULL,
    actor VARCHAR(128) NOT NULL,
    CONSTRAINT pk_finance_entry_decision PRIMARY KEY (proposal_id),
    CONSTRAINT fk_finance_entry_decision_proposal_id_finance_entry_proposal FOREIGN KEY(proposal_id) REFERENCES finance_entry_proposal (proposal_id),
    CONSTRAINT fk_finance_entry_decision_entry_id_finance_journal_entry FOREIGN KEY(entry_id) REFERENCES finance_journal_entry (entry_id)
)
;;
CREATE TRIGGER finance_entry_decision_no_update BEFORE UPDATE ON finance_entry_decision BEGIN SELECT RAISE(ABORT, 'finance_entry_decision: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_entry_decision_no_delete BEFORE DELETE ON finance_entry_decision BEGIN SELECT RAISE(ABORT, 'finance_entry_decision: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_entry_decision_no_replace BEFORE INSERT ON finance_entry_decision WHEN EXISTS (SELECT 1 FROM finance_entry_decision WHERE (proposal_id = NEW.proposal_id)) BEGIN SELECT RAISE(ABORT, 'finance_entry_decision: posted rows are never changed or deleted (UNIQUE constraint failed)'); END
;;
CREATE TABLE finance_invoice_line (
    line_id VARCHAR(32) NOT NULL,
    invoice_id VARCHAR(32) NOT NULL,
    position INTEGER NOT NULL,
    charge_id VARCHAR(32) NOT NULL,
    part INTEGER NOT NULL,
    subscription_id VARCHAR(32) NOT NULL,
    service_id VARCHAR(32) NOT NULL,
    version_id VARCHAR(32) NOT NULL,
    kind VARCHAR(16) NOT NULL,
    item VARCHAR(200) NOT NULL,
    description VARCHAR(400) NOT NULL,
    first_on DATE NOT NULL,
    until_on DATE NOT NULL,
    quantity VARCHAR(40) NOT NULL,
    unit VARCHAR(8) NOT NULL,
    unit_price VARCHAR(40) NOT NULL,
    net_minor BIGINT NOT NULL,
    tax_percent VARCHAR(40) NOT NULL,
    tax_minor BIGINT NOT NULL,
    exemption VARCHAR(200) NOT NULL,
    exemption_code VARCHAR(40) NOT NULL,
    tax_category VARCHAR(4) NOT NULL,
    tax_included BOOLEAN NOT NULL,
    agreed_minor BIGINT NOT NULL,
    adjustment BOOLEAN NOT NULL,
    credits_line_id VARCHAR(32),
    CONSTRAINT pk_finance_invoice_line PRIMARY KEY (line_id),
    CONSTRAINT uq_finance_invoice_line_invoice_id UNIQUE (invoice_id, position),
    CONSTRAINT uq_finance_invoice_line_charge_id UNIQUE (charge_id, part),
    CONSTRAINT fk_finance_invoice_line_invoice_id_finance_invoice FOREIGN KEY(invoice_id) REFERENCES finance_invoice (invoice_id) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT fk_finance_invoice_line_credits_line_id_finance_invoice_line FOREIGN KEY(credits_line_id) REFERENCES finance_invoice_line (line_id)
)
;;
CREATE INDEX ix_finance_invoice_line_credits_line_id ON finance_invoice_line (credits_line_id) WHERE credits_line_id IS NOT NULL
;;
CREATE TRIGGER finance_invoice_line_no_update BEFORE UPDATE ON finance_invoice_line BEGIN SELECT RAISE(ABORT, 'finance_invoice_line: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_invoice_line_no_delete BEFORE DELETE ON finance_invoice_line BEGIN SELECT RAISE(ABORT, 'finance_invoice_line: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_invoice_line_no_replace BEFORE INSERT ON finance_invoice_line WHEN EXISTS (SELECT 1 FROM finance_invoice_line WHERE (line_id = NEW.line_id) OR (charge_id = NEW.charge_id AND part = NEW.part) OR (invoice_id = NEW.invoice_id AND position = NEW.position)) BEGIN SELECT RAISE(ABORT, 'finance_invoice_line: posted rows are never changed or deleted (UNIQUE constraint failed)'); END
;;
CREATE TRIGGER finance_invoice_line_over_credit BEFORE INSERT ON finance_invoice_line WHEN NEW.credits_line_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM finance_invoice_line o JOIN finance_invoice oh ON oh.invoice_id = o.invoice_id JOIN finance_invoice nh ON nh.invoice_id = NEW.invoice_id LEFT JOIN finance_invoice_line oo ON oo.line_id = o.credits_line_id WHERE o.line_id = NEW.credits_line_id AND oo.credits_line_id IS NULL AND oh.account_id = nh.account_id AND oh.currency = nh.currency AND oh.invoice_id <> nh.invoice_id AND CASE WHEN o.net_minor >= 0 THEN NEW.net_minor <= 0 AND o.net_minor + ((SELECT COALESCE(SUM(net_minor), 0) FROM finance_invoice_line WHERE credits_line_id = NEW.credits_line_id) + (SELECT COALESCE(SUM(b.net_minor), 0) FROM finance_invoice_line c JOIN finance_invoice_line b ON b.credits_line_id = c.line_id WHERE c.credits_line_id = NEW.credits_line_id)) + NEW.net_minor >= 0 ELSE NEW.net_minor >= 0 AND o.net_minor + ((SELECT COALESCE(SUM(net_minor), 0) FROM finance_invoice_line WHERE credits_line_id = NEW.credits_line_id) + (SELECT COALESCE(SUM(b.net_minor), 0) FROM finance_invoice_line c JOIN finance_invoice_line b ON b.credits_line_id = c.line_id WHERE c.credits_line_id = NEW.credits_line_id)) + NEW.net_minor <= 0 END AND CASE WHEN o.tax_minor >= 0 THEN NEW.tax_minor <= 0 AND o.tax_minor + ((SELECT COALESCE(SUM(tax_minor), 0) FROM finance_invoice_line WHERE credits_line_id = NEW.credits_line_id) + (SELECT COALESCE(SUM(b.tax_minor), 0) FROM finance_invoice_line c JOIN finance_invoice_line b ON b.credits_line_id = c.line_id WHERE c.credits_line_id = NEW.credits_line_id)) + NEW.tax_minor >= 0 ELSE NEW.tax_minor >= 0 AND o.tax_minor + ((SELECT COALESCE(SUM(tax_minor), 0) FROM finance_invoice_line WHERE credits_line_id = NEW.credits_line_id) + (SELECT COALESCE(SUM(b.tax_minor), 0) FROM finance_invoice_line c JOIN finance_invoice_line b ON b.credits_line_id = c.line_id WHERE c.credits_line_id = NEW.credits_line_id)) + NEW.tax_minor <= 0 END) BEGIN SELECT RAISE(ABORT, 'finance_invoice_line: more is credited than the line says'); END
;;
CREATE TABLE finance_document (
    invoice_id VARCHAR(32) NOT NULL,
    sha256 BLOB NOT NULL,
    pdf BLOB NOT NULL,
    rendered_at BIGINT NOT NULL,
    CONSTRAINT pk_finance_document PRIMARY KEY (invoice_id),
    CONSTRAINT fk_finance_document_invoice_id_finance_invoice FOREIGN KEY(invoice_id) REFERENCES finance_invoice (invoice_id)
)
;;
CREATE TRIGGER finance_document_no_update BEFORE UPDATE ON finance_document BEGIN SELECT RAISE(ABORT, 'finance_document: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_document_no_delete BEFORE DELETE ON finance_document BEGIN SELECT RAISE(ABORT, 'finance_document: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_document_no_replace BEFORE INSERT ON finance_document WHEN EXISTS (SELECT 1 FROM finance_document WHERE (invoice_id = NEW.invoice_id)) BEGIN SELECT RAISE(ABORT, 'finance_document: posted rows are never changed or deleted (UNIQUE constraint failed)'); END
;;
CREATE TABLE finance_payment_reversal (
    reversal_id VARCHAR(32) NOT NULL,
    payment_id VARCHAR(32) NOT NULL,
    kind VARCHAR(16) NOT NULL,
    reference VARCHAR(140) NOT NULL,
    amount_minor BIGINT NOT NULL CONSTRAINT ck_finance_payment_reversal_not_zero CHECK (amount_minor <> 0),
    at BIGINT NOT NULL,
    booked_on DATE NOT NULL,
    entry_id VARCHAR(32) NOT NULL,
    reason VARCHAR(300) NOT NULL,
    actor VARCHAR(128) NOT NULL,
    CONSTRAINT pk_finance_payment_reversal PRIMARY KEY (reversal_id),
    CONSTRAINT uq_finance_payment_reversal_kind UNIQUE (kind, reference),
    CONSTRAINT fk_finance_payment_reversal_payment_id_finance_payment FOREIGN KEY(payment_id) REFERENCES finance_payment (payment_id),
    CONSTRAINT fk_finance_payment_reversal_entry_id_finance_journal_entry FOREIGN KEY(entry_id) REFERENCES finance_journal_entry (entry_id)
)
;;
CREATE INDEX ix_finance_payment_reversal_payment_id ON finance_payment_reversal (payment_id)
;;
CREATE TRIGGER finance_payment_reversal_no_update BEFORE UPDATE ON finance_payment_reversal BEGIN SELECT RAISE(ABORT, 'finance_payment_reversal: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_payment_reversal_no_delete BEFORE DELETE ON finance_payment_reversal BEGIN SELECT RAISE(ABORT, 'finance_payment_reversal: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_payment_reversal_no_replace BEFORE INSERT ON finance_payment_reversal WHEN EXISTS (SELECT 1 FROM finance_payment_reversal WHERE (reversal_id = NEW.reversal_id) OR (kind = NEW.kind AND reference = NEW.reference)) BEGIN SELECT RAISE(ABORT, 'finance_payment_reversal: posted rows are never changed or deleted (UNIQUE constraint failed)'); END
;;
CREATE TRIGGER finance_payment_reversal_payment_overspent BEFORE INSERT ON finance_payment_reversal WHEN NEW.amount_minor > 0 AND NEW.payment_id IS NOT NULL AND (SELECT amount_minor FROM finance_payment WHERE payment_id = NEW.payment_id) < (SELECT COALESCE(SUM(amount_minor), 0) FROM finance_allocation WHERE payment_id = NEW.payment_id) + (SELECT COALESCE(SUM(amount_minor), 0) FROM finance_payment_reversal WHERE payment_id = NEW.payment_id) + (SELECT COALESCE(SUM(amount_minor), 0) FROM finance_reservation WHERE payment_id = NEW.payment_id) + NEW.amount_minor BEGIN SELECT RAISE(ABORT, 'finance_payment_reversal: more is spent than the payment has'); END
;;
CREATE TABLE finance_allocation (
    allocation_id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    invoice_id VARCHAR(32) NOT NULL,
    payment_id VARCHAR(32),
    credit_note_id VARCHAR(32),
    amount_minor BIGINT NOT NULL,
    at BIGINT NOT NULL,
    applied_on DATE NOT NULL,
    reverses INTEGER,
    actor VARCHAR(128),
    reason VARCHAR(300),
    CONSTRAINT ck_finance_allocation_one_source CHECK ((payment_id IS NULL) <> (credit_note_id IS NULL)),
    CONSTRAINT ck_finance_allocation_sign CHECK (amount_minor <> 0 AND (amount_minor < 0) = (reverses IS NOT NULL)),
    CONSTRAINT fk_finance_allocation_invoice_id_finance_invoice FOREIGN KEY(invoice_id) REFERENCES finance_invoice (invoice_id),
    CONSTRAINT fk_finance_allocation_payment_id_finance_payment FOREIGN KEY(payment_id) REFERENCES finance_payment (payment_id),
    CONSTRAINT fk_finance_allocation_credit_note_id_finance_invoice FOREIGN KEY(credit_note_id) REFERENCES finance_invoice (invoice_id),
    CONSTRAINT uq_finance_allocation_reverses UNIQUE (reverses),
    CONSTRAINT fk_finance_allocation_reverses_finance_allocation FOREIGN KEY(reverses) REFERENCES finance_allocation (allocation_id)
)
;;
CREATE INDEX ix_finance_allocation_invoice_id ON finance_allocation (invoice_id)
;;
CREATE INDEX ix_finance_allocation_credit_note_id ON finance_allocation (credit_note_id)
;;
CREATE INDEX ix_finance_allocation_payment_id ON finance_allocation (payment_id)
;;
CREATE TRIGGER finance_allocation_no_update BEFORE UPDATE ON finance_allocation BEGIN SELECT RAISE(ABORT, 'finance_allocation: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_allocation_no_delete BEFORE DELETE ON finance_allocation BEGIN SELECT RAISE(ABORT, 'finance_allocation: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_allocation_no_replace BEFORE INSERT ON finance_allocation WHEN EXISTS (SELECT 1 FROM finance_allocation WHERE (allocation_id = NEW.allocation_id) OR (reverses = NEW.reverses)) BEGIN SELECT RAISE(ABORT, 'finance_allocation: posted rows are never changed or deleted (UNIQUE constraint failed)'); END
;;
CREATE TRIGGER finance_allocation_payment_overspent BEFORE INSERT ON finance_allocation WHEN NEW.amount_minor > 0 AND NEW.payment_id IS NOT NULL AND (SELECT amount_minor FROM finance_payment WHERE payment_id = NEW.payment_id) < (SELECT COALESCE(SUM(amount_minor), 0) FROM finance_allocation WHERE payment_id = NEW.payment_id) + (SELECT COALESCE(SUM(amount_minor), 0) FROM finance_payment_reversal WHERE payment_id = NEW.payment_id) + (SELECT COALESCE(SUM(amount_minor), 0) FROM finance_reservation WHERE payment_id = NEW.payment_id) + NEW.amount_minor BEGIN SELECT RAISE(ABORT, 'finance_allocation: more is spent than the payment has'); END
;;
CREATE TRIGGER finance_allocation_credit_note_overspent BEFORE INSERT ON finance_allocation WHEN NEW.amount_minor > 0 AND NEW.credit_note_id IS NOT NULL AND (SELECT -total_minor FROM finance_invoice WHERE invoice_id = NEW.credit_note_id) < (SELECT COALESCE(SUM(amount_minor), 0) FROM finance_allocation WHERE credit_note_id = NEW.credit_note_id) + NEW.amount_minor BEGIN SELECT RAISE(ABORT, 'finance_allocation: more is spent than the credit note has'); END
;;
CREATE TABLE finance_reservation (
    reservation_id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    payment_id VARCHAR(32) NOT NULL,
    reference VARCHAR(64) NOT NULL,
    amount_minor BIGINT NOT NULL,
    ends INTEGER,
    at BIGINT NOT NULL,
    actor VARCHAR(128) NOT NULL,
    reason VARCHAR(300) NOT NULL,
    CONSTRAINT ck_finance_reservation_sign CHECK (amount_minor <> 0 AND (amount_minor < 0) = (ends IS NOT NULL)),
    CONSTRAINT fk_finance_reservation_payment_id_finance_payment FOREIGN KEY(payment_id) REFERENCES finance_payment (payment_id),
    CONSTRAINT uq_finance_reservation_ends UNIQUE (ends),
    CONSTRAINT fk_finance_reservation_ends_finance_reservation FOREIGN KEY(ends) REFERENCES finance_reservation (reservation_id)
)
;;
CREATE INDEX ix_finance_reservation_payment_id ON finance_reservation (payment_id)
;;
CREATE INDEX ix_finance_reservation_reference ON finance_reservation (reference)
;;
CREATE TRIGGER finance_reservation_no_update BEFORE UPDATE ON finance_reservation BEGIN SELECT RAISE(ABORT, 'finance_reservation: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_reservation_no_delete BEFORE DELETE ON finance_reservation BEGIN SELECT RAISE(ABORT, 'finance_reservation: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_reservation_no_replace BEFORE INSERT ON finance_reservation WHEN EXISTS (SELECT 1 FROM finance_reservation WHERE (reservation_id = NEW.reservation_id) OR (ends = NEW.ends)) BEGIN SELECT RAISE(ABORT, 'finance_reservation: posted rows are never changed or deleted (UNIQUE constraint failed)'); END
;;
CREATE TRIGGER finance_reservation_payment_overspent BEFORE INSERT ON finance_reservation WHEN NEW.amount_minor > 0 AND NEW.payment_id IS NOT NULL AND (SELECT amount_minor FROM finance_payment WHERE payment_id = NEW.payment_id) < (SELECT COALESCE(SUM(amount_minor), 0) FROM finance_allocation WHERE payment_id = NEW.payment_id) + (SELECT COALESCE(SUM(amount_minor), 0) FROM finance_payment_reversal WHERE payment_id = NEW.payment_id) + (SELECT COALESCE(SUM(amount_minor), 0) FROM finance_reservation WHERE payment_id = NEW.payment_id) + NEW.amount_minor BEGIN SELECT RAISE(ABORT, 'finance_reservation: more is spent than the payment has'); END
;;
CREATE TABLE finance_deposit_release (
    deposit_id VARCHAR(32) NOT NULL,
    payment_id VARCHAR(32) NOT NULL,
    released_at BIGINT NOT NULL,
    released_by VARCHAR(128) NOT NULL,
    reason VARCHAR(200) NOT NULL,
    CONSTRAINT pk_finance_deposit_release PRIMARY KEY (deposit_id),
    CONSTRAINT fk_finance_deposit_release_deposit_id_finance_deposit FOREIGN KEY(deposit_id) REFERENCES finance_deposit (deposit_id),
    CONSTRAINT fk_finance_deposit_release_payment_id_finance_payment FOREIGN KEY(payment_id) REFERENCES finance_payment (payment_id)
)
;;
CREATE TRIGGER finance_deposit_release_no_update BEFORE UPDATE ON finance_deposit_release BEGIN SELECT RAISE(ABORT, 'finance_deposit_release: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_deposit_release_no_delete BEFORE DELETE ON finance_deposit_release BEGIN SELECT RAISE(ABORT, 'finance_deposit_release: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_deposit_release_no_replace BEFORE INSERT ON finance_deposit_release WHEN EXISTS (SELECT 1 FROM finance_deposit_release WHERE (deposit_id = NEW.deposit_id)) BEGIN SELECT RAISE(ABORT, 'finance_deposit_release: posted rows are never changed or deleted (UNIQUE constraint failed)'); END
;;
CREATE TABLE payments_bank_line (
    line_id VARCHAR(32) NOT NULL,
    bank_account_id VARCHAR(32) NOT NULL,
    statement_id VARCHAR(32) NOT NULL,
    position INTEGER NOT NULL,
    part INTEGER NOT NULL,
    booked_on DATE NOT NULL,
    value_on DATE NOT NULL,
    amount_minor BIGINT NOT NULL CONSTRAINT ck_payments_bank_line_not_zero CHECK (amount_minor <> 0),
    currency VARCHAR(3) NOT NULL,
    kind VARCHAR(12) NOT NULL,
    end_to_end VARCHAR(70) NOT NULL,
    reference VARCHAR(140) NOT NULL,
    batch VARCHAR(70) NOT NULL,
    bank_ref VARCHAR(70) NOT NULL,
    code VARCHAR(40) NOT NULL,
    return_reason VARCHAR(8) NOT NULL,
    remittance VARCHAR(1000) NOT NULL,
    party VARCHAR(140) NOT NULL,
    party_iban VARCHAR(34) NOT NULL,
    state VARCHAR(8) NOT NULL,
    matched VARCHAR(16) NOT NULL,
    subject VARCHAR(160) NOT NULL,
    matches INTEGER NOT NULL,
    changed_at BIGINT NOT NULL,
    actor VARCHAR(128) NOT NULL,
    CONSTRAINT pk_payments_bank_line PRIMARY KEY (line_id),
    CONSTRAINT uq_payments_bank_line_statement_id UNIQUE (statement_id, position, part),
    CONSTRAINT fk_payments_bank_line_bank_account_id_payments_bank_account FOREIGN KEY(bank_account_id) REFERENCES payments_bank_account (bank_account_id),
    CONSTRAINT fk_payments_bank_line_statement_id_payments_statement FOREIGN KEY(statement_id) REFERENCES payments_statement (statement_id)
)
;;
CREATE INDEX ix_payments_bank_line_bank_ref ON payments_bank_line (bank_account_id, bank_ref)
;;
CREATE INDEX ix_payments_bank_line_state ON payments_bank_line (state, booked_on, line_id)
;;
CREATE TABLE payments_collection_item (
    item_id VARCHAR(32) NOT NULL,
    collection_id VARCHAR(32) NOT NULL,
    mandate_id VARCHAR(32) NOT NULL,
    sequence VARCHAR(4) NOT NULL,
    invoice_id VARCHAR(32) NOT NULL,
    account_id VARCHAR(32) NOT NULL,
    amount_minor BIGINT NOT NULL,
    state VARCHAR(8) NOT NULL,
    payment_id VARCHAR(32),
    reason VARCHAR(40) NOT NULL,
    changed_at BIGINT NOT NULL,
    CONSTRAINT pk_payments_collection_item PRIMARY KEY (item_id),
    CONSTRAINT fk_payments_collection_item_collection_id_payments_collection FOREIGN KEY(collection_id) REFERENCES payments_collection (collection_id),
    CONSTRAINT fk_payments_collection_item_mandate_id_payments_mandate FOREIGN KEY(mandate_id) REFERENCES payments_mandate (mandate_id)
)
;;
CREATE INDEX ix_payments_collection_item_collection_id ON payments_collection_item (collection_id)
;;
CREATE UNIQUE INDEX uq_payments_collection_item_invoice ON payments_collection_item (invoice_id) WHERE state = 'waiting'
;;
CREATE TABLE payments_cash_receipt (
    receipt_id VARCHAR(32) NOT NULL,
    till_id VARCHAR(32) NOT NULL,
    shift_id VARCHAR(32) NOT NULL,
    number VARCHAR(60) NOT NULL,
    kind VARCHAR(12) NOT NULL,
    amount_minor BIGINT NOT NULL,
    currency VARCHAR(3) NOT NULL,
    account_id VARCHAR(32),
    payment_id VARCHAR(32),
    refund_id VARCHAR(32),
    request VARCHAR(64) NOT NULL,
    note VARCHAR(300) NOT NULL,
    at BIGINT NOT NULL,
    actor VARCHAR(128) NOT NULL,
    CONSTRAINT pk_payments_cash_receipt PRIMARY KEY (receipt_id),
    CONSTRAINT uq_payments_cash_receipt_till_id UNIQUE (till_id, request),
    CONSTRAINT fk_payments_cash_receipt_till_id_payments_till FOREIGN KEY(till_id) REFERENCES payments_till (till_id),
    CONSTRAINT fk_payments_cash_receipt_shift_id_payments_shift FOREIGN KEY(shift_id) REFERENCES payments_shift (shift_id),
    CONSTRAINT uq_payments_cash_receipt_number UNIQUE (number)
)
;;
CREATE INDEX ix_payments_cash_receipt_shift_id ON payments_cash_receipt (shift_id)
;;
CREATE TRIGGER payments_cash_receipt_no_update BEFORE UPDATE ON payments_cash_receipt BEGIN SELECT RAISE(ABORT, 'payments_cash_receipt: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER payments_cash_receipt_no_delete BEFORE DELETE ON payments_cash_receipt BEGIN SELECT RAISE(ABORT, 'payments_cash_receipt: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER payments_cash_receipt_no_replace BEFORE INSERT ON payments_cash_receipt WHEN EXISTS (SELECT 1 FROM payments_cash_receipt WHERE (receipt_id = NEW.receipt_id) OR (number = NEW.number)) BEGIN SELECT RAISE(ABORT, 'payments_cash_receipt: posted rows are never changed or deleted (UNIQUE constraint failed)'); END
;;
CREATE TABLE crm_account_parent (
    account_id VARCHAR(32) NOT NULL,
    since DATE NOT NULL,
    parent_id VARCHAR(32),
    billed_to_parent BOOLEAN NOT NULL,
    heading VARCHAR(120) NOT NULL,
    blocked_with_parent BOOLEAN NOT NULL,
    changed_at BIGINT NOT NULL,
    changed_by VARCHAR(128) NOT NULL,
    CONSTRAINT pk_crm_account_parent PRIMARY KEY (account_id, since),
    CONSTRAINT fk_crm_account_parent_account_id_crm_account FOREIGN KEY(account_id) REFERENCES crm_account (account_id),
    CONSTRAINT fk_crm_account_parent_parent_id_crm_account FOREIGN KEY(parent_id) REFERENCES crm_account (account_id)
)
;;
CREATE INDEX ix_crm_account_parent_parent_id ON crm_account_parent (parent_id)
;;
CREATE TABLE crm_usage_link (
    link_id VARCHAR(32) NOT NULL,
    account_id VARCHAR(32) NOT NULL,
    digest VARCHAR(64) NOT NULL,
    created_at BIGINT NOT NULL,
    created_by VARCHAR(128) NOT NULL,
    expires_at BIGINT NOT NULL,
    withdrawn_at BIGINT,
    CONSTRAINT pk_crm_usage_link PRIMARY KEY (link_id),
    CONSTRAINT fk_crm_usage_link_account_id_crm_account FOREIGN KEY(account_id) REFERENCES crm_account (account_id),
    CONSTRAINT uq_crm_usage_link_digest UNIQUE (digest)
)
;;
CREATE INDEX ix_crm_usage_link_account_id ON crm_usage_link (account_id)
;;
CREATE TABLE finance_earning (
    earning_id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    entity_id VARCHAR(32) NOT NULL,
    currency VARCHAR(3) NOT NULL,
    code VARCHAR(8) NOT NULL,
    month DATE NOT NULL,
    first_on DATE NOT NULL,
    until_on DATE NOT NULL,
    amount_minor BIGINT NOT NULL,
    line_id VARCHAR(32),
    promise_id VARCHAR(32),
    contract_id VARCHAR(32),
    CONSTRAINT ck_finance_earning_one_source CHECK ((line_id IS NULL) <> (promise_id IS NULL)),
    CONSTRAINT ck_finance_earning_days CHECK (until_on > first_on),
    CONSTRAINT fk_finance_earning_entity_id_finance_account FOREIGN KEY(entity_id, code) REFERENCES finance_account (entity_id, code),
    CONSTRAINT fk_finance_earning_line_id_finance_invoice_line FOREIGN KEY(line_id) REFERENCES finance_invoice_line (line_id),
    CONSTRAINT fk_finance_earning_promise_id_finance_promise FOREIGN KEY(promise_id) REFERENCES finance_promise (promise_id),
    CONSTRAINT fk_finance_earning_contract_id_finance_contract FOREIGN KEY(contract_id) REFERENCES finance_contract (contract_id)
)
;;
CREATE INDEX ix_finance_earning_entity_id ON finance_earning (entity_id, month)
;;
CREATE INDEX ix_finance_earning_line_id ON finance_earning (line_id)
;;
CREATE INDEX ix_finance_earning_promise_id ON finance_earning (promise_id)
;;
CREATE INDEX ix_finance_earning_contract_id ON finance_earning (contract_id)
;;
CREATE TRIGGER finance_earning_no_update BEFORE UPDATE ON finance_earning BEGIN SELECT RAISE(ABORT, 'finance_earning: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_earning_no_delete BEFORE DELETE ON finance_earning BEGIN SELECT RAISE(ABORT, 'finance_earning: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_earning_no_replace BEFORE INSERT ON finance_earning WHEN EXISTS (SELECT 1 FROM finance_earning WHERE (earning_id = NEW.earning_id)) BEGIN SELECT RAISE(ABORT, 'finance_earning: posted rows are never changed or deleted (UNIQUE constraint failed)'); END
;;
CREATE TABLE finance_line_levy (
    line_id VARCHAR(32) NOT NULL,
    code VARCHAR(40) NOT NULL,
    name VARCHAR(120) NOT NULL,
    authority VARCHAR(120) NOT NULL,
    rate VARCHAR(80) NOT NULL,
    base_minor BIGINT NOT NULL,
    tax_minor BIGINT NOT NULL,
    CONSTRAINT pk_finance_line_levy PRIMARY KEY (line_id, code),
    CONSTRAINT fk_finance_line_levy_line_id_finance_invoice_line FOREIGN KEY(line_id) REFERENCES finance_invoice_line (line_id)
)
;;
CREATE TRIGGER finance_line_levy_no_update BEFORE UPDATE ON finance_line_levy BEGIN SELECT RAISE(ABORT, 'finance_line_levy: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_line_levy_no_delete BEFORE DELETE ON finance_line_levy BEGIN SELECT RAISE(ABORT, 'finance_line_levy: posted rows are never changed or deleted'); END
;;
CREATE TRIGGER finance_line_levy_no_replace BEFORE INSERT ON finance_line_levy WHEN EXISTS (SELECT 1 FROM finance_line_levy WHERE (line_id = NEW.line_id AND code = NEW.code)) BEGIN SELECT RAISE(ABORT, 'finance_line_levy: posted rows are never changed or deleted (UNIQUE constraint failed)'); END
;;
CREATE TABLE orders_subscription (
    subscription_id VARCHAR(32) NOT NULL,
    account_id VARCHAR(32) NOT NULL,
    service_id VARCHAR(32) NOT NULL,
    version_id VARCHAR(32) NOT NULL,
    state VARCHAR(16) NOT NULL,
    username VARCHAR(63) NOT NULL,
    framed_ipv4 VARCHAR(15),
    ordered_at BIGINT NOT NULL,
    activated_at BIGINT,
    ended_at BIGINT,
    CONSTRAINT pk_orders_subscription PRIMARY KEY (subscription_id),
    CONSTRAINT fk_orders_subscription_account_id_crm_account FOREIGN KEY(account_id) REFERENCES crm_account (account_id),
    CONSTRAINT uq_orders_subscription_service_id UNIQUE (service_id),
    CONSTRAINT fk_orders_subscription_version_id_catalog_version FOREIGN KEY(version_id) REFERENCES catalog_version (version_id)
)
;;
CREATE INDEX ix_orders_subscription_version_id ON orders_subscription (version_id)
;;
CREATE UNIQUE INDEX uq_orders_subscription_username ON orders_subscription (username) WHERE state <> 'terminated'
;;
CREATE INDEX ix_orders_subscription_account_id ON orders_subscription (account_id)
;;
CREATE TABLE orders_order (
    order_id VARCHAR(32) NOT NULL,
    state VARCHAR(24) NOT NULL,
    account_id VARCHAR(32) NOT NULL,
    open_subscription_id VARCHAR(32),
    attempt INTEGER NOT NULL,
    requested_by VARCHAR(128) NOT NULL,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    step VARCHAR(32),
    waiting BOOLEAN NOT NULL,
    cause TEXT,
    owner_team VARCHAR(32),
    cancelled_by VARCHAR(128),
    CONSTRAINT pk_orders_order PRIMARY KEY (order_id),
    CONSTRAINT fk_orders_order_account_id_crm_account FOREIGN KEY(account_id) REFERENCES crm_account (account_id),
    CONSTRAINT uq_orders_order_open_subscription_id UNIQUE (open_subscription_id)
)
;;
CREATE INDEX ix_orders_order_state ON orders_order (state)
;;
CREATE INDEX ix_orders_order_account_id ON orders_order (account_id)
;;
CREATE TABLE orders_contract_notice (
    notice_id VARCHAR(32) NOT NULL,
    subject VARCHAR(48) NOT NULL,
    ends_on DATE NOT NULL,
    account_id VARCHAR(32) NOT NULL,
    recipient VARCHAR(254) NOT NULL,
    locale VARCHAR(16) NOT NULL,
    title VARCHAR(300) NOT NULL,
    text TEXT NOT NULL,
    state VARCHAR(12) NOT NULL,
    tries INTEGER NOT NULL,
    next_at BIGINT NOT NULL,
    claimed_by VARCHAR(64),
    words VARCHAR(500),
    created_at BIGINT NOT NULL,
    settled_at BIGINT,
    CONSTRAINT pk_orders_contract_notice PRIMARY KEY (notice_id),
    CONSTRAINT uq_orders_contract_notice_subject UNIQUE (subject, ends_on),
    CONSTRAINT fk_orders_contract_notice_account_id_crm_account FOREIGN KEY(account_id) REFERENCES crm_account (account_id)
)
;;
CREATE INDEX ix_orders_contract_notice_account_id ON orders_contract_notice (account_id)
;;
CREATE INDEX ix_orders_contract_notice_state ON orders_contract_notice (state, next_at)
;;
CREATE TABLE orders_attachment (
    subscription_id VARCHAR(32) NOT NULL,
    position INTEGER NOT NULL,
    kind VARCHAR(8) NOT NULL,
    device_id VARCHAR(32) NOT NULL,
    port VARCHAR(64) NOT NULL,
    onu_serial VARCHAR(12),
    subscriber_vlan INTEGER NOT NULL,
    CONSTRAINT pk_orders_attachment PRIMARY KEY (subscription_id, position),
    CONSTRAINT fk_orders_attachment_subscription_id_orders_subscription FOREIGN KEY(subscription_id) REFERENCES orders_subscription (subscription_id)
)
;;
CREATE INDEX ix_orders_attachment_device_id ON orders_attachment (device_id)
;;
CREATE TABLE orders_item (
    item_id VARCHAR(32) NOT NULL,
    account_id VARCHAR(32) NOT NULL,
    reference VARCHAR(64) NOT NULL,
    subscription_id VARCHAR(32),
    version_id VARCHAR(32) NOT NULL,
    quantity INTEGER NOT NULL,
    ordered_at BIGINT NOT NULL,
    held_since BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    ended_at BIGINT,
    CONSTRAINT pk_orders_item PRIMARY KEY (item_id),
    CONSTRAINT uq_orders_item_account_id UNIQUE (account_id, reference),
    CONSTRAINT fk_orders_item_account_id_crm_account FOREIGN KEY(account_id) REFERENCES crm_account (account_id),
    CONSTRAINT fk_orders_item_subscription_id_orders_subscription FOREIGN KEY(subscription_id) REFERENCES orders_subscription (subscription_id),
    CONSTRAINT fk_orders_item_version_id_catalog_version FOREIGN KEY(version_id) REFERENCES catalog_version (version_id)
)
;;
CREATE INDEX ix_orders_item_version_id ON orders_item (version_id)
;;
CREATE INDEX ix_orders_item_subscription_id ON orders_item (subscription_id)
;;
CREATE TABLE orders_line (
    order_id VARCHAR(32) NOT NULL,
    number INTEGER NOT NULL,
    action VARCHAR(8) NOT NULL,
    subscription_id VARCHAR(32) NOT NULL,
    service_id VARCHAR(32) NOT NULL,
    version_id VARCHAR(32) NOT NULL,
    from_version_id VARCHAR(32),
    CONSTRAINT pk_orders_line PRIMARY KEY (order_id, number),
    CONSTRAINT fk_orders_line_order_id_orders_order FOREIGN KEY(order_id) REFERENCES orders_order (order_id),
    CONSTRAINT fk_orders_line_subscription_id_orders_subscription FOREIGN KEY(subscription_id) REFERENCES orders_subscription (subscription_id),
    CONSTRAINT fk_orders_line_version_id_catalog_version FOREIGN KEY(version_id) REFERENCES catalog_version (version_id),
    CONSTRAINT fk_orders_line_from_version_id_catalog_version FOREIGN KEY(from_version_id) REFERENCES catalog_version (version_id)
)
;;
CREATE INDEX ix_orders_line_subscription_id ON orders_line (subscription_id)
;;
CREATE INDEX ix_orders_line_service_id ON orders_line (service_id)
;;
CREATE TABLE orders_step (
    order_id VARCHAR(32) NOT NULL,
    name VARCHAR(32) NOT NULL,
    number INTEGER NOT NULL,
    state VARCHAR(8) NOT NULL,
    started_at BIGINT NOT NULL,
    ended_at BIGINT,
    tries INTEGER NOT NULL,
    cause TEXT,
    result TEXT,
    CONSTRAINT pk_orders_step PRIMARY KEY (order_id, name),
    CONSTRAINT fk_orders_step_order_id_orders_order FOREIGN KEY(order_id) REFERENCES orders_order (order_id)
)
;;
CREATE TABLE orders_transition (
    sequence INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    order_id VARCHAR(32) NOT NULL,
    state VARCHAR(24) NOT NULL,
    at BIGINT NOT NULL,
    actor VARCHAR(128) NOT NULL,
    cause TEXT,
    CONSTRAINT fk_orders_transition_order_id_orders_order FOREIGN KEY(order_id) REFERENCES orders_order (order_id)
)
;;
CREATE INDEX ix_orders_transition_order_id ON orders_transition (order_id)
;;
CREATE TABLE orders_secret (
    order_id VARCHAR(32) NOT NULL,
    sealed BLOB NOT NULL,
    CONSTRAINT pk_orders_secret PRIMARY KEY (order_id),
    CONSTRAINT fk_orders_secret_order_id_orders_order FOREIGN KEY(order_id) REFERENCES orders_order (order_id)
)
;;
CREATE TABLE orders_pause (
    pause_id VARCHAR(32) NOT NULL,
    subscription_id VARCHAR(32) NOT NULL,
    service_id VARCHAR(32) NOT NULL,
    account_id VARCHAR(32) NOT NULL,
    item_id VARCHAR(32),
    with_pause_id VARCHAR(32),
    kind VARCHAR(16) NOT NULL,
    first_on DATE NOT NULL,
    until_on DATE,
    percent INTEGER NOT NULL,
    reason VARCHAR(200) NOT NULL,
    service_off BOOLEAN NOT NULL,
    off_since BIGINT,
    agreed_at BIGINT NOT NULL,
    agreed_by VARCHAR(128) NOT NULL,
    changed_at BIGINT NOT NULL,
    CONSTRAINT pk_orders_pause PRIMARY KEY (pause_id),
    CONSTRAINT fk_orders_pause_subscription_id_orders_subscription FOREIGN KEY(subscription_id) REFERENCES orders_subscription (subscription_id),
    CONSTRAINT fk_orders_pause_account_id_crm_account FOREIGN KEY(account_id) REFERENCES crm_account (account_id),
    CONSTRAINT fk_orders_pause_item_id_orders_item FOREIGN KEY(item_id) REFERENCES orders_item (item_id)
)
;;
CREATE INDEX ix_orders_pause_subscription_id ON orders_pause (subscription_id)
;;
CREATE INDEX ix_orders_pause_account_id ON orders_pause (account_id)
;;
CREATE INDEX ix_orders_pause_with_pause_id ON orders_pause (with_pause_id)
;;
CREATE INDEX ix_orders_pause_first_on ON orders_pause (first_on)
;;
CREATE TABLE orders_suspension (
    suspension_id VARCHAR(32) NOT NULL,
    item_id VARCHAR(32) NOT NULL,
    account_id VARCHAR(32) NOT NULL,
    since BIGINT NOT NULL,
    ended_at BIGINT,
    billed BOOLEAN NOT NULL,
    first_on DATE NOT NULL,
    until_on DATE,
    reason VARCHAR(200) NOT NULL,
    CONSTRAINT pk_orders_suspension PRIMARY KEY (suspension_id),
    CONSTRAINT fk_orders_suspension_item_id_orders_item FOREIGN KEY(item_id) REFERENCES orders_item (item_id),
    CONSTRAINT fk_orders_suspension_account_id_crm_account FOREIGN KEY(account_id) REFERENCES crm_account (account_id)
)
;;
CREATE UNIQUE INDEX uq_orders_suspension_item_id ON orders_suspension (item_id) WHERE ended_at IS NULL
;;
CREATE INDEX ix_orders_suspension_account_id ON orders_suspension (account_id)
