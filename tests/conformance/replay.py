"""Runs the recordings' replay.py with a diff that is linear in the length of the answers.

Its own difflib spends minutes on long answers that differ much; the verdicts do not depend on it.

    python replay.py /path/to/recordings/replay.py ARGUMENTS"""

import difflib
import runpy
import sys
from collections import Counter
from collections.abc import Iterator, Sequence

MOST_LINES = 120


def quick_diff(
    expected: Sequence[str], actual: Sequence[str], fromfile: str = "", tofile: str = "", **_: object
) -> Iterator[str]:
    """The lines that only one side has, in the order of each side."""
    yield f"--- {fromfile}"
    yield f"+++ {tofile}"
    for sign, lines, others in (("-", expected, actual), ("+", actual, expected)):
        left = Counter(others)
        shown = 0
        for line in lines:
            if left[line] > 0:
                left[line] -= 1
            elif shown < MOST_LINES // 2:
                shown += 1
                yield sign + line


if __name__ == "__main__":
    difflib.unified_diff = quick_diff  # type: ignore[assignment]
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
