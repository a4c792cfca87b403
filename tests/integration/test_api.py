"""The Reporting API over HTTP: who may do what, what is refused how, what configuration calls leave."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from reporting.method import Access, ApiRequest, Cell, Method, ReportShape
from reporting.table import Result, Row, Table
from schemas.access import Grant
from stream.embedded import EmbeddedLog
from stream.secrets import TokenStore
from tests.integration.api import ADMIN, Api

DAY = {"period": "day", "date": "2010-01-05"}


def test_a_site_is_added_changed_and_deleted(two_sites: Api) -> None:
    api = two_sites
    assert api.value("SitesManager.getAllSitesId") == [1, 2]
    new = {
        "siteName": "Three",
        "urls": "http://a.example,b.example",
        "ecommerce": "1",
        "timezone": "Asia/Tokyo",
    }
    new |= {"startDate": "2009-01-03 00:11:42", "excludedIps": "10.0.0.5,1.2.3.*"}
    added = api.value("SitesManager.addSite", **new)
    assert added == 3
    changed = {"idSite": "3", "siteName": "Drei", "searchKeywordParameters": "q,s", "keepURLFragments": "2"}
    assert api.value("SitesManager.updateSite", **changed) == {"result": "success", "message": "ok"}
    site = api.config.sites[3]
    assert (site.name, site.urls) == ("Drei", ("http://a.example", "http://b.example"))
    assert (site.ecommerce, site.timezone, site.created_at) == (True, "Asia/Tokyo", "2009-01-03 00:11:42")
    assert (site.search_keyword_parameters, site.keep_url_fragments) == (("q", "s"), 2)
    assert site.excluded_ips == ("10.0.0.5", "1.2.3.*")
    api.value("SitesManager.deleteSite", idSite="3")
    assert api.refusal("SitesManager.getSiteFromId", idSite="3")[1].startswith("An unexpected website")
    assert api.value("SitesManager.addSite", siteName="Four", urls="http://d.example") == 4


@pytest.mark.parametrize(
    ("method", "parameters", "message"),
    [
        ("SitesManager.addSite", {"siteName": ""}, "Please specify a value for 'siteName'."),
        ("SitesManager.addSite", {"siteName": "x", "urls": "ht tp"}, "The url 'ht tp' is not a valid URL."),
        ("SitesManager.addSite", {"siteName": "x", "timezone": "Mars/X"}, "timezone 'Mars/X' is not valid"),
        ("SitesManager.addSite", {"siteName": "x", "excludedIps": "999"}, "does not have a valid IP format"),
        ("SitesManager.addSite", {"siteName": "x", "excludedIps": "1.*.3.4"}, "does not have a valid IP"),
        ("SitesManager.addSite", {"siteName": "x", "type": "fridge"}, "expected one of website, mobileapp"),
        ("SitesManager.setGlobalQueryParamExclusion", {"exclusionType": "all"}, "expected common_session"),
        ("SitesManager.setGlobalQueryParamExclusion", {"exclusionType": "custom"}, "is empty"),
        ("UsersManager.createAppSpecificTokenAuth", {"userLogin": "admin", "description": "d",
                                                     "expireDate": "2001-01-01"}, "still to come"),
        ("UsersManager.createAppSpecificTokenAuth", {"userLogin": "admin", "description": "d",
                                                     "expireHours": "-1"}, "expected 0 (never)"),
        ("UsersManager.addCapabilities", {"userLogin": "x", "capabilities": "fly", "idSites": "1"},
         "The capability 'fly' doesn't exist"),
        ("UsersManager.inviteUser", {"userLogin": "x", "email": "a@b.example"}, "use UsersManager.addUser"),
        ("UsersManager.setUserPreference", {"userLogin": "admin", "preferenceName": "mood",
                                            "preferenceValue": "1"}, "'mood' is unknown"),
        ("Goals.addGoal", {"idSite": "1", "name": "g", "matchAttribute": "colour"}, "expected one of url,"),
        ("Goals.addGoal", {"idSite": "1", "name": "g", "matchAttribute": "url", "pattern": "("
                           , "patternType": "regex"}, "is not valid"),
        ("Goals.addGoal", {"idSite": "1", "name": "g", "matchAttribute": "visit_duration", "pattern": "x",
                           "patternType": "greater_than"}, "expected a number"),
        ("CustomDimensions.configureNewCustomDimension", {"idSite": "1", "name": "d", "scope": "page"},
         "Invalid value 'page' for 'scope'"),
        ("SegmentEditor.add", {"name": "s", "definition": "countryCode"},
         "The segment condition 'countryCode' is not valid."),
        ("UsersManager.addUser", {"userLogin": "x", "password": "secret1", "email": "a@b.example"},
         "The login 'x' is not valid"),
        ("UsersManager.setUserAccess", {"userLogin": "nobody", "access": "view", "idSites": "1"},
         "User 'nobody' doesn't exist."),
        ("PrivacyManager.setAnonymizeIpSettings", {"maskLength": "9"}, "expected 0 to 4 bytes"),
    ],
)  # fmt: skip
def test_a_refusal_says_what_is_wrong(
    two_sites: Api, method: str, parameters: dict[str, str], message: str
) -> None:
    before = two_sites.config.offset
    assert message in two_sites.refusal(method, **parameters)[1]
    assert two_sites.config.offset == before


def test_goals_dimensions_and_segments_are_configured(two_sites: Api) -> None:
    api = two_sites
    goal = {"idSite": "2", "name": "thanks", "matchAttribute": "url", "pattern": "thanks",
            "patternType": "contains", "revenue": "2.5", "allowMultipleConversionsPerVisit": "1"}  # fmt: skip
    assert api.value("Goals.addGoal", **goal) == 1
    assert api.value("Goals.addGoal", idSite="2", name="by hand", matchAttribute="manually") == 2
    digits = {"idSite": "2", "name": "digits", "matchAttribute": "url", "patternType": "regex"}
    assert api.value("Goals.addGoal", pattern="item/[0-9]%2B", **digits) == 3
    assert api.config.goals[2][3].pattern == "item/[0-9]+"
    api.value("Goals.deleteGoal", idSite="2", idGoal="3")
    api.value("Goals.updateGoal", idSite="2", idGoal="1", name="thank you")
    shown = api.value("Goals.getGoals", idSite="2")
    assert shown["1"]["name"] == "thank you"
    assert shown["1"]["revenue"] == 2.5
    assert "pattern" not in shown["2"]
    api.value("Goals.deleteGoal", idSite="2", idGoal="1")
    assert list(api.value("Goals.getGoals", idSite="2")) == ["2"]

    dimension = {"idSite": "1", "name": "Kind", "scope": "action", "active": "1",
                 "extractions[0][dimension]": "url", "extractions[0][pattern]": "/(.+)/x"}  # fmt: skip
    assert api.value("CustomDimensions.configureNewCustomDimension", **dimension) == 1
    assert api.value("CustomDimensions.getConfiguredCustomDimensions", idSite="1") == [
        {"idcustomdimension": "1", "idsite": "1", "name": "Kind", "index": "1", "scope": "action",
         "active": True, "extractions": [{"dimension": "url", "pattern": "/(.+)/x"}], "case_sensitive": True}
    ]  # fmt: skip

    assert api.value("SegmentEditor.add", name="fr", definition="countryCode==fr", idSite="0") == 1
    assert api.value("SegmentEditor.get", idSegment="1")["definition"] == "countryCode==fr"
    api.value("SegmentEditor.delete", idSegment="1")
    assert api.value("SegmentEditor.getAll") == []


def test_site_settings_are_shown_as_they_are_set(two_sites: Api) -> None:
    api = two_sites
    settings = {"settingValues[WebsiteMeasurable][0][name]": "excluded_parameters",
                "settingValues[WebsiteMeasurable][0][value]": "a,b",
                "settingValues[WebsiteMeasurable][1][name]": "exclude_unknown_urls",
                "settingValues[WebsiteMeasurable][1][value]": "1"}  # fmt: skip
    api.value("SitesManager.updateSite", idSite="1", **settings)
    (plugin,) = api.value("SitesManager.getSiteSettings", idSite="1")
    shown = {setting["name"]: setting["value"] for setting in plugin["settings"]}
    assert (shown["excluded_parameters"], shown["exclude_unknown_urls"]) == (["a", "b"], True)
    assert shown["urls"] == ["http://site.example"]
    assert api.value("SitesManager.getMessagesToWarnOnSiteRemoval", idSite="1") == []


def test_parameters_are_excluded_everywhere_or_only_the_common_ones(api: Api) -> None:
    assert api.value("SitesManager.getExclusionTypeForQueryParams") == "common_session_parameters"
    custom = {"exclusionType": "custom", "queryParamsToExclude": "email,phone"}
    api.value("SitesManager.setGlobalQueryParamExclusion", **custom)
    assert api.config.tracking.excluded_parameters == ("email", "phone")
    assert api.value("SitesManager.getExclusionTypeForQueryParams") == "custom"
    api.value("SitesManager.setGlobalQueryParamExclusion", exclusionType="common_session_parameters")
    assert api.config.tracking.excluded_parameters == ()


def test_users_are_found_with_their_roles(two_sites: Api) -> None:
    api = two_sites
    for login in ("anna", "ben"):
        user = {"userLogin": login, "password": "secret1", "email": f"{login}@example.org"}
        api.value("UsersManager.addUser", **user)
    api.value("UsersManager.setUserAccess", userLogin="anna", access="write", idSites="2")
    found = api.value("UsersManager.getUsersPlusRole", idSite="2", filter_search="example")
    roles = {user["login"]: user["role"] for user in found}
    assert (roles["anna"], roles["ben"]) == ("write", "noaccess")
    some = api.value("UsersManager.getUsersPlusRole", idSite="2", filter_access="write")
    assert [user["login"] for user in some] == ["anna"]
    assert len(api.value("UsersManager.getUsersPlusRole", idSite="2", limit="1", offset="1")) == 1
    assert api.value("UsersManager.getSitesAccessForUser", userLogin="anna", filter_access="some") == [
        {"idsite": 2, "site_name": "Two", "role": "write", "capabilities": []}
    ]
    assert api.value("UsersManager.getUserByEmail", userEmail="BEN@example.org")["login"] == "ben"
    assert api.value("UsersManager.getUserLoginFromUserEmail", userEmail="anna@example.org") == "anna"
    assert (
        api.value("UsersManager.getUserPreference", userLogin="ben", preferenceName="defaultReport") is False
    )
    preference = {"userLogin": "ben", "preferenceName": "defaultReport", "preferenceValue": "2"}
    api.value("UsersManager.setUserPreference", **preference)
    assert api.value("UsersManager.getUserPreference", userLogin="ben", preferenceName="defaultReport") == "2"


def test_a_token_expires(tmp_path: Path) -> None:
    log = EmbeddedLog(tmp_path / "log", 1)
    now = [1000.0]
    tokens = TokenStore(log, lambda: now[0])
    tokens.add("t" * 32, Grant(login="a", superuser=True, expires_at=2000))
    tokens.add("u" * 32, Grant(login="b", superuser=True))
    now[0] = 1999.9
    assert tokens.find("t" * 32) is not None
    now[0] = 2000.0
    assert tokens.find("t" * 32) is None
    assert tokens.find("u" * 32) is not None
    tokens.close()
    log.close()


def test_a_token_is_made_that_expires(two_sites: Api) -> None:
    wish = {"userLogin": "admin", "description": "for a day", "expireHours": "24"}
    token = two_sites.value("UsersManager.createAppSpecificTokenAuth", **wish)
    assert two_sites.value("SitesManager.getAllSitesId", token=token) == [1, 2]
    grant = two_sites.resources.tokens.find(token)
    assert grant is not None
    assert grant.expires_at - grant.created_at == 24 * 3600


def test_a_site_that_does_not_exist_has_no_dimensions_and_others_have_no_access(two_sites: Api) -> None:
    api = two_sites
    assert api.value("CustomDimensions.getConfiguredCustomDimensions", idSite="99") == []
    used = api.value("CustomDimensions.getAvailableScopes", idSite="99")
    assert [scope["numSlotsUsed"] for scope in used] == [0, 0]
    user = {"userLogin": "viewer", "password": "secret1", "email": "v@example.org"}
    api.value("UsersManager.addUser", **user)
    api.value("UsersManager.setUserAccess", userLogin="viewer", access="view", idSites="1")
    token = api.value("UsersManager.createAppSpecificTokenAuth", userLogin="viewer", description="test")
    assert api.value("CustomDimensions.getConfiguredCustomDimensions", token=token, idSite="1") == []
    for method, site in (("getConfiguredCustomDimensions", "2"), ("getConfiguredCustomDimensions", "99"),
                         ("getAvailableScopes", "1")):  # fmt: skip
        status, message = api.refusal(f"CustomDimensions.{method}", token=token, idSite=site)
        assert status == 401
        assert f"website id = {site}" in message


def test_instance_settings_reach_the_configuration(api: Api) -> None:
    api.value("SitesManager.setGlobalExcludedIps", excludedIps="10.0.0.5")
    api.value(
        "SitesManager.setGlobalSearchParameters",
        searchKeywordParameters="gkwd",
        searchCategoryParameters="gcat",
    )
    api.value("PrivacyManager.setAnonymizeIpSettings", anonymizeIPEnable="1", maskLength="3")
    api.value("PrivacyManager.activateDoNotTrack")
    assert not api.config.privacy.honour_global_privacy_control
    api.value("PrivacyManager.activateGlobalPrivacyControl")
    assert api.config.tracking.excluded_ips == ("10.0.0.5",)
    assert api.config.tracking.site_search_keyword_parameters == ("gkwd",)
    assert (api.config.privacy.ip_mask_bytes, api.config.privacy.honour_do_not_track) == (3, True)
    assert api.config.privacy.honour_global_privacy_control
    assert api.value("SitesManager.getSearchCategoryParametersGlobal") == "gcat"


def test_ids_are_granted_once_when_many_write_at_the_same_time(api: Api) -> None:
    async def run() -> list[int]:
        async with api.client() as client:
            form = {"module": "API", "method": "SitesManager.addSite", "format": "json", "token_auth": ADMIN,
                    "siteName": "x", "urls": "http://x.example"}  # fmt: skip
            answers = await asyncio.gather(*(client.post("/index.php", data=form) for _ in range(20)))
            return [(await answer.json(content_type=None))["value"] for answer in answers]

    assert sorted(asyncio.run(run())) == list(range(1, 21))


def test_without_a_token_nothing_is_revealed(two_sites: Api) -> None:
    refused = (401, "You can't access this resource as it requires 'view' access for the website id = {}.")
    for site in ("1", "99"):
        status, message = two_sites.refusal("VisitsSummary.get", token="", idSite=site, **DAY)
        assert (status, message) == (refused[0], refused[1].format(site))
    assert two_sites.value("SitesManager.getSitesIdWithAtLeastViewAccess", token="") == []
    assert two_sites.refusal("API.getMatomoVersion", token="")[0] == 401
    assert two_sites.refusal("Nope.nope", token="")[0] == 200
    status, message = two_sites.refusal("VisitsSummary.get", token="", idSite="all", **DAY)
    assert (status, message) == (401, "The parameter 'idSite=' is missing from the request.")


def test_roles_hold_for_every_site_of_a_request(two_sites: Api) -> None:
    api = two_sites
    user = {"userLogin": "viewer", "password": "secret1", "email": "v@example.org"}
    api.value("UsersManager.addUser", **user)
    api.value("UsersManager.setUserAccess", userLogin="viewer", access="view", idSites="1")
    token = api.value("UsersManager.createAppSpecificTokenAuth", userLogin="viewer", description="test")
    assert api.value("SitesManager.getSitesIdWithAtLeastViewAccess", token=token) == [1]
    for site in ("2", "1,2", "2,1"):
        status, message = api.refusal("VisitsSummary.get", token=token, idSite=site, **DAY)
        assert status == 401
        assert "website id = 2" in message
    goal = {"idSite": "1", "name": "g", "matchAttribute": "manually"}
    assert "requires 'write' access" in api.refusal("Goals.addGoal", token=token, **goal)[1]
    assert "requires 'admin' access" in api.refusal("SitesManager.updateSite", token=token, idSite="1")[1]
    assert "a 'superuser' access" in api.refusal("SitesManager.getAllSites", token=token)[1]
    assert "admin access for at least one" in api.refusal("UsersManager.getUsers", token=token)[1]

    api.value("UsersManager.setUserAccess", userLogin="viewer", access="write", idSites="1")
    assert api.value("Goals.addGoal", token=token, **goal) == 1
    api.value("UsersManager.setUserAccess", userLogin="viewer", access="noaccess", idSites="1")
    assert api.value("SitesManager.getSitesIdWithAtLeastViewAccess", token=token) == []
    api.value("UsersManager.deleteUser", userLogin="viewer")
    assert api.refusal("SitesManager.getSitesIdWithAtLeastViewAccess", token=token)[0] == 401


def test_the_anonymous_user_may_be_given_view_but_no_more(two_sites: Api) -> None:
    two_sites.value("UsersManager.setUserAccess", userLogin="anonymous", access="view", idSites="1")
    assert two_sites.value("SitesManager.getSitesIdWithAtLeastViewAccess", token="") == [1]
    assert two_sites.value("SitesManager.getSitesIdWithAtLeastViewAccess", token="anonymous") == [1]
    refused = two_sites.refusal(
        "UsersManager.setUserAccess", userLogin="anonymous", access="admin", idSites="1"
    )
    assert "no more than 'view'" in refused[1]


def test_a_wrong_token_is_refused_and_many_block_the_client_even_with_the_right_one(two_sites: Api) -> None:
    for _ in range(21):
        assert two_sites.refusal("API.getMatomoVersion", token="f" * 32)[0] == 401
    assert two_sites.refusal("API.getMatomoVersion", token="f" * 32) == (
        500, "Too many failed logins. Please wait and try logging in again later.",
    )  # fmt: skip
    assert two_sites.refusal("API.getMatomoVersion")[0] == 500
    assert two_sites.refusal("API.getMatomoVersion", token="")[0] == 401


@pytest.mark.parametrize(
    ("parameters", "status", "message"),
    [
        ({"method": ""}, 200, "The parameter 'method' isn't set in the Request"),
        ({"method": "VisitsSummary"}, 200, "The method name is invalid."),
        ({"method": "visitsSummary.get"}, 200, "The plugin visitsSummary is not enabled."),
        ({"method": "VisitsSummary.nope"}, 400, "The method 'nope' does not exist"),
        ({"idSite": ""}, 200, "Please specify a value for 'idSite'."),
        ({"idSite": "abc"}, 200, "website id was set to '0'"),
        ({"idSite": "99"}, 200, "website id was set to '99'"),
        ({"period": "decade"}, 200, "The period 'decade' is not supported."),
        ({"date": "notadate"}, 200, "Date format must be"),
        ({"idSubtable": "abc"}, 200, "idSubtable needs to be a number or 'all', 'abc' given."),
        ({"compare": "1", "compareDates[0]": "2010-01-04"}, 400, "length must match comparePeriods"),
    ],
)
def test_refusals_in_the_order_clients_know(
    two_sites: Api, parameters: dict[str, str], status: int, message: str
) -> None:
    given = {"method": "VisitsSummary.get", "idSite": "1", **DAY, **parameters}
    found = two_sites.refusal(given.pop("method"), **given)
    assert found[0] == status
    assert message in found[1]


def test_sites_and_dates_become_maps(two_sites: Api) -> None:
    dates = {"period": "day", "date": "2010-01-04,2010-01-05"}
    answer = two_sites.value("VisitsSummary.getVisits", idSite="2,1", **dates)
    assert list(answer) == ["2", "1"]
    assert answer["2"] == {"2010-01-04": 0, "2010-01-05": 0}
    assert two_sites.value("VisitsSummary.getVisits", idSite="1,1", **DAY) == 0
    assert list(two_sites.value("VisitsSummary.getVisits", idSite="all", **DAY)) == ["1", "2"]


def test_bulk_requests_answer_in_order_with_the_rights_of_the_caller(two_sites: Api) -> None:
    urls = {
        "urls[0]": "method=VisitsSummary.getVisits&idSite=1&period=day&date=2010-01-05",
        "urls[1]": "method=Nope.nope",
        "urls[2]": f"method=SitesManager.getAllSitesId&token_auth={ADMIN}",
    }
    answer = two_sites.value("API.getBulkRequest", **urls)
    assert answer[0] == {"value": 0}
    assert answer[1]["result"] == "error"
    assert answer[2] == [1, 2]
    denied = two_sites.value("API.getBulkRequest", token="", **urls)
    assert [one["result"] for one in denied] == ["error", "error", "error"]


def test_bulk_requests_that_ask_themselves_come_to_an_end(two_sites: Api) -> None:
    nested = "method=API.getBulkRequest"
    for _ in range(8):
        nested = "method=API.getBulkRequest&urls[0]=" + nested.replace("%", "%25").replace("&", "%26")
    assert "nested requests are limited" in json.dumps(
        two_sites.value("API.getBulkRequest", **{"urls[0]": nested})
    )


def test_parameters_and_tokens_come_by_url_body_header_and_json(two_sites: Api) -> None:
    async def run() -> list[Any]:
        async with two_sites.client() as client:
            url = "/index.php?module=API&method=SitesManager.getAllSitesId&format=json"
            bearer = {"Authorization": f"Bearer {ADMIN}"}
            answers = [
                await client.get(f"{url}&token_auth={ADMIN}"),
                await client.get(url, headers=bearer),
                await client.post(url, data={"token_auth": ADMIN}),
                await client.post(url, json={"token_auth": ADMIN}),
                await client.get(f"{url}&token_auth={'0' * 32}"),
            ]
            return [json.loads(await answer.text()) for answer in answers]

    *good, wrong = asyncio.run(run())
    assert good == [[1, 2]] * 4
    assert wrong["message"].endswith("is required to be sent as a POST parameter.")


def test_an_unexpected_failure_shows_no_trace_and_no_token(
    two_sites: Api, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: ApiRequest) -> Result:
        raise RuntimeError("secret detail")

    two_sites.methods = {"Broken.get": Method(answer=fail, access=Access.NONE)}
    status, message = two_sites.refusal("Broken.get")
    assert (status, message) == (500, "An internal error occurred.")
    assert "secret detail" in caplog.text
    assert ADMIN not in caplog.text


def test_annotations_are_kept_per_site_and_day(two_sites: Api) -> None:
    note = {"idSite": "1", "date": "2010-01-05", "note": "launch", "starred": "1"}
    assert two_sites.value("Annotations.add", **note)["idNote"] == 1
    shown = two_sites.value("Annotations.getAll", idSite="1", period="month", date="2010-01-20")
    assert [one["note"] for one in shown["1"]] == ["launch"]
    counts = two_sites.value("Annotations.getAnnotationCountForDates", idSite="1", period="day",
                             date="2010-01-04,2010-01-05")  # fmt: skip
    assert counts["1"] == [
        ["2010-01-04", {"count": 0, "starred": 0}],
        ["2010-01-05", {"count": 1, "starred": 1}],
    ]
    two_sites.value("Annotations.delete", idSite="1", idNote="1")
    assert two_sites.value("Annotations.getAll", idSite="1") == {"1": []}


SETUPS = Path(__file__).parents[3] / "shared" / "conformance" / "data" / "fixtures"


@pytest.mark.skipif(not SETUPS.is_dir(), reason="the recorded set-ups lie outside the project")
def test_every_recorded_setup_call_succeeds(api: Api) -> None:
    """Each distinct call once, on sites that exist."""

    def flatten(name: str, value: Any) -> list[tuple[str, str]]:
        if value is None:
            return []
        if isinstance(value, dict):
            return [pair for key, inner in value.items() for pair in flatten(f"{name}[{key}]", inner)]
        if isinstance(value, list):
            return [pair for place, inner in enumerate(value) for pair in flatten(f"{name}[{place}]", inner)]
        return [(name, ("1" if value else "0") if isinstance(value, bool) else str(value))]

    async def run() -> list[Any]:
        failed = []
        async with api.client() as client:

            async def call(method: str, params: dict[str, Any]) -> None:
                pairs = [pair for name, value in params.items() for pair in flatten(name, value)]
                form = [
                    ("module", "API"),
                    ("method", method),
                    ("format", "json"),
                    ("token_auth", ADMIN),
                    *pairs,
                ]
                response = await client.post("/index.php", data=form)
                answer = await response.text()
                if response.status != 200 or '"result":"error"' in answer:
                    failed.append((method, params, answer))

            for number in range(3):
                await call("SitesManager.addSite", {"siteName": f"s{number}", "urls": "http://x.example"})
            seen = set()
            for path in sorted(SETUPS.glob("*.json")):
                for step in json.loads(path.read_text())["setup"]:
                    method = f"{step['module']}.{step['method']}"
                    key = method + json.dumps(step["params"], sort_keys=True)
                    if key not in seen:
                        seen.add(key)
                        await call(method, step["params"])
        return failed

    assert asyncio.run(run()) == []


@pytest.mark.parametrize(
    ("asked", "rows", "rows_below"),
    [
        ({}, 100, None),
        ({"filter_limit": "-1"}, 150, None),
        ({"expanded": "1"}, 100, 100),
        ({"flat": "1"}, 100, None),
    ],
)
def test_a_table_has_a_hundred_rows_unless_more_are_asked_for(
    asked: dict[str, str], rows: int, rows_below: int | None, two_sites: Api
) -> None:
    def rows_of(below: Table | None) -> Table:
        return Table([Row({"label": str(n), "nb_visits": n}, {}, below, below and 1) for n in range(150)])

    async def many(request: ApiRequest) -> dict[Cell, Table]:
        return {cell: rows_of(rows_of(None)) for cell in request.cells}

    two_sites.methods = {"Many.get": Method(cells=many, shape=ReportShape(sort_column="nb_visits"))}
    found = two_sites.value("Many.get", idSite="1", **DAY, **asked)
    assert len(found) == rows
    assert found[0]["nb_visits"] == 149
    assert len(found[0]["subtable"]) == rows_below if rows_below else "subtable" not in found[0]
