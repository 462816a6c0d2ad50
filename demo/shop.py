"""The shop that the demo's visitors browse: its pages, and a visitor's walk through them."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any, NamedTuple

from bson.int64 import Int64

CATEGORIES = {
    "shoes": ("trail-runner", "city-sneaker", "hiking-boot", "canvas-slip-on"),
    "bags": ("day-pack", "messenger", "weekender", "tote"),
    "jackets": ("rain-shell", "down-parka", "denim", "windbreaker"),
    "home": ("linen-throw", "oak-stool", "brass-lamp", "clay-vase"),
    "áo-dài": ("lụa-tơ-tằm", "cách-tân", "thêu-tay", "gấm"),
    "sale": ("last-season", "single-pieces"),
}
CATEGORY_PAGES = tuple(f"/category/{name}" for name in CATEGORIES)
PRODUCT_PAGES = tuple(
    f"/product/{category}/{name}" for category, names in CATEGORIES.items() for name in names
)
PAGES_OF_KIND = {
    "home": ("/home",),
    "search": ("/search",),
    "category": CATEGORY_PAGES,
    "product": PRODUCT_PAGES,
    "cart": ("/cart",),
    "checkout": ("/checkout/address", "/checkout/payment"),
    "done": ("/order/confirmation",),
    "account": ("/account", "/account/orders", "/account/wishlist"),
    "help": ("/help/shipping", "/help/returns", "/blog/size-guide"),
}
LANDINGS = ("home", "home", "home", "home", "category", "product", "product", "search")
NEXT_KINDS = {
    "home": ("category", "category", "category", "search", "product", "account"),
    "search": ("product", "product", "product", "search", "category"),
    "category": ("product", "product", "product", "product", "category", "home"),
    "product": ("product", "product", "category", "category", "cart", "cart", "help", "home"),
    "cart": ("checkout", "checkout", "product", "category", "home"),
    "checkout": ("checkout", "done", "done", "cart", "help"),
    "done": ("home", "account", "category"),
    "account": ("home", "category", "product"),
    "help": ("product", "cart", "home"),
}
DEVICES = (("mobile", "Android", 412), ("mobile", "iOS", 390), ("desktop", "Windows", 1920))
REFERRERS = ("https://search.example/", "https://social.example/", "https://mail.example/")
HEARTBEAT_SHARE = 0.12  # of the events after the first; they name no page
SAME_PAGE_SHARE = 0.30  # clicks and scrolls


class Step(NamedTuple):
    """One event of a walk: a page or none, what happened, the pause before it."""

    page: str | None
    event_type: str
    properties: dict[str, Any]
    pause_ms: int


def walk(rng: Random, events: int) -> Iterator[Step]:
    """So many steps of one visitor; the first always names a page."""
    kind = rng.choice(LANDINGS)
    page = rng.choice(PAGES_OF_KIND[kind])
    yield Step(page, "page_view", {"landing": True}, 0)
    for _ in range(events - 1):
        luck = rng.random()
        if luck < HEARTBEAT_SHARE:
            yield Step(None, "heartbeat", {"visible": luck < HEARTBEAT_SHARE / 2}, 30_000)
        elif luck < HEARTBEAT_SHARE + SAME_PAGE_SHARE:
            yield _on_the_page(rng, kind, page)
        else:
            kind = rng.choice(NEXT_KINDS[kind])
            page = rng.choice(PAGES_OF_KIND[kind])
            yield Step(page, "page_view", {}, _pause_ms(rng))


def traits(rng: Random) -> dict[str, Any]:
    """What a session carries beside the fields of the repair: never to be touched by it."""
    device, system, width = rng.choice(DEVICES)
    found: dict[str, Any] = {
        "device": {"type": device, "os": system, "width": width},
        "consent": rng.random() < 0.8,
        "schema_version": Int64(2),
    }
    if rng.random() < 0.4:
        found["referrer"] = rng.choice(REFERRERS)
    return found


def _on_the_page(rng: Random, kind: str, page: str) -> Step:
    if kind == "product" and rng.random() < 0.3:
        properties = {"quantity": 1 + int(rng.random() * 3), "price": _price(page)}
        return Step(page, "add_to_cart", properties, _pause_ms(rng))
    if rng.random() < 0.5:
        return Step(page, "click", {"x": rng.randrange(390), "y": rng.randrange(800)}, 0)
    return Step(page, "scroll", {"depth": round(rng.random(), 2)}, 1 + int(rng.random() * 4_000))


def _pause_ms(rng: Random) -> int:
    """Mostly seconds; one visitor in fifty goes for a coffee and comes back."""
    if rng.random() < 0.02:
        return rng.randrange(5 * 60_000, 25 * 60_000)
    return 500 + int(rng.expovariate(1 / 20_000))


def _price(page: str) -> float:
    return 9.9 + 10 * (PRODUCT_PAGES.index(page) % 12)
