-- The tallies with what replays moved: a tally of another topic than `hits` has a reason such as `bot>stored` or
-- `stored>bot` and takes its hits out of one outcome and into another. Sum the counts.
CREATE VIEW IF NOT EXISTS counted_hits AS
SELECT topic, partition, site_id, received_on, outcome, reason, toInt64(count) AS hits
FROM tallies FINAL WHERE topic = 'hits'
UNION ALL
SELECT topic, partition, site_id, received_on,
    toLowCardinality(if(moved.1 = 'stored', 'stored', 'excluded')) AS outcome,
    toLowCardinality(if(moved.1 = 'stored', '', moved.1)) AS reason, moved.2 * toInt64(count) AS hits
FROM (
    SELECT topic, partition, site_id, received_on, count,
        arrayJoin([(splitByChar('>', reason)[1], -1), (splitByChar('>', reason)[2], 1)]) AS moved
    FROM tallies FINAL WHERE topic != 'hits'
);

-- Days before this one have no rows any more (sink.retention): their archives are final. One row counts, the last.
CREATE TABLE IF NOT EXISTS frozen (
    before Date,
    at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(at)
ORDER BY tuple();
