"""Which action a hit is."""

import pytest

from rules.actions import action_of, action_rules, page_timings, pageview_id
from rules.prepared import ActionDraft
from rules.query import parse_query
from rules.urls import clean_url, url_rules
from schemas.config import Site, Tracking
from schemas.rows import ActionKind

EX = "http://example.org"


def an_action(
    query: str, tracking: Tracking | None = None, url: str = f"{EX}/a", **site: object
) -> ActionDraft:
    draft = maybe_action(query, tracking, url, **site)
    assert draft is not None
    return draft


def maybe_action(
    query: str, tracking: Tracking | None = None, url: str = f"{EX}/a", **site: object
) -> ActionDraft | None:
    tracking = tracking or Tracking()
    a_site = Site(site_id=1, name="", **site)  # type: ignore[arg-type]
    urls = url_rules(a_site, tracking)
    params = parse_query(query)
    return action_of(params, url, clean_url(urls, url), action_rules(a_site, tracking))


@pytest.mark.parametrize(
    ("query", "kind", "url"),
    [
        ("", ActionKind.PAGE, "example.org/a"),
        ("link=http://partner.example.net/", ActionKind.OUTLINK, "partner.example.net/"),
        ("download=http://example.org/d.zip", ActionKind.DOWNLOAD, "example.org/d.zip"),
        ("e_c=C&e_a=A", ActionKind.EVENT, "example.org/a"),
        ("c_n=N", ActionKind.CONTENT, "example.org/a"),
        ("search=kw", ActionKind.SEARCH, ""),
        ("e_c=C&e_a=A&link=http://p.net/", ActionKind.OUTLINK, "p.net/"),
        ("link=http://p.net/2&download=http://example.org/d", ActionKind.DOWNLOAD, "example.org/d"),
        ("c_n=N&c_p=P&search=kw2", ActionKind.CONTENT, "example.org/a"),
        ("c_n=N2&e_c=C3&e_a=A3", ActionKind.EVENT, "example.org/a"),
        ("search=kw3&download=http://example.org/e", ActionKind.DOWNLOAD, "example.org/e"),
    ],
)
def test_the_kind_with_the_highest_precedence_wins(query: str, kind: int, url: str) -> None:
    action = an_action(query)
    assert (action.kind, action.url) == (kind, url)


@pytest.mark.parametrize("name", ["link", "download"])
def test_what_was_clicked_keeps_its_parameters_and_fragment(name: str) -> None:
    action = an_action(f"{name}=HTTPS%3A%2F%2FWWW.P.net%2FX%3Futm_campaign%3Dc%26sid%3D1%23top")
    assert (action.url, action.url_prefix) == ("p.net/X?utm_campaign=c&sid=1#top", 3)


@pytest.mark.parametrize("name", ["link", "download"])
def test_a_click_on_what_is_no_url_is_a_page_without_url(name: str) -> None:
    action = an_action(f"{name}=mailto:someone@example.org")
    assert (action.kind, action.url, action.title) == (ActionKind.PAGE, "", "")


def test_an_event_keeps_the_search_in_its_url() -> None:
    action = an_action("e_c=C2&e_a=A2", url=f"{EX}/a?q=kw")
    assert (action.kind, action.url) == (ActionKind.EVENT, "example.org/a?q=kw")


def test_a_custom_action_of_no_known_kind_is_none() -> None:
    assert maybe_action("ca=1") is None
    assert maybe_action("ca=0") is not None
    assert an_action("ca=1&e_c=C&e_a=A").kind == ActionKind.EVENT
    assert an_action("ca=1&search=kw").kind == ActionKind.SEARCH


@pytest.mark.parametrize("query", ["e_c=Cat", "e_a=Act", "e_c=&e_a=Act", "e_c=Cat&e_a=", "e_c=+&e_a=x"])
def test_an_event_without_category_or_action_is_a_page_view(query: str) -> None:
    assert an_action(query).kind == ActionKind.PAGE


@pytest.mark.parametrize("query", ["c_p=piece", "c_i=click", "c_n=", "c_n=+&c_p=x"])
def test_content_without_a_name_is_a_page_view(query: str) -> None:
    assert an_action(query).kind == ActionKind.PAGE


def test_a_content_interaction_keeps_all_its_parts() -> None:
    action = an_action("c_n=Ad&c_p=img.png&c_t=http%3A%2F%2Fp.net%2F&c_i=click")
    assert action.content_name == "Ad"
    assert action.content_piece == "img.png"
    assert action.content_target == "http://p.net/"
    assert action.content_interaction == "click"
    assert an_action("c_n=Ad").content_interaction == ""


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("3.7", 3.7),
        ("-2", -2.0),
        ("abc", 0.0),
        ("1%2C5", 1.0),
        ("1e3", 1000.0),
        ("0", 0.0),
        ("00.50", 0.5),
        ("3.14159", 3.142),
    ],
)
def test_an_event_value_has_three_decimals(value: str, expected: float) -> None:
    action = an_action(f"e_c=C&e_a=A&e_n=N&e_v={value}")
    assert (action.event_value, action.has_event_value, action.event_name) == (expected, True, "N")


@pytest.mark.parametrize("query", ["e_c=C&e_a=A", "e_c=C&e_a=A&e_v="])
def test_an_event_may_have_no_value(query: str) -> None:
    assert an_action(query).has_event_value is False


def test_only_page_views_have_a_title() -> None:
    assert an_action("action_name=T").title == "T"
    assert an_action("action_name=T&e_c=C&e_a=A").title == ""
    assert an_action("action_name=T&link=http://p.net/").title == ""
    assert an_action("action_name=T&search=k").title == ""


@pytest.mark.parametrize(
    ("sent", "title"),
    [
        ("Shop+/+Shoes+/+Red", "Shop / Shoes / Red"),
        ("/+lead+/+trail+/", "/ lead / trail /"),
        ("++pad++", "pad"),
        ("a%0Ab%0Dc", "abc"),
        ("0", ""),
        ("00", "00"),
        ("", ""),
    ],
)
def test_a_title_is_one_trimmed_line_and_zero_is_none(sent: str, title: str) -> None:
    assert an_action(f"action_name={sent}").title == title


def test_a_title_delimiter_trims_the_categories() -> None:
    tracking = Tracking(action_title_category_delimiter="/")
    assert an_action("action_name=/+Shop+/+Shoes+//Red/", tracking).title == "Shop/Shoes/Red"
    assert an_action("action_name=Shop", tracking).title == "Shop"


def test_a_title_is_cut_to_1024_bytes() -> None:
    assert len(an_action("action_name=" + "%C3%A9" * 600).title) == 512


def test_a_page_without_url_is_a_page() -> None:
    action = an_action("action_name=T", url="")
    assert (action.kind, action.url, action.url_prefix, action.title) == (ActionKind.PAGE, "", 4, "T")


@pytest.mark.parametrize(
    ("url", "keyword"),
    [
        (f"{EX}/find?q=Red+Shoes&page=2", "Red Shoes"),
        (f"{EX}/find?query=two&cat=x", "two"),
        (f"{EX}/find#?q=hash", "hash"),
        (f"{EX}/find#q=hash", "hash"),
        (f"{EX}/find?a=b#hash&q=Search+1", "Search 1"),
        (f"{EX}/find?Q=Upper", "Upper"),
        (f"{EX}/find?q=&s=fallback", "fallback"),
        (f"{EX}/find?q[]=arr", "arr"),
        (f"{EX}/find?q%5B%5D=arr", "arr"),
        (f"{EX}/find?%71=enc", "enc"),
        (f"{EX}/find?q=++pad++", "pad"),
        (f"{EX}/find?q=in-query#q=in-fragment", "in-query"),
    ],
)
def test_a_search_in_the_pages_url(url: str, keyword: str) -> None:
    action = an_action("action_name=Results", url=url)
    assert (action.kind, action.search_keyword, action.url) == (ActionKind.SEARCH, keyword, "")


@pytest.mark.parametrize("url", [f"{EX}/find?q=", f"{EX}/find?q=0", f"{EX}/find?other=1", f"{EX}/q=1", ""])
def test_a_search_without_keyword_is_a_page_view(url: str) -> None:
    assert an_action("", url=url).kind == ActionKind.PAGE


@pytest.mark.parametrize("query", ["search=", "search=0", "search=+"])
def test_an_empty_search_parameter_is_a_page_view(query: str) -> None:
    assert an_action(query).kind == ActionKind.PAGE


def test_with_site_search_off_the_search_parameter_is_ignored() -> None:
    assert an_action("search=two", site_search=False).kind == ActionKind.PAGE
    assert an_action("", url=f"{EX}/find?q=x", site_search=False).url == "example.org/find?q=x"


def test_a_search_is_read_from_the_url_as_long_as_a_stored_url_may_be() -> None:
    url = f"{EX}/find?q=" + "a%20" * 400 + "&cat=late"
    action = an_action("", Tracking(site_search_category_parameters=("cat",)), url=url)
    kept = url[:1024].partition("q=")[2].replace("%20", " ").strip()
    assert (action.search_keyword, action.search_category) == (kept, "")


def test_the_sites_own_search_parameters() -> None:
    site = {"search_keyword_parameters": ("Term",), "search_category_parameters": ("kat",)}
    action = an_action("search_count=3", url=f"{EX}/find?term=three&kat=+K1+&search_count=9", **site)
    assert (action.search_keyword, action.search_category, action.search_count) == ("three", "K1", 9)
    assert an_action("", url=f"{EX}/find?q=two", **site).kind == ActionKind.PAGE


def test_the_instances_search_parameters() -> None:
    tracking = Tracking(site_search_keyword_parameters=("gkwd",), site_search_category_parameters=("gcat",))
    action = an_action("", tracking, url=f"{EX}/?gkwd=x&gcat=y")
    assert (action.search_keyword, action.search_category) == ("x", "y")


@pytest.mark.parametrize(
    ("count", "expected"), [("5", 5), ("0", 0), ("INCORRECT!", -1), ("-1", -1), ("", -1), ("9" * 30, -1)]
)
def test_a_search_count_is_a_number_of_results(count: str, expected: int) -> None:
    assert an_action(f"search=kw&search_count={count}").search_count == expected


def test_a_search_category_is_cut_to_200() -> None:
    assert an_action("search=kw&search_cat=" + "x" * 300).search_category == "x" * 200


def test_the_keyword_is_read_in_the_pages_encoding() -> None:
    action = an_action("cs=windows-1251", url=f"{EX}/?q=%EC%E5%F8%EA%EE%E2%FB%E5")
    assert action.search_keyword == "мешковые"


def test_product_views_are_pages() -> None:
    action = an_action("_pks=sku1&_pkn=Shoe&_pkc=Shoes&_pkp=20.5")
    assert action.kind == ActionKind.PAGE
    assert (action.product_sku, action.product_name, action.product_categories) == ("sku1", "Shoe", ["Shoes"])
    assert (action.product_price, action.has_product_price) == (20.5, True)
    category = an_action("_pkc=Shoes")
    assert (category.product_sku, category.product_categories, category.has_product_price) == (
        "",
        ["Shoes"],
        False,
    )


@pytest.mark.parametrize(("sent", "expected"), [("5000", 5000), ("0", 0), ("-3", -1), ("x", -1)])
def test_bandwidth(sent: str, expected: int) -> None:
    assert an_action(f"bw_bytes={sent}").bandwidth == expected
    assert an_action("").bandwidth == -1


@pytest.mark.parametrize("query", ["ma_id=1&ma_pr=3", "cra=boom", "cra_tp=Error"])
def test_a_custom_action_of_media_or_crash_tracking_is_kept(query: str) -> None:
    action = an_action(f"ca=1&{query}")
    assert (action.kind, action.url) == (ActionKind.MEDIA, "example.org/a")
    assert action.media != ""
    assert an_action(query).kind == ActionKind.PAGE


def test_media_and_crash_parameters_are_kept_as_json() -> None:
    assert an_action("ma_id=1&ma_ti=T&cra=boom&x=1").media == '{"ma_id":"1","ma_ti":"T","cra":"boom"}'
    assert an_action("x=1").media == ""


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("pf_net=10&pf_srv=20&pf_tfr=30&pf_dm1=40&pf_dm2=50&pf_onl=60", (10, 20, 30, 40, 50, 60)),
        ("pf_net=0&pf_srv=200", (0, 200, -1, -1, -1, -1)),
        ("pf_srv=abc&pf_onl=12.7", (-1, -1, -1, -1, -1, -1)),
        ("pf_net=-5&pf_srv=-1", (-1, -1, -1, -1, -1, -1)),
    ],
)
def test_timings_are_whole_milliseconds(query: str, expected: tuple[int, ...]) -> None:
    assert page_timings(parse_query(query)) == expected


def test_a_pageview_id_has_six_characters() -> None:
    assert pageview_id({"pv_id": "abcdefgh"}) == "abcdef"
    assert pageview_id({}) == ""
