-- A visit's owner is its visitor id except after a login: only what it is more is kept, nearly always 0, which saves
-- 1.3 of 49 bytes per action. Here the visits that are there get it, before 0008 takes the column away.
ALTER TABLE visits ADD COLUMN IF NOT EXISTS owner_less_visitor UInt64 DEFAULT owner - visitor_id CODEC(ZSTD(1)) AFTER owner;
ALTER TABLE visits MATERIALIZE COLUMN owner_less_visitor SETTINGS mutations_sync = 2;
