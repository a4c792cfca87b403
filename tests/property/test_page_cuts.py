"""What the form of a URL tells about its place in the tree is what the tree makes of it."""

import re2
from hypothesis import given
from hypothesis import strategies as st

from reporting.page_cuts import folders_in_order
from reporting.pages import path_key, path_of_url
from reporting.rows import numbered
from reporting.table import Row, Table
from schemas.page_levels import FOLDER_PATH, FOLDER_URL, PAGE_PATH, PAGE_URL

PIECES = st.sampled_from(
    ["a", "b", "/", "//", "?", "#", " ", "\u00a0", "ä", "%20", ":", "index", "-", "x=1", "\n", "日本", "."]
)
URLS = st.lists(PIECES, max_size=12).map("".join) | st.lists(PIECES, max_size=12).map(
    lambda pieces: "example.org/" + "".join(pieces)
)


@given(URLS)
def test_what_looks_like_a_page_of_the_first_level_is_one(url: str) -> None:
    if re2.search(PAGE_URL, url):
        key = path_key(url)
        label = "/index" + key[1:] if key == "/" or key.startswith("/#") else key
        assert path_of_url(url) == [label]
        assert re2.search(PAGE_PATH, key)


@given(URLS)
def test_what_looks_like_a_page_below_a_folder_is_one(url: str) -> None:
    """And so is what stands for all pages below the folder, its path being its path."""
    if found := re2.search(FOLDER_URL, url):
        path = path_of_url(url)
        assert len(path) > 1
        assert path_of_url(found.group()) == [path[0], "/index"]
        below = re2.search(FOLDER_PATH, path_key(url))
        assert below
        assert below.group() == path_key(found.group())
        assert not re2.search(PAGE_URL, url)


PATHS = st.lists(st.lists(st.sampled_from("abc"), max_size=3), max_size=12)


@given(PATHS)
def test_folders_have_the_numbers_of_the_whole_tree(paths: list[list[str]]) -> None:
    def table_of(inner: list[list[str]]) -> Table:
        names = dict.fromkeys(path[0] for path in inner if path)
        return Table(
            [
                Row({"label": name}, subtable=table_of([path[1:] for path in inner if path[:1] == [name]]))
                for name in names
            ]
        )

    whole = numbered(table_of(paths))
    found: dict[tuple[str, ...], int | None] = {}

    def collect(table: Table, above: tuple[str, ...]) -> None:
        for row in table.rows:
            path = (*above, str(row.label))
            found[path] = row.subtable_id
            assert row.subtable is not None
            collect(row.subtable, path)

    collect(whole, ())
    assert {path: number for number, path in enumerate(folders_in_order(paths), 1)} == found
