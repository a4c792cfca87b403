-- The states of new and of returning visitors beside those of all: a visitor may be both in a longer period. Days and
-- months archived before have none; their archive_days don't list `uniques:types`, so rows answer.
ALTER TABLE uniques
    ADD COLUMN IF NOT EXISTS new_visitors AggregateFunction(uniqExact, UInt64) CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS new_users AggregateFunction(uniqExact, String) CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS returning_visitors AggregateFunction(uniqExact, UInt64) CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS returning_users AggregateFunction(uniqExact, String) CODEC(ZSTD(1));
