"""Does `Api` keep a server busy, and what does the harness cost for each call? Prints its tables.

    python benchmarks/bench_api.py [--quick]

A server in a process of its own speaks the protocol, holds `cap` calls at once, lets further ones queue, and takes a fixed time for each (or one
spread by what the call says, the same for every arm). On the very same calls, in turn: two bare load generators with prepared bodies (httpx2, a client
for each of its workers, and plain asyncio streams: the least that Python can do); `Api` alone; `Api` in `Cached` with a store on disk; `unsaf.assess`.
"busy" is the share of the server's places that was taken from the first call to the last, "full after" when all of them were taken first. `Api` starts
at as many calls as the server has places, but for one row where it has to find them. Ratios are of pairs in one round; medians over rounds.
"""
import argparse, asyncio, json, os, statistics, subprocess, sys, tempfile, threading, time, zlib
from queue import SimpleQueue
from urllib.request import urlopen
import httpx2
import numpy as np
from PIL import Image
import unsaf
from unsaf.core import Picture, Reply, Sample
from unsaf.models.served.api import Api
from unsaf.models.cache import Cached
from unsaf.models.base import Scripted
from unsaf.models.served.messages import body_of, data_uri

LISTS = {word: "\n".join(f"{i}. Question: {word} thing number {i}?" for i in range(1, 6)) for word in ("What is", "Who owns")}


def said(lists: bool, answerable: bool) -> str:
    "What every model here says: a list of five questions, or an answer."
    return LISTS["What is" if answerable else "Who owns"] if lists else "a thing"


# ------------------------------------------------------------------ the server

class Server:
    "Places, a queue before them, and a count of what happened."
    def __init__(self, seconds: float, cap: int, spread: float):
        self.seconds, self.cap, self.spread, self.busy, self.queue = seconds, cap, spread, 0, []
        self.forget()

    def forget(self):
        self.calls = self.peak = 0
        self.first, self.moved, self.taken, self.full = None, 0.0, 0.0, None

    def arrive(self, wire, body: bytes):
        now = time.perf_counter()
        if self.first is None: self.first = self.moved = now
        self.calls += 1
        self.queue.append((wire, body))
        self.peak = max(self.peak, self.busy + len(self.queue))
        self.fill()

    def step(self, by: int):
        now = time.perf_counter()
        self.taken += self.busy * (now - self.moved)
        self.moved, self.busy = now, self.busy + by
        if self.full is None and self.busy == self.cap: self.full = now - self.first

    def fill(self):
        while self.queue and self.busy < self.cap:
            wire, body = self.queue.pop(0)
            self.step(+1)
            odd = zlib.crc32(body[-200:]) / 2**32      # the end holds the question: the same for every arm
            asyncio.get_running_loop().call_later(self.seconds * (1 + self.spread * (2 * odd - 1)), self.done, wire, body)

    def done(self, wire, body: bytes):
        self.step(-1)
        text = said(b"Output Format:\\nQuestion" in body[-2000:], b"can be answered directly" in body[-2000:])
        wire.send({"id": "chatcmpl-0", "object": "chat.completion", "model": "m",
                   "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
                   "usage": {"prompt_tokens": 600, "completion_tokens": 3, "total_tokens": 603}})
        self.fill()

    def seen(self) -> dict:
        span = self.moved - (self.first or 0)
        return dict(calls=self.calls, peak=self.peak, busy=self.taken / self.cap / span if span > 0 else 0.0, full=self.full or float("inf"))


class Wire(asyncio.Protocol):
    "HTTP/1.1 with keep-alive, as little of it as the clients here need."
    server: Server
    def connection_made(self, transport): self.transport, self.parts, self.size, self.need, self.head = transport, [], 0, None, 0

    def data_received(self, data: bytes):
        self.parts.append(data)
        self.size += len(data)
        if self.need is None:
            start = b"".join(self.parts)
            self.parts, at = [start], start.find(b"\r\n\r\n")
            if at < 0: return
            lines = start[:at].lower().split(b"\r\n")
            self.head = at + 4
            self.need = self.head + next((int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:")), 0)
        if self.size < self.need: return
        whole, self.parts, self.size, self.need = b"".join(self.parts), [], 0, None
        if whole.startswith(b"POST"): self.server.arrive(self, whole[self.head:])
        else:
            if b"/forget" in whole[:40]: self.server.forget()
            self.send(self.server.seen())

    def send(self, answer: dict):
        body = json.dumps(answer).encode()
        self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body)


def serve(seconds: float, cap: int, spread: float):
    async def run():
        Wire.server = Server(seconds, cap, spread)
        server = await asyncio.get_running_loop().create_server(Wire, "127.0.0.1", 0, backlog=1024)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()
    asyncio.run(run())


class Remote:
    "The server, in a process of its own."
    def __init__(self, ms: float, cap: int, spread: float = 0.0):
        self.ms, self.cap, self.spread = ms, cap, spread

    def __enter__(self):
        command = [sys.executable, __file__, "--serve", str(self.ms / 1000), str(self.cap), str(self.spread)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.base = f"http://127.0.0.1:{int(self.process.stdout.readline())}"
        self.url = self.base + "/v1"
        return self

    def __exit__(self, *exc):
        self.process.kill()
        self.process.wait()

    def look(self, path: str = "seen") -> dict: return json.load(urlopen(f"{self.base}/{path}"))


# ------------------------------------------------------------------ what is asked

def pictures(n: int, size: int) -> list[Sample]:
    "`n` different made-up photographs of size x size pixels, decoded already: soft shapes with a little noise."
    def made(i):
        rng = np.random.default_rng(i)
        soft = np.asarray(Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8)).resize((size, size), Image.Resampling.BICUBIC))
        return Image.fromarray((soft.astype(int) + rng.integers(-3, 4, soft.shape)).clip(0, 255).astype(np.uint8))
    return [Sample(Picture(f"p{i}", lambda im=im: im)) for i, im in enumerate(map(made, range(n)))]


def talk(request) -> str: return said("Output Format:\nQuestion" in request.text, "can be answered directly" in request.text)


def requests_of(samples: list[Sample]) -> list:
    "All requests of an assessment of `samples`, in the order in which they are asked."
    model = Scripted(talk)
    unsaf.assess(model, samples, "oe", template="llava", progress=False)
    return model.asked


# ------------------------------------------------------------------ the arms

async def _workers(bodies: list[bytes], n: int, worker):
    todo = iter(bodies)
    await asyncio.gather(*(worker(todo) for _ in range(n)))


def bare_httpx(server: Remote, bodies: list[bytes], calls: int):
    async def worker(todo):
        async with httpx2.AsyncClient(trust_env=False, verify=False, timeout=60) as client:
            for body in todo:
                answer = await client.post(server.url + "/chat/completions", content=body, headers={"content-type": "application/json"})
                assert answer.status_code == 200
    asyncio.run(_workers(bodies, calls, worker))


def bare_streams(server: Remote, bodies: list[bytes], calls: int):
    async def worker(todo):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(server.base.rpartition(":")[2]))
        for body in todo:
            writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body))
            writer.write(body)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
        writer.close()
    asyncio.run(_workers(bodies, calls, worker))


def ours(server: Remote, calls: int, start: int | None = None) -> Api:
    return Api("m", server.url, concurrency=start or calls, max_concurrency=calls)


def api(server, asked, calls, start=None):
    assert sum(r.finish == "stop" for r in ours(server, calls, start).generate(asked)) == len(asked)


def kept(server, asked, calls):
    with tempfile.TemporaryDirectory() as folder, unsaf.Store(folder) as store:
        assert sum(r.finish == "stop" for r in Cached(ours(server, calls), store).generate(asked)) == len(asked)


def assess(server, samples, calls):
    with tempfile.TemporaryDirectory() as folder:
        assert len(unsaf.assess(ours(server, calls), samples, "oe", store=folder, progress=False).table) == 10 * len(samples)


def once(server: Remote, run) -> dict:
    "What one arm did, as the server and the clock of this process saw it."
    server.look("forget")
    start, cpu = time.perf_counter(), time.process_time()
    run()
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    seen = server.look()
    return seen | dict(wall=wall, rate=seen["calls"] / wall, cpu=cpu / seen["calls"] * 1e6)


HEAD = f"{'arm':34}{'calls':>7}{'peak':>6}{'calls/s':>9}{'busy':>7}{'full after s':>14}{'CPU us/call':>13}{'to httpx2':>11}{'to streams':>12}"


def rounds(server: Remote, arms: dict, n: int) -> dict:
    "Each arm in turn, `n` times over, in alternating order; prints a line an arm and returns them."
    took = {name: [] for name in arms}
    for i in range(n):
        for name in (list(arms) if i % 2 == 0 else list(arms)[::-1]): took[name].append(once(server, arms[name]))
    for name, found in took.items():
        middle = {k: statistics.median(f[k] for f in found) for k in found[0]}
        ratio = [statistics.median(f["rate"] / b["rate"] for f, b in zip(found, took[bare])) if bare in took else float("nan")
                 for bare in ("bare: httpx2", "bare: asyncio streams")]
        print(f"{name:34}{middle['calls']:7.0f}{middle['peak']:6.0f}{middle['rate']:9.0f}{middle['busy']:7.1%}{middle['full']:14.2f}{middle['cpu']:13.0f}"
              f"{ratio[0]:11.3f}{ratio[1]:12.3f}", flush=True)
    return took


def scenario(ms: float, cap: int, spread: float, size: int, n: int, n_rounds: int) -> None:
    "One server, all arms."
    samples = pictures(n, size)
    asked = requests_of(samples)
    with Remote(ms, cap, spread) as server:
        bodies = [body_of(ours(server, cap).fields.wanted(r), [data_uri(p) for p in r.pictures]) for r in asked]
        print(f"\n{len(asked)} calls of {statistics.mean(map(len, bodies)) / 1000:.0f} kB, {cap} places, {ms:g} ms"
              f"{f' +- {spread:.0%}' if spread else ''} a call: at most {cap / ms * 1000:.0f} calls/s; load {os.getloadavg()[0]:.1f}")
        print(HEAD)
        api(server, asked[:4], cap)      # imports, certificates
        rounds(server, {"bare: httpx2": lambda: bare_httpx(server, bodies, cap),
                        "bare: asyncio streams": lambda: bare_streams(server, bodies, cap),
                        "Api": lambda: api(server, asked, cap),
                        f"Api, starting at {max(2, cap // 8)}": lambda: api(server, asked, cap, max(2, cap // 8)),
                        "Cached(Api), store on disk": lambda: kept(server, asked, cap),
                        "assess, store on disk": lambda: assess(server, samples, cap)}, n_rounds)


# ------------------------------------------------------------------ a scripted model of 1 ms

class Instant:
    "A model in this process: every reply takes `ms`, and `places` are under way at once. Nothing else costs anything."
    def __init__(self, ms: float = 1.0, places: int = 256):
        self.name, self.template, self.seconds, self.places = "instant", "llava", ms / 1000, places

    def generate(self, requests):
        done, todo = SimpleQueue(), iter(enumerate(requests))
        async def worker():
            for i, request in todo:
                await asyncio.sleep(self.seconds)
                done.put(Reply(talk(request), index=i))
        async def all_of_them(): await asyncio.gather(*(worker() for _ in range(min(self.places, len(requests)))))
        thread = threading.Thread(target=lambda: asyncio.run(all_of_them()))
        thread.start()
        for _ in requests: yield done.get()
        thread.join()


def instant(n: int, n_rounds: int) -> None:
    "What the harness adds to a model of 1 ms a call, 256 under way."
    samples = pictures(n, 32)
    asked = requests_of(samples)
    def in_store(do):
        with tempfile.TemporaryDirectory() as folder: do(folder)
    def keep(folder):
        with unsaf.Store(folder) as store: list(Cached(Instant(), store).generate(asked))
    arms = {"the model alone": lambda: list(Instant().generate(asked)),
            "Cached, store in memory": lambda: list(Cached(Instant(), unsaf.Store()).generate(asked)),
            "Cached, store on disk": lambda: in_store(keep),
            "assess, store in memory": lambda: unsaf.assess(Instant(), samples, "oe", progress=False, block=256),
            "assess, store on disk": lambda: in_store(lambda folder: unsaf.assess(Instant(), samples, "oe", store=folder, progress=False, block=256))}
    took = {name: [] for name in arms}
    for _ in range(n_rounds):
        for name, run in arms.items():
            start, cpu = time.perf_counter(), time.process_time()
            run()
            took[name].append(((time.perf_counter() - start) / len(asked) * 1e6, (time.process_time() - cpu) / len(asked) * 1e6))
    alone = took["the model alone"]
    print(f"\n{len(asked)} calls of a scripted model, 1 ms each, 256 under way; load {os.getloadavg()[0]:.1f}")
    print(f"{'':28}{'wall us/call':>13}{'CPU us/call':>13}{'CPU added':>11}{'of the sum of service times':>29}{'wall to model alone':>21}")
    for name, found in took.items():
        wall, cpu = (statistics.median(f[k] for f in found) for k in (0, 1))
        added = statistics.median(f[1] - b[1] for f, b in zip(found, alone))
        print(f"{name:28}{wall:13.0f}{cpu:13.0f}{added:11.0f}{added / 1000:29.1%}{statistics.median(f[0] / b[0] for f, b in zip(found, alone)):21.2f}")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--quick", action="store_true", help="a minute")
    p.add_argument("--smoke", action="store_true", help="seconds; the numbers mean nothing")
    p.add_argument("--serve", nargs=3, type=float, help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.serve: return serve(a.serve[0], int(a.serve[1]), a.serve[2])
    if a.smoke:
        scenario(5, 8, 0, 16, 4, 1)
        return instant(4, 1)
    n, times = (40, 2) if a.quick else (192, 5)
    slow, few = (n, 1) if a.quick else (n // 2, 3)
    for ms, cap, spread, size in [(500, 64, 0, 64), (500, 64, .8, 64), (100, 64, 0, 64), (500, 64, 0, 448), (50, 64, 0, 64), (200, 256, 0, 64)]:
        if not a.quick or (ms, size) in ((500, 64), (100, 64)):
            scenario(ms, cap, spread, size, *((slow if size == 64 else n, few) if ms >= 500 else (n, times)))
    instant(n * 4, times)


if __name__ == "__main__": main()
