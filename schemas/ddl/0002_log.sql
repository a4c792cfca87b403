-- What came in, what became of it, and how far the sink has read.

-- The cleaned hits as ingest accepted them (schemas.hit.Hit): source of replay, repair and explain. Rarely read,
-- so compressed hard. The lifetime is set by sink.database.Database.keep_hits.
CREATE TABLE IF NOT EXISTS hits (
    hit_id UInt64 CODEC(Delta, ZSTD(3)),
    site_id UInt32 CODEC(ZSTD(3)),
    time DateTime('UTC') CODEC(Delta, ZSTD(3)),
    received_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(3)),
    owner UInt64 CODEC(ZSTD(3)),
    visitor_id UInt64 CODEC(ZSTD(3)),
    config_id UInt64 CODEC(ZSTD(3)),
    user_id String CODEC(ZSTD(3)),
    query String CODEC(ZSTD(6)),
    user_agent LowCardinality(String) CODEC(ZSTD(3)),
    client_hints LowCardinality(String) CODEC(ZSTD(3)),
    language LowCardinality(String) CODEC(ZSTD(3)),
    referer String CODEC(ZSTD(3)),
    ip String CODEC(ZSTD(3)),
    location Tuple(
        country LowCardinality(String),
        region LowCardinality(String),
        city LowCardinality(String),
        latitude Nullable(Float64),
        longitude Nullable(Float64)) CODEC(ZSTD(3)),
    authenticated Bool CODEC(ZSTD(3)),
    exclusion LowCardinality(String) CODEC(ZSTD(3)),
    config_offset UInt64 CODEC(Delta, ZSTD(3)),
    origin LowCardinality(String) CODEC(ZSTD(3)),
    version UInt64 CODEC(Delta, ZSTD(3)),
    is_deleted UInt8 CODEC(ZSTD(3)),
    inserted_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(3))
)
ENGINE = ReplacingMergeTree(version, is_deleted)
PARTITION BY toYYYYMM(time)
ORDER BY (site_id, toDate(time), hit_id)
SETTINGS ttl_only_drop_parts = 1, fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;

-- How many hits of consecutive offsets had one outcome (schemas.rows.Tally); the sum of all counts is the
-- offsets consumed.
CREATE TABLE IF NOT EXISTS tallies (
    topic LowCardinality(String) CODEC(ZSTD(1)),
    partition UInt32 CODEC(ZSTD(1)),
    first_offset UInt64 CODEC(Delta, ZSTD(1)),
    next_offset UInt64 CODEC(Delta, ZSTD(1)),
    site_id UInt32 CODEC(ZSTD(1)),
    received_on Date CODEC(Delta, ZSTD(1)),
    outcome LowCardinality(String) CODEC(ZSTD(1)),
    reason LowCardinality(String) CODEC(ZSTD(1)),
    count UInt64 CODEC(T64, ZSTD(1)),
    version UInt64 CODEC(Delta, ZSTD(1)),
    is_deleted UInt8 CODEC(ZSTD(1)),
    inserted_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (topic, partition, first_offset, site_id, received_on, outcome, reason)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;

-- What could not be processed (schemas.rows.DeadLetter), from any step; can be sent again.
CREATE TABLE IF NOT EXISTS dead (
    topic LowCardinality(String) CODEC(ZSTD(1)),
    partition UInt32 CODEC(ZSTD(1)),
    offset UInt64 CODEC(Delta, ZSTD(1)),
    step LowCardinality(String) CODEC(ZSTD(1)),
    reason String CODEC(ZSTD(1)),
    payload String CODEC(ZSTD(3)),
    time DateTime('UTC') CODEC(Delta, ZSTD(1)),
    version UInt64 CODEC(Delta, ZSTD(1)),
    is_deleted UInt8 CODEC(ZSTD(1)),
    inserted_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (topic, partition, offset, step)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;

-- The ledger: rows of this topic and partition below next_offset are in the tables. Not synced: an older ledger
-- only reads again.
CREATE TABLE IF NOT EXISTS sink_offsets (
    topic LowCardinality(String),
    partition UInt32,
    next_offset UInt64,
    version UInt64
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (topic, partition);
