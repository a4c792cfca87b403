"""doctor, optimize and export: ask the running instance and print or write what it says."""

import argparse
import datetime
import json
import shutil
import sys
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from hitstream.client import InstanceClient, InstanceError, find_instance
from hitstream.doctor import diagnose, doctor_lines, exit_status, size_text
from hitstream.settings import ClientSettings
from schemas.settings import load_settings


def run_maintenance_command(options: argparse.Namespace) -> int:
    """Returns the exit status: 1 when the instance can't be reached or refuses."""
    settings = load_settings(ClientSettings)
    try:
        client = find_instance(settings, options.url, options.token)
        match options.command:
            case "doctor":
                return _doctor(client, as_json=options.json)
            case "optimize":
                _optimize(client, options)
            case _:
                _export(client, options)
    except InstanceError as error:
        print(f"hitstream: {error}", file=sys.stderr)
        if options.command == "doctor":
            print(_local_disk(settings.data_dir), file=sys.stderr)
        return 1
    except OSError as error:
        print(f"hitstream: {error}", file=sys.stderr)
        return 1
    return 0


def _local_disk(data_dir: Path) -> str:
    """What can be said of an instance that does not answer."""
    if not data_dir.exists():
        return f"the data directory {data_dir.resolve()} does not exist"
    free = shutil.disk_usage(data_dir).free
    return f"the data directory {data_dir.resolve()} has {size_text(free)} free"


def _doctor(client: InstanceClient, *, as_json: bool) -> int:
    facts = client.json("GET", "/hitstream/diagnosis")
    findings = diagnose(facts, client_clock=time.time())
    if as_json:
        told = [{"level": one.level, "what": one.what, "do": one.do} for one in findings]
        print(json.dumps({"findings": told, "facts": facts}, indent=2))
    else:
        print("\n".join(doctor_lines(findings, facts)))
    return exit_status(findings)


def _optimize(client: InstanceClient, options: argparse.Namespace) -> None:
    found = client.json("POST", "/hitstream/optimize", table=options.table, month=options.month)
    for one in found["partitions"]:
        if one["parts_before"] > one["parts"]:
            month = one["month"] if one["month"].isdigit() else "-"
            print(
                f"{one['table']:<17} {month:<8} {one['parts_before']:>4} -> {one['parts']} parts,"
                f" {size_text(one['bytes_before'])} -> {size_text(one['bytes'])}"
            )
    if not any(one["parts_before"] > one["parts"] for one in found["partitions"]):
        print("every month of every table is in one part already")


def _export(client: InstanceClient, options: argparse.Namespace) -> None:
    today = datetime.datetime.now(datetime.UTC).date()
    wanted = {
        "kind": options.kind, "site": str(options.site), "from": options.first or "1970-01-01",
        "to": options.last or str(today + datetime.timedelta(days=1)),
    }  # fmt: skip
    days = client.json("GET", "/hitstream/export/days", **wanted)["days"]
    rows = files = 0
    target = None if options.out == "-" else Path(options.out)
    if target is None and options.format != "csv":
        raise InstanceError("only CSV can go to standard output: name a directory with --out")
    if target is not None:
        target.mkdir(parents=True, exist_ok=True)
    with_header = True
    for day in days:
        for number, (body, count) in enumerate(_parts(client, options, day), 1):
            rows += count
            if target is None:
                _write_csv(sys.stdout.buffer, body, with_header=with_header)
                with_header = False
                continue
            name = f"{options.kind}-{options.site}-{day}-{number:03d}.{options.format}"
            # Readers that look while an export runs see whole files only.
            draft = target / f".{name}.part"
            draft.write_bytes(body)
            draft.replace(target / name)
            files += 1
    print(f"{rows:,} {options.kind} of {len(days)} days in {files} files", file=sys.stderr)


def _parts(client: InstanceClient, options: argparse.Namespace, day: str) -> Iterator[tuple[bytes, int]]:
    after = "0"
    while True:
        query = urllib.parse.urlencode(
            {
                "kind": options.kind, "site": options.site, "day": day, "format": options.format,
                "after": after,
            }
        )  # fmt: skip
        status, body, headers = client.answer("GET", f"/hitstream/export?{query}")
        if status != 200:
            raise InstanceError(f"{client.url}/hitstream/export answered {status}: {body[:200]!r}")
        if body:
            yield body, int(headers["X-Hitstream-Rows"])
        after = headers["X-Hitstream-Next"]
        if after == "0":
            return


def _write_csv(out: IO[bytes], body: bytes, *, with_header: bool) -> None:
    out.write(body if with_header else body.partition(b"\n")[2])
    out.flush()
