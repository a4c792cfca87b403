"""What `hitstream doctor` asks of a running instance: facts of the database process. Blocking."""

import os
import shutil
import time
from pathlib import Path
from typing import Any

from hitstream import __version__
from hitstream.engine import Engine
from hitstream.status import gather_status
from sink.archives import frozen_before, stale_days
from sink.migrations import migrations
from sink.settings import SinkSettings

TABLE = "replaceRegexpOne(table, '_local$', '')"
"""Name of a part's table; on a cluster the parts are those of the server that is asked."""


def gather_diagnosis(engine: Engine, data_dir: Path, settings: SinkSettings) -> dict[str, Any]:
    """A JSON object."""
    database = engine.database
    disk = shutil.disk_usage(data_dir)
    newest, now_there = database.rows("SELECT max(received_at), now64(3) FROM hits")[0]
    rollups = engine.rollups.status() if engine.rollups else None
    stale = stale_days(database)
    privacy = engine.current_config().privacy
    today = time.time()
    return {
        "status": gather_status(engine),
        "versions": {
            "hitstream": __version__,
            "clickhouse": str(database.command("SELECT version()")),
            "database": int(str(database.command("SELECT max(version) FROM migrations"))),
            "database_known": migrations()[-1].version,
        },
        "now": today,
        "newest_hit": newest.timestamp() if newest.year > 1970 else 0.0,
        "database_clock": now_there.timestamp(),
        "disk": {"total": disk.total, "free": disk.free, "data": _bytes_under(data_dir)},
        "tokens": [{"login": grant.login, "superuser": grant.superuser} for grant in engine.tokens.grants()],
        "stale_days": len(stale),
        "oldest_change": (rollups.oldest_change.timestamp() if rollups and rollups.oldest_change else 0.0),
        "rollup_error": rollups.last_error if rollups else "",
        "frozen_before": str(frozen_before(database) or ""),
        "privacy": {
            "do_not_track": privacy.honour_do_not_track,
            "global_privacy_control": privacy.honour_global_privacy_control,
        },
        "keep": {
            "hits_days": settings.keep_hits_days,
            "rows_days": privacy.keep_rows_days or settings.keep_rows_days,
            "archives_days": privacy.keep_archives_days or settings.keep_archives_days,
        },
        "tables": [
            {"table": table, "month": month, "rows": int(rows), "bytes": int(size), "parts": int(parts)}
            for table, month, rows, size, parts in database.rows(
                f"SELECT {TABLE} AS name, partition, sum(rows), sum(bytes_on_disk), count() FROM system.parts"  # noqa: S608
                " WHERE database = currentDatabase() AND active GROUP BY ALL ORDER BY name, partition"
            )
        ],
        "dead": [
            {"step": step, "reason": reason, "count": int(count)}
            for step, reason, count in database.rows(
                "SELECT step, substring(reason, 1, 100) AS why, count() FROM dead FINAL"
                " GROUP BY step, why ORDER BY count() DESC LIMIT 5"
            )
        ],
    }


def _bytes_under(directory: Path) -> int:
    total = 0
    for root, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.stat(os.path.join(root, name)).st_size
            except FileNotFoundError:
                continue
    return total


def optimize(engine: Engine, table: str, month: str) -> dict[str, Any]:
    """Merge the parts of a table's months into one each; those that are one already are left alone."""
    where = f"database = currentDatabase() AND active AND {TABLE} = {{table:String}}"
    bound = {"table": table, "month": month}
    query = (
        "SELECT partition, partition_id, count(), sum(bytes_on_disk) FROM system.parts"  # noqa: S608 - constants
        f" WHERE {where} AND ({{month:String}} = '' OR partition = {{month:String}}) GROUP BY ALL ORDER BY 1"
    )
    done = []
    for partition, partition_id, parts, before in engine.database.rows(query, bound):
        if parts > 1:
            engine.database.execute(f"OPTIMIZE TABLE {table} PARTITION ID '{partition_id}' FINAL")
        after = engine.database.rows(
            f"SELECT count(), sum(bytes_on_disk) FROM system.parts WHERE {where}"  # noqa: S608 - constants
            " AND partition_id = {id:String}",
            {**bound, "id": partition_id},
        )[0]
        done.append(
            {
                "table": table, "month": partition, "parts_before": int(parts), "parts": int(after[0]),
                "bytes_before": int(before), "bytes": int(after[1]),
            }
        )  # fmt: skip
    return {"partitions": done}
