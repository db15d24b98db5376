"""An OpenAI-compatible server on loopback that fails as it is told, and remembers what it was asked.

    with Faulty(plan) as server: Api("m", server.url)

`plan(call)` gets a `Call` and returns the name of a fault below, an `Answer`, or None for a proper reply. `capacity` refuses
calls beyond that number at once with 429, whatever the plan says. The proper reply repeats the last line of the user's text.
"""
import json
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Answer:
    status: int = 200
    body: object = None
    headers: dict = field(default_factory=dict)
    delay: float = 0.0


@dataclass
class Call:
    number: int             # from 0, in order of arrival
    body: dict
    headers: dict
    at: float               # monotonic seconds
    nth: int = 0            # how often this very text was asked before
    open: int = 0           # calls being answered at this moment, this one included
    path: str = ""

    @property
    def text(self) -> str:
        return "".join(b["text"] for b in self.body["messages"][-1]["content"] if b["type"] == "text")

    @property
    def images(self) -> list[str]:
        return [b["image_url"]["url"] for b in self.body["messages"][-1]["content"] if b["type"] == "image_url"]


def reply(text, finish="stop", usage=(20, 3), **message):
    body = {"id": "x", "object": "chat.completion", "model": "m", "created": 0,
            "choices": [{"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text, **message}}]}
    if usage: body["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
    return Answer(body=body)


def error(status, message="no reason", headers=None, **more):
    return Answer(status, {"error": {"message": message, "type": None, "param": None, "code": None, **more}}, headers or {})


FAULTS = {
    "429": lambda: error(429, "slow down", code="rate_limit_exceeded"),
    "429 for 50 ms": lambda: error(429, "slow down", {"retry-after-ms": "50"}),
    "429 for a second": lambda: error(429, "slow down", {"retry-after": "1"}),
    "429 for an hour": lambda: error(429, "slow down", {"retry-after": "3600"}),
    "no quota": lambda: error(429, "You exceeded your current quota", type="insufficient_quota", code="insufficient_quota"),
    "500": lambda: error(500, "internal"),
    "503": lambda: error(503, "overloaded"),
    "502 html": lambda: Answer(502, "<html>\n<h1>Bad Gateway</h1>\n</html>"),
    "400": lambda: error(400, "prompt is too long", code="context_length_exceeded"),
    "422": lambda: Answer(422, {"detail": [{"loc": ["body", "x"], "msg": "extra field", "input": {"big": "A" * 9999}}]}),
    "404": lambda: error(404, "The model `m` does not exist", code="model_not_found"),
    "filter 400": lambda: error(400, "The response was filtered", code="content_filter", param="prompt"),
    "filter kimi": lambda: error(400, "considered high risk", type="content_filter"),
    "filter finish": lambda: reply(None, "content_filter"),
    "refusal": lambda: reply(None, refusal="I'm sorry, I can't assist with that."),
    "empty": lambda: reply(""),
    "null": lambda: reply(None),
    "no choices": lambda: Answer(body={"choices": []}),
    "html": lambda: Answer(body="<html>welcome</html>"),
    "half json": lambda: Answer(body='{"choices": [{"message": {"content": "re'),
    "error 200": lambda: Answer(body={"error": {"code": 502, "message": "upstream died"}}),
    "no usage": lambda: reply("ok", usage=None),
}
RAW = ("reset", "cut short", "hang")     # these break the connection itself


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        server = self.server.faulty
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        call = server.arrived(body, {k.lower(): v for k, v in self.headers.items()}, self.path)
        try:
            if server.stopping.is_set(): return self.break_off("reset")
            if self.path.partition("?")[0] not in server.paths: return self.send(error(404, f"no such path {self.path}"))
            what = "429" if server.capacity and call.open > server.capacity else server.plan(call)
            if what in RAW: return self.break_off(what)
            answer = FAULTS[what]() if isinstance(what, str) else what or reply(call.text.splitlines()[-1])
            server.stopping.wait(answer.delay or server.delay)
            self.send(answer)
        except (BrokenPipeError, ConnectionResetError): self.close_connection = True
        finally: server.left()

    def send(self, answer):
        text = answer.body if isinstance(answer.body, (str, bytes)) else json.dumps(answer.body)
        data = text if isinstance(text, bytes) else text.encode()
        (self.send_response_only if "date" in answer.headers else self.send_response)(answer.status)
        kind = "text/html" if data.startswith(b"<") else "application/json"
        headers = {"content-type": kind, "content-length": str(len(data)), **answer.headers}
        for name, value in headers.items(): self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def break_off(self, how):
        self.close_connection = True
        if how == "hang": self.server.faulty.stopping.wait(30)
        if how == "cut short":
            self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{\"choices\": [")
            self.wfile.flush()
        if how == "reset": self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def log_message(self, *args): pass


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True
    def handle_error(self, request, client_address): pass    # broken connections are the point


class Faulty:
    def __init__(self, plan=lambda call: None, capacity=0, delay=0.0, paths=("/v1/chat/completions",), port=0):
        self.plan, self.capacity, self.delay, self.paths, self.port = plan, capacity, delay, paths, port
        self.calls, self.seen, self.open, self.peak = [], {}, 0, 0
        self.lock, self.stopping = threading.Lock(), threading.Event()

    def arrived(self, body, headers, path):
        with self.lock:
            self.open += 1
            self.peak = max(self.peak, self.open)
            call = Call(len(self.calls), body, headers, time.monotonic(), open=self.open, path=path)
            call.nth = self.seen.get(call.text, 0)
            self.seen[call.text] = call.nth + 1
            self.calls.append(call)
            return call

    def left(self):
        with self.lock: self.open -= 1

    def __enter__(self):
        self.http = _Server(("127.0.0.1", self.port), _Handler)
        self.http.faulty, self.url = self, f"http://127.0.0.1:{self.http.server_port}/v1"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": .02}, daemon=True).start()
        return self

    def __exit__(self, *exc): self.stop()

    def stop(self):
        "Stop answering; the port is closed and later connections are refused."
        if self.stopping.is_set(): return
        self.stopping.set()
        self.http.shutdown()
        self.http.server_close()
