-- What SQL clients may see of the system tables: the public views only. The SQL endpoint reads system.<name> as
-- {catalog}.<name>; a system table without a view here does not exist for them.
CREATE OR REPLACE VIEW {catalog}.databases AS
SELECT name, 'Atomic' AS engine, '' AS data_path, '' AS metadata_path, uuid, '' AS engine_full, '' AS comment
FROM system.databases WHERE name = '{views}';

CREATE OR REPLACE VIEW {catalog}.tables AS
SELECT database, name, uuid, engine, is_temporary, metadata_modification_time,
    CAST([], 'Array(String)') AS dependencies_database, CAST([], 'Array(String)') AS dependencies_table,
    '' AS create_table_query, '' AS engine_full, '' AS as_select, '' AS partition_key, '' AS sorting_key,
    '' AS primary_key, '' AS sampling_key, '' AS storage_policy, total_rows, total_bytes, comment,
    has_own_data
FROM system.tables WHERE database = '{views}';

CREATE OR REPLACE VIEW {catalog}.columns AS
SELECT database, table, name, type, position, default_kind, default_expression, data_compressed_bytes,
    data_uncompressed_bytes, marks_bytes, comment, is_in_partition_key, is_in_sorting_key, is_in_primary_key,
    is_in_sampling_key, compression_codec, character_octet_length, numeric_precision, numeric_precision_radix,
    numeric_scale, datetime_precision
FROM system.columns WHERE database = '{views}';

CREATE OR REPLACE VIEW {catalog}.settings AS
SELECT name, value, changed, description, min, max, toUInt8(1) AS readonly, type, default, alias_for
FROM system.settings;

CREATE OR REPLACE VIEW {catalog}.functions AS
SELECT name, is_aggregate, case_insensitive, alias_to, origin, description, syntax, categories
FROM system.functions;

CREATE OR REPLACE VIEW {catalog}.data_type_families AS
SELECT name, case_insensitive, alias_to FROM system.data_type_families;

CREATE OR REPLACE VIEW {catalog}.table_engines AS SELECT name FROM system.table_engines WHERE 0;

CREATE OR REPLACE VIEW {catalog}.dictionaries AS
SELECT '' AS database, '' AS name, '' AS status, '' AS origin, '' AS type, '' AS comment WHERE 0;

CREATE OR REPLACE VIEW {catalog}.processes AS SELECT '' AS query_id, '' AS user, '' AS query WHERE 0;

CREATE OR REPLACE VIEW {catalog}.clusters AS
SELECT '' AS cluster, toUInt32(0) AS shard_num, toUInt32(0) AS replica_num, '' AS host_name WHERE 0;

CREATE OR REPLACE VIEW {catalog}.one AS SELECT toUInt8(0) AS dummy;
