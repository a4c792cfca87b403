"""Every default of the tracking semantics is a setting: its value, and what another value changes.

Settings that other tests change where they test the rule are only held to their default here."""

from typing import Any

import pytest

from rules.fold import fold_hit
from rules.fold_state import FoldState, Rows
from rules.prepare import prepare, site_rules
from rules.prepared import CAMPAIGN, PreparedHit, Referrer
from schemas.config import Config, Privacy, Site, Tracking
from schemas.rows import Visit
from tests.builders import NOON, a_prepared_hit, visit_rules
from tests.unit.test_ingest_acceptance import A_LOOKUP, accepted, an_acceptance


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("enable_userid_overwrites_visitorid", True),
        ("use_third_party_id_cookie", False),
        ("trust_visitors_cookies", False),
        ("window_look_back_for_visitor", 0),
        ("enable_fingerprinting_across_websites", False),
        ("anonymous_visitor_ids", ("0000000000000000",)),
        ("create_new_visit_after_x_actions", 10_000),
        ("visit_standard_length", 1800),
        ("create_new_visit_after_midnight", True),
        ("create_new_visit_when_campaign_changes", True),
        ("create_new_visit_when_website_referrer_changes", False),
        ("default_time_one_page_visit", 0),
        ("page_maximum_length", 1024),
        ("keep_url_fragments", False),
        ("ignore_visits_cookie_names", ("matomo_ignore", "piwik_ignore")),
        ("exclude_referrer_spam", True),
        ("exclude_requests", ""),
        ("record_statistics", True),
        ("tracking_requests_require_authentication_when_custom_timestamp_newer_than", 86_400),
    ],
)
def test_defaults_of_tracking(name: str, default: object) -> None:
    assert getattr(Tracking(), name) == default


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("ip_mask_bytes", 2),
        ("use_masked_ip_for_enrichment", False),
        ("honour_do_not_track", False),
        ("honour_global_privacy_control", False),
        ("force_cookieless", False),
        ("anonymise_user_id", False),
        ("anonymise_order_id", False),
        ("anonymise_referrer", ""),
    ],
)
def test_defaults_of_privacy(name: str, default: object) -> None:
    assert getattr(Privacy(), name) == default


def visits(*hits: PreparedHit, **tracking: Any) -> list[Visit]:
    state, rows = FoldState(), Rows()
    for hit in hits:
        fold_hit(state, hit, visit_rules("UTC", **tracking), rows)
    return [row for row in rows.rows.values() if isinstance(row, Visit)]


def config(**tracking: Any) -> Config:
    sites = {number: Site(site_id=number, name="s", urls=("http://example.org",)) for number in (1, 2)}
    return Config(sites=sites, tracking=Tracking(**tracking))


def prepared(query: str, **tracking: Any) -> PreparedHit:
    of_config = config(**tracking)
    hit = prepare(accepted(f"idsite=1&rec=1&{query}", of_config), site_rules(of_config, 1), A_LOOKUP)
    assert isinstance(hit, PreparedHit)
    return hit


@pytest.mark.parametrize(("second", "expected"), [("bob", 2), ("ALICE", 1), ("", 1)])
def test_another_user_starts_a_new_visit_where_users_are_not_the_visitors(second: str, expected: int) -> None:
    hits = (a_prepared_hit(NOON, user_id="alice"), a_prepared_hit(NOON + 9, user_id=second))
    assert len(visits(*hits)) == 1
    assert len(visits(*hits, enable_userid_overwrites_visitorid=False)) == expected


def test_another_campaign_keeps_the_visit_when_set() -> None:
    hits = [
        a_prepared_hit(NOON + at, referrer=Referrer(CAMPAIGN, name)) for at, name in enumerate(("a", "b"))
    ]
    assert len(visits(*hits)) == 2
    (visit,) = visits(*hits, create_new_visit_when_campaign_changes=False)
    assert visit.referrer_name == "a"


def test_a_visit_of_one_hit_may_count_as_longer_than_nothing() -> None:
    (visit,) = visits(a_prepared_hit(NOON), default_time_one_page_visit=15)
    assert visit.duration == 15
    (visit,) = visits(a_prepared_hit(NOON), a_prepared_hit(NOON + 4), default_time_one_page_visit=15)
    assert visit.duration == 5


def test_one_browser_has_one_fingerprint_on_all_sites_when_set() -> None:
    def fingerprints(*, across: bool) -> set[int]:
        acceptance = an_acceptance()
        of_config = config(enable_fingerprinting_across_websites=across)
        return {accepted(f"idsite={site}&rec=1", of_config, acceptance).config_id for site in (1, 2)}

    assert len(fingerprints(across=False)) == 2
    assert len(fingerprints(across=True)) == 1


def test_ids_are_believed_when_set() -> None:
    def owners(*, trusted: bool) -> list[int]:
        acceptance = an_acceptance()
        of_config = config(trust_visitors_cookies=trusted)
        names = ("aaaaaaaaaaaaaaa1", "bbbbbbbbbbbbbbb2")
        return [accepted(f"idsite=1&rec=1&_id={name}", of_config, acceptance).owner for name in names]

    assert owners(trusted=False) == [0xAAAAAAAAAAAAAAA1] * 2
    assert owners(trusted=True) == [0xAAAAAAAAAAAAAAA1, 0xBBBBBBBBBBBBBBB2]


def test_which_ids_are_nobodys_is_a_setting() -> None:
    zeros, ones = "_id=0000000000000000", "_id=1111111111111111"
    assert accepted(f"idsite=1&rec=1&{zeros}", config()).visitor_id != 0
    assert accepted(f"idsite=1&rec=1&{zeros}", config(anonymous_visitor_ids=())).visitor_id == 0
    nobody = config(anonymous_visitor_ids=("1111111111111111",))
    assert accepted(f"idsite=1&rec=1&{ones}", nobody).visitor_id != 0x1111111111111111


def test_visitors_without_id_are_looked_for_further_back_when_set() -> None:
    def owners(**tracking: Any) -> set[int]:
        acceptance = an_acceptance()
        of_config = config(**tracking)
        return {
            accepted(f"idsite=1&rec=1&token_auth={'t' * 32}&cdo={ago}", of_config, acceptance).owner
            for ago in (7000, 4000)
        }

    assert len(owners()) == 2
    assert len(owners(window_look_back_for_visitor=3600)) == 1


def test_urls_are_cut_where_set() -> None:
    assert (
        prepared("url=http://example.org/abcdef", page_maximum_length=20).page_url == "http://example.org/a"
    )


def test_names_of_campaign_parameters_are_settings() -> None:
    sent = "url=http://example.org/?was=spring%26term=shoes%26utm_campaign=x"
    referrer = prepared(sent, campaign_names=("was",), campaign_keywords=("term",)).referrer
    assert (referrer.type, referrer.name, referrer.keyword) == (CAMPAIGN, "spring", "shoes")


def test_parameters_left_out_of_urls_are_a_setting() -> None:
    sent = "url=http://example.org/?gclid=1%26mine=2"
    assert prepared(sent).page_url == "http://example.org/?mine=2"
    assert prepared(sent, excluded_url_parameters=("mine",)).page_url == "http://example.org/?gclid=1"
