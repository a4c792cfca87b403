"""An access log as a web server writes it, and how fast `hitstream import-log` stores it.

    python -m bench.access_log [--lines 200000] [--static 0.75]

Prints lines per second from the start of the command until all its hits are in reports, and the CPU of each
process per line. `--static` is the share of lines that are no hits: of images, styles, scripts. A part of
`make bench` with the defaults.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bench.measure import Processes, Result
from bench.stages import ROOT, TOKEN
from bench.traffic import traffic
from tests.instance import RunningInstance

STATIC_NAMES = ("main.css", "app.js", "logo.svg", "photo.jpg?w=640", "font.woff2", "icon.png")
LINES_A_SECOND = 20
LINES, STATIC_SHARE = 200_000, 0.75


def access_log(count: int, static: float, end: float, seed: int = 1) -> Iterator[str]:
    """`count` lines in combined format that end at `end` (unix seconds), by visitors of the profile."""
    rng = random.Random(seed)
    began = end - count / LINES_A_SECOND
    for number, hit in enumerate(traffic(count, seed=seed)):
        fields = dict(part.partition("=")[::2] for part in hit.query.split("&"))
        visitor = int(fields["_id"], 16)
        page, referrer = urlsplit(unquote(fields["url"])).path, unquote(fields["urlref"]) or "-"
        path = page if rng.random() >= static else f"/assets/{rng.choice(STATIC_NAMES)}"
        at = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(began + number / LINES_A_SECOND))
        address = f"10.{visitor >> 16 & 255}.{visitor >> 8 & 255}.{visitor & 255}"
        answer = f"200 {rng.randrange(90_000)}"
        yield f'{address} - - [{at}] "GET {path} HTTP/1.1" {answer} "{referrer}" "{hit.agent}"'


def bench_import(folder: Path, lines: int, static: float) -> Result:
    """An access log of so many lines, of which `static` (a share) are no hits: sent by the command, and then
    in reports. CPU is of the instance, by line."""
    log = folder / "access.log"
    log.write_text("\n".join(access_log(lines, static, time.time())) + "\n")
    instance = RunningInstance(folder / "data", {"HITSTREAM_ADMIN_TOKEN": TOKEN})
    instance.token = TOKEN
    instance.start()
    try:
        instance.wait_until_ready()
        client = instance.client()
        instance.api("SitesManager.addSite", siteName="Log", **{"urls[0]": "https://www.example.com"})
        processes = Processes(instance.children())
        command = [sys.executable, "-m", "hitstream", "import-log", "--site", "1", "--url", client.url]
        began = time.perf_counter()
        subprocess.run([*command, "--token", TOKEN, "--quiet", str(log)], cwd=ROOT, check=True)
        sent = time.perf_counter() - began
        client.json("POST", "/hitstream/drain")
        stored = time.perf_counter() - began
        used = processes.us_per(lines)
        accepted = client.json("GET", "/hitstream/status")["accepted"]
        client.close()
    finally:
        instance.stop()
    return {
        "import_lines_s": lines / stored,
        "import_sent_lines_s": lines / sent,
        "import_hits_share": accepted / lines,
        **{f"import_{name}": value for name, value in used.items()},
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lines", type=int, default=LINES)
    parser.add_argument("--static", type=float, default=STATIC_SHARE)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hitstream-import-") as name:
        for figure, value in bench_import(Path(name), options.lines, options.static).items():
            print(f"{figure:<34} {value:>14,.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
