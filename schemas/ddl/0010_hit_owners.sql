-- A raw hit's owner is kept as a visit's is (0007): what it is more than its visitor's id, 3.6 of 60.6 bytes a hit less.
ALTER TABLE hits ADD COLUMN IF NOT EXISTS owner_less_visitor UInt64 DEFAULT owner - visitor_id CODEC(ZSTD(1)) AFTER owner;
ALTER TABLE hits MATERIALIZE COLUMN owner_less_visitor SETTINGS mutations_sync = 2;
