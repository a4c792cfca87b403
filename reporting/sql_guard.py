"""Which SQL of clients may run: SELECT over the public views, decided on ClickHouse's own parse of the text.

ClickHouse first writes the query anew in canonical form (formatQuerySingleLine: one statement, no comments),
then shows its syntax tree (EXPLAIN AST); whatever node, table or function is not known here is refused. What
runs is the canonical text that was looked at."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

VIEWS = frozenset({"visits", "actions", "conversions", "conversion_items", "tallies"})

CATALOG = frozenset(
    {
        "databases",
        "tables",
        "columns",
        "settings",
        "functions",
        "data_type_families",
        "table_engines",
        "dictionaries",
        "processes",
        "clusters",
        "one",
    }
)
"""System tables that clients ask for on connecting: views of the catalog database stand for them."""

TABLE_FUNCTIONS = frozenset({"numbers", "zeros", "generate_series", "generateseries", "values"})

FORMATS = re.compile(
    r"TSV\w*|TabSeparated\w*|CSV\w*|JSON\w*|Pretty\w*|RowBinary|RowBinaryWithNames|RowBinaryWithNamesAndTypes"
    r"|Native|Arrow|ArrowStream|Parquet|ORC|Avro|MsgPack|Values|Vertical|XML|Markdown|LineAsString|RawBLOB|Null"
)

_NODES = frozenset(
    {
        "SelectWithUnionQuery",
        "SelectIntersectExceptQuery",
        "SelectQuery",
        "ExpressionList",
        "Identifier",
        "Literal",
        "Function",
        "Asterisk",
        "QualifiedAsterisk",
        "ColumnsListMatcher",
        "ColumnsRegexpMatcher",
        "ColumnsTransformerList",
        "ColumnsExceptTransformer",
        "ColumnsReplaceTransformer",
        "ColumnsReplaceTransformer::Replacement",
        "TablesInSelectQuery",
        "TablesInSelectQueryElement",
        "TableExpression",
        "TableIdentifier",
        "TableJoin",
        "ArrayJoin",
        "Subquery",
        "WithElement",
        "OrderByElement",
        "InterpolateElement",
        "WindowDefinition",
        "WindowListElement",
        "SampleRatio",
        "StorageOrderByElement",
    }
)
"""ColumnsApplyTransformer is missing on purpose: the tree does not say which function it applies."""

_FUNCTION_CATEGORIES = frozenset(
    {
        "Aggregate Functions",
        "Arithmetic",
        "Arrays",
        "Bit",
        "Bitmap",
        "Comparison",
        "Conditional",
        "Dates and Times",
        "Distance",
        "Encoding",
        "Financial",
        "Geo",
        "Hash",
        "IP Address",
        "JSON",
        "Logical",
        "Map",
        "Mathematical",
        "Null",
        "Random Number",
        "Rounding",
        "String",
        "String Replacement",
        "String Search",
        "String Splitting",
        "Time Window",
        "Tuple",
        "Type Conversion",
        "URL",
        "UUID",
    }
)

_FUNCTIONS_BY_NAME = frozenset(
    {
        "bar",
        "bytesize",
        "cast",
        "countdigits",
        "currentdatabase",
        "currentschemas",
        "currentuser",
        "exists",
        "finalizeaggregation",
        "formatreadabledecimalsize",
        "formatreadablequantity",
        "formatreadablesize",
        "formatreadabletimedelta",
        "grouping",
        "identity",
        "ignore",
        "indexhint",
        "isconstant",
        "lambda",
        "materialize",
        "neighbor",
        "revision",
        "rownumberinallblocks",
        "rownumberinblock",
        "runningaccumulate",
        "runningdifference",
        "totypename",
        "tocolumntypename",
        "transform",
        "untuple",
        "uptime",
        "user",
        "version",
        "visiblewidth",
    }
)

_NEVER = frozenset({"flamegraph", "aggthrow", "sleep", "sleepeachrow", "file"})

_COMBINATORS = re.compile(
    r"(if|array|map|simplestate|mergestate|state|merge|foreach|distinct|ordefault|ornull|resample|argmin|argmax)$"
)

_IN = frozenset(
    {"in", "notin", "globalin", "globalnotin", "nullin", "notnullin", "globalnullin", "globalnotnullin"}
)

_NODE = re.compile(
    r"(?P<indent> *)(?P<kind>[A-Za-z:]+)(?: (?P<rest>.*?))?(?: \(alias .*?\))?(?: \(children \d+\))?",
    re.DOTALL,
)
_TOKEN = re.compile(r"'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`|\{\w+:[^{}]*\}|[A-Za-z_]\w*|.", re.DOTALL)
_PARAMETER = re.compile(r"\{(\w+):([^{}]*)\}")
_FORMAT = re.compile(r" FORMAT (\w+)$")
_DISPLAY_NAMES = frozenset({"displayName", "hostName", "hostname", "FQDN", "fqdn"})


class SqlRefusedError(Exception):
    """The query may not run; the message says why. `code` and `name` are ClickHouse's for it."""

    def __init__(self, message: str, code: int = 497, name: str = "ACCESS_DENIED") -> None:
        super().__init__(message)
        self.code, self.name = code, name


@dataclass(frozen=True)
class Scope:
    """Databases that a query may name."""

    views: str
    catalog: str


def allowed_functions(functions: Iterable[tuple[str, str, str]]) -> frozenset[str]:
    """Lower-cased names that may be called, from (name, alias_to, categories) of system.functions."""
    allowed, refused = set(_FUNCTIONS_BY_NAME), set(_NEVER)
    aliases: list[tuple[str, str]] = []
    for name, alias_to, categories in functions:
        lowered = name.lower()
        if alias_to:
            aliases.append((lowered, alias_to.lower()))
            continue
        parts = {part.strip() for part in categories.split(",")}
        if lowered in _FUNCTIONS_BY_NAME or parts & _FUNCTION_CATEGORIES:
            allowed.add(lowered)
        else:
            refused.add(lowered)
    allowed -= refused
    allowed.update(alias for alias, target in aliases if target in allowed and alias not in refused)
    return frozenset(allowed)


def tokens(canonical: str) -> list[str]:
    """Strings, quoted identifiers, parameters, words and single characters of a canonical text."""
    return _TOKEN.findall(canonical)


def quoted(text: str) -> str:
    """A string literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def with_parameters(canonical: str, parameters: Mapping[str, str]) -> str:
    """`{name:Type}` replaced by literals of the given texts. Raises SqlRefusedError."""
    written = []
    for token in tokens(canonical):
        matched = _PARAMETER.fullmatch(token)
        if matched is None:
            written.append(token)
            continue
        name, kind = matched[1], matched[2].strip()
        if name not in parameters:
            raise SqlRefusedError(f"Substitution `{name}` is not set", 456, "UNKNOWN_QUERY_PARAMETER")
        if kind == "Identifier":
            raise SqlRefusedError("parameters of type Identifier are not supported")
        literal = quoted(parameters[name])
        written.append(literal if kind == "String" else f"CAST({literal}, {quoted(kind)})")
    return "".join(written)


def with_catalog(canonical: str, scope: Scope) -> str:
    """System tables replaced by those of the catalog, and functions that name the machine by a word."""
    written: list[str] = []
    found = tokens(canonical)
    at = 0
    while at < len(found):
        word = found[at]
        following = found[at + 1 : at + 3]
        starts_a_name = not written or written[-1] != "."
        if word == "system" and starts_a_name and following[:1] == ["."] and following[-1] in CATALOG:
            written.append(scope.catalog)
        elif word in _DISPLAY_NAMES and following == ["(", ")"]:
            written.append("'hitstream'")
            at += 2
        else:
            written.append(word)
        at += 1
    return "".join(written)


def split_format(canonical: str) -> tuple[str, str]:
    """The query without its FORMAT clause, and the format (empty when there is none)."""
    matched = _FORMAT.search(canonical)
    return (canonical[: matched.start()], matched[1]) if matched else (canonical, "")


def check_format(name: str) -> None:
    if not FORMATS.fullmatch(name):
        raise SqlRefusedError(f"Format {name} is not offered here", 73, "UNKNOWN_FORMAT")


def check_identifiers(canonical: str) -> None:
    """Refuse names with line breaks or other control characters: the tree shows them as lines of its own."""
    for token in tokens(canonical):
        if token[:1] == "`" and (not token.isprintable() or re.search(r"\\[^`\\]", token)):
            raise SqlRefusedError(f"the name {token} has characters that are not offered here")
    if not canonical.isprintable():
        raise SqlRefusedError("control characters outside of strings are not offered here")


def check_tree(lines: Sequence[str], scope: Scope, functions: frozenset[str]) -> None:
    """Refuse a tree (lines of EXPLAIN AST) with anything but reading of public views and known functions."""
    path: list[tuple[int, str, str]] = []
    children: dict[int, int] = {}
    for number, line in enumerate(lines):
        matched = _NODE.fullmatch(line)
        if matched is None:
            raise SqlRefusedError("the query has a part that is not offered here")
        depth, kind, rest = len(matched["indent"]), matched["kind"], matched["rest"] or ""
        if kind not in _NODES:
            raise SqlRefusedError(f"{_spoken(kind)} is not offered here")
        if number == 0 and kind != "SelectWithUnionQuery":
            raise SqlRefusedError("only SELECT is offered here")
        path = path[:depth]
        if len(path) != depth:
            raise SqlRefusedError("the query has a part that is not offered here")
        parent = path[-1][1] if path else ""
        if depth == 1:
            _check_top(kind, children.get(0, 0))
        if depth:
            children[depth - 1] = children.get(depth - 1, 0) + 1
        children[depth] = 0
        if kind == "TableIdentifier":
            _check_table(rest, scope)
        elif kind == "Function" and parent == "TableExpression":
            if rest.lower() not in TABLE_FUNCTIONS:
                raise SqlRefusedError(f"the table function {rest} is not offered here")
        elif kind == "Function":
            _check_function(rest, functions)
        elif kind == "Identifier" and "." in rest and _is_right_of_in(path):
            # The right side of IN may name a table; columns of the row go into a tuple there.
            _check_table(rest, scope)
        path.append((depth, kind, rest))


def _check_top(kind: str, nth: int) -> None:
    # A FORMAT is an Identifier here, INTO OUTFILE a Literal, SETTINGS a Set.
    if (nth == 0 and kind != "ExpressionList") or (nth > 0 and kind != "Identifier"):
        raise SqlRefusedError("INTO OUTFILE is not offered here")


def _is_right_of_in(path: Sequence[tuple[int, str, str]]) -> bool:
    return (
        len(path) >= 2
        and path[-1][1] == "ExpressionList"
        and path[-2][1] == "Function"
        and path[-2][2].lower().removesuffix("ignoreset") in _IN
    )


def _check_table(name: str, scope: Scope) -> None:
    database, dot, table = name.partition(".")
    if not dot:
        # Resolved in the database of the views, or a name given by WITH.
        return
    if database == scope.views and (table in VIEWS or table.split(".")[0] in VIEWS):
        return
    if database == scope.catalog and table.split(".")[0] in CATALOG:
        return
    raise SqlRefusedError(f"{name} is not one of the tables offered here: {', '.join(sorted(VIEWS))}")


def _check_function(name: str, functions: frozenset[str]) -> None:
    lowered = name.lower()
    while lowered not in functions:
        shorter = _COMBINATORS.sub("", lowered)
        if shorter == lowered or not shorter:
            raise SqlRefusedError(f"the function {name} is not offered here")
        lowered = shorter


def _spoken(kind: str) -> str:
    return {
        "Set": "SETTINGS",
        "InsertQuery": "INSERT",
        "CreateQuery": "CREATE",
        "DropQuery": "DROP",
        "AlterQuery": "ALTER",
        "ColumnsApplyTransformer": "APPLY",
    }.get(kind, kind)
