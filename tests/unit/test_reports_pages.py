"""Page trees: paths of URLs and titles, folders, Others of a level."""

from dataclasses import replace

import pytest

from reporting.pages import (
    Page,
    PageColumns,
    build_tree,
    path_of_link,
    path_of_title,
    path_of_url,
    secure_url,
)
from reporting.table import Table


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("example.org", ["/index"]),
        ("example.org/", ["/index"]),
        ("example.org/a", ["/a"]),
        ("example.org/a/", ["a", "/index"]),
        ("example.org/a/b?c=d", ["a", "/b?c=d"]),
        ("example.org/a//b", ["a", "/b"]),
        ("example.org/a#part", ["/a#part"]),
        ("example.org/?b=1", ["/?b=1"]),
        ("example.org/a?v=1/b", ["/a?v=1/b"]),
        ("ftp://example.org/f", ["ftp:", "example.org", "/f"]),
        ("", ["Page URL not defined"]),
    ],
)
def test_a_url_is_split_into_folders_and_a_page(url: str, path: list[str]) -> None:
    assert path_of_url(url) == path


def test_a_title_is_one_level_unless_a_delimiter_is_set() -> None:
    assert path_of_title("Shop / Shoes") == [" Shop / Shoes"]
    assert path_of_title("Shop / Shoes", "/") == ["Shop", " Shoes"]
    assert path_of_title("") == [" Page Name not defined"]


def test_a_link_is_a_host_and_the_rest() -> None:
    assert path_of_link("partner.example/a/b?c") == ["partner.example", "/a/b?c"]


def hits(visits: int, count: int, first: int = 0) -> Page:
    return Page(
        hits={
            "nb_visits": float(visits),
            "nb_uniq_visitors": float(visits),
            "nb_hits": float(count),
            "first_seen": float(first),
            "first_day": 1.0,
            "url_prefix": 0.0,
        }
    )


def tree(pages: dict[str, Page], *, day: bool = True) -> Table:
    return build_tree(
        pages,
        path_of=path_of_url,
        columns=PageColumns(day=day),
        url_of=lambda name, _: "http://" + name,
        leaf_metadata=lambda _, url: {"url": url},
        folder_metadata=lambda path: {"path": "/".join(path)},
    )


def test_a_folder_adds_up_its_pages_but_not_their_visitors() -> None:
    table = tree({"e.org/a/x": hits(2, 3), "e.org/a/y": hits(1, 1)})
    folder = table.rows[0]
    assert folder.label == "a"
    assert folder.columns["nb_visits"] == 3
    assert folder.columns["nb_hits"] == 4
    assert "nb_uniq_visitors" not in folder.columns
    assert folder.subtable is not None
    assert [row.label for row in folder.subtable.rows] == ["/x", "/y"]


def test_a_level_keeps_the_order_of_first_appearance() -> None:
    table = tree({"e.org/a": hits(1, 1), "e.org/b": hits(5, 5)})
    assert [row.label for row in table.rows] == ["/a", "/b"]


def test_longer_periods_say_that_visitors_are_sums_of_days() -> None:
    row = tree({"e.org/a": hits(2, 3)}, day=False).rows[0]
    assert "nb_uniq_visitors" not in row.columns
    assert row.columns["sum_daily_nb_uniq_visitors"] == 2
    assert list(row.columns)[-1] == "sum_daily_nb_uniq_visitors"


def test_a_folder_page_with_and_without_slash_is_one_row() -> None:
    table = tree({"e.org": hits(1, 1), "e.org/": hits(2, 2)})
    assert len(table.rows) == 1
    assert table.rows[0].columns["nb_hits"] == 3


def a_goal(conversions: int) -> dict[int, dict[str, float]]:
    return {1: {"nb_conversions_entry": float(conversions), "revenue_entry": 0.0, "first_day": 1.0,
                "nb_conversions_entry_rate": 1.0, "revenue_per_entry": 0.0}}  # fmt: skip


def test_pages_of_several_hosts_share_a_row_and_count_their_goals_once() -> None:
    together = a_goal(2)
    pages = {
        name: replace(hits(1, 1, first), entry_goals=together, goal_keys=frozenset(("/x",)))
        for name, first in (("a.org/x", 7), ("b.org/x", 9))
    }
    (row,) = tree(pages).rows
    assert row.columns["nb_hits"] == 2
    goals = row.columns["goals"]
    assert isinstance(goals, dict)
    assert goals["idgoal=1"]["nb_conversions_entry"] == 2


def test_a_shared_row_shows_the_url_of_its_first_page() -> None:
    first, second = hits(1, 1), hits(3, 3)
    assert second.hits is not None
    second.hits["url_prefix"] = 2.0
    (row,) = tree({"a.org/x": first, "b.org/x": second}).rows
    assert row.metadata["url"] == "http://a.org/x"


def test_pages_with_and_without_index_add_up_their_goals() -> None:
    pages = {
        "e.org/a/": replace(hits(1, 1), entry_goals=a_goal(1), goal_keys=frozenset(("/a/",))),
        "e.org/a/index": replace(hits(1, 1), entry_goals=a_goal(3), goal_keys=frozenset(("/a/index",))),
    }
    (folder,) = tree(pages).rows
    goals = folder.columns["goals"]
    assert isinstance(goals, dict)
    assert goals["idgoal=1"]["nb_conversions_entry"] == 4


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://a.org/x", "https://a.org/x"),
        ("http://b.org/x", "http://b.org/x"),
        ("https://b.org/x", "https://b.org/x"),
        ("", ""),
    ],
)
def test_a_page_is_shown_with_https_where_the_site_has_its_host_so(url: str, shown: str) -> None:
    assert secure_url(url, ("http://b.org", "https://A.org")) == shown
