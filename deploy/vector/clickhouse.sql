-- The table that deploy/vector/vector.yaml writes to.
CREATE TABLE wireglass
(
    timestamp    DateTime64(6, 'UTC'),
    event_type   LowCardinality(String),
    flow_id      Nullable(UInt64),
    wire         LowCardinality(Nullable(String)),
    src_ip       Nullable(String),
    src_port     Nullable(UInt16),
    dest_ip      Nullable(String),
    dest_port    Nullable(UInt16),
    community_id Nullable(String),
    name         Nullable(String),
    rule         LowCardinality(Nullable(String)),
    action       LowCardinality(Nullable(String)),
    reason       LowCardinality(Nullable(String)),
    event        String CODEC(ZSTD(3))
)
ENGINE = MergeTree
PARTITION BY toDate(timestamp)
ORDER BY (event_type, timestamp)
TTL toDateTime(timestamp) + INTERVAL 90 DAY;
