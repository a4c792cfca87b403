"""Which tables of a stopped instance hold a text, in any version of any row: python -m tests.database_texts.

A process of its own, since chDB opens one directory per process. Prints JSON: tables, directories of active
parts, directories of tables without texts."""

import json
import sys

import clickhouse_connect


def main(directory: str, text: str) -> None:
    client = clickhouse_connect.get_client(dsn=f"chdb://{directory}")
    found = []
    tables = client.query(
        "SELECT database, name FROM system.tables WHERE engine LIKE '%MergeTree%'"
    ).result_rows
    for database, table in tables:
        columns = client.query(
            "SELECT name FROM system.columns WHERE database = {d:String} AND table = {t:String}"
            " AND NOT startsWith(type, 'Aggregate')",
            parameters={"d": database, "t": table},
        ).result_rows
        texts = " || ' ' || ".join(f"toString(`{name}`)" for (name,) in columns)
        query = f"SELECT count() FROM `{database}`.`{table}` WHERE position({texts}, {{text:String}}) > 0"
        if client.query(query, parameters={"text": text}).result_rows[0][0]:
            found.append(table)
    parts = client.query("SELECT path FROM system.parts WHERE active").result_rows
    numbers = client.query(
        "SELECT arrayJoin(data_paths) FROM system.tables"
        " WHERE name IN ('tallies', 'sink_offsets', 'migrations')"
    ).result_rows
    print(
        json.dumps(
            {
                "tables": found,
                "parts": [path.rstrip("/") for (path,) in parts],
                "numbers_only": [path.rstrip("/") for (path,) in numbers],
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
