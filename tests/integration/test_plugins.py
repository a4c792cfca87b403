"""The example plugin of docs/plugins.md, installed as a package and asked in a running instance."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.instance import running_instance
from tests.waiting import PATIENCE_SECONDS

EXAMPLE = Path(__file__).parent.parent.parent / "docs" / "example-plugin"


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the installed example; nothing is downloaded."""
    source = tmp_path_factory.mktemp("source")
    for file in ("pyproject.toml", "hitstream_daytime.py"):
        (source / file).write_text((EXAMPLE / file).read_text())
    target = tmp_path_factory.mktemp("packages")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index",
         "--disable-pip-version-check", "--target", str(target), str(source)],
        check=True, timeout=PATIENCE_SECONDS,
    )  # fmt: skip
    return target


def test_an_installed_plugin_adds_its_reports(packages: Path, tmp_path: Path) -> None:
    """Dimension, metric, report, segment and metadata, from hits to answers."""
    with running_instance(tmp_path / "data", {"PYTHONPATH": str(packages)}) as instance:
        instance.api("SitesManager.addSite", siteName="Example", urls="http://example.org")
        client = instance.client()
        day = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 86400))
        for query in (
            "url=http://example.org/&h=8",
            "url=http://example.org/a.ZIP&download=http://example.org/a.ZIP",
        ):
            status, _ = client.request(
                "GET",
                f"/matomo.php?idsite=1&rec=1&_id=0123456789abcdef&cdt={day}+10:00:00"
                f"&token_auth={instance.token}&{query}",
            )
            assert status == 200
        client.close()
        instance.drain()
        where = {"idSite": "1", "period": "day", "date": day}
        parts = instance.api("Daytime.getPartOfDay", **where)
        assert [(row["label"], row["nb_visits"]) for row in parts] == [("morning", 1)]
        assert parts[0]["segment"] == "partOfDay==morning"
        segments = instance.api("API.getSegmentsMetadata", idSite="1")
        assert (segments[-1]["segment"], segments[-1]["category"]) == ("partOfDay", "Daytime")
        chosen = instance.api("VisitsSummary.getVisits", **where, segment="partOfDay==night")
        assert chosen == {"value": 0}
        assert instance.api("Daytime.get", **where) == {"value": 0}
        assert instance.api("API.get", **where)["Daytime_long_visits"] == 0
        types = instance.api("Daytime.getFileTypes", **where)
        assert types == [{"label": "zip", "Daytime_downloads": 1, "Daytime_visits": 1}]
        metadata = instance.api("API.getReportMetadata", **where)
        ours = {one["uniqueId"]: one for one in metadata if one["module"] == "Daytime"}
        assert set(ours) == {"Daytime_getPartOfDay", "Daytime_get", "Daytime_getFileTypes"}
        pages = instance.api("API.getReportPagesMetadata", idSite="1")
        assert any(page["category"]["name"] == "Daytime" for page in pages)
        processed = instance.api(
            "API.getProcessedReport", **where, apiModule="Daytime", apiAction="getFileTypes"
        )
        assert processed["columns"]["Daytime_downloads"] == "Downloads"


def test_a_wrong_plugin_is_named_before_anything_starts(tmp_path: Path) -> None:
    """Exit status 78 says that a restart would not help."""
    info = tmp_path / "wrong-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: wrong\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[hitstream.plugins]\nwrong = os:name\n")
    ended = subprocess.run(
        [sys.executable, "-m", "hitstream", "up"],
        env={**os.environ, "PYTHONPATH": str(tmp_path), "HITSTREAM_DATA_DIR": str(tmp_path / "data")},
        cwd=EXAMPLE.parent.parent,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert ended.returncode == 78, ended.stderr
    assert "the plugin wrong (os:name) can't be used" in ended.stderr
    assert "Traceback" not in ended.stderr
