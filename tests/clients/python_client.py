"""Sends one visit with the package `matomo`: python_client.py URL SITE TOKEN."""

import sys

from matomo import Matomo
from matomo.request import Request

url, site, token = sys.argv[1:]
request = Request(
    {
        "HTTP_HOST": "shop.example",
        "REQUEST_URI": "/home",
        "HTTP_REFERER": "https://news.example.org/story",
        "HTTP_USER_AGENT": "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0",
        "HTTP_ACCEPT_LANGUAGE": "de-de,de;q=0.8",
        "REMOTE_ADDR": "198.51.100.7",
    }
)
tracker = Matomo(request, int(site), url)
# The client asks for the address of matomo.php and sends it the token only in a body.
tracker.set_visitor_id("aaaabbbbcccc0001")
tracker.set_resolution(1920, 1080)
tracker.set_url("http://shop.example/home")


def sent(response: object) -> None:
    status = response.status_code  # type: ignore[attr-defined]
    if status != 200:
        raise SystemExit(f"answered with {status}")


tracker.set_performance_timings(10, 20, 30, 40, 50, 60)
sent(tracker.do_track_page_view("Home ünïcode & more"))
tracker.set_custom_dimension(1, "gold")
tracker.set_custom_dimension(2, "blue")
tracker.set_custom_variable(1, "plan", "pro", "visit")
tracker.set_url("http://shop.example/list")
sent(tracker.do_track_page_view("List"))
sent(tracker.do_track_event("Video", "play", "intro", 3))
sent(tracker.do_track_content_impression("Ad", "ad.png", "http://shop.example/ad"))
sent(tracker.do_track_content_interaction("click", "Ad", "ad.png", "http://shop.example/ad"))
sent(tracker.do_track_site_search("lamp", "Light", 7))
sent(tracker.do_track_action("http://shop.example/a.pdf", "download"))
sent(tracker.do_track_action("http://other.example/x", "link"))
sent(tracker.do_track_goal(1, 5.0))
tracker.set_ecommerce_view("SKU1", "Lamp", "Light", 9.5)
tracker.set_url("http://shop.example/lamp")
sent(tracker.do_track_page_view("Lamp"))
sent(tracker.do_track_ecommerce_cart_update(20.0))
tracker.set_user_id("alice@example.org")
sent(tracker.do_track_ecommerce_order("o-python", 42.5, 30.0, 5.0, 7.5, 1.0))
sent(tracker.do_ping())
