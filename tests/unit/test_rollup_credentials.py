"""librdkafka's options of TLS and SASL as Faust takes them."""

from pathlib import Path

import pytest

pytest.importorskip("faust")

from hitstream.rollup_worker import credentials
from schemas.settings import SettingsError


def test_without_options_there_are_none() -> None:
    assert credentials({}) is None
    assert credentials({"client.id": "x"}) is None


@pytest.mark.parametrize(("protocol", "encrypted"), [("sasl_ssl", True), ("SASL_PLAINTEXT", False)])
def test_a_password_is_passed_on_and_not_shown(protocol: str, encrypted: bool) -> None:
    options = {
        "security.protocol": protocol,
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "hitstream",
        "sasl.password": "sesame",
    }
    found = credentials(options)
    assert (found.username, found.password, found.mechanism.value) == ("hitstream", "sesame", "SCRAM-SHA-512")
    assert (found.ssl_context is not None) == encrypted
    assert "sesame" not in repr(found)


def test_tls_checks_the_name_of_the_broker_unless_told_not_to() -> None:
    assert credentials({"security.protocol": "ssl"}).context.check_hostname
    told = {"security.protocol": "ssl", "ssl.endpoint.identification.algorithm": "none"}
    assert not credentials(told).context.check_hostname


@pytest.mark.parametrize(
    "options",
    [
        {"security.protocol": "sasl_ssl", "sasl.mechanism": "GSSAPI", "sasl.password": "sesame"},
        {"security.protocol": "sasl_ssl", "sasl.oauthbearer.config": "sesame"},
        {"security.protocol": "ssl", "ssl.ca.location": "/nowhere/sesame.pem", "ssl.key.password": "sesame"},
        {"security.protocol": "plain", "sasl.password": "sesame"},
    ],
)
def test_what_faust_cannot_do_is_refused_without_showing_a_value(options: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="HITSTREAM_KAFKA_OPTIONS") as refused:
        credentials(options)
    assert "sesame" not in str(refused.value)


def test_a_certificate_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(SettingsError, match="certificates can't be read"):
        credentials({"security.protocol": "ssl", "ssl.ca.location": str(tmp_path / "ca.pem")})
