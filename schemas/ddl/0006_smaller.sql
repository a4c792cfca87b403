-- Bytes per action, measured with `python -m bench --only tables`. A version is an offset of one of several
-- partitions: differences of neighbours are as random as themselves, but all of a block need few bits.
-- An action's owner is its visit's: nothing asks an action for it (sink.database.NOT_STORED).
ALTER TABLE visits MODIFY COLUMN IF EXISTS version UInt64 CODEC(T64, ZSTD(1));
ALTER TABLE visits MODIFY COLUMN IF EXISTS inserted_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(ZSTD(1));
ALTER TABLE actions MODIFY COLUMN IF EXISTS version UInt64 CODEC(T64, ZSTD(1));
ALTER TABLE actions MODIFY COLUMN IF EXISTS inserted_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(ZSTD(1));
ALTER TABLE actions MODIFY COLUMN IF EXISTS visit_id UInt64 CODEC(ZSTD(3));
ALTER TABLE actions MODIFY COLUMN IF EXISTS visitor_id UInt64 CODEC(ZSTD(3));
ALTER TABLE actions MODIFY COLUMN IF EXISTS pageview_id String CODEC(ZSTD(3));
ALTER TABLE actions DROP COLUMN IF EXISTS owner;
ALTER TABLE hits MODIFY COLUMN IF EXISTS version UInt64 CODEC(T64, ZSTD(3));
ALTER TABLE hits MODIFY COLUMN IF EXISTS inserted_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(ZSTD(3));
