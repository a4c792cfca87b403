"""The form in which page URLs are stored."""

import pytest

from rules.urls import clean_url, host_and_path, prefixed, split_prefix, url_rules
from schemas.config import Site, Tracking

EX = "http://example.org"


def cleaned(raw: str, tracking: Tracking | None = None, **site: object) -> str:
    rules = url_rules(Site(site_id=1, name="", **site), tracking or Tracking())  # type: ignore[arg-type]
    return clean_url(rules, raw).full


@pytest.mark.parametrize(
    ("raw", "full", "url", "prefix"),
    [
        (f"{EX}/a", f"{EX}/a", "example.org/a", 0),
        ("http://www.example.org/a", "http://www.example.org/a", "example.org/a", 1),
        ("https://example.org/a", "https://example.org/a", "example.org/a", 2),
        ("https://www.example.org/a", "https://www.example.org/a", "example.org/a", 3),
        ("HTTP://EXAMPLE.ORG/A", f"{EX}/A", "example.org/A", 0),
        ("HTTPS://WWW.Example.org/", "https://www.example.org/", "example.org/", 3),
        ("ftp://example.org/f", "ftp://example.org/f", "ftp://example.org/f", 4),
        ("/relative", "", "", 4),
        ("this is no url", "", "", 4),
        ("http://", "", "", 4),
        ("", "", "", 4),
        ("   ", "", "", 4),
        (EX, EX, "example.org", 0),
    ],
)
def test_scheme_and_www_are_no_part_of_the_identity(raw: str, full: str, url: str, prefix: int) -> None:
    page = clean_url(url_rules(Site(site_id=1, name=""), Tracking()), raw)
    assert (page.full, page.url, page.prefix) == (full, url, prefix)
    assert prefixed(page.url, page.prefix) == full
    assert split_prefix(full) == (url, prefix)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (f"{EX}/a?", f"{EX}/a"),
        (f"{EX}/a?&x=1&&y=2", f"{EX}/a?x=1&y=2"),
        (f"{EX}/a?flag", f"{EX}/a?flag"),
        (f"{EX}/a?flag=", f"{EX}/a?flag="),
        (f"{EX}/a?b=2&a=1", f"{EX}/a?b=2&a=1"),
        (f"{EX}/a?x=%20%26&y=a+b", f"{EX}/a?x=%20%26&y=a+b"),
        (f"{EX}/a?x[]=1&x[]=2", f"{EX}/a?x[]=1&x[]=2"),
        (f"{EX}/not a url", f"{EX}/not a url"),
        (f"{EX}//relative/path", f"{EX}//relative/path"),
        (f"{EX}/a\r\nb", f"{EX}/ab"),
        (f"  {EX}/a  ", f"{EX}/a"),
        ("http://User:Pw@Example.org:8080/A", "http://User:Pw@example.org:8080/A"),
    ],
)
def test_the_query_keeps_its_order_and_encoding(raw: str, expected: str) -> None:
    assert cleaned(raw) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (f"{EX}/a;v=1;w=2", f"{EX}/a?v=1&w=2"),
        (f"{EX}/a;jsessionid=ABC", f"{EX}/a"),
        (f"{EX}/a;jsessionid=ABC?x=1", f"{EX}/a?x=1"),
        (f"{EX}/a?x=1;y=2", f"{EX}/a?x=1;y=2"),
        (f"{EX}/a;v=1/b", f"{EX}/a?v=1/b"),
    ],
)
def test_matrix_parameters_become_a_query(raw: str, expected: str) -> None:
    assert cleaned(raw) == expected


@pytest.mark.parametrize(
    "query",
    [
        "utm_campaign=C&utm_term=T&keep=1",
        "UTM_CAMPAIGN=C&keep=1",
        "pk_campaign=C&pk_kwd=T&keep=1",
        "PHPSESSID=1&sid=2&sessionid=3&jsessionid=4&aspsessionid=5&keep=1",
        "keep=1&gclid=x&ignore_referrer=1&ignore_referer=1",
        "keep=1&sid[]=2&%73id=3",
    ],
)
def test_campaign_and_session_parameters_are_removed_in_any_case(query: str) -> None:
    assert cleaned(f"{EX}/a?{query}") == f"{EX}/a?keep=1"


def test_a_query_of_excluded_parameters_alone_leaves_none() -> None:
    assert cleaned(f"{EX}/a?gclid=1") == f"{EX}/a"


def test_the_site_and_the_instance_exclude_parameters_too() -> None:
    tracking = Tracking(excluded_parameters=("everywhere",))
    assert (
        cleaned(f"{EX}/a?here=1&everywhere=2&k=3", tracking, excluded_parameters=("Here",)) == f"{EX}/a?k=3"
    )


def test_an_excluded_parameter_can_be_a_regular_expression() -> None:
    assert cleaned(f"{EX}/a?s1=1&s22=2&t=3", excluded_parameters=("/^s[0-9]+$/",)) == f"{EX}/a?t=3"


def test_fragments_are_dropped_unless_the_site_keeps_them() -> None:
    assert cleaned(f"{EX}/a#one") == f"{EX}/a"
    assert cleaned(f"{EX}/a#one", keep_url_fragments=1) == f"{EX}/a#one"
    assert cleaned(f"{EX}/a#one", Tracking(keep_url_fragments=True)) == f"{EX}/a#one"
    assert cleaned(f"{EX}/a#one", Tracking(keep_url_fragments=True), keep_url_fragments=2) == f"{EX}/a"


def test_a_kept_fragment_loses_excluded_parameters() -> None:
    assert cleaned(f"{EX}/a#x=1&utm_campaign=c", keep_url_fragments=1) == f"{EX}/a#x=1"
    assert cleaned(f"{EX}/a#utm_campaign=c", keep_url_fragments=1) == f"{EX}/a"


def test_a_url_is_cut_to_1024_bytes_but_never_inside_a_character() -> None:
    assert len(cleaned(f"{EX}/" + "a" * 2000)) == 1024
    even = cleaned(f"{EX}/uu/" + "é" * 800)
    odd = cleaned(f"{EX}/uuu/" + "é" * 800)
    assert len(even.encode()) == 1024
    assert len(odd.encode()) == 1023
    assert odd.endswith("é")


@pytest.mark.parametrize("raw", ["example.org/a?gclid=1#x", "this is no url", "mailto:a@example.org"])
def test_what_is_no_url_is_not_kept(raw: str) -> None:
    assert cleaned(raw) == ""


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://www.Example.org:8080/a/b?c#d", ("example.org", "/a/b")),
        ("https://u:p@example.org", ("example.org", "")),
        ("http://[::1]:80/x", ("[::1]:80", "/x")),
        ("nothing", ("", "")),
    ],
)
def test_host_and_path(url: str, expected: tuple[str, str]) -> None:
    assert host_and_path(url) == expected
