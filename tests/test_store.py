"The store: durable, first writer wins, and every complaint is one line."
import os, subprocess, sys
from concurrent.futures import ThreadPoolExecutor
import pytest
from PIL import Image
from unsaf.core import Picture, Reply, Request, StoreError
from unsaf.models.base import Kept, Replay, Scripted, collect
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
    with Store(tmp_path) as s: collect(Kept(model, s), [request("color?")])
    old = Replay(tmp_path)
    known, unknown = collect(old, [request("color?"), request("shape?")])
    assert known.text == "red" and unknown.finish == "failed" and "not in the store" in unknown.error
