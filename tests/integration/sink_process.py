"""The sink as a process of its own, for tests that kill it; and what a processor would have put on the log.

python -m tests.integration.sink_process store LOG DATABASE   stores all that is on the log
python -m tests.integration.sink_process show DATABASE        prints the tables as JSON
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from schemas.hit import encode_hit
from schemas.rows import DeadLetter, Tally, encode_output, encode_row
from schemas.topics import partition_of
from sink.database import Database
from sink.loop import Sink
from sink.settings import SinkSettings
from stream.embedded import EmbeddedLog
from tests.builders import a_hit
from tests.rows import a_visit, an_action

SMALL_BATCHES = SinkSettings(sink_flush_rows=40, sink_flush_seconds=0.01, sink_hits_flush_seconds=0.02)


def emit(log: EmbeddedLog, topic: str, values: Sequence[bytes], *, partition: int = 0) -> None:
    """Put values on an output topic, in one unit of work that consumes nothing."""
    worker = log.worker("processors", ["hits"], [partition])
    worker.emit(partition, topic, [(b"", value) for value in values])
    worker.commit([])
    worker.close()


def fill(log: EmbeddedLog, hits: int) -> None:
    """`hits` page views of 20 owners over 40 days, each with its action, the visit as it then is and a tally;
    every tenth visit goes again. One unit of work per partition."""
    appender = log.appender("hits")
    accepted = [a_hit(hit_id=1000 + n, owner=n % 20 + 1, at=1_789_041_600 + n * 3600) for n in range(hits)]
    placed = [(partition_of(hit.owner, log.partitions), hit) for hit in accepted]
    offsets = appender.append([(partition, b"", encode_hit(hit)) for partition, hit in placed])
    appender.close()
    worker = log.worker("processors", ["hits"], range(log.partitions))
    actions_of: dict[int, int] = {}
    for (partition, hit), offset in zip(placed, offsets, strict=True):
        actions_of[hit.owner] = actions_of.get(hit.owner, 0) + 1
        visit = a_visit(hit.owner, owner=hit.owner, actions=actions_of[hit.owner])
        tally = Tally(
            topic="hits",
            partition=partition,
            first_offset=offset,
            next_offset=offset + 1,
            site_id=1,
            received_on=hit.received_at // 86_400_000,
            outcome="stored",
            reason="",
            count=1,
        )
        gone = hit.owner % 10 == 0 and actions_of[hit.owner] % 2 == 0
        worker.emit(partition, "visits", [(b"", encode_output(visit, is_deleted=gone))])
        action = an_action(hit.hit_id, at=hit.time, visit_id=hit.owner, owner=hit.owner)
        worker.emit(partition, "actions", [(b"", encode_output(action))])
        worker.emit(partition, "tallies", [(b"", encode_row(tally))])
    letter = DeadLetter(
        topic="hits", partition=0, offset=0, step="fold", reason="because", payload=b"\x00\xff", time=1
    )
    worker.emit(0, "dead", [(b"", encode_row(letter))])
    worker.commit([])
    worker.close()


def contents(database: Database) -> dict[str, list[str]]:
    """Every table as readers see it, without the moment of insertion."""
    shown = {}
    for table in ("visits", "actions", "conversions", "tallies", "dead", "hits", "sink_offsets"):
        left_out = "version" if table == "sink_offsets" else "inserted_at"
        found = database.rows(
            f"SELECT toString(tuple(* EXCEPT {left_out})) AS row FROM {table} FINAL ORDER BY row"
        )
        shown[table] = [str(row[0]) for row in found]
    return shown


def main() -> None:
    if sys.argv[1] == "store":
        log = EmbeddedLog(Path(sys.argv[2]))
        database = Database(f"chdb://{sys.argv[3]}", f"hitstream_{log.epoch}")
        database.open()
        Sink(log, database, SMALL_BATCHES).run_to_end()
    else:
        database = Database(f"chdb://{sys.argv[2]}", "hitstream_1")
        print(json.dumps(contents(database)))
    database.close()


if __name__ == "__main__":
    main()
