"""From the log into ClickHouse: batched rows, the ledger, rollup jobs."""
