"""The conversions of a visit: goals, orders and carts, and who gets their credit (semantics 7 and 8)."""

from rules.fold_state import Cart, FoldState, Rows, VisitRules
from rules.prepared import (
    CAMPAIGN,
    SEARCH_ENGINE,
    SOCIAL_NETWORK,
    WEBSITE,
    Ecommerce,
    GoalMatch,
    PreparedHit,
    Referrer,
)
from schemas.rows import CART_GOAL, ORDER_GOAL, Conversion, ConversionItem, Visit

BUYER_NONE, BUYER_ORDERED, BUYER_CART, BUYER_ORDERED_AND_CART = 0, 1, 2, 3


def attribute(visit: Visit, hit: PreparedHit) -> Referrer:
    """Which referrer gets the credit of a conversion (tracking-semantics section 7)."""
    return attribute_with_source(visit, hit)[0]


def attribute_with_source(visit: Visit, hit: PreparedHit) -> tuple[Referrer, str]:
    """The referrer, and who told it: `campaign parameters` (_rcn), `visit`, `referrer parameter` (_ref)."""
    if hit.attribution is not None:
        return hit.attribution, "campaign parameters"
    of_visit = Referrer(visit.referrer_type, visit.referrer_name, visit.referrer_keyword, visit.referrer_url)
    if visit.referrer_type == CAMPAIGN:
        return of_visit, "visit"
    from_cookie = hit.attribution_referrer
    if from_cookie is not None and from_cookie.type in (SEARCH_ENGINE, WEBSITE, SOCIAL_NETWORK):
        return from_cookie, "referrer parameter"
    return of_visit, "visit"


def _conversion(
    visit: Visit, state: FoldState, hit: PreparedHit, goal_id: int, rules: VisitRules
) -> Conversion:
    referrer = attribute(visit, hit)
    return Conversion(
        site_id=hit.site_id,
        date=rules.clock.day(hit.time),
        hit_id=hit.hit_id,
        goal_id=goal_id,
        visit_id=visit.visit_id,
        visitor_id=hit.visitor_id,
        owner=hit.owner,
        time=hit.time,
        url=hit.page_url,
        referrer_type=referrer.type,
        referrer_name=referrer.name,
        referrer_keyword=referrer.keyword,
        returning=visit.returning,
        visit_count=visit.visit_count,
        seconds_since_first=visit.seconds_since_first,
        seconds_since_order=visit.seconds_since_order,
        pageviews_before=state.pageviews,
        action_kind=0 if hit.action is None else hit.action.kind,
        dimensions=dict(visit.dimensions),
    )


def record_goal(
    state: FoldState, visit: Visit, hit: PreparedHit, match: GoalMatch, rules: VisitRules, rows: Rows
) -> None:
    conversion = _conversion(visit, state, hit, match.goal_id, rules)
    conversion.revenue = match.revenue
    rows.convert(conversion)
    visit.goals = [*visit.goals, match.goal_id]
    visit.converted = True


def record_order(
    state: FoldState, visit: Visit, hit: PreparedHit, order: Ecommerce, rules: VisitRules, rows: Rows
) -> None:
    _drop_cart(state, rows)
    conversion = _conversion(visit, state, hit, ORDER_GOAL, rules)
    _fill_amounts(conversion, order)
    conversion.order_id = order.order_id
    rows.convert(conversion)
    _put_items(visit, hit, order, conversion, rows)
    visit.goals = [*visit.goals, ORDER_GOAL]
    visit.converted = True
    visit.buyer = BUYER_ORDERED
    visit.has_order_before = True
    visit.seconds_since_order = 0


def record_cart(
    state: FoldState, visit: Visit, hit: PreparedHit, cart: Ecommerce, rules: VisitRules, rows: Rows
) -> None:
    _drop_cart(state, rows)
    conversion = _conversion(visit, state, hit, CART_GOAL, rules)
    _fill_amounts(conversion, cart)
    rows.put(conversion)
    state.cart = Cart(conversion, _put_items(visit, hit, cart, conversion, rows))
    visit.buyer |= BUYER_CART


def _fill_amounts(conversion: Conversion, ecommerce: Ecommerce) -> None:
    conversion.revenue = ecommerce.revenue
    conversion.subtotal = ecommerce.subtotal
    conversion.tax = ecommerce.tax
    conversion.shipping = ecommerce.shipping
    conversion.discount = ecommerce.discount
    conversion.items = sum(item.quantity for item in ecommerce.items)


def _put_items(
    visit: Visit, hit: PreparedHit, ecommerce: Ecommerce, conversion: Conversion, rows: Rows
) -> list[ConversionItem]:
    items = [
        ConversionItem(
            site_id=hit.site_id,
            date=conversion.date,
            hit_id=hit.hit_id,
            sku=item.sku,
            goal_id=conversion.goal_id,
            visit_id=visit.visit_id,
            time=hit.time,
            order_id=conversion.order_id,
            name=item.name,
            categories=list(item.categories),
            price=item.price,
            quantity=item.quantity,
        )
        for item in ecommerce.items
    ]
    for item in items:
        rows.put(item)
    return items


def _drop_cart(state: FoldState, rows: Rows) -> None:
    if state.cart is not None:
        rows.delete(state.cart.conversion)
        for item in state.cart.items:
            rows.delete(item)
        state.cart = None
