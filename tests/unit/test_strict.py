"""What strict compatibility changes in what is stored is one list, and the docs have all of it."""

from pathlib import Path

from schemas.config import STRICT_TRACKING, Tracking

DOCS = Path(__file__).parents[2] / "docs" / "differences.md"
HEAD = "| tracking setting | `full` | `strict` | means |"


def test_the_docs_list_every_tracking_setting_that_a_strict_instance_begins_with() -> None:
    table = DOCS.read_text().split(HEAD)[1].split("\n\n")[0].splitlines()[2:]
    rows = [[cell.strip(" `") for cell in line.split("|")] for line in table]
    usual = Tracking()
    names = [name for name in Tracking.__struct_fields__ if _differs(name)]
    assert [row[1:4] for row in rows] == [
        [name, _shown(getattr(usual, name)), _shown(getattr(STRICT_TRACKING, name))] for name in names
    ]


def _shown(value: object) -> str:
    return (", ".join(value) or "none") if isinstance(value, tuple) else str(value).lower()


def _differs(name: str) -> bool:
    return bool(getattr(Tracking(), name) != getattr(STRICT_TRACKING, name))
