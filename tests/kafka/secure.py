"""A broker that takes nobody without TLS and a password; its certificates are made by keytool."""

import shutil
import subprocess
from pathlib import Path

from hitstream.ports import free_port
from tests.kafka.broker import JavaBroker, NoBrokerError

USER, PASSWORD = "hitstream", "geheim-Wort-17"
STORE_PASSWORD = "keystore-Wort-18"
MECHANISMS = ("PLAIN", "SCRAM-SHA-512")
_PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule"
_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule"


def make_certificate(directory: Path, name: str) -> tuple[Path, Path]:
    """A keystore with a certificate for 127.0.0.1 that signs itself, and the certificate as PEM. Raises
    NoBrokerError."""
    if shutil.which("keytool") is None:
        raise NoBrokerError("keytool is not installed")
    store, pem = directory / f"{name}.p12", directory / f"{name}.pem"
    of_store = ["-keystore", store, "-storetype", "PKCS12", "-storepass", STORE_PASSWORD, "-alias", name]
    _keytool(
        "-genkeypair", *of_store, "-keyalg", "EC", "-groupname", "secp256r1", "-validity", "2",
        "-dname", f"CN={name}", "-ext", "SAN=ip:127.0.0.1", "-ext", "bc:c=ca:true",
    )  # fmt: skip
    _keytool("-exportcert", *of_store, "-rfc", "-file", pem)
    return store, pem


def _keytool(*arguments: object) -> None:
    subprocess.run(["keytool", *map(str, arguments)], check=True, capture_output=True)


class SecureBroker:
    """`address` is that of the listener with TLS and SASL; the plain one is for the broker itself."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        store, self.certificate = make_certificate(directory, "broker")
        _, self.strange_certificate = make_certificate(directory, "stranger")
        self.address = f"127.0.0.1:{free_port()}"
        inner, controller = f"127.0.0.1:{free_port()}", free_port()
        listener = "listener.name.sasl_ssl"
        listeners = f"SASL_SSL://{self.address},PLAINTEXT://{inner}"
        self._broker = JavaBroker(
            directory / "node",
            {
                "listeners": f"{listeners},CONTROLLER://127.0.0.1:{controller}",
                "advertised.listeners": listeners,
                "listener.security.protocol.map": ",".join(
                    ("SASL_SSL:SASL_SSL", "PLAINTEXT:PLAINTEXT", "CONTROLLER:PLAINTEXT")
                ),
                "inter.broker.listener.name": "PLAINTEXT",
                "sasl.enabled.mechanisms": ",".join(MECHANISMS),
                f"{listener}.plain.sasl.jaas.config": f'{_PLAIN} required user_{USER}="{PASSWORD}";',
                f"{listener}.scram-sha-512.sasl.jaas.config": f"{_SCRAM} required;",
                "ssl.keystore.type": "PKCS12",
                "ssl.keystore.location": store,
                "ssl.keystore.password": STORE_PASSWORD,
            },
            ("--add-scram", f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"),
            controller_port=controller,
        )
        self._inner = inner

    def options(self, mechanism: str, *, password: str = PASSWORD, certificate: Path | None = None) -> str:
        """The text of a file for HITSTREAM_KAFKA_OPTIONS."""
        return (
            "security.protocol=SASL_SSL\n"
            f"sasl.mechanism={mechanism}\n"
            f"sasl.username={USER}\n"
            f"sasl.password={password}\n"
            f"ssl.ca.location={certificate or self.certificate}\n"
        )

    def start(self) -> None:
        self._broker.address = self._inner
        self._broker.start()

    def stop(self) -> None:
        self._broker.stop()
