-- What merges and deletions replace leaves the disk soon, so that erased rows do too. Parts are synced when they are
-- written (fsync_after_insert, min_rows_to_fsync_after_merge), so the old ones need not be kept against a crash.
ALTER TABLE visits MODIFY SETTING old_parts_lifetime = 10, max_cleanup_delay_period = 20, cleanup_delay_period = 10;
ALTER TABLE actions MODIFY SETTING old_parts_lifetime = 10, max_cleanup_delay_period = 20, cleanup_delay_period = 10;
ALTER TABLE conversions MODIFY SETTING old_parts_lifetime = 10, max_cleanup_delay_period = 20, cleanup_delay_period = 10;
ALTER TABLE conversion_items MODIFY SETTING old_parts_lifetime = 10, max_cleanup_delay_period = 20, cleanup_delay_period = 10;
ALTER TABLE hits MODIFY SETTING old_parts_lifetime = 10, max_cleanup_delay_period = 20, cleanup_delay_period = 10;
ALTER TABLE dead MODIFY SETTING old_parts_lifetime = 10, max_cleanup_delay_period = 20, cleanup_delay_period = 10;
ALTER TABLE archives MODIFY SETTING old_parts_lifetime = 10, max_cleanup_delay_period = 20, cleanup_delay_period = 10;
ALTER TABLE uniques MODIFY SETTING old_parts_lifetime = 10, max_cleanup_delay_period = 20, cleanup_delay_period = 10;
ALTER TABLE archive_days MODIFY SETTING old_parts_lifetime = 10, max_cleanup_delay_period = 20, cleanup_delay_period = 10;
