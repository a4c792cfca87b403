"""Which lines of a log file are already imported."""

import gzip
import hashlib
from pathlib import Path

from hitstream.import_command import LogFile, first_lines, matching_record, whole_lines
from hitstream.import_journal import ImportJournal, ImportRecord, begun, committed, file_id_of

LINES = [f"line {number}\n".encode() for number in range(10)]


def digest(lines: list[bytes]) -> str:
    return hashlib.sha256(b"".join(lines)).hexdigest()


def a_record(count: int, **changes: object) -> ImportRecord:
    fields: dict[str, object] = {"lines": count, "digest": digest(LINES[:count])}
    return ImportRecord(file_id_of(LINES[0].strip()), "1", **{**fields, **changes})  # type: ignore[arg-type]


def a_file(path: Path, lines: list[bytes], *, packed: bool = False) -> LogFile:
    content = b"".join(lines)
    path.write_bytes(gzip.compress(content) if packed else content)
    return LogFile(str(path))


def test_a_file_that_grew_or_was_packed_is_the_same_file(tmp_path: Path) -> None:
    record = a_record(4)
    assert matching_record(a_file(tmp_path / "log", LINES), [record]) == record
    assert matching_record(a_file(tmp_path / "log.gz", LINES, packed=True), [record]) == record
    assert matching_record(a_file(tmp_path / "same", LINES[:4]), [record]) == record


def test_a_file_with_the_same_first_line_and_another_second_is_another_file(tmp_path: Path) -> None:
    other = [LINES[0], b"something else\n", *LINES[2:]]
    assert matching_record(a_file(tmp_path / "log", other), [a_record(4)]) is None


def test_the_longest_of_several_records_is_taken(tmp_path: Path) -> None:
    records = [a_record(2), a_record(6, generation=1), a_record(8, generation=2, digest="wrong")]
    assert matching_record(a_file(tmp_path / "log", LINES), records) == records[1]


def test_a_record_that_was_begun_and_never_committed_matches_its_file(tmp_path: Path) -> None:
    record = begun(ImportRecord(file_id_of(LINES[0].strip()), "1"), 5)
    assert matching_record(a_file(tmp_path / "log", LINES), [record]) == record


def test_a_last_line_still_being_written_is_left_for_the_next_run(tmp_path: Path) -> None:
    file = a_file(tmp_path / "log", [*LINES[:2], b"1.2.3.4 - - [01/Jan"])
    assert list(whole_lines(file.lines())) == [b"line 0", b"line 1"]
    ended = a_file(tmp_path / "ended", [*LINES[:1], b'... "agent"'])
    assert list(whole_lines(ended.lines())) == [b"line 0", b'... "agent"']


def test_the_first_lines_of_an_empty_file_are_none(tmp_path: Path) -> None:
    assert first_lines(a_file(tmp_path / "log", []), 5) == []


def test_records_are_kept_by_file_site_and_generation(tmp_path: Path) -> None:
    journal = ImportJournal(tmp_path / "imports")
    first, second = a_record(4), a_record(0, generation=1)
    journal.save(first, 100.0)
    journal.save(second, 100.0)
    assert journal.find(first.file_id, "1") == [first, second]
    assert journal.find(first.file_id, "2") == []


def test_lines_under_way_keep_the_moment_of_their_first_attempt(tmp_path: Path) -> None:
    journal = ImportJournal(tmp_path)
    record = a_record(4)
    journal.save(record, 100.0)
    journal.save(begun(record, 8), 200.0)
    journal.save(begun(record, 8), 300.0)
    (stored,) = journal.find(record.file_id, "1")
    assert stored.since == 200.0
    journal.save(committed(stored, 8, digest(LINES[:8])), 400.0)
    (stored,) = journal.find(record.file_id, "1")
    assert (stored.lines, stored.sending_to, stored.since) == (8, 0, 0.0)
