"""The referrer rules answer every input."""

from hypothesis import given
from hypothesis import strategies as st

from rules.prepared import CAMPAIGN, DIRECT
from rules.referrers import (
    attribution_from_cookie,
    attribution_from_ref,
    is_own_site,
    split_address,
    visit_referrer,
)
from rules.spam import is_referrer_spam
from schemas.config import Site, Tracking

PIECES = st.sampled_from(
    ["http://", "https://", "//", "www.", "google.", "com", "/", "?", "#", "&", "q=", "=", "%", "%FF", "+",
     ".", ":", "@", "[", "]", "utm_campaign=", "tbm=isch", "prev=", "as_q=", "x.com/i/grok", "\x00", "é", " "]
)  # fmt: skip
URLS = st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=14).map("".join))
SITE = Site(
    site_id=1, name="Site", urls=("http://example.org",), excluded_referrers=("pay.example", "", "//")
)


@given(page=URLS, referrer=URLS, name=st.text(max_size=300))
def test_any_urls_give_a_referrer_within_its_limits(page: str, referrer: str, name: str) -> None:
    for params in ({}, {"utm_campaign": name}):
        found = visit_referrer(params, page, referrer, SITE, Tracking())
        assert len(found.name) <= 255
        assert len(found.keyword) <= 255
        assert len(found.url) <= 1500
        assert found.type == DIRECT or found.name
        if found.type == CAMPAIGN:
            assert found.name == found.name.lower()


@given(text=URLS)
def test_any_cookie_gives_an_attribution_or_none(text: str) -> None:
    attribution_from_cookie({"_rcn": text, "_rck": text})
    found = attribution_from_ref({"_ref": text}, SITE, Tracking())
    assert found is None or found.type != DIRECT
    is_referrer_spam(text)


@given(page=URLS, referrer=URLS)
def test_a_referrer_is_the_own_site_when_its_host_is_the_page_s_or_one_of_the_site_s(
    page: str, referrer: str
) -> None:
    own = split_address(page).host
    assert is_own_site(own, page, SITE)
    other = split_address(referrer).host
    assert is_own_site(other, page, SITE) == (other in (own, "example.org", "www.example.org"))
