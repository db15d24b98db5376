"""A toy language model behind the protocols of vLLM, SGLang, `unsaf bridge` and a provider, in the shapes that their sources describe.

    with Toy("vllm") as toy: Api("toy", toy.url)

Its log-probabilities are a function of the tokens before, so what a client finds can be compared with `toy.score`. `spoil(path, body)` may
return (status, answer) in the place of the true answer, or "die"."""
import json
import math
import random
import socket
import threading
from collections import Counter
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SPECIAL = ["<user>", "<assistant>", "<end>", "<image>"]
PIECES = SPECIAL + ["unanswer", "able", "yes", "un", *(chr(c) for c in range(32, 127))]
USER, ASSISTANT, END, IMAGE = range(4)
IMAGE_TOKENS = 7      # that an image has inside the server


def tokens_of(text):
    out = []
    while text:
        i = next((i for i, p in enumerate(PIECES) if text.startswith(p)), PIECES.index("~"))
        out.append(i)
        text = text[len(PIECES[i]):]
    return out


def logs(before): return _logs(tuple(before))


@lru_cache(None)
def _logs(before):
    "Log-probability of each token behind `before`."
    rng = random.Random(str(list(before)))
    weights = [rng.gauss(0, 2) for _ in PIECES]
    weights[END] += 1.5 * sum(t > IMAGE for t in before[-4:]) if before[-1] != ASSISTANT else -5
    for i in (USER, ASSISTANT, IMAGE): weights[i] -= 20
    total = math.log(sum(map(math.exp, weights)))
    return [w - total for w in weights]


class Toy:
    def __init__(self, owner, spoil=lambda path, body: None, merges=False):
        self.owner, self.spoil, self.merges = owner, spoil, merges
        self.seen, self.bodies, self.turn = Counter(), [], threading.Lock()

    # what it is

    def prompt(self, messages, start=True, images=IMAGE_TOKENS):
        "Tokens of a conversation; a last turn of the assistant is left open where `start` is None."
        out = []
        for m in messages:
            out.append(USER if m["role"] == "user" else ASSISTANT)
            blocks = [{"type": "text", "text": m["content"]}] if isinstance(m["content"], str) else m["content"]
            text = []
            for b in blocks: text += tokens_of(b["text"]) if b["type"] == "text" else [IMAGE] * images
            if self.merges and m["role"] == "assistant" and text: out[-1], text = USER, [*text]      # another token at the border
            out += text + [END]
        if start is None: return out[:-1]
        return [*out, ASSISTANT] if start else out

    def path(self, text): return [*tokens_of(text), END]

    def score(self, messages, text):
        before, total = self.prompt(messages), 0.0
        for t in self.path(text):
            total += logs(before)[t]
            before = [*before, t]
        return total

    def written(self, before, most, only=()):
        "The tokens of a greedy reply, and whether it came to its end."
        said = []
        while len(said) < most:
            row = logs([*before, *said])
            said.append(max(only or range(len(PIECES)), key=row.__getitem__))
            if said[-1] == END: return said, "stop"
        return said, "length"

    # what it answers

    def answer(self, path, body):
        if path == "/v1/models": return {"object": "list", "data": [{"id": "toy", "object": "model", "owned_by": self.owner}]}
        if path == "/v1/chat/completions": return self.chat(body)
        known = {"vllm": ("/tokenize", "/detokenize"), "sglang": ("/tokenize", "/generate")}.get(self.owner, ())
        return getattr(self, path[1:])(body) if path in known else None

    def tokenize(self, body):
        start = None if body.get("continue_final_message") else body.get("add_generation_prompt", True)
        ids = self.prompt(body["messages"], start, 1)
        return {"tokens": ids, "count": len(ids), "max_model_len": 999}

    def detokenize(self, body): return {"prompt": "".join(PIECES[t] for t in body["tokens"])}

    def generate(self, body):
        ids = [i for t in body["input_ids"] for i in ([t] * IMAGE_TOKENS if t == IMAGE else [t])]
        assert ids.count(IMAGE) == IMAGE_TOKENS * len(body.get("image_data", ())) and body["return_logprob"]
        at = body["logprob_start_len"]
        told = [[None if i == at else logs(ids[:i])[ids[i]], ids[i], None] for i in range(at, len(ids))]
        return {"text": "x", "meta_info": {"prompt_tokens": len(ids), "completion_tokens": 1, "input_token_logprobs": told}}

    def chat(self, body):
        messages, open_turn = body["messages"], body.get("continue_final_message")
        before = self.prompt(messages, None if open_turn else True)
        said, finish = self.written(before, body["max_tokens"], body.get("allowed_token_ids", ()))
        text = "".join(PIECES[t] for t in said if t > IMAGE)
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
        out = {"choices": [choice], "usage": {"prompt_tokens": len(before), "completion_tokens": len(said)}}
        if self.owner == "vllm" and body.get("return_token_ids"): out["prompt_token_ids"], choice["token_ids"] = before, said
        if self.owner == "sglang" and finish == "stop": choice["matched_stop"] = END
        if self.owner == "unsaf" and "candidates" in body:
            choice["candidates"] = {c: self.score(messages, c) for c in body["candidates"]}
            if body.get("decide"): choice["message"]["content"] = max(choice["candidates"], key=choice["candidates"].get)
        if body.get("logprobs"): choice["logprobs"] = {"content": [self.told(body, [*before, *said[:i]], t) for i, t in enumerate(said)]}
        return out

    def told(self, body, before, token):
        row = logs(before)
        ids = body.get("logprob_token_ids") if self.owner == "vllm" else None
        ids = ids or sorted(range(len(row)), key=row.__getitem__)[::-1][:body.get("top_logprobs", 0)]
        def name(t): return f"token_id:{t}" if body.get("return_tokens_as_token_ids") else PIECES[t]
        return {"token": name(token), "logprob": row[token], "top_logprobs": [{"token": name(t), "logprob": row[t]} for t in ids]}

    # how it is reached

    def __enter__(self):
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self.http.daemon_threads, self.http.toy, self.url = True, self, f"http://127.0.0.1:{self.http.server_port}/v1"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": .02}, daemon=True).start()
        return self

    def __exit__(self, *exc):
        self.http.shutdown()
        self.http.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self): self.respond(None)
    def do_POST(self): self.respond(json.loads(self.rfile.read(int(self.headers["content-length"]))))

    def respond(self, body):
        toy = self.server.toy
        with toy.turn:
            toy.seen[self.path] += 1
            toy.bodies.append((self.path, body))
        spoilt = toy.spoil(self.path, body)
        if spoilt == "die":
            self.close_connection = True
            return self.connection.shutdown(socket.SHUT_RDWR)
        answer = toy.answer(self.path, body) if spoilt is None else None
        status, answer = spoilt or ((200, answer) if answer is not None else (404, {"error": {"message": "no such path"}}))
        data = json.dumps(answer).encode()
        self.send_response(status)
        for name, value in (("content-type", "application/json"), ("content-length", str(len(data)))): self.send_header(name, value)
        try:
            self.end_headers()
            self.wfile.write(data)
        except OSError: self.close_connection = True      # the client went away

    def log_message(self, *args): pass
