-- The owner is computed from now on (sink.database.STORED_AS).
ALTER TABLE hits MODIFY COLUMN IF EXISTS owner_less_visitor UInt64 DEFAULT 0 CODEC(ZSTD(1));
ALTER TABLE hits DROP COLUMN IF EXISTS owner;
ALTER TABLE hits ADD COLUMN IF NOT EXISTS owner UInt64 ALIAS visitor_id + owner_less_visitor;

-- Queries fill most of a raw hit, and each merge packs them anew. Blocks of 4 MiB, what a granule has, are packed as
-- small by ZSTD(3) as smaller ones by ZSTD(6), in half of the time. Nobody looks at raw hits often: fewer merges
-- may leave more parts.
ALTER TABLE hits
    MODIFY COLUMN IF EXISTS query String CODEC(ZSTD(3))
        SETTINGS (min_compress_block_size = 4194304, max_compress_block_size = 4194304),
    MODIFY COLUMN IF EXISTS visitor_id UInt64 CODEC(ZSTD(3))
        SETTINGS (min_compress_block_size = 524288, max_compress_block_size = 524288),
    MODIFY COLUMN IF EXISTS config_id UInt64 CODEC(ZSTD(3))
        SETTINGS (min_compress_block_size = 524288, max_compress_block_size = 524288);
ALTER TABLE hits MODIFY SETTING merge_selector_base = 12;
