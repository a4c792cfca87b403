"""status, drain, explain, reset and sql: ask the running instance and print what it says."""

import argparse
import base64
import datetime
import json
import sys
import urllib.parse

from hitstream.client import InstanceClient, InstanceError, find_instance, sql_url
from hitstream.settings import ClientSettings
from hitstream.story import story_lines
from hitstream.tallies import status_lines
from schemas.settings import load_settings


def run_operator_command(options: argparse.Namespace) -> int:
    """Returns the exit status: 1 when the instance can't be reached or refuses."""
    try:
        settings = load_settings(ClientSettings)
        match options.command:
            case "sql":
                return _sql(settings, options)
            case "reset" if not options.yes:
                print(
                    "hitstream: reset deletes all hits, reports and sites of the instance; "
                    "if that is what you want: hitstream reset --yes",
                    file=sys.stderr,
                )
                return 1
        client = find_instance(settings, options.url, options.token)
        match options.command:
            case "status":
                return _status(client, as_json=options.json)
            case "drain":
                found = client.json("POST", "/hitstream/drain", timeout=str(options.timeout))
                print(f"everything sent before is visible ({found['seconds']:.2f} s)")
            case "reset":
                found = client.json("POST", "/hitstream/reset", yes="1")
                print(f"emptied in {found['seconds']:.2f} s (epoch {found['epoch']})")
            case "explain":
                found = client.json("GET", "/hitstream/explain", visit=options.visit)
                print("\n".join(story_lines(found, _clock)))
    except InstanceError as error:
        print(f"hitstream: {error}", file=sys.stderr)
        return 1
    return 0


def _status(client: InstanceClient, *, as_json: bool) -> int:
    """Exit status 2 when the numbers do not add up, for scripts that watch."""
    spooled = _spooled_hits(client)
    if spooled and not as_json:
        # First, since the rest can't be told while the broker is away.
        print(f"spooled       {spooled:>12,}   hits wait in ingest for the broker")
    found = {**client.json("GET", "/hitstream/status"), "spooled_hits": spooled}
    print(json.dumps(found, indent=2) if as_json else "\n".join(status_lines(found)))
    return 2 if found["balance"]["adds_up"] is False else 0


def _spooled_hits(client: InstanceClient) -> int:
    """Told by ingest; 0 where there is no spool."""
    try:
        return int(client.json("GET", "/health/ready").get("spooled_hits", 0))
    except InstanceError:
        return 0


def _sql(settings: ClientSettings, options: argparse.Namespace) -> int:
    api = find_instance(settings, options.url, options.token)
    address = options.url or sql_url(settings.data_dir)
    if not address:
        raise InstanceError("the SQL endpoint is switched off (HITSTREAM_SQL_PORT=0) or not running")
    client = InstanceClient(address, api.token)
    login = base64.b64encode(f"hitstream:{api.token}".encode()).decode()
    status, answer = client.request(
        "POST",
        "/?" + urllib.parse.urlencode({"default_format": options.format}),
        options.query.encode(),
        {"Authorization": f"Basic {login}"},
    )
    out = sys.stdout.buffer if status == 200 else sys.stderr.buffer
    out.write(answer if answer.endswith(b"\n") or not answer else answer + b"\n")
    out.flush()
    return 0 if status == 200 else 1


def _clock(seconds: int) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")
