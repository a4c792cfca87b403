"""A broker for tests: Apache Kafka (KRaft, one node) from Maven Central's jars, or another that is named.

HITSTREAM_TEST_KAFKA=host:port names one that runs already. Without it the jars of pom.xml are started in a
temporary directory on free ports; where Java or Maven is missing, a container is, if a Docker engine answers.
"""

import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from hitstream.ports import free_port
from tests.waiting import PATIENCE_SECONDS

HERE = Path(__file__).parent
JARS = HERE / "target" / "dependency"
JAVA = ("java", "-Xms64m", "-XX:+UseSerialGC", "-Xshare:auto")
QUICK = ("-Xmx400m", "-XX:TieredStopAtLevel=1")
"""For tests: what starts fast and stays small."""
STEADY = ("-Xmx600m",)
"""For loads of minutes: compiled as far as Java does by default."""
CLUSTER_ID = "aGl0c3RyZWFtLXRlc3QwMA"
IMAGE = "apache/kafka:4.1.1"


class NoBrokerError(Exception):
    """No broker can be started here; the message says what is missing."""


def jars() -> str:
    """The class path; downloads the jars when they aren't there. Raises NoBrokerError."""
    for tool in ("java", "mvn"):
        if shutil.which(tool) is None:
            raise NoBrokerError(f"{tool} is not installed")
    JARS.parent.mkdir(exist_ok=True)
    with (JARS.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = JARS.parent / "pom.xml"
        if not stamp.exists() or stamp.read_bytes() != (HERE / "pom.xml").read_bytes():
            shutil.rmtree(JARS, ignore_errors=True)
            found = subprocess.run(
                ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime"],
                cwd=HERE,
                capture_output=True,
                text=True,
                check=False,
            )
            if found.returncode:
                raise NoBrokerError(f"Maven can't get the jars of {HERE / 'pom.xml'}: {found.stdout[-500:]}")
            shutil.copy(HERE / "pom.xml", stamp)
    return f"{JARS}/*"


class JavaBroker:
    """One node, broker and controller. `kill` and `start` again keep address and data.

    `more` are settings beside or instead of those of one node alone; `format_arguments` go to the formatting
    of its storage, `options` to Java."""

    def __init__(
        self,
        directory: Path,
        more: Mapping[str, object] | None = None,
        format_arguments: Sequence[str] = (),
        *,
        controller_port: int = 0,
        options: Sequence[str] = QUICK,
    ) -> None:
        self.directory = directory
        self._options = options
        self._class_path = jars()
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        directory.mkdir(parents=True, exist_ok=True)
        self._properties = directory / "server.properties"
        values = {**self._settings(controller_port or free_port()), **(more or {})}
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in values.items()))
        self._java(
            "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", self._properties, *format_arguments
        )

    def _settings(self, controller_port: int) -> dict[str, object]:
        return {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
            "listeners": f"PLAINTEXT://{self.address},CONTROLLER://127.0.0.1:{controller_port}",
            "advertised.listeners": f"PLAINTEXT://{self.address}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": self.directory / "data",
            "auto.create.topics.enable": "false",
            "offsets.topic.num.partitions": 1,
            "offsets.topic.replication.factor": 1,
            "transaction.state.log.num.partitions": 1,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "share.coordinator.state.topic.num.partitions": 1,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "group.initial.rebalance.delay.ms": 0,
            "group.min.session.timeout.ms": 1000,
            "transaction.abort.timed.out.transaction.cleanup.interval.ms": 1000,
            "log.cleaner.dedupe.buffer.size": 8 << 20,
            "log.cleaner.backoff.ms": 500,
            "log.retention.check.interval.ms": 500,
            "log.segment.delete.delay.ms": 500,
            "log.segment.bytes": 64 << 20,
            "log.index.size.max.bytes": 1 << 20,
            "num.network.threads": 2,
            "num.io.threads": 2,
            "background.threads": 2,
            "socket.send.buffer.bytes": -1,
            "socket.receive.buffer.bytes": -1,
        }

    def _java(self, *arguments: object) -> None:
        found = subprocess.run(
            [*JAVA, *QUICK, "-cp", self._class_path, *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
        )
        if found.returncode:
            raise NoBrokerError(f"{arguments[0]} failed: {found.stdout[-500:]}{found.stderr[-500:]}")

    def start(self) -> None:
        """Returns when the broker answers."""
        self.launch()
        wait_until_it_answers(self.address, self.is_running)

    def launch(self) -> None:
        """Returns at once: a node of several answers when most of them are there."""
        log = (self.directory / "broker.log").open("ab")
        self._process = subprocess.Popen(
            [
                *JAVA,
                *self._options,
                "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
                "-cp",
                self._class_path,
                "kafka.Kafka",
                str(self._properties),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        log.close()

    def log(self) -> str:
        return (self.directory / "broker.log").read_text(errors="replace")

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """As by kill -9."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        if self.is_running():
            self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


class Cluster:
    """Three nodes; internal topics have three copies, of which two must have a message."""

    COPIES = 3

    def __init__(self, directory: Path) -> None:
        controllers = {node: free_port() for node in range(1, self.COPIES + 1)}
        voters = ",".join(f"{node}@127.0.0.1:{port}" for node, port in controllers.items())
        replicated: dict[str, object] = {
            f"{topic}.replication.factor": self.COPIES
            for topic in ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic")
        }
        self.nodes = [
            JavaBroker(
                directory / f"node{node}",
                {
                    **replicated,
                    "node.id": node,
                    "controller.quorum.voters": voters,
                    "min.insync.replicas": 2,
                    "transaction.state.log.min.isr": 2,
                    "share.coordinator.state.topic.min.isr": 2,
                    # So that a test need not wait long until a dead node leads nothing any more.
                    "broker.session.timeout.ms": 4000,
                    "broker.heartbeat.interval.ms": 500,
                    "replica.lag.time.max.ms": 5000,
                },
                controller_port=port,
            )
            for node, port in controllers.items()
        ]
        self.address = ",".join(node.address for node in self.nodes)

    def start(self) -> None:
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            wait_until_it_answers(node.address, node.is_running)

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()


def wait_until_it_answers(address: str, is_alive: Callable[[], bool] = lambda: True) -> None:
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({"bootstrap.servers": address, "log_level": 0, "reconnect.backoff.max.ms": 200})
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            admin.list_topics(timeout=1.0)
            return
        except KafkaException as error:
            if not is_alive():
                raise NoBrokerError(f"the broker at {address} ended while it started") from error
            if time.monotonic() > deadline:
                raise NoBrokerError(f"no broker answers at {address}: {error}") from error


@contextmanager
def running_broker() -> Iterator[str]:
    """The address of a broker that runs meanwhile, for loads. Raises NoBrokerError."""
    with running_broker_with_files(STEADY) as (address, _):
        yield address


@contextmanager
def running_broker_with_files(options: Sequence[str] = QUICK) -> Iterator[tuple[str, Path | None]]:
    """Also the directory of its topics, where that is on this machine."""
    named = os.environ.get("HITSTREAM_TEST_KAFKA", "")
    if named:
        wait_until_it_answers(named)
        yield named, None
        return
    directory = Path(tempfile.mkdtemp(prefix="hitstream-kafka-"))
    try:
        broker = JavaBroker(directory, options=options)
    except NoBrokerError as missing:
        shutil.rmtree(directory, ignore_errors=True)
        with _container(missing) as address:
            yield address, None
        return
    try:
        broker.start()
        yield broker.address, directory / "data"
    finally:
        broker.stop()


@contextmanager
def _container(missing: NoBrokerError) -> Iterator[str]:
    """The same broker in a container."""
    try:
        from testcontainers.kafka import KafkaContainer

        container = KafkaContainer(IMAGE).with_kraft()
        container.start()
    except Exception as error:  # whatever the client of Docker raises
        raise NoBrokerError(f"{missing}; no container either: {type(error).__name__}: {error}") from None
    try:
        yield container.get_bootstrap_server()
    finally:
        container.stop()
