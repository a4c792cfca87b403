"""Which pages are read when a page is asked for by its name."""

import pytest

from reporting.page_cuts import cuts_of_named


def test_a_page_is_looked_for_by_its_name_without_query() -> None:
    cuts = cuts_of_named("pages", [["shop", "/article?id=1"], ["shop", "/article?id=2"]])
    assert {tuple(cut.parameters["names"]) for cut in cuts.values()} == {("article",)}  # type: ignore[arg-type]
    assert "pages_entry_goals" in cuts


@pytest.mark.parametrize(
    "paths",
    [
        [["/index"]],
        [[" "], [" Home"]],
        [["Page URL not defined"]],
        [["/?q=1"]],
        [[f" {number}"] for number in range(256)],
    ],
)
def test_all_pages_are_read_where_the_name_tells_nothing(paths: list[list[str]]) -> None:
    assert cuts_of_named("titles", paths) == {}
