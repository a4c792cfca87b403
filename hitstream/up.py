"""`hitstream up`: checks, the supervisor, and the first start (token, first site, where to look)."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
import urllib.parse
from pathlib import Path

from hitstream.client import InstanceClient, InstanceError
from hitstream.data_directory import (
    DataDirectoryError,
    Instance,
    admin_token,
    announce,
    open_data_directory,
    withdraw,
)
from hitstream.ports import free_port
from hitstream.settings import UpSettings
from hitstream.supervisor import ProcessPlan, Supervisor, partition_shares
from schemas.config import ConfigEvent, Site
from schemas.hit import INGEST_NUMBERS
from schemas.settings import SettingsError, load_settings
from stream.config import ConfigWriter
from stream.opening import open_log
from stream.protocol import LogError

READY_SECONDS = 120.0
FIRST_SITE_NAME, FIRST_SITE_URL = "My site", "http://localhost"


class PortTakenError(Exception):
    """A port can't be bound; the message names the setting to change."""


def check_port(host: str, port: int, variable: str) -> None:
    """Raises PortTakenError when `host:port` can't be bound."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PortTakenError(
                f"can't listen on {host}:{port}: {error.strerror}; stop what uses it or set {variable}"
            ) from None


def plan_processes(settings: UpSettings, token: str, database_port: int) -> list[ProcessPlan]:
    """The processes of DESIGN section 3 with what they must agree on."""
    shared = {
        "HITSTREAM_DATA_DIR": str(settings.data_dir.resolve()),
        "HITSTREAM_HOST": settings.host,
        "HITSTREAM_PORT": str(settings.port),
        "HITSTREAM_SQL_PORT": str(settings.sql_port),
        "HITSTREAM_PARTITIONS": str(settings.partitions),
        "HITSTREAM_COMPATIBILITY": settings.compatibility,
        "HITSTREAM_ADMIN_TOKEN": token,
        "HITSTREAM_REPORTING_PORT": str(database_port),
        "HITSTREAM_REPORTING_HOST": "127.0.0.1",
        "HITSTREAM_REPORTING_URL": f"http://127.0.0.1:{database_port}",
        "HITSTREAM_KAFKA": settings.kafka,
        "HITSTREAM_KAFKA_PREFIX": settings.kafka_prefix,
    }
    if settings.kafka_options:
        shared["HITSTREAM_KAFKA_OPTIONS"] = str(settings.kafka_options.resolve())
    if settings.kafka:
        # They share the partitions out among themselves.
        arguments = [["processor"]] * settings.processors
    else:
        shares = partition_shares(settings.partitions, settings.processors)
        arguments = [["processor", "--partitions", ",".join(map(str, share))] for share in shares]

    def metrics_port(number: int) -> dict[str, str]:
        first = settings.processor_metrics_port
        return {"HITSTREAM_PROCESSOR_METRICS_PORT": str(first + number)} if first else {}

    def ingest_settings(number: int) -> dict[str, str]:
        own = {"HITSTREAM_PORT": str(settings.port + number), "HITSTREAM_INGEST_NUMBER": str(number)}
        if settings.kafka and number:
            # Its spool lies there.
            own["HITSTREAM_DATA_DIR"] = str(settings.data_dir.resolve() / f"ingest{number}")
        return own

    return [
        ProcessPlan("database", ["database"], 2, shared),
        *(
            ProcessPlan(f"processor{number}", words, 1, {**shared, **metrics_port(number)})
            for number, words in enumerate(arguments)
        ),
        *(
            ProcessPlan(f"ingest{number or ''}", ["ingest"], 0, {**shared, **ingest_settings(number)})
            for number in range(len(tracker_ports(settings)))
        ),
    ]


def tracker_ports(settings: UpSettings) -> range:
    """On which the ingest processes listen. Raises SettingsError."""
    if settings.ingest_processes > INGEST_NUMBERS:
        raise SettingsError(
            f"HITSTREAM_INGEST_PROCESSES={settings.ingest_processes}: expected 1 to {INGEST_NUMBERS}"
        )
    ports = range(settings.port, settings.port + settings.ingest_processes)
    if settings.sql_port in ports:
        raise SettingsError(
            f"HITSTREAM_SQL_PORT={settings.sql_port} is among the ports {ports[0]} to {ports[-1]} of"
            f" {len(ports)} ingest processes"
        )
    return ports


def say(name: str, line: str) -> None:
    """One line of a process on the console."""
    print(f"{time.strftime('%H:%M:%S')} {name:<10} {line}", flush=True)


def local_url(host: str, port: int) -> str:
    """How this machine reaches what listens on `host`."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{reachable}:{port}"


def run_up() -> int:
    """Run until stopped; returns the exit status."""
    settings = load_settings(UpSettings)
    try:
        lock = open_data_directory(settings.data_dir)
    except DataDirectoryError as error:
        print(f"hitstream: {error}", file=sys.stderr)
        return 1
    with lock:
        try:
            for port in tracker_ports(settings):
                check_port(settings.host, port, "HITSTREAM_PORT")
            if settings.sql_port:
                check_port("127.0.0.1", settings.sql_port, "HITSTREAM_SQL_PORT")
            token = admin_token(settings.data_dir, settings.admin_token)
        except (PortTakenError, OSError) as error:
            print(f"hitstream: {error}", file=sys.stderr)
            return 1
        if settings.first_site and not settings.kafka:
            with contextlib.suppress(LogError):  # the processes tell what is wrong with the log
                write_first_site(settings)
        try:
            return asyncio.run(_supervise(settings, token))
        finally:
            with contextlib.suppress(OSError):
                withdraw(settings.data_dir)


def write_first_site(settings: UpSettings) -> None:
    """Makes the first site of a log in the data directory that has none, before anything runs: so ingest
    takes hits for it as soon as it listens. On a broker the API makes it. Raises LogError."""
    log = open_log(settings)
    try:
        writer = ConfigWriter(log)
        try:
            config = writer.current
            if not config.sites:
                now = time.time()
                site = Site(
                    site_id=1,
                    name=FIRST_SITE_NAME,
                    urls=(FIRST_SITE_URL,),
                    created_at=time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(now)),
                    creator="admin",
                    timezone=config.tracking.default_timezone,
                    currency=config.tracking.default_currency,
                )
                writer.write(ConfigEvent(at=int(now * 1000), site=site))
        finally:
            writer.close()
    finally:
        log.close()


async def _supervise(settings: UpSettings, token: str) -> int:
    database_port = free_port()
    supervisor = Supervisor(
        plan_processes(settings, token, database_port), stop_seconds=settings.stop_seconds, say=say
    )
    loop = asyncio.get_running_loop()

    def stop(name: str) -> None:
        say("up", f"{name}: stopping")
        supervisor.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number.name)
    url = local_url(settings.host, settings.port)
    sql = f"http://127.0.0.1:{settings.sql_port}" if settings.sql_port else ""
    announce(settings.data_dir, Instance(url, sql, os.getpid()))
    greeting = asyncio.create_task(
        asyncio.to_thread(_greet_when_ready, settings, token, url, sql, database_port, supervisor)
    )
    code = await supervisor.run()
    greeting.cancel()
    say("up", "stopped" if code == 0 else f"stopped: a process could not start (status {code}), see above")
    return code


def _greet_when_ready(
    settings: UpSettings, token: str, url: str, sql: str, database_port: int, supervisor: Supervisor
) -> None:
    """Make the first site and say where to look, once everything answers."""
    client = InstanceClient(url, token, timeout=30.0)
    deadline = time.monotonic() + READY_SECONDS
    while not supervisor.stopping:
        try:
            if (
                all(map(_listens, (database_port, *tracker_ports(settings)[1:])))
                and client.request("GET", "/health/ready")[0] == 200
            ):
                sites = _site_numbers(client)
                if not sites and settings.first_site:
                    _add_first_site(client)
                    sites = _site_numbers(client)
                break
        except InstanceError:
            pass
        if time.monotonic() > deadline:
            say("up", f"not ready after {READY_SECONDS:.0f} s: see the lines above for why")
            return
        time.sleep(0.1)
    else:
        return
    client.close()
    # The token is shown to a person at a terminal or to `make run`; a log file must not hold it.
    shown = token if sys.stdout.isatty() or os.environ.get("HITSTREAM_SHOW_TOKEN") == "1" else ""
    site, ports = sites[0] if sites else 1, tracker_ports(settings)
    print(greeting(url, sql, shown, settings.data_dir, site, ports), flush=True)


def _listens(port: int) -> bool:
    """Whether something on this machine accepts connections on the port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
    except OSError:
        return False
    return True


def _site_numbers(client: InstanceClient) -> list[int]:
    """Raises InstanceError while the API does not answer yet."""
    body = urllib.parse.urlencode({"module": "API", "method": "SitesManager.getAllSites", "format": "json"})
    found = _api(client, body)
    rows = found.values() if isinstance(found, dict) else found
    return [int(row["idsite"]) for row in rows]


def _add_first_site(client: InstanceClient) -> None:
    fields = {
        "module": "API",
        "method": "SitesManager.addSite",
        "siteName": FIRST_SITE_NAME,
        "urls[0]": FIRST_SITE_URL,
        "format": "json",
    }
    _api(client, urllib.parse.urlencode(fields))


def _api(client: InstanceClient, body: str) -> list[dict[str, str]] | dict[str, dict[str, str]]:
    status, answer = client.request(
        "POST",
        "/index.php",
        f"{body}&token_auth={client.token}".encode(),
        {"Content-Type": "application/x-www-form-urlencoded"},
    )
    try:
        found = json.loads(answer)
    except ValueError:
        found = None
    if status != 200 or not isinstance(found, list | dict) or "result" in found:
        raise InstanceError(f"the API answered {status}: {answer[:200]!r}")
    return found


def greeting(url: str, sql: str, token: str, data_dir: Path, site: int, ports: range) -> str:
    """What a person wants to know after a start."""
    also = f", also on the ports up to {ports[-1]}" if len(ports) > 1 else ""
    kept = token or f"in {data_dir.resolve() / 'admin_token'}"
    used = token or f"$(cat {data_dir.resolve() / 'admin_token'})"
    sql_line = f"\n  SQL endpoint   {sql} (user hitstream, password: the token)" if sql else ""
    return f"""
Hitstream is ready.

  Tracker        {url}/matomo.php (site {site}){also}
  Reporting API  {url}/index.php?module=API&method=...
  Token          {kept}{sql_line}
  Data           {data_dir.resolve()}

Send a hit, then ask for the report:

  curl '{url}/matomo.php?idsite={site}&rec=1&url=http://localhost/hello&action_name=Hello'
  curl '{url}/index.php?module=API&format=json&method=Actions.getPageUrls' \\
       -d 'idSite={site}&period=day&date=today' -d "token_auth={used}"

Stop with Ctrl-C.
"""
