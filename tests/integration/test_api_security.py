"""What the Reporting API keeps from whom, and what no answer does to the one who reads it."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from reporting.app import ReportingSetup, cors_headers, parse_origins
from reporting.method import Access
from reporting.methods import METHODS
from schemas.access import Grant
from tests.instance import running_instance
from tests.integration.api import ADMIN, Api

VIEWER, WRITER, MANAGER = "b" * 32, "c" * 32, "d" * 32
DAY = {"period": "day", "date": "2010-01-05"}
PAGE = "http://a.example/"
PLAUSIBLE = {
    **DAY, "idGoal": "1", "idSubtable": "1", "idDimension": "1", "pageUrl": PAGE, "url": PAGE, "urls": PAGE,
    "downloadUrl": PAGE, "outlinkUrl": PAGE, "pageName": "x", "actionName": "x", "actionType": "url",
    "visitorId": "0" * 16, "apiModule": "Actions", "apiAction": "getPageUrls", "segmentName": "city",
    "reportUniqueId": "Actions_getPageUrls", "name": "x", "siteName": "x", "matchAttribute": "url",
    "pattern": "x", "patternType": "exact", "scope": "visit", "active": "1", "note": "x",
    "definition": "city==x", "userLogin": "x", "access": "view", "idSites": "2", "idNote": "1",
    "password": "secret-secret", "email": "x@a.example", "idSegment": "1", "idReport": "1", "hour": "1",
    "lastMinutes": "30", "languageCode": "en", "group": "x", "description": "x", "reportType": "email",
    "reportFormat": "csv", "reports": "x", "parameters": "x", "segment": "city==x",
    "idVisit": "1", "pageTitle": "x",
}  # fmt: skip
"""Something for every parameter that methods require."""


def with_rights(api: Api) -> None:
    api.resources.tokens.add(VIEWER, Grant(login="viewer", roles={1: "view"}))
    api.resources.tokens.add(WRITER, Grant(login="writer", roles={1: "write"}))
    api.resources.tokens.add(MANAGER, Grant(login="manager", roles={1: "admin"}))


def sited() -> list[str]:
    """Methods that speak about the site of a request."""
    return [name for name, method in METHODS.items() if method.cells is not None or method.takes_sites]


def test_no_method_tells_a_viewer_of_one_site_about_another(two_sites: Api) -> None:
    """Every method that takes a site, alone and in a list; an unknown site looks the same."""
    with_rights(two_sites)
    for site in ("2", "1,2", "99"):
        forms = [{**PLAUSIBLE, "method": name, "idSite": site, "format": "json"} for name in sited()]
        answers = two_sites.ask_all(forms, VIEWER)
        open_to_all = [
            (form["method"], status, body[:200])
            for form, (status, body) in zip(forms, answers, strict=True)
            if '"result":"error"' not in body
        ]
        assert open_to_all == [], site


def test_no_method_answers_without_a_token_unless_it_tells_nothing(two_sites: Api) -> None:
    """What is answered are lists that are the same everywhere, or empty."""
    forms = [{**PLAUSIBLE, "method": name, "idSite": "1", "format": "json"} for name in METHODS]
    answers = two_sites.ask_all(forms, token="")
    answered = {
        form["method"]
        for form, (_, body) in zip(forms, answers, strict=True)
        if '"result":"error"' not in body
    }
    assert answered <= {name for name, method in METHODS.items() if method.access is Access.NONE}
    told = "".join(body for _, body in answers)
    assert "site.example" not in told


def test_a_viewer_changes_nothing_of_the_site_and_a_writer_no_rights(two_sites: Api) -> None:
    with_rights(two_sites)
    before = two_sites.config
    changing = [name for name, method in METHODS.items() if method.access in (Access.WRITE, Access.ADMIN)]
    instance_wide = [name for name, method in METHODS.items() if method.access is Access.SUPERUSER]
    assert len(changing) > 10
    assert len(instance_wide) > 10
    for token, names in ((VIEWER, changing + instance_wide), (WRITER, instance_wide)):
        forms = [{**PLAUSIBLE, "method": name, "idSite": "1", "format": "json"} for name in names]
        for form, (_, body) in zip(forms, two_sites.ask_all(forms, token), strict=True):
            assert '"result":"error"' in body, form["method"]
            assert "access" in body, (form["method"], body)
    assert two_sites.config == before


def test_the_anonymous_viewer_leaves_nothing_behind(two_sites: Api) -> None:
    two_sites.value("UsersManager.setUserAccess", userLogin="anonymous", access="view", idSites="1")
    before = two_sites.config
    writing = ("Annotations.add", "SegmentEditor.add", "ScheduledReports.addReport",
               "UsersManager.createAppSpecificTokenAuth")  # fmt: skip
    forms = [{**PLAUSIBLE, "method": name, "idSite": "1", "format": "json"} for name in writing]
    for form, (_, body) in zip(forms, two_sites.ask_all(forms, token=""), strict=True):
        assert '"result":"error"' in body, form["method"]
    assert two_sites.config == before


_ALLOWED = {
    "": {Access.NONE},
    VIEWER: {Access.NONE, Access.VIEW, Access.SOME_VIEW},
    WRITER: {Access.NONE, Access.VIEW, Access.SOME_VIEW, Access.WRITE},
    MANAGER: {*Access} - {Access.SUPERUSER},
    ADMIN: {*Access},
}
"""What each token's owner may ask of site 1."""
_OF_THE_METHOD = {
    # refuse on grounds of their own: whose the thing is that they are asked about
    "Annotations.save", "Annotations.delete", "Annotations.get", "ScheduledReports.deleteReport",
    "SegmentEditor.get", "SegmentEditor.update", "SegmentEditor.delete", "UsersManager.getUser",
    "UsersManager.getUserPreference", "UsersManager.setUserPreference", "UsersManager.userExists",
    "UsersManager.createAppSpecificTokenAuth", "UsersManager.getSitesAccessForUser",
    "SitesManager.getSitesWithMinimumAccess", "CustomDimensions.getAvailableScopes",
    "CustomDimensions.getConfiguredCustomDimensions",
    "CustomDimensions.getConfiguredCustomDimensionsHavingScope",
}  # fmt: skip


@pytest.mark.parametrize("token", list(_ALLOWED), ids=["no", "view", "write", "admin", "superuser"])
def test_every_method_asks_for_its_role(two_sites: Api, token: str) -> None:
    """Each method, asked of a site by who has no token, view, write or admin rights there, or all."""
    with_rights(two_sites)
    # what deletes comes last: others are asked about what it takes away
    names = sorted(METHODS, key=lambda name: ("delete" in name or "remove" in name, name))
    # reports that are allowed end at the segment, before they ask the database
    asked = {**PLAUSIBLE, "idSite": "1", "idSites": "1", "segment": "nope==x", "format": "json"}
    forms = [{**asked, "method": name} for name in names]
    wrong = []
    for name, (status, body) in zip(names, two_sites.ask_all(forms, token), strict=True):
        refused = status == 401 or "You can't access this resource" in body
        expected = METHODS[name].access not in _ALLOWED[token]
        if refused != expected and not (refused and name in _OF_THE_METHOD):
            wrong.append(f"{name} ({METHODS[name].access}): {body[:120]}")
        assert "Traceback" not in body, name
    assert not wrong, "\n".join(wrong)


HOSTILE = "<script>alert(1)</script>\"'&"


@pytest.mark.parametrize("form", ["html", "xml", "rss", "console", "csv", "tsv", "json", "original"])
def test_names_of_sites_are_no_markup_in_any_format(two_sites: Api, form: str) -> None:
    """Where browsers show a format as HTML, the name is escaped; elsewhere the type says it is no HTML. A
    browser runs nothing in either case."""
    two_sites.value("SitesManager.updateSite", idSite="1", siteName=HOSTILE)

    async def run() -> list[tuple[str, str, str]]:
        answers = []
        async with two_sites.client() as client:
            for method, more in (
                ("SitesManager.getSiteFromId", {"idSite": "1"}),
                ("VisitsSummary.getVisits", {"idSite": "1", "period": "day", "date": "last2"}),
                (HOSTILE, {"idSite": HOSTILE}),
                ("VisitsSummary.get", {"idSite": "1", "period": HOSTILE, "date": "today"}),
            ):
                data = {"module": "API", "method": method, "format": form, "token_auth": ADMIN, **more}
                answer = await client.post("/index.php", data=data)
                policy = answer.headers["Content-Security-Policy"]
                assert "sandbox" in policy
                assert "default-src 'none'" in policy
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                answers.append((method, answer.content_type, await answer.text(errors="replace")))
        return answers

    for method, content_type, body in asyncio.run(run()):
        if content_type == "text/html" and form != "original":
            assert "<script" not in body, (method, body)
        if content_type == "text/xml":
            assert "<script" not in body, (method, body)


def test_a_callback_is_a_name_or_ignored(two_sites: Api) -> None:
    for name, wrapped in (("a.b", True), ("f[0]", True), ("a<b>", False), ("alert(1)//", False), ("", False)):
        status, body = two_sites.ask_all(
            [{"method": "API.getMatomoVersion", "format": "json", "callback": name}]
        )[0]
        assert status == 200
        assert body.startswith(f"{name}(" if wrapped else "{"), (name, body)


@pytest.mark.parametrize(
    ("origins", "origin", "allowed"),
    [
        (["*"], "https://a.example", "*"),
        (["https://a.example/"], "https://a.example", "https://a.example"),
        (["https://a.example"], "https://b.example", None),
        (["https://a.example"], "null", None),
        ([], "https://a.example", None),
        (["*"], "", None),
    ],
)
def test_pages_of_allowed_origins_may_read_answers(
    two_sites: Api, origins: list[str], origin: str, allowed: str | None
) -> None:
    setup = ReportingSetup(
        resources=lambda: two_sites.resources,
        executor=None,  # type: ignore[arg-type] # nothing is asked
        cors_origins=parse_origins(origins),
    )
    headers = cors_headers(setup, origin)
    assert headers.get("Access-Control-Allow-Origin") == allowed
    assert "Access-Control-Allow-Credentials" not in headers
    if allowed == origin or (allowed is None and origin and origins):
        assert headers["Vary"] == "Origin"


@pytest.mark.parametrize("wrong", ["a.example", "https://a.example/path", "javascript:1", "https://a b"])
def test_what_is_no_origin_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="is no origin"):
        parse_origins([wrong])


def test_no_token_is_in_a_log_or_an_answer(tmp_path: Path) -> None:
    """Right and wrong ones, sent to the tracker, the API and the operator, in every place, also with
    requests that are refused."""
    wrong = "deadbeef" * 4
    with running_instance(tmp_path / "data") as instance:
        instance.api("SitesManager.addSite", siteName="One", urls="http://a.example")
        client = instance.client()
        answers: list[Any] = []
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        for token in (instance.token, wrong):
            for query in (
                f"/index.php?module=API&method=API.getMatomoVersion&format=original&token_auth={token}",
                f"/index.php?module=API&method=Nope.nope&token_auth={token}&format=xml",
                f"/index.php?module=API&method=API.getProcessedReport&apiModule=Actions&apiAction=get&idSite=1"
                f"&period=day&date=today&format=json&token_auth={token}",
                f"/matomo.php?idsite=1&rec=1&cdt=2010-01-01&url=http://a.example/&token_auth={token}",
                f"/matomo.php?idsite=99&rec=1&token_auth={token}",
                f"/hitstream/status?token_auth={token}",
                f"/{token}",
            ):
                answers.append(client.request("GET", query))
            answers.append(
                client.request("POST", "/index.php", f"module=API&token_auth={token}".encode(), form)
            )
            answers.append(
                client.request("GET", "/hitstream/sites", b"", {"Authorization": f"Bearer {token}"})
            )
            bulk = json.dumps({"requests": ["?idsite=1&rec=1"], "token_auth": token}).encode()
            answers.append(client.request("POST", "/matomo.php", bulk))
        client.close()
        told = [body for _, body in answers if isinstance(body, bytes) and instance.token.encode() in body]
        assert told == []
        log = instance.log()
        assert instance.token not in log
        assert wrong not in log
