"The store: durable, first writer wins, and every complaint is one line."
import json, os, shutil, sqlite3, subprocess, sys, threading, time, tracemalloc
from concurrent.futures import ThreadPoolExecutor
import pytest
from PIL import Image
import unsaf.models.cache as cache
from unsaf import store
from unsaf.models import claims
from unsaf.models.claims import Claims
from unsaf.core import ImageError, ModelError, Picture, Reply, Request, StoreError, UnsafError
from unsaf.models.base import Scripted, call_key, collect
from unsaf.models.cache import Cached, Replay
from unsaf.runs import TooManyFailures, Watch, folded, most_frequent
from unsaf.store import Store, ask_of, key_of


def request(text: str) -> Request:
    return Request((text,))


def row(text: str, reply: Reply):
    ask = ask_of(request(text))
    return key_of({"name": "m"}, "", ask), ask, request(text), reply


def test_a_reply_comes_back_as_it_went_in(tmp_path):
    full = Reply("Grüße\n\"q\"", "length", "", 3, 10, 4, (-.1, -1e-17, -123.456789012345678), {"A": -.5, "unanswerable": -7.25}, .0123)
    with Store(tmp_path) as s: s.put("m", [row("q", full)])
    with Store(tmp_path) as s: back = s.get([row("q", full)[0]])[row("q", full)[0]]
    assert back.cached and back.index is None
    assert (back.text, back.finish, back.logprobs, back.candidates, back.cost) == (full.text, full.finish, full.logprobs, full.candidates, full.cost)


def test_whatever_changes_an_answer_changes_the_key():
    red, blue = (Picture("p", lambda c=c: Image.new("RGB", (4, 4), c)) for c in ("red", "blue"))
    base = dict(parts=(red, "q"), system="s", max_tokens=5, temperature=.5, seed=1, candidates=("a",), decide=False, template="t")
    changes = dict(parts=[(blue, "q"), ("q", red), (red, "Q")], system=["S"], max_tokens=[6], temperature=[.6], seed=[2], candidates=[("b",)],
                   decide=[True], template=["u"])
    asks = [ask_of(Request(**base))] + [ask_of(Request(**{**base, name: v})) for name, values in changes.items() for v in values]
    assert len(set(asks)) == len(asks)
    assert key_of({"dtype": "float32"}, "r", asks[0]) != key_of({"dtype": "float16"}, "r", asks[0]) != key_of({"dtype": "float16"}, "R", asks[0])


def test_threads_take_turns(tmp_path):
    with Store(tmp_path) as s, ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: s.put("m", [row(f"q{i}", Reply(str(i)))]), range(200)))
        assert len(s) == 200


def test_processes_share_a_store(tmp_path):
    code = ("import sys; from unsaf.store import Store; from unsaf.core import Reply, Request\n"
            "s = Store(sys.argv[1])\n"
            "for i in range(100): s.put('m', [(str(i), 'a', Request(('q',)), Reply(sys.argv[2]))])")
    runs = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), name]) for name in "xyz"]
    assert [p.wait(timeout=120) for p in runs] == [0, 0, 0]
    with Store(tmp_path) as s:
        assert len(s) == 100
        assert set(r.text for r in s.get([str(i) for i in range(100)]).values()) <= set("xyz")


def test_a_failed_batch_leaves_nothing(tmp_path):
    s = Store(tmp_path)
    bad = ("k", "a", request("q"), Reply("x", candidates={"a": object()}))
    with pytest.raises(TypeError): s.put("m", [row("first", Reply("fine")), bad])
    assert len(s) == 0
    s.put("m", [row("first", Reply("fine"))])
    assert len(s) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match="folder that you may write to"): Store(tmp_path / "new")


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "taken").write_text("x")
    with pytest.raises(StoreError, match="taken"): Store(tmp_path / "taken")


def test_no_space_left_is_one_line_and_loses_nothing(tmp_path):
    s = Store(tmp_path)
    s.put("m", [row("first", Reply("kept"))])
    pages = s.db.execute("pragma page_count").fetchone()[0]
    s.db.execute(f"pragma max_page_count = {pages + 2}")     # SQLite's own "disk is full"
    with pytest.raises(StoreError, match="full.*free some space"):
        for i in range(500): s.put("m", [row(f"q{i}", Reply("x" * 4000))])
    s.db.execute("pragma max_page_count = 1073741823")
    assert s.get([row("first", Reply(""))[0]])[row("first", Reply(""))[0]].text == "kept"
    s.put("m", [row("after", Reply("works again"))])


def test_replay_gives_what_was_stored_and_nothing_else(tmp_path):
    model = Scripted({"color": "red"}, name="m")
    with Store(tmp_path) as s: collect(Cached(model, s), [request("color?")])
    old = Replay(tmp_path)
    known, unknown = collect(old, [request("color?"), request("shape?")])
    assert known.text == "red" and unknown.finish == "failed" and "not in the store" in unknown.error


# ---------------------------------------------------------------- half of a surrogate pair

HALF, WHOLE = "caf\u00e9 \ud83d?", "caf\u00e9 \ufffd?"


def test_half_a_surrogate_reaches_no_model_and_no_file(tmp_path):
    model = Scripted(lambda r: r.text + " \udc80", name="m\ud800")
    red = Picture("caf\udce9.png", lambda: Image.new("RGB", (4, 4), "red"))          # a file name that is no UTF-8
    asks = [Request((red, HALF), system="\ud800", template="\udfff", candidates=("\ud83d\ude00",)), request(WHOLE)]
    assert [r.text for r in collect(model, asks)] == [WHOLE + " \ufffd"] * 2            # without a store too
    with Store(tmp_path) as s:
        first, again = collect(Cached(model, s), asks), collect(Cached(model, s), asks)
        assert [r.text for r in first] == [r.text for r in again] == [WHOLE + " \ufffd"] * 2 and all(r.cached for r in again)
        assert model.asked[0].candidates == ("\U0001f600",) and model.asked[0].system == "\ufffd"
        for row in s.db.execute("select * from replies"): "".join(row).encode()
    assert collect(Replay(tmp_path), asks[1:])[0].text == WHOLE + " \ufffd"


@pytest.mark.promise("old")
def test_keys_of_clean_requests_are_what_they_were():
    red = Picture("p", lambda: Image.new("RGB", (4, 4), "red"))
    ask = ask_of(Request((red, "snow \u96ea \u2028?"), system="s", max_tokens=5, candidates=("A", "\u00e9")))
    assert ask == "cf88b4707d09eb8374a0e0dea2818cb2c2d357072a9b2a9975c61c07278d61c0"
    assert key_of({"name": "m", "sizes": (1, 2)}, "<user>\u96ea", ask) == "02792f41ba95386da4e0992ef0d174d2b3ae7958235ae11bc56555571ba2152f"
    assert ask_of(request(HALF)) == ask_of(request(WHOLE)) != ask_of(request("caf\u00e9 ?"))


# ---------------------------------------------------------------- rows that cannot be read

BAD = {"cut": '{"text": "re', "empty": "", "list": "[1]", "null": "null", "no text": '{"finish": "stop"}', "number": '{"text": 3, "finish": "stop"}',
       "deep": "[" * 100_000, "tokens": '{"text": "red", "finish": "stop", "output_tokens": "many"}', "bytes": b"\xff\xfe{"}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_row_that_cannot_be_read_is_named_and_the_others_are_used(tmp_path, capfd, bad):
    model = Scripted(lambda r: r.text.upper(), name="m")
    asks = [request(c) for c in "abc"]
    with Store(tmp_path) as s:
        collect(Cached(model, s), asks)
        key = call_key(model, asks[1])
        s.db.execute("update replies set reply = cast(? as text) where key = ?", (bad, key))
    replayed = collect(Replay(tmp_path), asks)
    assert [r.finish for r in replayed] == ["stop", "failed", "stop"] and key in replayed[1].error and "cannot be read" in replayed[1].error
    said = capfd.readouterr().err
    assert said.count("\n") == 1 and key in said and str(tmp_path) in said
    with Store(tmp_path) as s:
        model.asked = []
        assert [r.text for r in collect(Cached(model, s), asks)] == ["A", "B", "C"] and len(model.asked) == 1    # asked again, and mended
        assert [r.cached for r in collect(Cached(model, s), asks)] == [True] * 3


@pytest.mark.promise("old")
def test_fields_of_a_later_version_are_passed_over_and_an_identity_that_cannot_be_read_is_said(tmp_path, capfd):
    with Store(tmp_path) as s:
        m = s.add_model("m", {"name": "m"})
        s.put(m, [row("q", Reply("red"))])
        before = json.loads(s.db.execute("select reply from replies").fetchone()[0])
        assert list(before) == ["text", "finish", "error", "prompt_tokens", "output_tokens", "logprobs", "candidates", "cost"]    # as ever
        s.db.execute("update replies set reply = ?", (json.dumps(before | {"mood": "good", "thought": {"a": [1]}}),))
        s.db.execute("update models set identity = '{'")
        assert s.get([row("q", None)[0]])[row("q", None)[0]].text == "red"
        assert s.models()[0]["identity"] == {"name": "m"} and "identity of model" in capfd.readouterr().err


# ---------------------------------------------------------------- the log

@pytest.mark.promise("copied")
def test_a_copy_of_the_one_file_has_the_replies(tmp_path):
    s = Store(tmp_path/"a")
    s.settled -= 60                                          # as if the last move were a minute ago
    s.put("m", [row("q", Reply("red"))])
    (tmp_path/"b").mkdir()
    shutil.copy(tmp_path/"a/replies.sqlite", tmp_path/"b/replies.sqlite")
    assert (tmp_path/"a/replies.sqlite-wal").exists() and len(Store(tmp_path/"b")) == 1
    s.put("m", [row("later", Reply("red"))])
    other = Store(tmp_path/"a")                              # it is open elsewhere too
    s.close()
    s.close()
    (tmp_path/"c").mkdir()
    shutil.copy(tmp_path/"a/replies.sqlite", tmp_path/"c/replies.sqlite")
    assert len(Store(tmp_path/"c")) == 2 and len(other) == 2


@pytest.mark.promise("copied")
def test_what_a_kill_left_in_the_log_is_moved_when_the_store_is_opened(tmp_path):
    code = ("import os, sys; from unsaf.store import Store; from unsaf.core import Reply, Request\n"
            "s = Store(sys.argv[1])\n"
            "s.put('m', [('k', 'a', Request(('q',)), Reply('red'))])\n"
            "os.kill(os.getpid(), 9)")
    subprocess.run([sys.executable, "-c", code, str(tmp_path/"a")], timeout=120)
    with Store(tmp_path/"a"):
        (tmp_path/"b").mkdir()
        shutil.copy(tmp_path/"a/replies.sqlite", tmp_path/"b/replies.sqlite")
    assert len(Store(tmp_path/"b")) == 1


@pytest.mark.promise("copied")
def test_a_copy_without_its_log_says_what_may_be_missing(tmp_path):
    Store(tmp_path).close()
    with pytest.raises(ModelError, match="needs replies.sqlite-wal beside it"): Replay(tmp_path)


@pytest.mark.parametrize("log", [False, True])
def test_a_store_that_can_only_be_read_is_read(tmp_path, monkeypatch, capfd, log):
    "A mounted archive; with a log beside it, whose index would have to be written."
    with Store(tmp_path/"a") as s: collect(Cached(Scripted(lambda r: r.text.upper(), name="m"), s), [request("q")])
    if log: (tmp_path/"a"/"replies.sqlite-wal").write_bytes(b"x" * 5000)
    monkeypatch.setattr(store, "_only_read", lambda file: str(file).startswith(str(tmp_path/"a")))
    if log: monkeypatch.setattr(store.sqlite3, "connect", lambda file, *a, **k: _without_index(file, *a, **k))
    assert collect(Replay(tmp_path/"a"), [request("q")])[0].text == "Q"
    with Store(tmp_path/"b") as s: assert s.merge(tmp_path/"a") == 1 and s.merge(tmp_path/"a") == 0
    assert ("replies.sqlite-wal cannot be read here" in capfd.readouterr().err) == log
    model = Scripted({}, name="m")
    with pytest.raises(StoreError, match="folder that you may write to"): collect(Cached(model, Store(tmp_path/"a")), [request("new")])
    assert not model.asked


def _without_index(file, *args, connect=sqlite3.connect, **options):
    if "mode=ro" in str(file): raise sqlite3.OperationalError("unable to open database file")
    return connect(file, *args, **options)


@pytest.mark.parametrize("said, words", [("database is locked", "network drives"), ("disk I/O error", "disk of this machine"),
                                         ("locking protocol", "disk of this machine"), ("database or disk is full", "free some space"),
                                         ("database disk image is malformed", "once the run has ended"), ("no such table: replies", "restore the file")])
def test_what_a_disk_says_comes_with_what_to_do(said, words):
    with pytest.raises(StoreError, match=f"store x: {said}; .*{words}"), store._one_line("x"): raise sqlite3.OperationalError(said)


def test_threads_that_put_at_once_share_transactions(tmp_path):
    with Store(tmp_path) as s, ThreadPoolExecutor(16) as pool:
        written, write = [], s._write
        def all_at_once(mine):
            while not written and len(s.waiting) < 16: time.sleep(.001)       # whoever comes first waits for the others
            written.append(1)
            write(mine)
        s._write = all_at_once
        list(pool.map(lambda i: s.put("m", [row(f"q{i}", Reply(str(i)))]), range(16)))
        assert len(s) == 16 and len(written) == 1


# ---------------------------------------------------------------- who asks what

class Slow:
    "A stream that takes its time, and counts."
    name = "slow"
    def __init__(self, seconds=.002): self.seconds, self.asked, self.turn = seconds, [], threading.Lock()
    def generate(self, requests):
        for i, r in enumerate(requests):
            time.sleep(self.seconds)
            with self.turn: self.asked.append(r.text)
            yield Reply(r.text.upper(), index=i)


class Batched(Slow):
    "The same in batches of five."
    def batches(self, requests): return [list(range(i, min(i + 5, len(requests)))) for i in range(0, len(requests), 5)]


@pytest.mark.promise("shared")
@pytest.mark.parametrize("kind", [Slow, Batched])
@pytest.mark.parametrize("runs", [2, 4])
def test_runs_on_one_file_ask_each_key_once(tmp_path, kind, runs):
    model, asks = kind(), [request(f"q{i}") for i in range(60)]
    def run(i):
        with Store(tmp_path) as s: return [r.text for r in collect(Cached(model, s), asks)]
    with ThreadPoolExecutor(runs) as pool: found = list(pool.map(run, range(runs)))
    assert found == [[r.text.upper() for r in asks]] * runs and sorted(model.asked) == sorted(r.text for r in asks)
    with sqlite3.connect(tmp_path/"replies.sqlite") as db:
        assert [db.execute(f"select count(*) from {table}").fetchone()[0] for table in ("owners", "claims")] == [0, 0]


def test_two_kepts_of_one_store_and_duplicates_in_a_list_are_asked_once():
    model, s = Slow(), Store()
    asks = [request(f"q{i % 20}") for i in range(60)]
    with ThreadPoolExecutor(3) as pool: found = list(pool.map(lambda _: [r.text for r in collect(Cached(model, s), asks)], range(3)))
    assert found == [[r.text.upper() for r in asks]] * 3 and len(model.asked) == 20


@pytest.mark.promise("shared")
def test_a_batch_is_never_torn_between_two_runs(tmp_path):
    "The rows of a batch change the floats of its replies: each batch is asked as it would be alone."
    seen = []
    class Watched(Batched):
        def generate(self, requests):
            seen.append([r.text for r in requests])
            return super().generate(requests)
    asks = [request(f"q{i}") for i in range(43)]
    def run(i):
        with Store(tmp_path) as s: collect(Cached(Watched(), s), asks if i else asks[::-1][::-1])
    with ThreadPoolExecutor(3) as pool: list(pool.map(run, range(3)))
    assert sorted(seen) == sorted([r.text for r in asks[i:i + 5]] for i in range(0, 43, 5))


def test_failed_calls_of_one_run_do_not_keep_another_waiting_for_ever(tmp_path):
    "Both runs have failures that the other waits for."
    def say(r): return Reply("", "failed", "no") if int(r.text) % 3 == 0 else r.text
    asks = [request(str(i)) for i in range(30)]
    def run(i):
        with Store(tmp_path) as s: return [r.finish for r in collect(Cached(Scripted(say, name="m"), s, None), asks)]
    with ThreadPoolExecutor(2) as pool: found = list(pool.map(run, range(2)))
    assert found == [["failed" if i % 3 == 0 else "stop" for i in range(30)]] * 2


def test_a_generator_that_was_left_half_read_is_not_waited_for(tmp_path):
    with Store(tmp_path) as s:
        left = Cached(Slow(), s).generate([request(f"q{i}") for i in range(9)])
        next(left)
        assert len(collect(Cached(Slow(), s), [request(f"q{i}") for i in range(9)])) == 9
        left.close()


@pytest.mark.promise("shared")
def test_a_claim_that_no_longer_beats_is_taken_over(tmp_path, monkeypatch):
    "Another machine, or a process that hangs: it is believed for a while."
    with Store(tmp_path) as s:
        mine = Claims(s)
        s.db.execute("insert into owners values ('far', 'elsewhere', 1, '', ?)", (time.time(),))
        s.db.execute("insert into claims values ('k', 'far', 1)")
        with mine.call() as call:
            assert call.take(["k"]) == [] and call.others(["k"]) == {"k": ("elsewhere", 1)} and not call.alone()
            monkeypatch.setattr(claims, "EXPIRY", -1.0)
            assert call.take(["k"]) == ["k"] and call.alone()


def test_who_waits_is_told_for_whom(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(cache, "PATIENCE", .2)
    asks, begun, said = [request("a")], threading.Event(), []
    class Long(Slow):
        def generate(self, requests):
            begun.set()
            while "waiting" not in "".join(said):               # as long as it takes until the other says so
                time.sleep(.05)
                said.append(capfd.readouterr().err)
            return super().generate(requests)
    def first():
        with Store(tmp_path) as s: collect(Cached(Long(), s), asks)
    thread = threading.Thread(target=first)
    thread.start()
    assert begun.wait(30)
    with Store(tmp_path) as s: assert collect(Cached(Slow(), s), asks)[0].cached
    thread.join(30)
    said = "".join(said) + capfd.readouterr().err
    assert said.count("\n") == 1 and f"process {os.getpid()} on" in said and "waiting for 1 replies" in said


def test_a_run_that_is_called_off_waits_no_longer(tmp_path):
    class Session(Slow):
        from contextlib import contextmanager
        @contextmanager
        def session(self): yield 4
    with Store(tmp_path) as s, ThreadPoolExecutor(1) as pool:
        s.db.executescript(claims.TABLES)
        kept = Cached(Session(), s)
        s.db.execute("insert into owners values ('far', 'elsewhere', 1, '', ?)", (time.time(),))
        s.db.execute("insert into claims values (?, 'far', 1)", (call_key(kept.model, request("a")),))
        with pytest.raises(ZeroDivisionError), kept.session() as places:
            waits = pool.submit(lambda: collect(kept, [request("a")]))
            time.sleep(.3)
            assert places == 4 and not waits.done()
            raise ZeroDivisionError
        with pytest.raises(ModelError, match="called off"): waits.result(10)
        with pytest.raises(ModelError, match="called off"): pool.submit(lambda: collect(kept, [request("b")])).result(10)    # nothing new is begun
        assert not hasattr(Cached(Slow(), s), "session")


@pytest.mark.promise("killed", "shared")
@pytest.mark.slow
def test_processes_share_the_work_and_a_killed_one_is_followed_at_once(tmp_path):
    code = """
import sys, time
from unsaf.core import Reply, Request
from unsaf.models.base import collect
from unsaf.models.cache import Cached
from unsaf.store import Store
class Slow:
    name = "slow"
    def generate(self, requests):
        for i, r in enumerate(requests):
            with open(sys.argv[2], "a") as f: f.write(r.text + "\\n")
            time.sleep(.01)
            yield Reply(r.text.upper(), index=i)
with Store(sys.argv[1]) as s: print(len(collect(Cached(Slow(), s), [Request((f"q{i}",)) for i in range(300)])))
"""
    def start(folder):
        return subprocess.Popen([sys.executable, "-c", code, str(tmp_path/folder), str(tmp_path/f"{folder}.log")], stdout=subprocess.PIPE, text=True)
    def asked(folder): return (tmp_path/f"{folder}.log").read_text().split() if (tmp_path/f"{folder}.log").exists() else []
    runs = [start("shared") for _ in range(4)]
    assert [p.communicate(timeout=60)[0] for p in runs] == ["300\n"] * 4 and sorted(asked("shared")) == sorted(f"q{i}" for i in range(300))
    first = start("killed")
    while len(asked("killed")) < 50: time.sleep(.01)
    second = start("killed")
    time.sleep(1)
    first.kill()                                   # and not waited for: it stays as a zombie
    assert second.communicate(timeout=20)[0] == "300\n"          # an expiry would take 30
    first.wait(30)
    assert len(asked("killed")) <= 300 + 20 and set(asked("killed")) == {f"q{i}" for i in range(300)}


# ---------------------------------------------------------------- a run that only fails

def failing(share, n=200):
    def say(r): return Reply("", "failed", f"server (500): request {r.text} of 12 s failed") if int(r.text) % 100 < 100 * share else "fine"
    return Scripted(say, name="m"), [request(str(i)) for i in range(n)]


@pytest.mark.promise("sick")
@pytest.mark.parametrize("share,most,stops", [(1, .2, 50), (.5, .2, 50), (.5, 1, None), (.5, None, None), (0, 0, None), (.1, .2, None), (.1, 0, 50)])
def test_a_run_is_stopped_where_too_much_fails_and_keeps_what_came(tmp_path, share, most, stops):
    model, asks = failing(share)
    with Store(tmp_path) as s:
        kept = Cached(model, s, most)
        if stops is None:
            assert len(collect(kept, asks)) == 200
            return
        with pytest.raises(TooManyFailures, match=r"of \d+ requests failed, .* x server \(500\): request N of N failed") as e: collect(kept, asks)
        assert "\n" not in str(e.value) and "--max-failures" in str(e.value)
        assert stops <= kept.watch.asked and len(s) == sum(1 for r in model.asked if int(r.text) % 100 >= 100 * share)


def test_what_is_cached_or_a_picture_does_not_count_and_a_replay_is_never_stopped(tmp_path):
    def broken(): raise ImageError("x.png: no image")
    pictures = [Request((Picture(f"{i}", broken), "q")) for i in range(80)]
    with Store(tmp_path) as s:
        assert {r.finish for r in collect(Cached(Scripted(lambda r: "x", name="m"), s), pictures)} == {"failed"}
        collect(Cached(Scripted(lambda r: "x", name="m"), s), [request("known")])
        assert len(collect(Cached(Replay(s), s), [request(f"unknown {i}") for i in range(80)])) == 80


@pytest.mark.parametrize("most", [-.1, 1.5, 20, "many", True])
def test_a_share_that_is_none_is_refused(most):
    with pytest.raises(UnsafError, match="between 0 and 1"): Watch(most)


@pytest.mark.parametrize("one,other,same", [
    ("timeout: no answer within 60 s (after 7 tries)", "timeout: no answer within 60 s (after 6 tries)", True),
    ("rate_limit (429): try again in 1.2s", "rate_limit (429): try again in 350ms", True),
    ("server (500): no reason", "server (503): no reason", False),
    ("rejected (400): gpt-4o takes no image", "rejected (400): gpt-5 takes no image", False),
    ("server (500): id 3f2504e0-4f89-11d3-9a0c-0305e82c3301", "server (500): id 9b2504e0-4f89-11d3-9a0c-0305e82c33ff", True),
    ("connection: reset by 10.0.0.7:443", "connection: reset by 10.0.0.8:443", True),
    ("/data/a/001.jpg: no image (cut after 77 bytes)", "/data/b c/002.jpeg: no image (cut after 8 bytes)", False),       # a blank in a folder's name
    ("/data/a/001.jpg: no image (cut after 77 bytes)", "/data/b/002.jpeg: no image (cut after 8 bytes)", True),
    ("rejected (400): see https://x.example/e?id=1", "rejected (400): see https://x.example/e?id=2", True),
    ("server (500): at 2026-01-02T10:11:12Z", "server (500): at 2026-03-04T01:02:03.5+01:00", True),
    ("rejected (400): image_url is missing", "rejected (400): image_size is missing", False),
    ("HTTP 404: none", "HTTP 410: none", False), ("x" * 10_000, "x" * 10_000, True), ("'" * 5000, "'" * 5000, True)])
def test_equal_errors_are_one(one, other, same):
    assert len(most_frequent([one, other])) == (1 if same else 2) and len(folded(one)) <= 300
    assert most_frequent([one, one, "", other])[0][1] == (3 if same else 2)


# ---------------------------------------------------------------- what held

def test_many_requests_in_flight_take_no_more_memory_than_their_replies(tmp_path):
    "A stream that is faster than the disk: what waits to be stored does not pile up."
    class Burst:
        name = "burst"
        def generate(self, requests): return (Reply(str(i) * 20_000, index=i) for i in range(len(requests)))
    class Slow(Store):
        def put(self, model, rows):
            time.sleep(.005)
            return super().put(model, rows)
    n, held = 1200, cache.HELD
    cache.HELD = 64
    try:
        with Slow(tmp_path) as s:
            kept, asks = Cached(Burst(), s), [request(str(i)) for i in range(n)]
            tracemalloc.start()
            assert sum(1 for _ in kept.generate(asks)) == n == len(s)
            peak = tracemalloc.get_traced_memory()[1]
    finally: cache.HELD = (tracemalloc.stop(), held)[1]
    assert peak < 40_000_000                    # all of them together are 92 MB


@pytest.mark.promise("batching")
@pytest.mark.parametrize("seed", [0, 1])
def test_order_and_pieces_do_not_change_what_is_stored(tmp_path, seed, monkeypatch):
    import random
    asks = [request(f"q{i}") for i in range(40)]
    def table(folder, order):
        with Store(tmp_path/folder) as s:
            collect(Cached(Scripted(lambda r: r.text[::-1], name="m"), s), order)
            return s.db.execute("select key, ask, model, request, reply from replies order by key").fetchall()
    whole = table("whole", asks)
    monkeypatch.setattr(cache, "PIECE", 3)
    monkeypatch.setattr(claims.Call, "alone", lambda self: False)
    assert table("pieces", random.Random(seed).sample(asks, 40)) == whole
