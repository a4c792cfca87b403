"""replay: ask the running instance about its past and print what it says."""

import argparse
import sys
from collections.abc import Mapping
from typing import Any

from hitstream.client import InstanceClient, InstanceError, find_instance
from hitstream.settings import ClientSettings
from schemas.settings import load_settings

MOST_LINES = 200


def run_past_command(options: argparse.Namespace) -> int:
    """Returns the exit status: 1 when the instance can't be reached or refuses."""
    try:
        client = find_instance(load_settings(ClientSettings), options.url, options.token)
        _replay(client, options)
    except InstanceError as error:
        print(f"hitstream: {error}", file=sys.stderr)
        return 1
    return 0


def _replay(client: InstanceClient, options: argparse.Namespace) -> None:
    asked = {"site": options.site, "from": options.first, "to": options.last}
    found = client.json("POST", "/hitstream/replay", **asked, dry_run="1")
    print("\n".join(preview_lines(found)), flush=True)
    if options.dry_run:
        return
    done = client.json("POST", "/hitstream/replay", **asked)
    print(f"{done['owners']:,} visitors are folded anew", flush=True)
    drained = client.json("POST", "/hitstream/drain", timeout="86400")
    print(f"reports show it ({done['seconds'] + drained['seconds']:.1f} s)")


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
