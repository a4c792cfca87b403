"""The ingest application over HTTP, on a real log in a temporary directory."""

import asyncio
import json
from pathlib import Path

import aiohttp
import msgspec
import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hitstream.ports import free_port
from ingest.answers import ENDPOINT_TEXT, TRANSPARENT_GIF
from ingest.app import PROCESS
from ingest.settings import IngestSettings
from schemas.config import ConfigEvent, Goal, Privacy, Site, Tracking
from stream.config import ConfigWriter
from stream.embedded import EmbeddedLog
from tests.integration.ingest_endpoint import PIXEL, TOKEN, Running, answer_of, hits_of, run
from tests.waiting import PATIENCE_SECONDS


def test_an_answered_hit_is_in_the_log(tmp_path: Path) -> None:
    async def story(running: Running) -> None:
        assert await running.get(PIXEL + "&url=http%3A%2F%2Fx%2F") == (200, TRANSPARENT_GIF)
        assert await running.get("/piwik.php?idsite=1&rec=1&send_image=0") == (204, b"")
        assert await running.get("/extra.php?idsite=1&rec=1") == (200, TRANSPARENT_GIF)
        assert [hit.query for hit in running.hits()] == [
            "idsite=1&rec=1&url=http%3A%2F%2Fx%2F",
            "idsite=1&rec=1&send_image=0",
            "idsite=1&rec=1",
        ]

    run(tmp_path, story, tracker_paths=("/extra.php",))


def test_query_and_form_are_one_request_and_the_query_wins(tmp_path: Path) -> None:
    async def story(running: Running) -> None:
        form = f"idsite=9&rec=1&token_auth={TOKEN}&cip=10.7.7.7"
        status, _ = await running.post(
            form, "/matomo.php?idsite=1", **{"Content-Type": "application/x-www-form-urlencoded"}
        )
        assert status == 200
        (hit,) = running.hits()
        assert (hit.site_id, hit.ip, hit.authenticated) == (1, "10.7.0.0", True)
        assert TOKEN not in hit.query

    run(tmp_path, story)


def test_beacons_may_send_forms_and_bulk_as_plain_text(tmp_path: Path) -> None:
    async def story(running: Running) -> None:
        assert (await running.post("idsite=1&rec=1", **{"Content-Type": "text/plain"}))[0] == 200
        body = '{"requests":["?idsite=1&rec=1&action_name=beacon"]}'
        status, answer = await running.post(body, **{"Content-Type": "text/plain;charset=UTF-8"})
        assert (status, answer) == (200, b'{"status":"success","tracked":1,"invalid":0}')
        assert [hit.origin for hit in running.hits()] == ["web", "bulk"]

    run(tmp_path, story)


def test_raw_utf8_in_the_address_is_taken(tmp_path: Path) -> None:
    async def story(running: Running) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.listener.port)
        writer.write("GET /matomo.php?idsite=1&rec=1&action_name=café HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert (await answer_of(reader)).startswith(b"HTTP/1.1 200")
        writer.close()
        assert running.hits()[0].query == "idsite=1&rec=1&action_name=caf%C3%A9"

    run(tmp_path, story)


def test_a_multipart_form_is_read(tmp_path: Path) -> None:
    async def story(running: Running) -> None:
        with aiohttp.MultipartWriter("form-data") as form:
            for name, value in (("idsite", "1"), ("rec", "1"), ("action_name", "a b")):
                form.append(value).set_content_disposition("form-data", name=name)
        async with running.client.post("/matomo.php", data=form) as answer:
            assert answer.status == 200
        assert running.hits()[0].query == "idsite=1&rec=1&action_name=a+b"

    run(tmp_path, story)


def test_refusals_show_the_image_or_the_text_and_are_not_written(tmp_path: Path) -> None:
    async def story(running: Running) -> None:
        assert await running.get("/matomo.php?idsite=99&rec=1") == (400, TRANSPARENT_GIF + ENDPOINT_TEXT)
        assert await running.get("/matomo.php?idsite=99&rec=1&send_image=0") == (400, ENDPOINT_TEXT)
        assert (await running.get("/matomo.php?rec=1"))[0] == 400
        assert running.hits() == []

    run(tmp_path, story)


def test_empty_requests_are_told_where_they_are(tmp_path: Path) -> None:
    async def story(running: Running) -> None:
        assert await running.get("/matomo.php") == (200, ENDPOINT_TEXT)
        assert await running.post(b"") == (400, ENDPOINT_TEXT)
        assert await running.post('{"foo":1}', **{"Content-Type": "application/json"}) == (400, ENDPOINT_TEXT)
        async with running.client.head("/matomo.php") as answer:
            assert answer.status == 400

    run(tmp_path, story)


def test_answers_are_not_stored_and_may_be_read_by_other_origins(tmp_path: Path) -> None:
    async def story(running: Running) -> None:
        async with running.client.get(PIXEL, headers={"Origin": "http://shop.example"}) as answer:
            assert answer.headers["Cache-Control"] == "no-store"
            assert answer.headers["Content-Type"] == "image/gif"
            assert answer.headers["Access-Control-Allow-Origin"] == "http://shop.example"
            assert answer.headers["Access-Control-Allow-Credentials"] == "true"
        async with running.client.get(PIXEL) as answer:
            assert "Access-Control-Allow-Origin" not in answer.headers
        asked = {"Origin": "http://shop.example", "Access-Control-Request-Method": "POST"}
        async with running.client.options("/matomo.php", headers=asked) as answer:
            assert answer.status == 204
            assert answer.headers["Access-Control-Allow-Origin"] == "http://shop.example"
            assert "POST" in answer.headers["Access-Control-Allow-Methods"]
        async with running.client.options(PIXEL, headers={"Origin": "http://shop.example"}) as answer:
            assert (answer.status, await answer.read()) == (200, TRANSPARENT_GIF)

    run(tmp_path, story)


def test_a_bulk_request_counts_what_was_tracked_and_what_was_not(tmp_path: Path) -> None:
    async def story(running: Running) -> None:
        requests = [
            "?idsite=1&rec=1",
            "?idsite=99&rec=1",
            {"idsite": 1, "rec": 1, "cip": "10.1.2.3"},
            5,
            "?idsite=1",
        ]
        status, answer = await running.post(json.dumps({"requests": requests, "token_auth": TOKEN}))
        assert status == 200
        assert json.loads(answer) == {
            "status": "success",
            "tracked": 3,
            "invalid": 2,
            "invalid_indices": [1, 3],
        }
        status, answer = await running.post(json.dumps({"requests": requests}))
        assert json.loads(answer) == {"status": "success", "tracked": 2, "invalid": 3}
        assert [hit.exclusion for hit in running.hits()] == ["", "", "rec_missing", "", "rec_missing"]
        _, answer = await running.post(json.dumps({"requests": requests}), f"/matomo.php?token_auth={TOKEN}")
        assert json.loads(answer)["invalid_indices"] == [1, 3]

    run(tmp_path, story)


def test_a_large_bulk_request_keeps_its_order(tmp_path: Path) -> None:
    async def story(running: Running) -> None:
        requests = [f"?idsite=1&rec=1&_id={1:016x}&action_name={number}" for number in range(3000)]
        _, answer = await running.post(json.dumps({"requests": requests}))
        assert json.loads(answer)["tracked"] == 3000
        hits = running.hits()
        assert [hit.query.rpartition("=")[2] for hit in hits] == [str(number) for number in range(3000)]

    run(tmp_path, story)


def test_recording_may_be_off(tmp_path: Path) -> None:
    async def story(running: Running) -> None:
        running.configure(tracking=Tracking(record_statistics=False))
        assert (await running.get(PIXEL))[0] == 503
        assert (await running.get(PIXEL + "&send_image=0"))[0] == 204
        assert running.hits() == []

    run(tmp_path, story)


def test_a_site_is_known_as_soon_as_its_event_is_written(tmp_path: Path) -> None:
    async def story(running: Running) -> None:
        running.config.write(ConfigEvent(at=0, site=Site(site_id=2, name="new")))
        assert (await running.get("/matomo.php?idsite=2&rec=1"))[0] == 200
        assert running.hits()[0].config_offset == 2

    run(tmp_path, story)


def test_configuration_and_privacy_are_those_of_the_moment(tmp_path: Path) -> None:
    async def story(running: Running) -> None:
        assert (await running.get(PIXEL + "&idgoal=1"))[0] == 400
        running.configure(goal=Goal(site_id=1, goal_id=1, name="g"))
        assert (await running.get(PIXEL + "&idgoal=1"))[0] == 200
        running.configure(privacy=Privacy(ip_mask_bytes=4))
        await running.get(PIXEL)
        running.configure(tracking=Tracking(excluded_ips=("127.0.0.0/8",)))
        await running.get(PIXEL)
        assert [(hit.ip, hit.exclusion) for hit in running.hits()] == [
            ("127.0.0.0", ""),
            ("0.0.0.0", ""),
            ("0.0.0.0", "excluded_ip"),
        ]

    run(tmp_path, story)


def test_bearer_tokens_and_debug_answers(tmp_path: Path) -> None:
    async def story(running: Running) -> None:
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        status, answer = await running.get(PIXEL + "&cip=10.1.2.3&debug=1", headers=bearer)
        assert status == 200
        assert json.loads(answer)["ip"] == "10.1.0.0"
        assert await running.get(PIXEL + "&debug=1") == (200, TRANSPARENT_GIF)
        status, answer = await running.get("/matomo.php?idsite=99&rec=1&debug=1", headers=bearer)
        assert status == 400
        assert "no such site" in json.loads(answer)["why"]

    run(tmp_path, story)


def test_a_repeated_order_is_answered_with_400_and_written(tmp_path: Path) -> None:
    async def story(running: Running) -> None:
        order = PIXEL + "&idgoal=0&ec_id=O-1&revenue=5"
        assert (await running.get(order))[0] == 200
        assert (await running.get(order.replace("O-1", "o-1")))[0] == 400
        assert len(running.hits()) == 2

    run(tmp_path, story)


def test_a_restart_continues_visitors_orders_and_hit_ids(tmp_path: Path) -> None:
    async def before(running: Running) -> None:
        await running.get(PIXEL)
        await running.get(PIXEL + "&_id=aaaaaaaaaaaaaaa1&idgoal=0&ec_id=1")
        await running.get(PIXEL + "&_id=aaaaaaaaaaaaaaa1&uid=alice")

    async def after(running: Running) -> None:
        assert (await running.get(PIXEL + "&idgoal=0&ec_id=1"))[0] == 400
        await running.get(PIXEL + "&uid=alice", headers={"User-Agent": "another"})
        hits = running.hits()
        assert len({hit.owner for hit in hits}) == 1
        assert [hit.hit_id for hit in hits] == sorted({hit.hit_id for hit in hits})
        assert f"{hits[-1].visitor_id:016x}" == "522b276a356bdf39"

    run(tmp_path, before)
    run(tmp_path, after)


def test_hit_ids_grow_although_the_clock_jumped_back_over_a_restart(tmp_path: Path) -> None:
    async def first(running: Running) -> None:
        await running.get(PIXEL)

    run(tmp_path, first)
    log = EmbeddedLog(tmp_path / "log")
    (hit,) = hits_of(log)
    ahead = msgspec.structs.replace(hit, hit_id=hit.hit_id + (3600 * 1_000_000 << 4))
    appender = log.appender("hits")
    appender.append([(0, b"", msgspec.msgpack.encode(ahead))])
    appender.close()

    async def second(running: Running) -> None:
        await running.get(PIXEL)
        assert running.hits()[-1].hit_id > ahead.hit_id

    run(tmp_path, second)


def test_an_emptied_log_is_opened_anew(tmp_path: Path) -> None:
    async def story(running: Running) -> None:
        await running.get(PIXEL)
        running.log.reset()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (await running.get(PIXEL))[0] != 400:  # noqa: ASYNC110 until the site is unknown, as in the new log
                await asyncio.sleep(0.005)
        log = EmbeddedLog(running.settings.data_dir / "log")
        config = ConfigWriter(log)
        config.write(ConfigEvent(at=0, site=Site(site_id=1, name="again")))
        config.close()
        assert (await running.get(PIXEL))[0] == 200
        assert len(hits_of(log)) == 1

    run(tmp_path, story)


def test_bodies_and_addresses_have_a_limit(tmp_path: Path) -> None:
    async def story(running: Running) -> None:
        assert (await running.post(b"x" * 5000))[0] == 413
        assert (await running.get(PIXEL + "&url=" + "x" * 5000))[0] == 414
        assert (await running.get(PIXEL))[0] == 200

    run(tmp_path, story, max_body_bytes=4096, max_url_bytes=4096)


def test_metrics_add_up(tmp_path: Path) -> None:
    async def story(running: Running) -> None:
        await running.get(PIXEL)
        await running.get("/matomo.php?idsite=1")
        await running.get("/matomo.php?idsite=7&rec=1")
        status, text = await running.get("/metrics")
        lines = text.decode().splitlines()
        assert status == 200
        assert "hitstream_ingest_accepted_hits_total 2" in lines
        assert 'hitstream_ingest_excluded_hits_total{reason="rec_missing"} 1' in lines
        assert 'hitstream_ingest_rejected_requests_total{reason="unknown_site"} 1' in lines
        assert "hitstream_ingest_append_seconds_count 2" in lines
        assert any(line.startswith('hitstream_log_bytes{part="hits"}') for line in lines)

    run(tmp_path, story)


def test_robots_and_health(tmp_path: Path) -> None:
    async def story(running: Running) -> None:
        assert b"Disallow: /" in (await running.get("/robots.txt"))[1]
        assert (await running.get("/health/live"))[0] == 200
        assert (await running.get("/health/ready"))[0] == 200
        assert (await running.get("/index.php"))[0] == 404

    run(tmp_path, story)


def test_everything_else_goes_to_the_reporting_process_and_its_writes_are_met(tmp_path: Path) -> None:
    seen: list[tuple[str, str, str, bytes]] = []

    async def tell() -> None:
        running = Running(tmp_path)

        async def reporting(request: web.Request) -> web.Response:
            seen.append(
                (request.method, request.raw_path, request.headers["X-Forwarded-For"], await request.read())
            )
            if request.method == "POST":
                running.config.write(ConfigEvent(at=0, site=Site(site_id=5, name="by the API")))
            return web.Response(status=202, body=b"answer", headers={"X-Made-By": "reporting"})

        upstream = web.Application()
        upstream.router.add_route("*", "/{path:.*}", reporting)
        runner = web.AppRunner(upstream)
        await runner.setup()
        port = free_port()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        running.settings = IngestSettings(
            data_dir=tmp_path,
            port=0,
            admin_token=TOKEN,
            config_refresh_s=60,
            reporting_url=f"http://127.0.0.1:{port}",
        )
        async with running:
            assert await running.get("/a%20b/c?x=%2F&y=1+2") == (202, b"answer")
            async with running.client.get("/page") as answer:
                assert answer.headers["X-Made-By"] == "reporting"
            assert (await running.post("method=addSite", "/index.php"))[0] == 202
            intake = running.app[PROCESS].intake()
            assert intake is not None
            assert 5 in intake.rules.config.sites
            assert (await running.get("/matomo.php?idsite=5&rec=1"))[0] == 200
            await runner.cleanup()
            status, text = await running.get("/index.php")
            assert status == 502
            assert b"not reachable" in text
            assert (await running.get(PIXEL))[0] == 200

    asyncio.run(tell())
    assert seen[0] == ("GET", "/a%20b/c?x=%2F&y=1+2", "127.0.0.1", b"")
    assert seen[2] == ("POST", "/index.php", "127.0.0.1", b"method=addSite")


raw_bytes = st.binary(max_size=400)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(raw_bytes, raw_bytes, st.booleans()), min_size=1, max_size=8))
def test_hostile_requests_get_an_answer_that_is_no_500(
    hostile: Running, requests: list[tuple[bytes, bytes, bool]]
) -> None:
    loop = hostile.loop  # type: ignore[attr-defined]
    for query, body, is_bulk in requests:
        if is_bulk:
            body = b'{"requests":[' + body + b"]}"
        target = bytes(byte for byte in query if 0x21 <= byte <= 0x7E or byte > 0x7F)
        loop.run_until_complete(send_raw(hostile.listener.port, target, body))


async def send_raw(port: int, query: bytes, body: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = b"POST /matomo.php?idsite=1&rec=1&" + query + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    writer.write(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    answer = await asyncio.wait_for(reader.read(), PATIENCE_SECONDS)
    writer.close()
    assert answer[:9] == b"HTTP/1.1 ", answer
    assert answer[9:12] in (b"200", b"204", b"400"), answer[:200]


@pytest.fixture
def hostile(tmp_path: Path) -> object:
    with asyncio.Runner() as runner:
        running = Running(tmp_path)
        running.loop = runner.get_loop()  # type: ignore[attr-defined]
        runner.run(running.__aenter__())
        yield running
        runner.run(running.__aexit__())
