"""The round over stored segments: a few at a time, all of them in the end."""

from datetime import timedelta
from pathlib import Path

from processors.journal import JournalTrimmer
from processors.owners import SEGMENTS_TABLE, load_records, owner_key, save_records, save_segments
from processors.processor import INPUTS
from rules.owner import Entry, Segment, new_record
from schemas.hit import first_hit_id_of
from stream.embedded import EmbeddedLog

NOW = 1_790_000_000
KEPT = timedelta(days=4)


def a_segment(age: timedelta) -> Segment:
    at = NOW - int(age.total_seconds())
    hit_id = first_hit_id_of(at * 1000)
    return Segment(b"", [Entry(at, hit_id, 1), Entry(at + 1, hit_id + 16, 2)])


def test_a_round_drops_what_is_too_old_and_moves_the_horizons_of_owners(tmp_path: Path) -> None:
    log = EmbeddedLog(tmp_path, 1)
    worker = log.worker("processors", INPUTS, [0])
    state = worker.state(0)
    owners = [owner_key(1, number) for number in range(5)]
    save_records(state, {key: new_record(0) for key in owners})
    just_kept = KEPT - timedelta(seconds=1)
    for key in owners:
        save_segments(
            state, key, [a_segment(age) for age in (timedelta(days=9), timedelta(days=5), just_kept)]
        )
    worker.commit([])
    trimmer = JournalTrimmer(worker, KEPT, lambda: float(NOW))
    left = []
    for _ in range(9):
        trimmer.drop_segments(0, 4)
        worker.commit([])
        left.append(len(state.scan(SEGMENTS_TABLE, b"", b"\xff" * 32)))
    assert left[0] > left[-1] == len(owners)
    newest_dropped = a_segment(timedelta(days=5)).entries[-1]
    for record in load_records(state, owners).values():
        assert record.horizon == (newest_dropped.time, newest_dropped.hit_id)
    worker.close()
    log.close()
