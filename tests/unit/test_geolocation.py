"""Addresses are located by a database in MaxMind's format."""

import os
import struct
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from ingest.geolocation import Geolocator
from schemas.hit import Location


def encode(value: Any) -> bytes:
    """A value of the MaxMind DB format; sizes below 29 and maps below 29 entries."""

    def head(kind: int, size: int) -> bytes:
        assert size < 29
        return bytes([kind << 5 | size]) if kind < 8 else bytes([size, kind - 7])

    match value:
        case str():
            return head(2, len(value.encode())) + value.encode()
        case float():
            return head(3, 8) + struct.pack(">d", value)
        case int():
            raw = value.to_bytes((value.bit_length() + 7) // 8, "big")
            return head(6, len(raw)) + raw
        case dict():
            return head(7, len(value)) + b"".join(encode(key) + encode(item) for key, item in value.items())
        case list():
            return head(11, len(value)) + b"".join(map(encode, value))
    raise TypeError(value)


def write_database(path: Path, records: dict[str, Any]) -> None:
    """A database of IPv4 networks that don't overlap."""
    data = b""
    places = {}
    for network, record in records.items():
        places[IPv4Network(network)] = len(data)
        data += encode(record)
    tree: list[list[Any]] = [[None, None]]
    for network, place in places.items():
        node = 0
        bits = f"{int(network.network_address):032b}"[: network.prefixlen]
        for bit in bits[:-1]:
            if tree[node][int(bit)] is None:
                tree.append([None, None])
                tree[node][int(bit)] = len(tree) - 1
            node = tree[node][int(bit)]
        tree[node][int(bits[-1])] = ("data", place)
    count = len(tree)

    def pointer(entry: Any) -> bytes:
        number = count if entry is None else entry if isinstance(entry, int) else count + 16 + entry[1]
        return int(number).to_bytes(3, "big")

    metadata = {
        "binary_format_major_version": 2,
        "binary_format_minor_version": 0,
        "build_epoch": 1,
        "database_type": "Test-City",
        "description": {"en": "test"},
        "ip_version": 4,
        "languages": ["en"],
        "node_count": count,
        "record_size": 24,
    }
    content = b"".join(pointer(left) + pointer(right) for left, right in tree)
    content += bytes(16) + data + b"\xab\xcd\xefMaxMind.com" + encode(metadata)
    replacement = path.with_suffix(".new")
    replacement.write_bytes(content)
    os.replace(replacement, path)


TORONTO = {
    "country": {"iso_code": "CA"},
    "subdivisions": [{"iso_code": "ON"}],
    "city": {"names": {"de": "T.", "en": "Toronto"}},
    "location": {"latitude": 43.7, "longitude": -79.4},
}


def test_an_address_is_found_in_its_network(tmp_path: Path) -> None:
    write_database(
        tmp_path / "city.mmdb", {"10.1.0.0/16": TORONTO, "10.2.0.0/16": {"country": {"iso_code": "FR"}}}
    )
    geolocator = Geolocator(tmp_path / "city.mmdb")
    assert geolocator.locate("10.1.2.3") == Location("ca", "ON", "Toronto", 43.7, -79.4)
    assert geolocator.locate("10.2.255.255") == Location(country="fr")
    assert geolocator.error == ""


@pytest.mark.parametrize("ip", ["10.3.0.1", "::1", "not an address", ""])
def test_what_the_database_does_not_hold_is_nowhere(tmp_path: Path, ip: str) -> None:
    write_database(tmp_path / "city.mmdb", {"10.1.0.0/16": TORONTO})
    assert Geolocator(tmp_path / "city.mmdb").locate(ip) == Location()


def test_a_changed_file_is_read_again_and_a_broken_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "city.mmdb"
    clock = [0.0]
    geolocator = Geolocator(path, seconds_between_checks=10, now=lambda: clock[0])
    assert geolocator.locate("10.1.2.3") == Location()
    assert "city.mmdb" in geolocator.error

    write_database(path, {"10.1.0.0/16": TORONTO})
    assert geolocator.locate("10.1.2.3") == Location(), "looked at again too early"
    clock[0] = 10
    assert geolocator.locate("10.1.2.3").city == "Toronto"

    path.write_bytes(b"half a download")
    clock[0] = 20
    assert geolocator.locate("10.1.2.3").city == "Toronto"
    assert geolocator.error

    write_database(path, {"10.1.0.0/16": {"country": {"iso_code": "DE"}}})
    clock[0] = 30
    assert geolocator.locate("10.1.2.3") == Location(country="de")
    assert geolocator.error == ""


def test_without_a_file_every_address_is_nowhere() -> None:
    assert Geolocator(None).locate("10.1.2.3") == Location()


def test_the_cache_keeps_to_its_size(tmp_path: Path) -> None:
    write_database(tmp_path / "city.mmdb", {"10.1.0.0/16": TORONTO})
    geolocator = Geolocator(tmp_path / "city.mmdb", max_cached=5)
    for number in range(50):
        assert geolocator.locate(f"10.1.0.{number}").city == "Toronto"
        assert len(geolocator._cache) <= 5
