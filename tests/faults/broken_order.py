"""Processes whose order of commit is wrong on purpose: `python -m tests.faults.broken_order processor`.

A processor commits its input offsets before its outputs, a sink records the ledger before the rows. The fault
tests must notice either; nothing of this is in the product."""

import os
import sys
from collections.abc import Sequence

import hitstream.engine
from hitstream.command import main
from sink.encoding import Table
from sink.loop import Sink
from stream.faults import crash_point
from stream.groups import GroupWorker
from stream.protocol import Batch, TopicPartition

commit_in_order = GroupWorker.commit


def commit_offsets_first(worker: GroupWorker, batches: Sequence[Batch]) -> None:
    for batch in batches:
        file = worker._files[batch.home]
        with file.state.writing():
            file.set_inputs({TopicPartition(batch.topic, batch.partition): batch.next_offset})
            file.connection.execute("COMMIT")
    crash_point("broken.between")
    commit_in_order(worker, batches)


def break_kafka() -> None:
    """The same on a broker: the offsets are committed before the transaction."""
    from confluent_kafka import TopicPartition as KafkaPartition

    from stream.kafka_worker import KafkaWorker

    commit_in_order = KafkaWorker.commit

    def commit_offsets_first(worker: KafkaWorker, batches: Sequence[Batch]) -> None:
        offsets = [
            KafkaPartition(worker._log.name(batch.topic), batch.partition, batch.next_offset)
            for batch in batches
        ]
        worker._consumer.commit(offsets=offsets, asynchronous=False)
        crash_point("broken.between")
        commit_in_order(worker, batches)

    KafkaWorker.commit = commit_offsets_first  # type: ignore[method-assign]


class LedgerFirst(Sink):
    """Says that rows are in the tables, then puts them there."""

    def _flush(self, tables: Sequence[Table]) -> None:
        positions = {}
        for table in tables:
            positions.update(self._pending[table.name].positions)
        if positions:
            self._record(positions)
            crash_point("broken.between")
        super()._flush(tables)


if __name__ == "__main__":
    GroupWorker.commit = commit_offsets_first  # type: ignore[method-assign]
    if os.environ.get("HITSTREAM_KAFKA"):
        break_kafka()
    hitstream.engine.Sink = LedgerFirst  # type: ignore[misc]
    sys.exit(main(sys.argv[1:]))
