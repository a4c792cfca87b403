"""Orders, carts and product views (tracking semantics section 8)."""

import html
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from rules.prepared import Ecommerce, Item
from rules.query import cut_bytes, number_text, read_integer, read_leading_number, read_number
from rules.urls import clean_text

Params = Mapping[str, str]

MAX_CATEGORIES = 5
LARGEST_AMOUNT = 1e12
MONEY_DECIMALS = 2
NAME_MAX_BYTES = 1024
ORDER_ID_MAX_LENGTH = 100
LARGEST_QUANTITY = 4_294_967_295

_decode_json = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class ProductView:
    """The product (or only the category) that a page shows."""

    sku: str
    name: str
    categories: tuple[str, ...]
    price: float | None


def ecommerce_of(params: Params) -> Ecommerce | None:
    """The order (with `ec_id`) or cart update of a hit with `idgoal=0`; None for any other hit."""
    if read_integer(params.get("idgoal"), -1) != 0:
        return None
    return Ecommerce(
        order_id=clean_text(params.get("ec_id", ""))[:ORDER_ID_MAX_LENGTH],
        revenue=read_money(params.get("revenue")),
        subtotal=read_money(params.get("ec_st")),
        tax=read_money(params.get("ec_tx")),
        shipping=read_money(params.get("ec_sh")),
        discount=read_money(params.get("ec_dt")),
        items=read_items(params.get("ec_items", "")),
    )


def read_money(text: str | None, default: float = 0.0) -> float:
    """An amount; `default` for what is none, or so large that it could only spoil the sums of its day."""
    amount = read_number(text, default)
    return round(amount, MONEY_DECIMALS) if abs(amount) <= LARGEST_AMOUNT else default


def read_items(text: str) -> tuple[Item, ...]:
    """Items of [sku, name, category or up to five, price, quantity]; of a repeated SKU the first.

    An object's values count as a list, a bare value as an item with only a SKU; unreadable JSON has no items.
    """
    if not text:
        return ()
    try:
        decoded = _decode_json(text)
    except (msgspec.DecodeError, RecursionError, ValueError):
        return ()
    if isinstance(decoded, dict):
        decoded = list(decoded.values())
    if not isinstance(decoded, list):
        return ()
    items: dict[str, Item] = {}
    for entry in decoded:
        item = _read_item(entry)
        if item is not None:
            items.setdefault(item.sku, item)
    return tuple(items.values())


def _read_item(entry: Any) -> Item | None:
    if isinstance(entry, dict):
        entry = list(entry.values())
    fields = entry if isinstance(entry, list) else [entry]
    fields = [*fields, None, None, None, None, None]
    sku = _text(fields[0])
    if not sku:
        return None
    return Item(
        sku=sku,
        name=_text(fields[1]),
        categories=_categories(fields[2]),
        price=round(_number(fields[3]), MONEY_DECIMALS),
        quantity=_quantity(fields[4]),
    )


def _text(value: Any) -> str:
    """A scalar as text, HTML entities decoded (shops send names as they print them); a list joined by commas;
    objects and null have none."""
    if isinstance(value, list):
        return cut_bytes(",".join(_text(entry) for entry in value), NAME_MAX_BYTES)
    if isinstance(value, bool):
        return "1" if value else ""
    if isinstance(value, int | float):
        value = number_text(value)
    if not isinstance(value, str):
        return ""
    return cut_bytes(clean_text(html.unescape(value) if "&" in value else value), NAME_MAX_BYTES)


def _categories(value: Any) -> tuple[str, ...]:
    if isinstance(value, dict):
        value = list(value.values())
    entries = value if isinstance(value, list) else [value]
    names = (_text(entry) for entry in entries)
    return tuple(name for name in names if name not in ("", "0"))[:MAX_CATEGORIES]


def _number(value: Any) -> float:
    if isinstance(value, int | float):
        value = number_text(value)
    return read_leading_number(value) if isinstance(value, str) else 0.0


def _quantity(value: Any) -> int:
    """At least 1: missing, unreadable, zero and negative quantities are 1."""
    return min(max(1, int(_number(value))), LARGEST_QUANTITY)


def product_view(params: Params) -> ProductView | None:
    """`_pks`, `_pkn`, `_pkc` (a name, or JSON of up to five) and `_pkp`; None without product."""
    if not ("_pks" in params or "_pkn" in params or "_pkc" in params):
        return None
    sku = _text(params.get("_pks", ""))
    name = _text(params.get("_pkn", ""))
    categories = read_categories(params.get("_pkc", ""))
    if not sku and not name and not categories:
        return None
    price = read_number(params.get("_pkp"), math.nan)
    return ProductView(sku, name, categories, None if math.isnan(price) else price)


def read_categories(text: str) -> tuple[str, ...]:
    if text[:1] in ("[", "{", '"'):
        try:
            return _categories(_decode_json(text))
        except (msgspec.DecodeError, RecursionError, ValueError):
            return _categories(text)
    return _categories(text)
