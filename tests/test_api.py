"""`unsaf.models.served.api` against a server that fails in every way it knows."""
import gc
import os
import pickle
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from email.utils import formatdate
from pathlib import Path
import pytest
from PIL import Image
from faulty_server import FAULTS, RAW, Answer, Faulty, error, reply
from unsaf.core import ModelError, Picture, Request, to_json
from unsaf.models.served.api import Api
from unsaf.models.served.faults import RETRIED, fault_of, retry_after
from unsaf.models.served.messages import data_uri
from unsaf.models.served.pace import Pace, backoff

pytest.importorskip("openai")
KEY = "sk-test-0123456789abcdef"
red = Picture("red", lambda: Image.new("RGB", (6, 6), "red"))


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"): monkeypatch.delenv(name, raising=False)


def asks(n, **fields): return [Request((red, f"question {i}"), **fields) for i in range(n)]
def api(server, **options): return Api("m", server.url, **{"backoff": .01, "timeout": 5, **options})
def first(*faults): return lambda call: faults[call.nth] if call.nth < len(faults) else None
def ordered(model, requests): return sorted(model.generate(requests), key=lambda r: r.index)
def only(server, **options):
    [r] = api(server, **options).generate(asks(1))
    return r


def fails(model, requests=None):
    "The one line of the `ModelError`."
    with pytest.raises(ModelError) as caught: list(model.generate(requests or asks(1)))
    assert "\n" not in str(caught.value) and len(str(caught.value)) <= 300
    assert caught.value.__context__ is None
    return str(caught.value)


# what goes out

def test_request_on_the_wire():
    with Faulty() as server:
        list(api(server).generate([Request((red, "a", " b"), system="be brief", max_tokens=7)]))
        list(api(server, extra_body={"do_sample": False}, detail="low").generate([Request((red, "c"), temperature=.8, seed=3)]))
    one, two = (c.body for c in server.calls)
    assert set(one) == {"model", "messages", "max_tokens", "temperature"} and one["max_tokens"] == 7 and one["temperature"] == 0
    assert [m["role"] for m in one["messages"]] == ["system", "user"] and one["messages"][0]["content"] == "be brief"
    image, text = one["messages"][1]["content"]
    assert text == {"type": "text", "text": "a b"} and image["image_url"]["url"].startswith("data:image/png;base64,")
    assert two["seed"] == 3 and two["temperature"] == .8 and two["do_sample"] is False
    assert two["messages"][0]["content"][0]["image_url"]["detail"] == "low"


def test_order_and_index():
    with Faulty(lambda c: Answer(**{**vars(reply(c.text)), "delay": random.random() * .05})) as server:
        came = list(api(server, concurrency=16).generate(asks(60)))
    assert sorted(r.index for r in came) == list(range(60)) and [r.index for r in came] != list(range(60))
    assert all(r.text == f"question {r.index}" and r.finish == "stop" for r in came)
    assert came[0].prompt_tokens == 20 and came[0].output_tokens == 3 and came[0].cost is None


def test_nothing_to_do():
    assert list(Api("m", "http://127.0.0.1:1/v1").generate([])) == []


# each fault

@pytest.mark.promise("failing")
@pytest.mark.parametrize("fault, kind", [
    ("429", "rate_limit"), ("429 for 50 ms", "rate_limit"), ("500", "server"), ("503", "overload"), ("502 html", "server"),
    ("no choices", "malformed"), ("html", "malformed"), ("half json", "malformed"), ("error 200", "server"),
    ("reset", "connection"), ("cut short", "connection"), ("hang", "timeout")])
def test_faults_that_pass(fault, kind):
    with Faulty(first(fault, fault)) as server:
        model = api(server, timeout=.6 if fault == "hang" else 10)
        [r] = model.generate(asks(1))
    assert (r.text, r.finish, r.error) == ("question 0", "stop", "")
    assert dict(model.stats.retries) == {kind: 2} and model.stats.calls == 3


@pytest.mark.promise("failing")
@pytest.mark.parametrize("fault", ["429", "500", "503", "half json", "reset"])
def test_faults_that_stay(fault):
    with Faulty(lambda c: fault) as server:
        model = api(server, retries=3)
        [r] = model.generate(asks(1))
    assert r.finish == "failed" and r.text == "" and "after 4 tries" in r.error and "\n" not in r.error
    assert len(server.calls) == 4 and model.stats.failed == 1


@pytest.mark.parametrize("fault", ["400", "422"])
def test_rejected_once_and_the_others_go_on(fault):
    with Faulty(lambda c: fault if c.text.endswith(" 1") else None) as server:
        replies = ordered(api(server), asks(3))
    assert [r.finish for r in replies] == ["stop", "failed", "stop"] and len(server.calls) == 3
    assert "rejected" in replies[1].error and len(replies[1].error) <= 300 and "AAAA" not in replies[1].error


@pytest.mark.parametrize("fault", ["filter 400", "filter kimi", "filter finish", "refusal"])
def test_refused(fault):
    with Faulty(lambda c: fault) as server:
        model = api(server)
        [r] = model.generate(asks(1))
    assert r.finish == "refused" and r.error and r.text == "" and len(server.calls) == 1
    assert model.stats.refused == 1 and model.stats.failed == 0


@pytest.mark.parametrize("fault", ["empty", "null"])
def test_empty_is_a_reply(fault):
    with Faulty(lambda c: fault) as server: r = only(server)
    assert (r.text, r.finish, r.error) == ("", "stop", "")


def test_budgets_are_apart():
    "Three rate limits and three other faults pass with retries=3."
    with Faulty(first("429", "500", "429", "reset", "429", "503")) as server: r = only(server, retries=3)
    assert r.finish == "stop" and len(server.calls) == 7


# what ends the run

@pytest.mark.parametrize("answer, words", [
    (error(401, "Incorrect API key provided"), "refuses a call without a key"), (error(403, "no access"), "check the key"),
    (FAULTS["404"](), "has no model 'm'"), (error(400, "no such model", code="1211"), "has no model 'm'"),
    (FAULTS["no quota"](), "no quota left"), (error(402, "Insufficient Balance"), "no quota left")])
def test_stops_at_once_after_what_was_received(answer, words):
    ten = threading.Event()      # the fault comes when the ten replies before it were taken
    plan = lambda c: (ten.wait(20), answer)[1] if int(c.text.split()[-1]) >= 10 else None
    with Faulty(plan) as server:
        model, came = api(server, concurrency=4, max_concurrency=4, timeout=30), []
        with pytest.raises(ModelError, match=words) as caught:
            for r in model.generate(asks(500)):
                came.append(r)
                if len(came) == 10: ten.set()
    assert {r.index for r in came} == set(range(10)) and len(server.calls) <= 14 and "\n" not in str(caught.value)


def test_a_wrong_address():
    with Faulty() as server: assert "/v1" in fails(Api("m", server.url.removesuffix("/v1"), backoff=.01))


def test_nobody_there():
    with Faulty() as server: url = server.url
    start = time.monotonic()
    said = fails(Api("m", url), asks(100))
    assert url in said and "is not reachable" in said and "start the server or check the address" in said
    assert time.monotonic() - start < 60


def test_dies_in_the_middle():
    with Faulty(delay=.01) as server:
        model, came = api(server, retries=3), []
        with pytest.raises(ModelError, match="answers nobody any more"):
            for r in model.generate(asks(300)):
                came.append(r)
                if len(came) == 50: server.stop()
    assert [r.finish for r in came].count("stop") >= 50 and model.stats.calls < 300


def test_no_answer_in_time_is_a_failed_reply():
    with Faulty(lambda c: "hang") as server:
        start = time.monotonic()
        r = only(server, timeout=.2, retries=1)
    assert r.finish == "failed" and "no answer within 0.2 s" in r.error and time.monotonic() - start < 30


def test_a_slow_drip_is_a_timeout():
    "A byte now and then resets a client's read timeout; the whole call is limited all the same."
    import socket
    drip = socket.create_server(("127.0.0.1", 0))
    def serve():
        while True:
            try: connection, _ = drip.accept()
            except OSError: return
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99999\r\n\r\n")
            def slowly(c=connection):
                try:
                    while True: c.sendall(b" "); time.sleep(.05)
                except OSError: c.close()
            threading.Thread(target=slowly, daemon=True).start()
    threading.Thread(target=serve, daemon=True).start()
    model = Api("m", f"http://127.0.0.1:{drip.getsockname()[1]}/v1", timeout=.4, retries=0)
    start = time.monotonic()
    [r] = model.generate(asks(1))
    drip.close()
    assert r.finish == "failed" and r.error.startswith("timeout") and time.monotonic() - start < 30


# fields that a server refuses

def test_max_completion_tokens_is_learned():
    message = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    refuse = lambda c: error(400, message, param="max_tokens", code="unsupported_parameter") if "max_tokens" in c.body else None
    with Faulty(refuse) as server:
        model = api(server, concurrency=1)
        replies = ordered(model, asks(5)) + ordered(model, asks(5))
    assert all(r.finish == "stop" for r in replies) and len(server.calls) == 11 and not model.stats.retries
    assert all(c.body["max_completion_tokens"] == 64 for c in server.calls[1:])


def test_a_cap_that_is_too_large_is_no_reason_to_switch():
    large = error(400, "'max_tokens' or 'max_completion_tokens' is too large: 64. The maximum context length is 32 tokens")
    with Faulty(lambda c: large) as server: assert only(server).finish == "failed" and len(server.calls) == 1


def test_logprobs():
    told = {"content": [{"token": "a", "logprob": -.25, "bytes": None, "top_logprobs": []}, {"token": "b", "logprob": -1}]}
    def plan(call):
        answer = reply("a b")
        answer.body["choices"][0]["logprobs"] = told if call.body.get("logprobs") else None
        return answer
    with Faulty(plan) as server:
        assert only(server, logprobs=True).logprobs == (-.25, -1.0)
        assert only(server).logprobs is None and "logprobs" not in server.calls[-1].body


def test_decide_is_not_possible():
    model = Api("m", "http://127.0.0.1:1/v1")
    with pytest.raises(ModelError, match="probability of a given reply"):
        model.generate([Request(("q",), candidates=("A", "B"), decide=True)])
    with Faulty() as server: assert only(server).candidates is None


# pace

def test_retry_after_is_honoured_by_all():
    with Faulty(lambda c: "429 for a second" if c.number == 0 else None) as server:
        model = api(server)
        list(model.generate(asks(1) + asks(40)[1:]))
    first_call = server.calls[0].at
    later = [c.at - first_call for c in server.calls if c.at - first_call > .5]     # before: what was under way already
    assert len(later) >= 20 and min(later) >= .99


def test_retry_after_as_a_date():
    date = int(time.time() + 1.3)
    with Faulty(first(error(429, "slow down", {"retry-after": formatdate(date, usegmt=True)}))) as server: r = only(server)
    assert r.finish == "stop" and time.time() - time.monotonic() + server.calls[1].at >= date - .05


def test_concurrency_climbs_where_the_server_bears_it():
    with Faulty(delay=.05) as server:
        model = api(server, concurrency=2, max_concurrency=24)
        list(model.generate(asks(200)))
    assert model.stats.peak == model.stats.concurrency == 24 and 6 <= server.peak <= 24 and server.calls[1].open <= 2


def test_concurrency_adapts_to_a_limit():
    with Faulty(capacity=6, delay=.05) as server:
        model = api(server, concurrency=8, max_concurrency=64, retries=12)
        replies = list(model.generate(asks(150)))
        assert all(r.finish == "stop" for r in replies)
        limited, settled = model.stats.retries["rate_limit"], model.stats.concurrency
        assert 1 <= settled <= 24 and limited < 75      # of 64; on a busy machine fewer calls meet, and it climbs further
        list(model.generate(asks(50)))                     # what was learned stays with the model
        assert model.stats.retries["rate_limit"] - limited < 25
    assert not set(model.stats.retries) - {"rate_limit"}


def test_pace_alone():
    pace = Pace(8, 64)
    for n in range(2000):
        pace.good()
        if n % 100 == 99: pace.overload(sent=n, now=n)
        assert 1 <= pace.limit <= 64
    for n in range(2000, 2100): pace.overload(sent=n, now=n)
    assert pace.limit == 1
    for _ in range(3000): pace.good()
    assert pace.limit == 64
    assert Pace(8, 3).limit == 3
    pace = Pace(32, 64)
    for n in range(32): pace.overload(sent=1, now=2 + n / 100)     # one crowded round, one cut
    assert pace.limit == 16


@pytest.mark.parametrize("headers, seconds", [
    ({"retry-after": "0"}, 0), ({"retry-after": "1.5"}, 1.5), ({"retry-after": "-5"}, 0), ({"retry-after": ""}, None),
    ({"retry-after": "nan"}, None), ({"retry-after": "inf"}, None), ({"retry-after": "later"}, None), ({}, None),
    ({"retry-after-ms": "1500"}, 1.5), ({"retry-after-ms": "x", "retry-after": "3"}, 3),
    ({"retry-after": formatdate(1000, usegmt=True)}, 100), ({"retry-after": formatdate(1000)}, 100),
    ({"retry-after": formatdate(10, usegmt=True)}, 0), ({"retry-after": "Fri, 31 Dec 99999 23:59:59 GMT"}, None)])
def test_retry_after(headers, seconds): assert retry_after(headers, now=900) == seconds


def test_backoff():
    for n in range(1, 200):
        full = min(60, .5 * 2.0 ** (n - 1))
        assert full / 2 <= backoff(n, "a") <= full
    assert backoff(3, "a") == backoff(3, "a") != backoff(3, "b") and len({backoff(1, str(i)) for i in range(50)}) == 50


def test_every_status_has_a_kind():
    for status in range(400, 600):
        kind = fault_of(status, {"error": {"message": "x"}}, {}).kind
        assert kind in (*RETRIED, "rejected", "key", "model", "quota") or (status, kind) == (451, "refused")
        assert (kind in RETRIED) == (status >= 500 or status in (408, 409, 425, 429)), status
    for body in (None, "", "text", [], [1], {}, {"error": None}, {"error": []}, {"detail": 3}, {"detail": [1, None]}, 7):
        fault = fault_of(500, body, {})
        assert fault.kind == "server" and isinstance(str(fault), str), body


# pictures

def test_a_broken_picture_fails_alone(caplog):
    def broken(): raise OSError("truncated")
    requests = [Request((red, "a")), Request((Picture("cats/7.jpg", broken), "b")), Request((red, "c"))]
    requests += [Request((Picture("a", broken), Picture("b", broken), "d"))]
    with Faulty() as server: replies = ordered(api(server), requests)
    gc.collect()
    assert [r.finish for r in replies] == ["stop", "failed", "stop", "failed"] and len(server.calls) == 2
    assert "never retrieved" not in caplog.text
    assert "cats/7.jpg" in replies[1].error


def test_pictures_are_held_only_while_under_way(monkeypatch):
    "Also with most requests failing and waiting for their next try."
    alive, most = [0], [0]
    class Uri(str): pass
    def encode(picture, *turn):
        uri = Uri(data_uri(picture))
        alive[0] += 1
        weakref.finalize(uri, lambda: alive.__setitem__(0, alive[0] - 1))
        most[0] = max(most[0], alive[0])
        return uri
    monkeypatch.setattr("unsaf.models.served.connection.data_uri", encode)
    monkeypatch.setattr("unsaf.models.served.connection.CACHED_BYTES", 0)
    pictures = [Picture(str(i), lambda: Image.new("RGB", (9, 9))) for i in range(60)]
    with Faulty(first("500"), delay=.005) as server:
        model = api(server, concurrency=4, max_concurrency=32)
        for _ in model.generate([Request((p, f"q {i}")) for i, p in enumerate(pictures)]): pass
    gc.collect()
    assert most[0] <= model.stats.peak + 2 and alive[0] == 0 and len(server.calls) == 120


def test_one_encoding_for_the_questions_of_a_picture():
    reads = []
    picture = Picture("p", lambda: reads.append(1) or Image.new("RGB", (50, 50)))
    requests = [Request((picture, f"q {i}")) for i in range(10)]
    with Faulty(delay=.05) as server: list(api(server, concurrency=10).generate(requests))
    assert len(reads) == 1 and len({c.images[0] for c in server.calls}) == 1


def test_pictures_of_one_name_are_not_confused():
    pictures = [Picture("same", lambda c=c: Image.new("RGB", (4, 4), c)) for c in ("red", "blue", "white")]
    with Faulty(delay=.02) as server: list(api(server).generate([Request((p, f"q {i}")) for i, p in enumerate(pictures)]))
    assert len({c.images[0] for c in server.calls}) == 3


# ending early

def threads(): return [t for t in threading.enumerate() if t.name == "unsaf-api"]


def test_early_close():
    with Faulty(delay=.05) as server:
        replies = api(server, concurrency=4, max_concurrency=4).generate(asks(500))
        next(replies), next(replies)
        replies.close()
        called = len(server.calls)
        time.sleep(.3)
        assert called <= 12 and len(server.calls) <= called + 4 and not threads()


def test_dropped_generator():
    with Faulty(delay=.02) as server:
        for _ in api(server).generate(asks(300)): break
        gc.collect()
        time.sleep(.1)
        assert not threads() and len(server.calls) < 60


def test_nobody_reads():
    "A generator that is kept but not read stops spending."
    with Faulty() as server:
        replies = api(server, max_concurrency=8).generate(asks(120))
        next(replies)
        time.sleep(.6)
        stuck = len(server.calls)
        assert stuck <= 2 * 8 + 2
        assert len(list(replies)) == 119 and len(server.calls) == 120


def test_two_runs_at_once():
    with Faulty(delay=.005) as server:
        model = api(server)
        a, b = model.generate(asks(40)), model.generate(asks(40))
        assert sorted(r.index for pair in zip(a, b) for r in pair) == sorted([*range(40)] * 2)


def test_inside_a_running_loop():
    import asyncio
    async def inside():
        with Faulty() as server: return len(list(api(server).generate(asks(5))))
    assert asyncio.run(inside()) == 5


@pytest.mark.promise("interrupt")
def test_interrupt():
    code = f"""
        import signal, sys; sys.path[:0] = {[str(Path(__file__).parent)]!r}
        from test_api import *
        signal.signal(signal.SIGINT, signal.default_int_handler)       # a shell's background job ignores it
        with Faulty(lambda c: "hang" if c.number >= 3 else None) as server:
            try:
                for r in api(server, timeout=60).generate(asks(200)): print("got", flush=True)
            except KeyboardInterrupt: print("interrupted", len(threads()), flush=True)
    """
    p = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
    for _ in range(3): assert p.stdout.readline() == "got\n"
    time.sleep(.2)
    start = time.monotonic()
    p.send_signal(signal.SIGINT)
    assert p.communicate(timeout=50)[0] == "interrupted 0\n" and time.monotonic() - start < 50


def test_a_fault_of_ours_is_not_swallowed():
    def bug(): raise ZeroDivisionError("ours")
    with Faulty() as server, pytest.raises(ZeroDivisionError):
        list(api(server).generate([Request((Picture("p", bug), "q"))]))


# the key

@pytest.mark.promise("keys")
def test_the_key_never_leaks(monkeypatch, capfd, caplog):
    caplog.set_level("DEBUG")
    monkeypatch.setenv("MY_KEY", KEY)
    echoes = [reply(f"your key is {KEY}"), error(400, f"key {KEY} is odd"), reply(None, refusal=f"not for {KEY}"),
              Answer(200, f"<html>{KEY}")]
    echo = lambda c: dict(enumerate(echoes)).get(int(c.text.split()[-1]))
    with Faulty(echo) as server:
        model = api(server, key_env="MY_KEY", retries=1)
        replies = ordered(model, asks(6))
        assert server.calls[0].headers["authorization"] == f"Bearer {KEY}"
    with Faulty(lambda c: error(401, f"wrong key {KEY}")) as server:
        other = Api("m", server.url, key_env="MY_KEY")
        said = fails(other)
    assert "MY_KEY" in said and "[key]" in said and replies[0].text == "your key is [key]"
    shown = [repr(model), str(vars(model)), str(model.identity), said, str([to_json(r) for r in replies]), str(model.stats)]
    shown += [repr(model.pace.__dict__), caplog.text, *capfd.readouterr()]
    assert not any(KEY in text for text in shown) and KEY.encode() not in pickle.dumps(model)


def test_no_key(monkeypatch):
    with pytest.raises(ModelError, match="OPENAI_API_KEY is not set"): Api("gpt-4o").generate(asks(1))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-“quoted”")
    with pytest.raises(ModelError, match="characters that no key has") as caught: Api("gpt-4o").generate(asks(1))
    assert "quoted" not in str(caught.value)
    monkeypatch.setenv("OPENAI_API_KEY", KEY + "\n")
    with Faulty() as server:
        assert only(server).finish == "stop" and only(server, key_env="").finish == "stop"
        assert [c.headers["authorization"] for c in server.calls] == [f"Bearer {KEY}", "Bearer none"]


def test_a_proxy_is_not_asked_for_loopback(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"): monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False), monkeypatch.delenv("no_proxy", raising=False)
    with Faulty() as server: assert only(server).finish == "stop"


# identity, cost, options

def test_identity():
    plain = Api("m", "http://127.0.0.1:8000/v1")
    assert plain.identity == {"api": "127.0.0.1:8000/v1", "model": "m"}
    assert Api("m", "http://127.0.0.1:8000/v1/", timeout=5, concurrency=3, prices=(1, 2)).identity == plain.identity
    others = [dict(extra_body={"do_sample": False}), dict(omit=("temperature",)), dict(detail="low"), dict(logprobs=True)]
    prints = {str(Api("m", "http://127.0.0.1:8000/v1", **o).identity) for o in [{}, *others]}
    assert len(prints) == 5


def test_cost_and_tokens():
    with Faulty(lambda c: "no usage" if c.text.endswith(" 3") else None) as server:
        model = api(server, prices=(2.5, 10))
        replies = ordered(model, asks(4))
    assert replies[0].cost == pytest.approx((20 * 2.5 + 3 * 10) / 1e6) and replies[3].cost is None
    assert model.stats.cost == pytest.approx(3 * replies[0].cost) and model.stats.unpriced == 1
    assert (model.stats.prompt_tokens, model.stats.output_tokens, model.stats.replies) == (60, 9, 4)


@pytest.mark.parametrize("options", [
    dict(concurrency=0), dict(max_concurrency=0), dict(timeout=0), dict(retries=-1), dict(prices=(1,)), dict(omit=("model",)),
    dict(extra_body={"x": object()}), dict(extra_body="low"), dict(omit="temprature"), dict(base_url="localhost:8000"), dict(base_url="ftp://h/v1"),
    dict(name=""), dict(base_url="http://h:port/v1"), dict(base_url="http://[::1/v1"), dict(base_url="http://a b/v1"), dict(base_url="http://h:99999")])
def test_options_that_cannot_work(options):
    with pytest.raises(ModelError): Api(**{"name": "m", "base_url": "http://127.0.0.1:1/v1", **options})


# everything at once

def test_two_hundred_requests_with_everything():
    rng = random.Random(7)
    passing = ["429", "429 for 50 ms", "500", "503", "502 html", "no choices", "html", "half json", "error 200", *RAW[:2]]
    ending = {"400": "failed", "422": "failed", "filter 400": "refused", "filter finish": "refused", "refusal": "refused",
              "empty": "stop"}
    script, expected = {}, {}
    for i in range(200):
        faults = rng.choices(passing, k=rng.choice([0, 0, 0, 1, 2]))
        end = rng.choice([None, None, None, *ending])
        if i == 7: faults = ["hang", *faults]
        script[f"question {i}"], expected[i] = [*faults, end], ending.get(end, "stop")
    def broken(): raise OSError("cut")
    requests = asks(200)
    for i in (11, 99): requests[i], expected[i] = Request((Picture(f"{i}.png", broken), f"question {i}")), "failed"
    with Faulty(lambda c: script[c.text][min(c.nth, len(script[c.text]) - 1)], delay=.002) as server:
        model = api(server, timeout=3)
        replies = list(model.generate(requests))
    assert len(replies) == 200 and {r.index: r.finish for r in replies} == expected
    spoken = {i for i in range(200) if script[f"question {i}"][-1] is None} - {11, 99}
    assert all(r.text == (f"question {r.index}" if r.index in spoken else "") for r in replies)
    asked = [v for k, v in script.items() if k.split()[1] not in ("11", "99")]
    assert model.stats.calls == len(server.calls) == sum(map(len, asked))
    assert model.stats.replies == 200 and sum(model.stats.retries.values()) == sum(len(v) - 1 for v in asked)
    assert {*RAW} <= {f for v in asked for f in v if f}


if __name__ == "__main__": sys.exit(pytest.main([__file__, "-q", *sys.argv[1:]] if os.path.exists(__file__) else []))


def test_the_same_model_asked_otherwise():
    plain = Api("m", "http://127.0.0.1:9/v1", key_env="", template="qwen", omit=("seed",), max_side=64, prices=(1, 2))
    told = plain.asked(logprobs=True)
    assert told.identity == plain.identity | {"logprobs": True} and (told.template, told.prices, told.fields.logprobs) == ("qwen", (1, 2), True)
    assert not plain.logprobs and told.pace is not plain.pace
