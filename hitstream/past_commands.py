"""replay, subjects and anonymize: ask the running instance about its past and print what it says."""

import argparse
import json
import sys
import urllib.parse
from collections.abc import Mapping
from typing import Any

from hitstream.client import InstanceClient, InstanceError, find_instance
from hitstream.settings import ClientSettings
from schemas.anonymisation import ACTION_COLUMNS
from schemas.settings import load_settings

MOST_LINES = 200
VISITS_AT_ONCE = 1000


def run_past_command(options: argparse.Namespace) -> int:
    """Returns the exit status: 1 when the instance can't be reached or refuses."""
    try:
        client = find_instance(load_settings(ClientSettings), options.url, options.token)
        if options.command == "subjects":
            return _subjects(client, options)
        if options.command == "anonymize":
            return _anonymize(client, options)
        _replay(client, options)
    except InstanceError as error:
        print(f"hitstream: {error}", file=sys.stderr)
        return 1
    return 0


def _replay(client: InstanceClient, options: argparse.Namespace) -> None:
    asked = {
        "site": options.site, "from": options.first, "to": options.last, "whole": str(int(options.whole)),
    }  # fmt: skip
    found = client.json("POST", "/hitstream/replay", **asked, dry_run="1")
    print("\n".join(preview_lines(found)), flush=True)
    if options.dry_run:
        return
    done = client.json("POST", "/hitstream/replay", **asked)
    print(f"{done['owners']:,} visitors are folded anew", flush=True)
    drained = client.json("POST", "/hitstream/drain", timeout="86400")
    print(f"reports show it ({done['seconds'] + drained['seconds']:.1f} s)")


def _subjects(client: InstanceClient, options: argparse.Namespace) -> int:
    """find prints a line per visit; export prints JSON; delete needs --yes."""
    conditions = [
        *([f"visitorId=={options.visitor}"] if options.visitor else []),
        *([f"userId=={_escaped(options.user)}"] if options.user else []),
        *([options.segment] if options.segment else []),
    ]
    if not conditions:
        raise InstanceError("whose? name a person with --visitor, --user or --segment")
    found = client.api("PrivacyManager.findDataSubjects", idSite=options.site, segment=";".join(conditions))
    names = [{"idsite": one["idSite"], "idvisit": str(one["idVisit"])} for one in found]
    if options.what == "find" or (options.what == "delete" and not options.yes):
        for one in found:
            seen = f"{one['serverDate']}  {one['actions']} actions, user {one['userId'] or '-'}"
            print(f"site {one['idSite']}  visit {one['idVisit']}  visitor {one['visitorId']}  {seen}")
        print(f"{len(found)} visits", file=sys.stderr)
        if options.what == "delete" and found:
            print("to delete them for ever: the same with --yes", file=sys.stderr)
            return 1
        return 0
    parts = [names[start : start + VISITS_AT_ONCE] for start in range(0, len(names), VISITS_AT_ONCE)]
    method = "exportDataSubjects" if options.what == "export" else "deleteDataSubjects"
    total: dict[str, Any] = {}
    for part in parts:
        for kind, value in client.api(f"PrivacyManager.{method}", visits=json.dumps(part)).items():
            total[kind] = total.get(kind, type(value)()) + value
    if options.what == "export":
        print(json.dumps(total, indent=2, ensure_ascii=False))
    else:
        gone = ", ".join(f"{count:,} {kind}" for kind, count in total.items() if count) or "nothing"
        print(f"deleted: {gone}; the files follow within minutes")
    return 0


def _anonymize(client: InstanceClient, options: argparse.Namespace) -> int:
    columns = [one.strip() for one in options.unset.split(",") if one.strip()]
    wish = {
        "anonymizeIp": str(int(options.ip)),
        "anonymizeLocation": str(int(options.location)),
        "anonymizeUserId": str(int(options.user_id)),
        "unsetLinkVisitActionColumns": ",".join(one for one in columns if one in ACTION_COLUMNS),
        "unsetVisitColumns": ",".join(one for one in columns if one not in ACTION_COLUMNS),
    }
    if not options.yes:
        print("what is taken out is gone for ever: the same with --yes does it", file=sys.stderr)
        return 1
    days = f"{options.first},{options.last}"
    client.api("PrivacyManager.anonymizeSomeRawData", idSites=options.site, date=days, **wish)
    print("reports show it; the files follow within minutes")
    return 0


def _escaped(value: str) -> str:
    """A value inside of a segment."""
    return urllib.parse.quote(value, safe="")


def preview_lines(found: Mapping[str, Any]) -> list[str]:
    """What changes by report, as a table."""
    changes = found["changes"]
    lines = [f"{found['hits']:,} hits of {found['owners']:,} visitors, {found['rows_changed']:,} rows change"]
    if not changes:
        return [*lines, "no figure of a report changes"]
    names = [f"{one['report']}: {one['counts']}" for one in changes[:MOST_LINES]]
    width = max(len(name) for name in names)
    lines.append(f"{'site':>4}  {'report':<{width}}  {'before':>12}  {'after':>12}")
    lines += [
        f"{one['site']:>4}  {name:<{width}}  {_amount(one['before']):>12}  {_amount(one['after']):>12}"
        for name, one in zip(names, changes, strict=False)
    ]
    if len(changes) > MOST_LINES:
        lines.append(f"and {len(changes) - MOST_LINES:,} more")
    return lines


def _amount(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"
