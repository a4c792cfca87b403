"""The same statements on a ClickHouse cluster: each table is a replicated table `<name>_local` on every shard
and a Distributed table `<name>` over them, which all other SQL uses.

A site lies on one shard: rows that replace each other have the same site, so they meet, and what reports join
is in one place. Tables without a site are small and lie on the first shard. The macros {shard} and {replica}
are those of the servers' configuration."""

import re

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TABLE = re.compile(
    r"CREATE TABLE IF NOT EXISTS (?P<name>\w+) \((?P<columns>.*)\)\s*ENGINE = (?P<engine>\w*MergeTree)"
    r"(?:\((?P<arguments>[^)]*)\))?(?P<rest>.*)",
    re.DOTALL,
)
_VIEW = re.compile(r"CREATE (?:OR REPLACE VIEW|VIEW IF NOT EXISTS) \S+")
_DATABASE = re.compile(r"(?:CREATE DATABASE IF NOT EXISTS|DROP DATABASE IF EXISTS) \S+")
_ALTER = re.compile(r"ALTER TABLE (?P<name>\w+)(?P<rest>.*)", re.DOTALL)
_COLUMN = re.compile(r"\s+(?:ADD|DROP|MODIFY|RENAME|COMMENT)\s+COLUMN\b")
_DELETE = re.compile(r"DELETE FROM (?P<name>\w+)(?P<rest>.*)", re.DOTALL)
_OPTIMIZE = re.compile(r"OPTIMIZE TABLE (?P<name>\w+)(?P<rest>.*)", re.DOTALL)
_STORAGE = re.compile(r" CODEC\((?:[^()]|\([^()]*\))*\)|\s+SETTINGS \([^()]*\)")
"""How a column is stored, which says nothing of a Distributed table."""
_CHANGES = re.compile(r"(?:CREATE|DROP|ALTER|DELETE|TRUNCATE|RENAME|OPTIMIZE|EXCHANGE|ATTACH|DETACH)\b")

SETTINGS = {
    # An insert is answered when the shards have it, and most replicas of each: the ledger follows it.
    "distributed_foreground_insert": 1,
    "insert_quorum": "auto",
    # A subquery over a Distributed table is evaluated once, over all shards.
    "distributed_product_mode": "global",
    # A deletion is answered when every replica has carried it out, a change of tables when every server has.
    "mutations_sync": 2,
    "distributed_ddl_output_mode": "throw",
}
"""Of every connection that writes to a cluster."""

READ_SETTINGS = {"distributed_product_mode": SETTINGS["distributed_product_mode"]}
"""Of a connection that only reads."""


def local(table: str) -> str:
    """The table that holds a shard's rows."""
    return f"{table}_local"


def clustered(statement: str, cluster: str) -> list[str]:
    """What stands for a statement of ours on a cluster; queries and inserts stay as they are.

    Raises ValueError for a change that would reach one server only."""
    if not _NAME.fullmatch(cluster):
        raise ValueError(f"{cluster!r} is not a cluster's name: expected letters, digits and _")
    text = statement.strip()
    everywhere = f" ON CLUSTER `{cluster}`"
    if not _CHANGES.match(text):
        return [statement]
    if matched := _TABLE.fullmatch(text):
        return [_replicated(matched, everywhere), _distributed(matched, cluster, everywhere)]
    if matched := _VIEW.match(text) or _DATABASE.match(text):
        return [matched.group() + everywhere + text[matched.end() :]]
    if matched := _ALTER.fullmatch(text):
        name, rest = matched["name"], matched["rest"]
        changed = [f"ALTER TABLE {local(name)}{everywhere}{rest}"]
        if _COLUMN.match(rest):
            changed.append(f"ALTER TABLE {name}{everywhere}{_STORAGE.sub('', rest)}")
        return changed
    if matched := _DELETE.fullmatch(text):
        return [f"DELETE FROM {local(matched['name'])}{everywhere}{matched['rest']}"]  # noqa: S608 - ours
    if matched := _OPTIMIZE.fullmatch(text):
        return [f"OPTIMIZE TABLE {local(matched['name'])}{everywhere}{matched['rest']}"]
    raise ValueError(f"a statement that is not known on a cluster: {text[:80]}")


def _replicated(table: "re.Match[str]", everywhere: str) -> str:
    arguments = ["'/clickhouse/tables/{database}/{table}/{shard}'", "'{replica}'"]
    if table["arguments"]:
        arguments.append(table["arguments"])
    return (
        f"CREATE TABLE IF NOT EXISTS {local(table['name'])}{everywhere} ({table['columns']})\n"
        f"ENGINE = Replicated{table['engine']}({', '.join(arguments)}){table['rest']}"
    )


def _distributed(table: "re.Match[str]", cluster: str, everywhere: str) -> str:
    name = table["name"]
    key = "site_id" if re.search(r"^\s+site_id ", table["columns"], re.MULTILINE) else "0"
    return (
        f"CREATE TABLE IF NOT EXISTS {name}{everywhere} AS {local(name)}\n"
        f"ENGINE = Distributed('{cluster}', currentDatabase(), '{local(name)}', {key})"
    )
