"""The command `hitstream`: reads arguments and settings, then imports only what the chosen part needs."""

import argparse
import faulthandler
import sys
from collections.abc import Sequence

from hitstream import __version__
from schemas.anonymisation import ACTION_COLUMNS, VISIT_COLUMNS
from schemas.plugins import PluginError, installed_plugins
from schemas.settings import SettingsError

EXIT_SETTINGS = 78


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hitstream",
        description="Web analytics as a stream: Matomo trackers in, the Matomo Reporting API out.",
        epilog="Settings are HITSTREAM_* variables: `hitstream settings` lists them.",
    )
    parser.add_argument("--version", action="version", version=f"hitstream {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, meaning: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=meaning, description=meaning[0].upper() + meaning[1:] + ".")

    command("up", "start everything and keep it running: ingest, processors, database process")
    command("ingest", "run the tracker endpoint alone")
    processor = command("processor", "run one processor alone")
    processor.add_argument("--partitions", default="", help="numbers and ranges such as 0-3,7 (default: all)")
    command("database", "run the database process alone: sink, rollups, Reporting API, SQL endpoint")
    topics = command("topics", "make the topics of the log on a broker; again changes nothing")
    topics.add_argument(
        "--replication", type=int, default=0, help="copies of each topic (default: 3, or as many as brokers)"
    )
    topics.add_argument(
        "--min-insync", type=int, default=0, help="copies that must have a message (default: all but one)"
    )
    topics.add_argument("--hits-days", type=int, default=7, help="how long hits are kept on the log")
    topics.add_argument("--outputs-days", type=int, default=7, help="how long rows are kept for the sink")
    topics.add_argument(
        "--restore-settings",
        action="store_true",
        help="give topics that exist the settings they would be made with (default: say how they differ)",
    )
    sink = command("sink", "run one sink alone, into a ClickHouse server")
    sink.add_argument(
        "--partitions",
        default="",
        help="numbers and ranges such as 0-3,7 (default: all; on a broker the sinks share them out)",
    )
    command("rollups", "run one rollup worker alone, on a ClickHouse server")
    command("reporting", "run Reporting API and SQL endpoint alone, on a ClickHouse server")
    settings = command("settings", "print every setting with its value, default and meaning")
    settings.add_argument("--markdown", action="store_true", help="as the table of docs/settings.md")

    def client(name: str, meaning: str) -> argparse.ArgumentParser:
        sub = command(name, meaning)
        sub.add_argument(
            "--url", default="", help="address of the instance (default: the one on the data directory)"
        )
        sub.add_argument("--token", default="", help="token (default: HITSTREAM_ADMIN_TOKEN or the kept one)")
        return sub

    sql = client("sql", "ask the documented views in SQL, read-only")
    sql.add_argument("query", help='for example: "SELECT count() FROM visits"')
    sql.add_argument("--format", default="PrettyCompactMonoBlock", help="any output format of ClickHouse")
    log = client("import-log", "import web server access logs; running it twice on a file imports it once")
    log.add_argument(
        "files", nargs="+", metavar="FILE", help="combined, vhost or JSON lines; .gz; - is stdin"
    )
    log.add_argument("--site", type=int, default=0, help="site id (default: by host name, else 1)")
    log.add_argument("--format", choices=("auto", "combined", "vhost", "json"), default="auto")
    log.add_argument(
        "--json-field",
        action="append",
        default=[],
        metavar="NAME=FIELD",
        help="where JSON lines keep ip, time, method, path, status, referer, agent, host, size, user",
    )
    log.add_argument("--static", action="store_true", help="count images, scripts and styles too")
    log.add_argument("--bots", action="store_true", help="count bots too")
    log.add_argument("--errors", action="store_true", help="count answers of 400 and above as error pages")
    log.add_argument("--redirects", action="store_true", help="count answers of 3xx too")
    log.add_argument("--again", action="store_true", help="import lines although they were imported before")
    log.add_argument("--batch", type=int, default=400, help="hits per request")
    log.add_argument("--quiet", action="store_true", help="no progress, only the summary")
    status = client("status", "what was accepted and what became of it, lag, freshness")
    status.add_argument("--json", action="store_true", help="as JSON")
    drain = client("drain", "return when everything sent before is visible in reports")
    drain.add_argument("--timeout", type=float, default=600.0, help="seconds")
    explain = client("explain", "the hits of a visit and what was made of them")
    explain.add_argument("--visit", required=True, metavar="ID", help="visit id (idVisit)")
    replay = client(
        "replay", "fold the hits of the past under today's goals, dimensions, exclusions and campaign names"
    )
    replay.add_argument("--site", default="", metavar="IDS", help="such as 1,2 (default: all)")
    replay.add_argument("--from", dest="first", default="", metavar="DAY", help="first day, YYYY-MM-DD")
    replay.add_argument("--to", dest="last", default="", metavar="DAY", help="last day, YYYY-MM-DD")
    replay.add_argument(
        "--whole", action="store_true", help="store rows again that stay the same (after an upgrade)"
    )
    replay.add_argument("--dry-run", action="store_true", help="only print what would change, by report")
    export = client("export", "write visits, actions or conversions as Parquet or CSV files, one per day")
    export.add_argument("--site", type=int, required=True, help="site id")
    export.add_argument(
        "--kind", choices=("visits", "actions", "conversions", "conversion_items"), default="visits"
    )
    export.add_argument("--from", dest="first", default="", metavar="DAY", help="first day, YYYY-MM-DD")
    export.add_argument("--to", dest="last", default="", metavar="DAY", help="last day, YYYY-MM-DD")
    export.add_argument("--format", choices=("parquet", "csv"), default="parquet")
    export.add_argument("--out", default="export", metavar="DIR", help="directory; - writes CSV to stdout")
    doctor = client("doctor", "what is wrong and what to do: disk, clock, tokens, lag, archives, table sizes")
    doctor.add_argument("--json", action="store_true", help="as JSON")
    optimize = client("optimize", "merge the parts of tables, where there are several")
    optimize.add_argument("--table", default="", help="such as visits (default: all)")
    optimize.add_argument("--month", default="", metavar="YYYYMM", help="only this month")
    subjects = client("subjects", "find, export or delete what is stored of a person")
    subjects.add_argument("what", choices=("find", "export", "delete"))
    subjects.add_argument("--site", default="all", metavar="IDS", help="such as 1,2 (default: all)")
    subjects.add_argument("--visitor", default="", metavar="HEX", help="visitor id, 16 hex digits")
    subjects.add_argument("--user", default="", metavar="ID", help="user id")
    subjects.add_argument("--segment", default="", help="any segment, such as visitIp==203.0.113.0")
    subjects.add_argument("--yes", action="store_true", help="really delete")
    anonymize = client("anonymize", "take out of stored hits what a setting forbids by now, for ever")
    anonymize.add_argument("--site", default="all", metavar="IDS", help="such as 1,2 (default: all)")
    anonymize.add_argument("--from", dest="first", required=True, metavar="DAY", help="first day, YYYY-MM-DD")
    anonymize.add_argument("--to", dest="last", required=True, metavar="DAY", help="last day, YYYY-MM-DD")
    anonymize.add_argument("--ip", action="store_true", help="mask addresses, two bytes or more")
    anonymize.add_argument(
        "--location", action="store_true", help="find the place anew, from the masked address"
    )
    anonymize.add_argument("--user-id", action="store_true", help="turn user ids into pseudonyms")
    anonymize.add_argument(
        "--unset",
        default="",
        metavar="COLUMNS",
        help=f"clear these: {', '.join((*VISIT_COLUMNS, *ACTION_COLUMNS))}",
    )
    anonymize.add_argument("--yes", action="store_true", help="really do it")
    reset = client("reset", "empty the instance: hits, reports, sites")
    reset.add_argument("--yes", action="store_true", help="really delete everything")
    demo = client("demo", "send lifelike traffic of the last days, then keep sending")
    demo.add_argument("--days", type=int, default=14, help="days of history to send first")
    demo.add_argument("--visits", type=int, default=300, help="visits per day")
    demo.add_argument("--once", action="store_true", help="stop after the history")
    lists = command("refresh-lists", "make rules/lists anew from a folder of the public lists")
    lists.add_argument(
        "source", help="folder with SearchEngines.yml, Socials.yml, AIAssistants.yml, spammers.txt"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0, 1 for a refusal, 78 for a setting or a plugin that can't be used."""
    options = _parser().parse_args(arguments)
    # Several libraries here are native code: should one crash, standard error says in which call.
    faulthandler.enable()
    try:
        return _run(options)
    except (SettingsError, PluginError) as error:
        print(f"hitstream: {error}", file=sys.stderr)
        return EXIT_SETTINGS
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 141


def _run(options: argparse.Namespace) -> int:
    command: str = options.command
    match command:
        case "up":
            from hitstream.up import run_up

            installed_plugins()  # a wrong one is told of before anything starts
            return run_up()
        case "ingest" | "processor" | "database" | "sink" | "rollups" | "reporting":
            from hitstream.stages import run_stage

            return run_stage(options.command, getattr(options, "partitions", ""))
        case "topics":
            from hitstream.topics_command import run_topics

            return run_topics(options)
        case "settings":
            from hitstream.settings_table import print_settings

            return print_settings(as_markdown=options.markdown)
        case "refresh-lists":
            return _refresh_lists(options.source)
        case "import-log":
            from hitstream.import_command import run_import

            return run_import(options)
        case "demo":
            from hitstream.demo import run_demo

            return run_demo(options)
        case "doctor" | "optimize" | "export":
            from hitstream.maintenance_commands import run_maintenance_command

            return run_maintenance_command(options)
        case "replay" | "subjects" | "anonymize":
            from hitstream.past_commands import run_past_command

            return run_past_command(options)
        case _:
            from hitstream.operator_commands import run_operator_command

            return run_operator_command(options)


def _refresh_lists(source: str) -> int:
    from pathlib import Path

    import rules.lists
    from hitstream.refresh_lists import ListError, refresh

    try:
        counts = refresh(Path(source), Path(rules.lists.__path__[0]))
    except ListError as error:
        print(f"hitstream: {error}", file=sys.stderr)
        return 1
    for name, count in counts.items():
        print(f"{name}: {count} entries")
    return 0
