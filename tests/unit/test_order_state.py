"""What the judge of orders keeps for ever: its size is told in docs/how-it-works.md."""

import sqlite3
from contextlib import closing
from pathlib import Path

from processors.orders import OrderClaim, judge
from processors.processor import INPUTS
from stream.embedded import EmbeddedLog


def size_of(file: Path) -> int:
    """Bytes of a database, with what is still in its WAL."""
    with closing(sqlite3.connect(file)) as connection:
        (pages,), (size,) = (
            connection.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size")
        )
    return int(pages) * int(size)


def test_an_order_takes_less_than_64_bytes_of_state_for_ever(tmp_path: Path) -> None:
    log = EmbeddedLog(tmp_path, 1)
    worker = log.worker("processors", INPUTS, [0])
    file = tmp_path / "1" / "groups" / "processors" / "p0.sqlite"
    sizes = []
    for first in (0, 20_000):
        for start in range(first, first + 20_000, 2000):
            claims = [
                OrderClaim(
                    1, f"order-{number:010d}", 1_790_000_000 + number, number << 20, number * 0x9E37_79B9
                )
                for number in range(start, start + 2000)
            ]
            assert judge(claims, worker.state(0)) == []
            worker.commit([])
        sizes.append(size_of(file))
    worker.close()
    log.close()
    assert 0 < sizes[1] - sizes[0] < 20_000 * 64
