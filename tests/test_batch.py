"Requests in batches: against a server with files and batches that misbehaves as real ones do; nothing is paid for twice."
import json
import socket
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import pytest
import unsaf
from unsaf.core import ModelError

from unsaf.models.served.api import Api
from unsaf.models.served.batch import Batched, Journal
from unsaf.world.grammar import question_list, written
from unsaf.world.scenes import Scene
from unsaf.data.images import images

SCENES = images("scenes", n=3)
LISTS = {able: written(question_list(Scene.from_dict(SCENES[0].info["scene"]), able, "oe", 2)) for able in (True, False)}

class Desk:
    """A provider's files and batches; a batch is done at the second look. `line(body)`: (status, body) of a request, or None for one that expires;
    `moods`: what happens to a path once: `lost` (done, but the answer is cut off), or a status."""
    def __init__(self, line=None, moods=(), refuses=""):
        self.line, self.moods, self.refuses = line or self.proper, list(moods), refuses
        self.files, self.batches, self.paid, self.looks, self.seen = {}, {}, Counter(), Counter(), []

    def proper(self, body):
        text = "".join(b["text"] for b in body["messages"][-1]["content"] if b["type"] == "text")
        said = LISTS["can be answered directly" in text] if "Please provide" in text else "unanswerable"
        return 200, {"choices": [{"message": {"content": said}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 10, "completion_tokens": 2}}

    def answer(self, method, path, body):
        self.seen.append((method, path.partition("?")[0]))
        what = path.partition("?")[0].removeprefix("/v1/").split("/")
        if what[0] == "files": return self.upload(body) if method == "POST" else self.files[what[1]]
        if method == "POST": return self.create(json.loads(body))
        if len(what) == 1: return {"object": "list", "data": list(self.batches.values()), "has_more": False}
        return self.look(what[1])

    def upload(self, body):
        name = f"file-{len(self.files)}"
        part = max(body.split(b"\r\n\r\n"), key=len)          # of the form: the file's own
        self.files[name] = part.rpartition(b"\r\n--")[0].partition(b"\r\n--")[0]
        return {"id": name, "object": "file", "bytes": 1, "created_at": 1, "filename": "x", "purpose": "batch", "status": "processed"}

    def create(self, asked):
        assert asked["endpoint"] == "/v1/chat/completions" and asked["completion_window"] == "24h"
        name = f"batch-{len(self.batches)}"
        rows = [json.loads(line) for line in self.files[asked["input_file_id"]].splitlines()]
        assert len({r["custom_id"] for r in rows}) == len(rows)
        self.batches[name] = dict(id=name, object="batch", endpoint=asked["endpoint"], input_file_id=asked["input_file_id"], completion_window="24h",
                                  created_at=1, status="in_progress", request_counts=dict(total=len(rows), completed=0, failed=0))
        return self.batches[name]

    def look(self, name):
        b = self.batches[name]
        self.looks[name] += 1
        if self.looks[name] == 2: self.finish(b)
        return b

    def finish(self, b):
        if self.refuses: return b.update(status="failed", errors={"object": "list", "data": [{"code": "invalid", "message": self.refuses, "line": 1}]})
        good, bad, late = [], [], 0
        for row in map(json.loads, self.files[b["input_file_id"]].splitlines()):
            got = self.line(row["body"])
            if got is None:
                late += 1
                bad.append({"custom_id": row["custom_id"], "response": None, "error": {"code": "batch_expired", "message": "it was not done in time"}})
                continue
            if got[0] == 200: self.paid[json.dumps(row["body"], sort_keys=True)] += 1
            (good if got[0] == 200 else bad).append({"custom_id": row["custom_id"], "response": {"status_code": got[0], "body": got[1]}, "error": None})
        for kind, rows in (("output", good), ("error", bad)):
            if rows: self.files[f"{b['id']}-{kind}"] = "\n".join(map(json.dumps, rows[::-1])).encode()      # in no order
            b[f"{kind}_file_id"] = f"{b['id']}-{kind}" if rows else None
        b.update(status="expired" if late else "completed", request_counts=dict(total=len(good) + len(bad), completed=len(good), failed=len(bad)))

    def __enter__(self):
        desk = self
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            def do_GET(self): self.serve("GET", b"")
            def do_POST(self): self.serve("POST", self.rfile.read(int(self.headers["content-length"])))
            def serve(self, method, body):
                mood = next((m for m in desk.moods if self.path.startswith(f"/v1/{m[0]}") and method == m[1]), None)
                if mood: desk.moods.remove(mood)
                if mood and isinstance(mood[2], int): status, made = mood[2], {"error": {"message": "try later"}}
                else: status, made = 200, desk.answer(method, self.path, body)
                if mood and mood[2] == "lost":
                    self.close_connection = True
                    return self.connection.shutdown(socket.SHUT_RDWR)
                data = made if isinstance(made, bytes) else json.dumps(made).encode()
                self.send_response(status)
                for name, value in (("content-type", "application/json"), ("content-length", str(len(data)))): self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)
            def log_message(self, *args): pass
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads, self.url = True, f"http://127.0.0.1:{self.http.server_port}/v1"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": .02}, daemon=True).start()
        return self

    def __exit__(self, *exc):
        self.http.shutdown()
        self.http.server_close()

    def model(self, folder, **more): return Batched(Api("m", self.url, key_env="", prices=(1, 2), retries=2), folder, every=.01, **more)

def run(desk, folder, **more): return unsaf.assess(desk.model(folder, **more), SCENES, k=2, store=folder, max_failures=None, progress=False)

@pytest.mark.promise("batches")
def test_two_batches_and_the_replies_of_single_calls(tmp_path):
    with Desk() as desk:
        result = run(desk, tmp_path)
        assert len(desk.batches) == 2 and len(result.table) == 12 and set(result.table["outcome"]) == {"abstained"}
        assert result.table["cost"].sum() + result.lists["cost"].sum() == pytest.approx((12 + 6) * 14 / 1e6)
        again = unsaf.assess(Api("m", desk.url, key_env=""), SCENES, k=2, store=tmp_path, progress=False)
    assert again.calls["asked"] == 0 and list(again.table["reply"]) == list(result.table["reply"])      # the same model, asked otherwise

def test_files_are_as_large_as_may_be_and_no_larger(tmp_path):
    with Desk() as desk:
        run(desk, tmp_path/"a", lines=4)
        sizes = [len(desk.files[b["input_file_id"]].splitlines()) for b in desk.batches.values()]
        assert sizes == [4, 2, 4, 4, 4]
        run(desk, tmp_path/"b", size=1)
        assert len(desk.batches) == 5 + 6 + 12

class Killed(BaseException): pass

@pytest.mark.promise("batches")
@pytest.mark.parametrize("where", ["_start", "time.sleep", "_fetched"])
def test_a_killed_run_goes_on_with_the_same_batches(tmp_path, monkeypatch, where):
    def killed(*_, **__): raise Killed
    with Desk() as desk:
        with monkeypatch.context() as patch:
            patch.setattr(f"unsaf.models.served.batch.{where}", killed)
            with pytest.raises(Killed): run(desk, tmp_path)
        result = run(desk, tmp_path)
        assert len(result.table) == 12 and len(desk.batches) == 2 and set(desk.paid.values()) == {1}

def test_a_batch_whose_number_was_lost_on_the_way_is_found(tmp_path):
    with Desk(moods=[("batches", "POST", "lost")]) as desk:
        with pytest.raises(ModelError, match="the same command collects it"): run(desk, tmp_path)
        assert len(desk.batches) == 1
        assert len(run(desk, tmp_path).table) == 12 and len(desk.batches) == 2 and set(desk.paid.values()) == {1}

@pytest.mark.promise("batches")
def test_what_expired_is_asked_again_and_only_that(tmp_path):
    late = []
    def line(body):
        if not late or len(late) < 3: late.append(body); return None
        return Desk.proper(None, body)
    with Desk(line) as desk:
        first = run(desk, tmp_path)
        assert first.calls["failed"] == 3 and first.lists["error"].str.contains("batch_expired: it was not done in time").sum() == 3
        second = run(desk, tmp_path)
    assert second.calls["failed"] == 0 and len(second.table) == 12 and set(desk.paid.values()) == {1}

def test_a_refused_option_is_left_out_and_a_refusal_is_an_outcome(tmp_path):
    def line(body):
        if "max_tokens" in body:
            told = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
            return 400, {"error": {"message": told, "param": "max_tokens", "code": "unsupported_parameter"}}
        status, said = Desk.proper(None, body)
        if said["choices"][0]["message"]["content"] == "unanswerable": said["choices"][0]["message"] = {"content": None, "refusal": "I cannot."}
        return status, said
    with Desk(line) as desk: result = run(desk, tmp_path)
    assert set(result.table["outcome"]) == {"refused"} and len(desk.batches) == 3 and result.calls["failed"] == 0      # the second round knows it

def test_a_batch_that_is_refused_is_one_line_and_faults_of_the_network_are_repeated(tmp_path):
    with Desk(refuses="the model m has no room for a batch of this size") as desk:
        with pytest.raises(ModelError, match="no room for a batch .* nothing of it was paid for") as e: run(desk, tmp_path)
        assert "\n" not in str(e.value)
        desk.refuses = ""
        desk.moods = [("files", "GET", 500), *[("batches/", "GET", 503)] * 3]      # more of them than a call is repeated
        assert len(run(desk, tmp_path).table) == 12

def test_on_the_command_line(tmp_path, inside):
    with Desk() as desk:
        said = inside("assess", "--model", f"api:m@{desk.url}", "--images", "scenes", "--limit", "2", "--k", "2", "--batch")
        assert said.returncode == 2 and "add --store FOLDER" in said.stderr
        said = inside("assess", "--model", "tiny-s", "--images", "scenes", "--limit", "2", "--batch", "--store", tmp_path/"t")
        assert said.returncode == 2 and "only models behind an API" in said.stderr
        said = inside("assess", "--model", "vllm:no/such", "--images", "scenes", "--batch", "--store", tmp_path/"v")
        assert said.returncode == 2 and "only models behind an API" in said.stderr      # before it is fetched and started
        said = inside("distill", "evaluate", "--base", "tiny-s", "--tuned", tmp_path, "--batch", "--store", tmp_path/"w")
        assert said.returncode == 2 and "--batch is for the teacher" in said.stderr
        said = inside("assess", "--model", f"api:m@{desk.url}", "--images", "scenes", "--batch", "--store", tmp_path/"u", "--max-calls", "3")
        assert said.returncode == 2 and "--batch sends a round as a whole" in said.stderr and not desk.seen

def test_the_journal_reads_what_a_killed_run_left(tmp_path):
    journal = Journal(tmp_path)
    journal.note("f", names=["a", "b"])
    journal.note("f", batch="x", dead=["a"])
    assert {name: job.batch for name, job in Journal(tmp_path).sent().items()} == {"b": "x"}
    with open(journal.path, "a") as f: f.write('{"file": "f", "ba')
    assert {*Journal(tmp_path).sent()} == {"b"}
    Journal(tmp_path).note("g", names=["c"])
    assert {*Journal(tmp_path).sent()} == {"b", "c"}

def test_another_endpoint_in_the_same_folder_is_another_model(tmp_path):
    with Desk() as desk: first = run(desk, tmp_path)
    with Desk() as other:                  # its files and batches have the same names
        assert len(run(other, tmp_path).table) == len(first.table) and len(other.batches) == 2

def test_a_run_sees_what_another_has_sent_since_it_began(tmp_path):
    with Desk() as desk:
        late = desk.model(tmp_path)        # it has read the journal, and then waits for the first one's requests
        ask = [unsaf.core.Request(("What is it?",))]
        list(desk.model(tmp_path).generate(ask))
        list(late.generate(ask))
    assert len(desk.batches) == 1 and sum(desk.paid.values()) == 1

@pytest.mark.promise("batches")
def test_ctrl_c_leaves_a_batch_under_way_and_no_bound_cuts_it(tmp_path, monkeypatch):
    import os
    import signal
    with Desk() as desk:
        monkeypatch.setattr("unsaf.models.served.batch.time.sleep", lambda _: os.kill(os.getpid(), signal.SIGINT))
        with pytest.raises(KeyboardInterrupt): run(desk, tmp_path)
        assert desk.looks["batch-0"] == 1
        monkeypatch.undo()
        with pytest.raises(unsaf.UnsafError, match="in batches"):
            unsaf.assess(desk.model(tmp_path), SCENES, store=tmp_path, budget=unsaf.models.budget.Budget(calls=3))
        assert len(run(desk, tmp_path).table) == 12 and len(desk.batches) == 2

def test_under_way_is_said_only_of_what_still_waits(tmp_path):
    first, second = ([unsaf.core.Request((f"What is {i}?",))] for i in (1, 2))
    with Desk() as desk:
        model = desk.model(tmp_path)
        list(model.generate(first))
        desk.moods = [("batches/", "GET", 401)]
        with pytest.raises(ModelError, match="what is under way goes on"): list(model.generate(second))
        list(model.generate(second))
    for again in (model, Batched(model.api, tmp_path)):      # both batches have ended, and are in the folder
        with pytest.raises(ModelError, match="not reachable .*; nothing is under way$"): list(again.generate([unsaf.core.Request(("What is 3?",))]))

def test_lines_of_an_answer_are_read_as_they_are(monkeypatch):
    from unsaf.models.served.batch import answers_of
    body = {"choices": [{"message": {"content": "a\u2028b\x85c"}, "finish_reason": "stop"}]}
    rows = [{"custom_id": "a", "response": {"status_code": 200, "body": body}}, {"custom_id": "b", "error": "too late"},
            {"custom_id": "c", "response": "nothing", "error": []}]
    came = answers_of("\n".join(json.dumps(row, ensure_ascii=False) for row in rows))
    assert came["a"].text == "a\u2028b\x85c" and "too late" in str(came["b"]) and "nothing" not in str(came["c"])

@pytest.mark.promise("keys")
def test_the_key_is_in_no_table(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-very-secret-1")
    with Desk(lambda body: (400, {"error": {"message": "Incorrect key sk-very-secret-1"}})) as desk:
        model = Batched(Api("m", desk.url, key_env="MY_KEY"), tmp_path, every=.01)
        reply, = model.generate([unsaf.core.Request(("What is it?",))])
    assert reply.finish == "failed" and "[key]" in reply.error and "secret" not in reply.error

def test_what_is_gone_is_not_paid_for_again_unless_a_person_says_so(tmp_path):
    with Desk() as desk:
        ask = [unsaf.core.Request(("What is it?",))]
        desk.moods = [("files/batch-0", "GET", 404)]
        with pytest.raises(ModelError, match=r"batch batch-0 is not at .* take the lines with file-0 out of .*batches.jsonl"):
            list(desk.model(tmp_path).generate(ask))
        assert next(desk.model(tmp_path).generate(ask)).text and len(desk.batches) == 1
        desk.moods = [("batches", "POST", 404)]       # the file is gone: nothing was paid
        with pytest.raises(ModelError): list(desk.model(tmp_path/"b").generate(ask))
        assert next(desk.model(tmp_path/"b").generate(ask)).text and len(desk.batches) == 2

def test_a_broken_line_of_the_journal_costs_only_itself(tmp_path):
    journal = Journal(tmp_path)
    with open(journal.path, "w") as f: f.write('{"file": "f", "na')      # killed, while another run had begun
    journal.note("g", names=["c"])
    with open(journal.path, "a") as f: f.write('{"file": "f"{}}\n')
    assert {*Journal(tmp_path).sent()} == {"c"}

def test_pixels_of_a_round_are_not_in_memory_together(tmp_path):
    import weakref
    from PIL import Image
    from unsaf.core import ImageError, Picture, Sample
    held, most = [], []
    def read(i):
        if i == 3: raise ImageError("p3: no image")
        im = Image.new("RGB", (9, 9), (i, 0, 0))
        held.append(weakref.ref(im))
        most.append(sum(one() is not None for one in held))
        return im
    samples = [Sample(Picture(f"p{i}", lambda i=i: read(i))) for i in range(12)]
    with Desk() as desk:
        result = unsaf.assess(desk.model(tmp_path), samples, k=2, store=tmp_path, progress=False)
    assert len(result.images) == 11 and list(result.failures["image_id"]) == ["p3"] and max(most) <= 2 and len(desk.batches) == 2

def test_a_page_in_the_place_of_an_answer_is_not_believed(tmp_path):
    with Desk() as desk:
        ask = [unsaf.core.Request(("What is it?",))]
        right, desk.upload = desk.upload, lambda body: b"<html>Log in</html>"
        with pytest.raises(ModelError, match="neither a file nor a batch: check the address"): list(desk.model(tmp_path).generate(ask))
        desk.upload, looked = right, desk.answer
        desk.answer = lambda method, path, body: b"<html>Log in</html>" if "/files/batch" in path else looked(method, path, body)
        with pytest.raises(ModelError, match="can be read .*Log in"): list(desk.model(tmp_path).generate(ask))
        pages = iter([b"<html>Back soon</html>", b'{"id": 7}'])      # while it is waited for, they pass
        desk.answer = lambda method, path, body: next(pages, None) or looked(method, path, body)
        assert next(desk.model(tmp_path).generate(ask)).text and len(desk.batches) == 1 and not next(pages, None)

def test_half_a_file_of_answers_is_fetched_again_and_not_asked_again(tmp_path):
    asks = [unsaf.core.Request((f"What is {i}?",)) for i in range(4)]
    with Desk() as desk:
        looked = desk.answer
        def cut(method, path, body):
            made = looked(method, path, body)
            return made[:len(made)*2//3] if path.endswith("output/content") else made
        desk.answer, came = cut, []
        with pytest.raises(ModelError, match="more answers than could be read.*fetches the rest"):
            for reply in desk.model(tmp_path).generate(asks): came.append(reply)
        assert len(came) == 2 and all(reply.text for reply in came)
        desk.answer = looked
        assert [bool(r.text) for r in desk.model(tmp_path).generate(asks)] == [True] * 4 and len(desk.batches) == 1
