"""Orders, carts and product views."""

import pytest

from rules.ecommerce import ecommerce_of, product_view, read_items, read_money
from rules.prepared import Item
from rules.query import parse_query


def test_with_an_order_id_it_is_an_order() -> None:
    order = ecommerce_of(parse_query("idgoal=0&ec_id=o-1&revenue=51&ec_st=45&ec_tx=3&ec_sh=5&ec_dt=2.345"))
    assert order is not None
    assert order.order_id == "o-1"
    assert (order.revenue, order.subtotal, order.tax, order.shipping) == (51.0, 45.0, 3.0, 5.0)
    assert order.discount == 2.35 or order.discount == 2.34  # nearest float of 2.345
    assert order.items == ()


@pytest.mark.parametrize("sent", ["1,5", "12 EUR", "abc", ""])
def test_an_unreadable_amount_counts_as_not_sent(sent: str) -> None:
    order = ecommerce_of({"idgoal": "0", "ec_id": "o", "revenue": sent})
    assert order is not None
    assert order.revenue == 0.0


@pytest.mark.parametrize(
    ("sent", "read"), [("1e12", 1e12), ("1e13", 0.0), ("-1e308", 0.0), ("12.345", 12.35)]
)
def test_an_amount_beyond_all_measure_counts_as_not_sent(sent: str, read: float) -> None:
    assert read_money(sent) == pytest.approx(read, abs=0.006)


def test_without_an_order_id_it_is_a_cart() -> None:
    for query in ("idgoal=0&revenue=5", "idgoal=0&revenue=5&ec_id=", "idgoal=0&revenue=5&ec_id=+"):
        cart = ecommerce_of(parse_query(query))
        assert cart is not None
        assert (cart.order_id, cart.revenue) == ("", 5.0)


def test_an_empty_cart_is_a_cart_of_zero() -> None:
    cart = ecommerce_of({"idgoal": "0"})
    assert cart is not None
    assert (cart.revenue, cart.items) == (0.0, ())


@pytest.mark.parametrize("query", ["", "idgoal=1&ec_id=x", "idgoal=&ec_id=x", "idgoal=abc", "idgoal=-1"])
def test_only_goal_zero_is_ecommerce(query: str) -> None:
    assert ecommerce_of(parse_query(query)) is None


def test_an_order_id_is_cut_to_100_characters() -> None:
    order = ecommerce_of({"idgoal": "0", "ec_id": "x" * 200})
    assert order is not None
    assert order.order_id == "x" * 100


def test_items_of_an_order() -> None:
    items = read_items('[["sku1","Shoe",["Shoes","Men"],20.5,2],["sku2","Hat","Hats","10",1]]')
    assert items == (
        Item("sku1", "Shoe", ("Shoes", "Men"), 20.5, 2),
        Item("sku2", "Hat", ("Hats",), 10.0, 1),
    )


@pytest.mark.parametrize(
    ("sent", "categories"),
    [
        ('["a","b","c","d","e","f"]', ("a", "b", "c", "d", "e")),
        ("[]", ()),
        ('["","x"]', ("x",)),
        ('["x","x"]', ("x", "x")),
        ('"Hats"', ("Hats",)),
        ('""', ()),
        ("null", ()),
        ("7", ("7",)),
        ('["a","",0,"0","b"]', ("a", "b")),
        ('{"0":"x"}', ("x",)),
        ('[["nested"],"x"]', ("nested", "x")),
    ],
)
def test_an_item_has_up_to_five_categories(sent: str, categories: tuple[str, ...]) -> None:
    assert read_items(f'[["s","n",{sent},1,1]]')[0].categories == categories


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("[not json", ()),
        ("", ()),
        ("null", ()),
        ("5", ()),
        ("[]", ()),
        ('{"a":1}', (Item("1"),)),
        ('["only-sku"]', (Item("only-sku"),)),
        ('[["s"]]', (Item("s"),)),
        ('[["","no sku","c",1,1]]', ()),
        ('[[null,"no sku"]]', ()),
        ('[["s","n","c",null,null]]', (Item("s", "n", ("c",)),)),
        ('[["s","n","c","x","y"]]', (Item("s", "n", ("c",)),)),
        ('[["s","first"],["s","second"]]', (Item("s", "first"),)),
        ('[{"sku":"s","name":"n"}]', (Item("s", "n"),)),
        ("[[12.5]]", (Item("12.5"),)),
        ("[[true]]", (Item("1"),)),
        ("[" * 50_000 + "]" * 50_000, ()),
    ],
)
def test_items_that_are_not_as_expected(sent: str, expected: tuple[Item, ...]) -> None:
    assert read_items(sent) == expected


def test_the_price_of_an_item_has_two_decimals_that_of_a_product_view_all() -> None:
    assert read_items('[["s","n","c",500.111,1]]')[0].price == 500.11
    viewed = product_view({"_pks": "s", "_pkp": "1111.11111"})
    assert viewed is not None
    assert viewed.price == 1111.11111


@pytest.mark.parametrize(
    ("sent", "quantity"),
    [
        ("0", 1),
        ("-3", 1),
        ("2", 2),
        ('"3"', 3),
        ("2.9", 2),
        ("true", 1),
        ("1" * 40, 1),
        ("4294967296", 4294967295),
    ],
)
def test_a_quantity_is_at_least_one(sent: str, quantity: int) -> None:
    assert read_items(f'[["s","n","c",1,{sent}]]')[0].quantity == quantity


def test_item_texts_lose_html_entities_and_lists_are_joined() -> None:
    (item,) = read_items('[["&quot;sku", ["a", "b&amp;c"], "x &#x2603;", 1, 1]]')
    assert (item.sku, item.name, item.categories) == ('"sku', "a,b&c", ("x \u2603",))


def test_a_product_view_needs_a_sku_a_name_or_a_category() -> None:
    assert product_view({"_pkp": "5"}) is None
    assert product_view({"_pks": "", "_pkn": "", "_pkc": ""}) is None
    only_name = product_view({"_pkn": "NoSku"})
    assert only_name is not None
    assert (only_name.sku, only_name.name, only_name.price) == ("", "NoSku", None)


@pytest.mark.parametrize(
    ("sent", "categories"),
    [
        ("Shoes", ("Shoes",)),
        ('["Hats","Summer"]', ("Hats", "Summer")),
        ("[not json", ("[not json",)),
        ('["1","2","3","4","5","6"]', ("1", "2", "3", "4", "5")),
        ("", ()),
    ],
)
def test_product_categories_are_a_name_or_json(sent: str, categories: tuple[str, ...]) -> None:
    viewed = product_view({"_pks": "s", "_pkc": sent})
    assert viewed is not None
    assert viewed.categories == categories
