-- Archives are days (DESIGN section 5). A computation of one (site, day, segment) writes all its rows under a
-- generation of its own and then says so in archive_days; readers take (date, generation) from there, so a
-- half-written or superseded computation is never seen. report is the aggregate's name and a hash of its
-- declaration, labels and metrics are in the order of the declaration.
CREATE TABLE IF NOT EXISTS archives (
    site_id UInt32 CODEC(ZSTD(1)),
    segment LowCardinality(String) CODEC(ZSTD(1)),
    report LowCardinality(String) CODEC(ZSTD(1)),
    date Date CODEC(Delta, ZSTD(1)),
    generation UInt64 CODEC(ZSTD(1)),
    labels Array(String) CODEC(ZSTD(1)),
    metrics Array(Float64) CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(date)
ORDER BY (site_id, segment, report, date, generation, labels);

-- Exact states of the whole site and day, to merge over days.
CREATE TABLE IF NOT EXISTS uniques (
    site_id UInt32 CODEC(ZSTD(1)),
    segment LowCardinality(String) CODEC(ZSTD(1)),
    date Date CODEC(Delta, ZSTD(1)),
    generation UInt64 CODEC(ZSTD(1)),
    visitors AggregateFunction(uniqExact, UInt64) CODEC(ZSTD(1)),
    users AggregateFunction(uniqExact, String) CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(date)
ORDER BY (site_id, segment, date, generation);

-- The current generation of each archived day. read_at is the moment before its rows were read: rows inserted
-- later (minus 60 s of slack) make the day stale. reports are those computed, also when they had no rows.
CREATE TABLE IF NOT EXISTS archive_days (
    site_id UInt32,
    segment LowCardinality(String),
    date Date,
    generation UInt64,
    read_at DateTime64(3, 'UTC'),
    seconds Float64,
    reports Array(LowCardinality(String))
)
ENGINE = ReplacingMergeTree(generation)
ORDER BY (site_id, segment, date);
