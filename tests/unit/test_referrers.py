"""Where a visit came from (tracking semantics, section 6)."""

import pytest

from rules.prepared import (
    AI_ASSISTANT,
    CAMPAIGN,
    DIRECT,
    SEARCH_ENGINE,
    SOCIAL_NETWORK,
    WEBSITE,
    Referrer,
)
from rules.referrers import (
    attribution_from_cookie,
    attribution_from_ref,
    country_pattern,
    decode_keyword,
    search_engine_url,
    search_results_url,
    social_network_host,
    split_address,
    visit_referrer,
)
from rules.spam import is_referrer_spam
from schemas.config import Site, Tracking

PAGE = "http://shop.example/a"


def referrer_of(
    url: str = "",
    *,
    page: str = PAGE,
    params: dict[str, str] | None = None,
    site: Site | None = None,
    tracking: Tracking | None = None,
) -> Referrer:
    site = site or Site(site_id=1, name="Shop", urls=("http://shop.example/", "https://alias.example"))
    return visit_referrer(params or {}, page, url, site, tracking or Tracking())


@pytest.mark.parametrize(
    ("url", "kind", "name", "keyword"),
    [
        ("https://www.google.com/search?q=Blue+Hats", SEARCH_ENGINE, "Google", "blue hats"),
        ("https://www.google.co.uk/search?q=tea", SEARCH_ENGINE, "Google", "tea"),
        ("https://www.google.com/#q=old&q=new", SEARCH_ENGINE, "Google", "new"),
        ("https://www.google.com/", SEARCH_ENGINE, "Google", ""),
        ("https://www.google.de/url?sa=t&q=&esrc=s", SEARCH_ENGINE, "Google", ""),
        ("https://www.google.com/search?tbm=isch&q=cat", SEARCH_ENGINE, "Google Images", "cat"),
        ("https://www.google.com/maps/place", WEBSITE, "www.google.com", ""),
        ("http://google.com/cse?q=inside", SEARCH_ENGINE, "Google Custom Search", "inside"),
        ("https://de.search.yahoo.com/search?p=brot", SEARCH_ENGINE, "Yahoo!", "brot"),
        ("http://1.cz/s/pivo/", SEARCH_ENGINE, "1.cz", "pivo"),
        ("https://www.bing.com:443/search?q=x", SEARCH_ENGINE, "Bing", "x"),
        ("android-app://com.google.android.googlequicksearchbox/x", SEARCH_ENGINE, "Google", ""),
        ("https://l.facebook.com/l.php?u=1", SOCIAL_NETWORK, "Facebook", ""),
        ("https://de-de.facebook.com/", SOCIAL_NETWORK, "Facebook", ""),
        ("https://t.co/abc", SOCIAL_NETWORK, "Twitter", ""),
        ("https://plus.google.com/1", SOCIAL_NETWORK, "Google+", ""),
        ("https://cat.co/abc", WEBSITE, "cat.co", ""),
        ("https://chatgpt.com/", AI_ASSISTANT, "ChatGPT", ""),
        ("https://www.perplexity.ai/search/x", AI_ASSISTANT, "Perplexity", ""),
        ("https://x.com/i/grok/chat", AI_ASSISTANT, "Grok", ""),
        ("https://x.com/i/grokking", SOCIAL_NETWORK, "Twitter", ""),
        ("http://User:Pw@Sub.Example.NET:8080/p", WEBSITE, "sub.example.net", ""),
        ("//blog.example.net/x", WEBSITE, "blog.example.net", ""),
        ("android-app://com.google.android.gm/", WEBSITE, "com.google.android.gm", ""),
    ],
)
def test_a_referrer_is_told_by_its_url(url: str, kind: int, name: str, keyword: str) -> None:
    assert referrer_of(url) == Referrer(kind, name, keyword, url)


@pytest.mark.parametrize(
    "url", ["", "www.no-scheme.example", "about:blank", "http://", "not a url // really"]
)
def test_what_is_not_an_absolute_url_is_a_direct_entry_without_url(url: str) -> None:
    assert referrer_of(url) == Referrer()


@pytest.mark.parametrize(
    "url",
    [
        "http://shop.example/x",
        "https://www.shop.example",
        "http://alias.example/",
        "http://SHOP.example:8080/y",
    ],
)
def test_the_own_site_and_its_aliases_are_direct_but_keep_the_url(url: str) -> None:
    assert referrer_of(url) == Referrer(DIRECT, "", "", url)


def test_a_subdomain_of_the_own_site_is_a_website() -> None:
    assert referrer_of("http://blog.shop.example/").type == WEBSITE


def test_the_host_of_the_page_is_direct_though_the_site_does_not_name_it() -> None:
    assert referrer_of("http://other.example/x", page="http://other.example/y").type == DIRECT


def test_ai_assistants_are_websites_where_that_type_is_off() -> None:
    strict = Tracking(ai_assistants=False)
    assert referrer_of("https://chatgpt.com/", tracking=strict).type == WEBSITE


@pytest.mark.parametrize(
    ("page", "name", "keyword"),
    [
        ("/a?utm_medium=Med&utm_source=Src&utm_campaign=Cmp", "cmp", ""),
        ("/a?utm_campaign=&utm_source=Src2&utm_term=&pk_kwd=K", "src2", "k"),
        ("/a?pk_campaign=PK&mtm_campaign=MTM&utm_campaign=UTM", "pk", ""),
        ("/a#mtm_campaign=Hash&mtm_kwd=HK", "hash", "hk"),
        ("/a#/page?mtm_campaign=Hash", "hash", ""),
        ("/a?utm_campaign=Q#mtm_campaign=F", "q", ""),
        ("/a?utm_campaign=Gr%C3%BCn+1", "grün 1", ""),
        ("/a?x=utm_campaign=no&mtm_campaign=yes", "yes", ""),
        ("/a?pk_campaign=" + "N" * 300, "n" * 255, ""),
    ],
)
def test_the_first_campaign_name_and_keyword_of_the_settings_win(page: str, name: str, keyword: str) -> None:
    found = referrer_of(page="http://shop.example" + page)
    assert (found.type, found.name, found.keyword) == (CAMPAIGN, name, keyword)


def test_a_campaign_comes_from_tracking_parameters_when_the_page_names_none() -> None:
    params = {"utm_campaign": "Mail", "utm_term": "T"}
    assert referrer_of(params=params) == Referrer(CAMPAIGN, "mail", "t", "")
    assert referrer_of(params=params, page=PAGE + "?pk_campaign=page").name == "page"


def test_the_remembered_campaign_is_not_the_visit_s() -> None:
    assert referrer_of(params={"_rcn": "RCN", "_rck": "RCK"}).type == DIRECT


@pytest.mark.parametrize(
    ("url", "keyword"),
    [
        ("http://partner.example.net/x", "partner.example.net"),
        ("https://www.google.com/search?q=shoes", "shoes"),
        ("http://shop.example/x", "shop.example"),
        ("", ""),
    ],
)
def test_a_missing_campaign_keyword_is_the_referrer_s_keyword_or_host(url: str, keyword: str) -> None:
    assert referrer_of(url, page=PAGE + "?utm_campaign=Spring") == Referrer(CAMPAIGN, "spring", keyword, url)


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        ("ignore_referrer=1", DIRECT),
        ("x=2&ignore_referer=1", DIRECT),
        ("ignore_referrer=1&utm_campaign=C", DIRECT),
        ("ignore_referrer=0", WEBSITE),
        ("ignore_referrer=10", WEBSITE),
    ],
)
def test_a_page_can_ask_for_a_visit_without_referrer(query: str, kind: int) -> None:
    assert referrer_of("http://one.example.net/x", page=f"{PAGE}?{query}").type == kind


@pytest.mark.parametrize(
    ("entry", "url", "excluded"),
    [
        ("pay.example.net", "https://pay.example.net/x", True),
        ("https://pay.example.net", "https://pay.example.net/x", True),
        ("pay.example.net", "https://sub.pay.example.net/x", False),
        (".example.net", "https://pay.example.net/x", True),
        (".example.net", "https://example.net/x", True),
        ("example.net/pay", "https://example.net/pay/done", True),
        ("example.net/pay", "https://example.net/blog", False),
    ],
)
def test_an_excluded_referrer_is_a_direct_entry(entry: str, url: str, excluded: bool) -> None:
    of_site = Site(site_id=1, name="Shop", excluded_referrers=(entry,))
    of_instance = Tracking(excluded_referrers=(entry,))
    for found in (referrer_of(url, site=of_site), referrer_of(url, tracking=of_instance)):
        assert (found == Referrer()) is excluded


def test_the_remembered_campaign_is_decoded_once_more() -> None:
    assert attribution_from_cookie({"_rcn": " NAME -%20YEAH! ", "_rck": "K"}) == Referrer(
        CAMPAIGN, "name - yeah!", "k", ""
    )
    assert attribution_from_cookie({"_rcn": " "}) is None
    assert attribution_from_cookie({}) is None


@pytest.mark.parametrize(
    ("ref", "kind"),
    [
        ("https://www.google.com/search?q=shoes", SEARCH_ENGINE),
        ("http://one.example.net/", WEBSITE),
        ("https://t.co/x", SOCIAL_NETWORK),
    ],
)
def test_the_remembered_referrer_attributes_a_conversion(ref: str, kind: int) -> None:
    site = Site(site_id=1, name="Shop", urls=("http://shop.example",))
    found = attribution_from_ref({"_ref": ref}, site, Tracking())
    assert found is not None
    assert found.type == kind


def test_the_own_site_as_remembered_referrer_says_nothing() -> None:
    site = Site(site_id=1, name="Shop", urls=("http://shop.example",))
    assert attribution_from_ref({"_ref": "http://shop.example/x"}, site, Tracking()) is None
    assert attribution_from_ref({}, site, Tracking()) is None


@pytest.mark.parametrize(
    ("host", "pattern"),
    [
        ("www.google.co.uk", "google.{}"),
        ("google.de", "google.{}"),
        ("de.bing.com", "{}.bing.com"),
        ("m.example.org", "example.org"),
        ("search.example.com", "example.com"),
        ("t.co", "t.{}"),
        ("localhost", "localhost"),
    ],
)
def test_a_host_loses_its_country(host: str, pattern: str) -> None:
    assert country_pattern(host) == pattern


def test_a_keyword_is_read_in_the_charset_it_was_written_in() -> None:
    assert decode_keyword("%D0%BC%D0%B8%D1%80", ("windows-1251",)) == "мир"
    assert decode_keyword("%EC%E8%F0", ("utf-8", "windows-1251")) == "мир"
    assert decode_keyword("Caf%E9", ()) == "café"


def test_an_address_is_split_without_a_failure_on_odd_input() -> None:
    assert split_address("http://[::1]:80/x?y#z") == ("[::1]", "/x", "y", "z")
    assert split_address("http://a@b@c.example:x") == ("c.example", "", "", "")


def test_reports_know_the_address_of_an_engine_and_of_its_results() -> None:
    assert search_engine_url("Google") == "http://google.com"
    assert search_results_url("Google", 'peace "," war') == "http://google.com/search?q=peace+%22%2C%22+war"
    assert social_network_host("Twitter") == "twitter.com"
    assert search_engine_url("No such engine") == social_network_host("No such network") == ""


@pytest.mark.parametrize(
    ("url", "spam"),
    [
        ("http://0n-line.tv/", True),
        ("http://sub.0N-line.tv/x", True),
        ("http://ok.example.net/0n-line.tv", True),
        ("http://ok.example.net/", False),
        ("", False),
    ],
)
def test_a_spammer_s_domain_anywhere_in_the_referrer_is_spam(url: str, spam: bool) -> None:
    assert is_referrer_spam(url) is spam
