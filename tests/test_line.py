"""Many calls, one line: order, connections and images of `unsaf.models.served.connection`, blocks side by side, and replies stored in groups."""
import asyncio
import base64
import io
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from itertools import groupby
from pathlib import Path
import numpy as np
import pandas as pd
import pytest
from PIL import Image
import unsaf
from faulty_server import Faulty, error, reply
from unsaf.core import ModelError, Picture, Reply, Request, Sample, StoreError
from unsaf.models.served.api import Api
from unsaf.models.cache import Cached
from unsaf.models.base import Scripted
from unsaf.models.served.connection import CACHED
from unsaf.models.served.pace import Gate, Pace, Stats

pytest.importorskip("openai")


def talk(text: str) -> str:
    easy = "can be answered directly" in text
    if "Output Format:\nQuestion" in text: return "\n".join(f"{i}. Question: {'Is' if easy else 'Why'} number {i}?" for i in range(1, 6))
    return "yes" if "Is number" in text else "unanswerable"


def pictures(n: int, reads=None) -> list[Sample]:
    def read(i):
        if reads is not None: reads.append(i)
        return Image.new("RGB", (9, 9), (i % 256, i // 256, 0))
    return [Sample(Picture(f"p{i}", lambda i=i: read(i))) for i in range(n)]


def number_of(uri: str) -> int:
    "Which of `pictures` a data URI shows."
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).getpixel((0, 0))[0]


def scripted(): return Scripted(lambda r: talk(r.text), name="m")
def answering(**options): return Faulty(lambda c: reply(talk(c.text)), **options)
def api(server, **options): return Api("m", server.url, **{"backoff": .01, "timeout": 20, **options})
def lines(): return [t for t in threading.enumerate() if t.name in ("unsaf-api", "unsaf-store") or t.name.startswith("unsaf-block")]


def let_in(monkeypatch) -> list[tuple[str, bool]]:
    "Filled with (image, whether a list is asked for) in the order in which calls pass the gate; their images are encoded in threads, in any order."
    import unsaf.models.served.api as room
    order, send = [], room._sent
    def watched(run, call):
        if not call.path: order.append((call.request.pictures[0].image_id, "Output Format:\nQuestion" in call.request.text))
        return send(run, call)
    monkeypatch.setattr(room, "_sent", watched)
    monkeypatch.setattr(room, "UNREAD", 100)       # a reader of replies that is slow, as on a busy machine, holds nothing up
    return order


# order and images

@pytest.mark.parametrize("most", [1, 4, 32])
def test_calls_are_sent_picture_by_picture(monkeypatch, most):
    order = let_in(monkeypatch)
    with answering() as server:
        unsaf.assess(api(server, concurrency=most, max_concurrency=most), pictures(9), store=None, block=3, progress=False)
    assert len(order) == 9 * 12
    for stage, calls in ((True, 2), (False, 10)):
        for block in range(3):      # several blocks may be under way: each keeps its own order
            mine = [p for p, lists in order if lists == stage and int(p[1:]) // 3 == block]
            assert [(p, len(list(group))) for p, group in groupby(mine)] == [(f"p{3 * block + i}", calls) for i in range(3)]
    if most == 1: assert len(list(groupby(order))) == 9 * 2       # the block that was begun first goes first: no image is left and taken up again


def test_nobody_overtakes_at_the_gate():
    "Room for two comes up at once: who waits goes before who comes."
    async def order() -> list[str]:
        gate, passed = Gate(asyncio.get_running_loop(), Pace(1, 4), Stats(), "here"), []
        async def call(name):
            await gate.enter()
            passed.append(name)
        await gate.enter()
        waits = asyncio.create_task(call("waits"))
        await asyncio.sleep(0)
        gate.pace.room = 4
        await asyncio.gather(waits, call("comes"), call("comes after"))
        return passed
    assert asyncio.run(order()) == ["waits", "comes", "comes after"]


@pytest.mark.parametrize("most", [1, 8])
def test_a_picture_is_read_digested_and_encoded_once(monkeypatch, most):
    import unsaf.models.served.connection as line
    encoded, reads, digests, encode, raw = [], [], [], line.data_uri, Image.Image.tobytes
    monkeypatch.setattr(line, "data_uri", lambda p, turn: encoded.append(p.image_id) or encode(p, turn))
    monkeypatch.setattr(Image.Image, "tobytes", lambda im, *a: digests.append(1) or raw(im, *a))
    with answering() as server: unsaf.assess(api(server, concurrency=most, max_concurrency=most), pictures(7, reads), block=3, progress=False)
    assert sorted(encoded) == [f"p{i}" for i in range(7)] and sorted(reads) == [*range(7)] and len(digests) == 7


def test_no_more_encoded_pictures_are_kept_than_it_says():
    with answering() as server:
        model = api(server)
        with model.session():
            alive = [Request((s.picture, "x")) for s in pictures(CACHED + 60)]
            list(model.generate(alive))
            assert CACHED - 1 <= len(model._connection.images.uris) <= CACHED + 1
            del alive
            list(model.generate([Request((pictures(1)[0].picture, "x"))]))
            assert len(model._connection.images.uris) <= 2      # the copies go with their pictures


# one line for all

def test_connections_are_kept_in_a_session_and_no_longer():
    four = threading.Barrier(4)      # the first four calls are answered together, so that each needs a connection of its own
    def together(call):
        if call.number < 4: four.wait(20)
        return reply(talk(call.text))
    with Faulty(together) as server:
        model = api(server, concurrency=4, max_concurrency=4)
        with model.session() as places:
            for _ in range(3): assert len(list(model.generate([Request((pictures(1)[0].picture, f"x{i}")) for i in range(12)]))) == 12
            assert places == 4 and len(model._connection.client._client.made) == 4 and len(lines()) == 1
        assert model._connection is None and not lines()


def test_two_threads_share_one_gate():
    with Faulty(delay=.01) as server:
        model = api(server, concurrency=6, max_concurrency=6)
        def ask(): assert len(list(model.generate([Request((f"{threading.get_ident()} {i}",)) for i in range(40)]))) == 40
        with model.session():
            threads = [threading.Thread(target=ask) for _ in range(3)]
            for t in threads: t.start()
            for t in threads: t.join(60)
    assert model.stats.peak == 6 and model.stats.replies == model.stats.calls == 120


def test_an_error_calls_off_the_other_threads():
    with Faulty(lambda c: "hang") as server:
        model, said = api(server, timeout=60), []
        def ask():
            try: list(model.generate([Request(("x",))]))
            except ModelError as e: said.append(str(e))
        thread = threading.Thread(target=ask)
        with pytest.raises(ZeroDivisionError), model.session():
            thread.start()
            while not server.calls: time.sleep(.01)
            raise ZeroDivisionError
        thread.join(timeout=10)
        assert len(said) == 1 and "called off" in said[0] and not lines()
        with pytest.raises(StopIteration): next(model.generate([]))     # and the model is as good as new


# blocks side by side

@pytest.mark.parametrize("block", [1, 4, 100])
def test_the_table_does_not_depend_on_what_ran_side_by_side(block):
    with answering(delay=.002) as server: found = unsaf.assess(api(server, concurrency=16), pictures(10), block=block, progress=False)
    alone = unsaf.assess(scripted(), pictures(10), template="llava", progress=False)
    same = [c for c in alone.table if c not in ("prompt_tokens", "output_tokens", "cost")]
    pd.testing.assert_frame_equal(found.table[same], alone.table[same])
    assert found.images == alone.images and found.calls == {"asked": 120, "cached": 0, "failed": 0} and not lines()


def test_blocks_overlap_so_that_one_slow_reply_does_not_stop_the_others():
    "The first list is answered when a call of another block has come: without overlap none would."
    came, first = threading.Event(), []
    def slow(call):
        if call.number == 0: first.append((call.images[0], came.wait(20)))
        elif number_of(call.images[0]) // 2 != number_of(server.calls[0].images[0]) // 2: came.set()
        return reply(talk(call.text))
    with Faulty(slow) as server:
        unsaf.assess(api(server, concurrency=8, max_concurrency=8, timeout=60), pictures(8), block=2, progress=False)
    assert first[0][1]


def test_the_same_picture_in_two_blocks_is_paid_once():
    twice = pictures(2) * 3
    with answering(delay=.01) as server: found = unsaf.assess(api(server, concurrency=32), twice, block=2, progress=False)
    assert len(server.calls) == 24 and len(found.table) == 60 and found.calls["asked"] == 24


def test_a_wrong_key_ends_all_blocks_at_once():
    with Faulty(lambda c: error(401, "no such key")) as server, pytest.raises(ModelError, match="key"):
        unsaf.assess(api(server), pictures(40), block=2, progress=False)
    assert not lines()


@pytest.mark.promise("interrupt")
def test_an_interrupt_ends_all_blocks(tmp_path):
    code = f"""
        import signal, sys; sys.path[:0] = {[str(Path(__file__).parent)]!r}
        from test_line import *
        signal.signal(signal.SIGINT, signal.default_int_handler)       # a shell's background job ignores it
        with Faulty(lambda c: "hang" if c.number >= 30 else reply(talk(c.text))) as server:
            print("go", flush=True)
            try: unsaf.assess(api(server, timeout=3), pictures(40), store={str(tmp_path)!r}, block=2, progress=False)
            except KeyboardInterrupt: print("interrupted", len(lines()), len(unsaf.Store({str(tmp_path)!r})), flush=True)
    """
    p = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
    assert p.stdout.readline() == "go\n"
    with unsaf.Store(tmp_path) as store:
        for _ in range(300):
            if len(store) >= 30: break
            time.sleep(.1)
    start = time.monotonic()
    p.send_signal(signal.SIGINT)
    assert p.communicate(timeout=50)[0] == "interrupted 0 30\n" and time.monotonic() - start < 50


# replies are stored in groups

class Commits(unsaf.Store):
    "A store whose disk takes its time."
    groups: list[int] = []
    def put(self, model, rows):
        self.groups.append(len(rows))
        time.sleep(.02)
        return super().put(model, rows)


def test_what_comes_while_the_disk_is_waited_for_is_stored_together(tmp_path):
    with Commits(tmp_path) as store:
        store.groups = []
        replies = list(Cached(Scripted(lambda r: r.text), store).generate([Request((f"{i}",)) for i in range(100)]))
        assert len(replies) == len(store) == sum(store.groups) == 100 and len(store.groups) < 20


def test_a_reply_is_handed_on_only_when_it_is_stored(tmp_path):
    with Commits(tmp_path) as store:
        for n, _ in enumerate(Cached(Scripted(lambda r: r.text), store).generate([Request((f"{i}",)) for i in range(30)])): assert len(store) > n


def test_what_came_before_an_error_is_stored_and_handed_on(tmp_path):
    def say(request):
        if request.text == "20": raise ModelError("gone")
        return request.text
    with unsaf.Store(tmp_path) as store:
        came = []
        with pytest.raises(ModelError, match="gone"):
            for r in Cached(Scripted(say), store).generate([Request((f"{i}",)) for i in range(30)]): came.append(r.text)
        assert came == [str(i) for i in range(20)] and len(store) == 20 and not lines()


def test_a_reader_that_stops_loses_nothing(tmp_path):
    with unsaf.Store(tmp_path) as store:
        model = Scripted(lambda r: r.text)
        replies = Cached(model, store).generate([Request((f"{i}",)) for i in range(30)])
        next(replies)
        replies.close()
        assert len(store) == len(model.asked) and not lines()


def test_a_store_that_breaks_is_one_line(tmp_path):
    class Full(unsaf.Store):
        def put(self, model, rows): raise StoreError("disk is full")
    with Full(tmp_path) as store, pytest.raises(StoreError, match="full"):
        list(Cached(Scripted(lambda r: r.text), store).generate([Request((f"{i}",)) for i in range(30)]))
    assert not lines()


@pytest.mark.promise("old")
def test_a_store_of_the_older_layout_is_continued(tmp_path, monkeypatch):
    import unsaf.store as rooms
    with monkeypatch.context() as m:
        m.setattr(rooms, "TABLES", rooms.TABLES.replace("reply text not null);", "reply text not null) without rowid;"))
        first = unsaf.assess(scripted(), pictures(3), store=tmp_path / "old", progress=False)
    assert "without rowid" in sqlite3.connect(tmp_path / "old/replies.sqlite").execute("select sql from sqlite_master where name = 'replies'").fetchone()[0]
    again = unsaf.assess(scripted(), pictures(5), store=tmp_path / "old", progress=False)
    assert first.calls["asked"] == 36 and again.calls == {"asked": 24, "cached": 36, "failed": 0}
    with unsaf.Store(tmp_path / "new") as new:
        assert new.merge(tmp_path / "old") == 60 and len(unsaf.Store(tmp_path / "old")) == 60


def test_keys_are_those_of_the_long_way():
    from unsaf.core import fingerprint, to_json
    from unsaf.store import ask_of, key_of, keys_of
    rng = np.random.default_rng(0)
    words = ["é\n", "\"quoted\"", "\\u00e9", "雪", "\u2028", "plain", ""]
    for i in range(60):
        pick = lambda: "".join(rng.choice(words, 3))
        parts = (pictures(1)[0].picture, pick(), pick())[rng.integers(0, 2):]
        r = Request(parts, pick(), int(rng.integers(1, 99)), float(rng.random()), i, tuple(map(str, rng.choice(words, 2))), bool(i % 2), pick())
        long = {**to_json(r), "parts": [p if isinstance(p, str) else {"digest": p.digest} for p in r.parts]}
        identity = {pick(): {"b": (1, 2.5, None), "a": pick()}, "name": pick()}
        assert ask_of(r) == fingerprint("ask", long) and keys_of(identity)(pick(), "x") != key_of(identity, "", "y")
        text = pick()
        assert keys_of(identity)(text, ask_of(r)) == key_of(identity, text, ask_of(r)) == fingerprint("key", identity, text, ask_of(r))


def test_a_reply_comes_back_as_it_was(tmp_path):
    full = Reply("é", "stop", "", None, 3, 4, (-.5, -1e-9), {"a": -.25}, .125)
    with unsaf.Store(tmp_path) as store:
        store.put("m", [("k", "a", Request(("x",)), full)])
        assert store.get(["k"])["k"] == Reply("é", "stop", "", None, 3, 4, (-.5, -1e-9), {"a": -.25}, .125, cached=True)
