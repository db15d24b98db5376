"""A page in a real browser: chromium without a head, driven over its own pipe with nothing but the standard library.

    with Browser(page, width=390) as tab: tab.key("j"); tab.js("document.title")
"""
import base64, json, os, re, shutil, subprocess, tempfile, time
from pathlib import Path

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CODES = {"Escape": 27, "ArrowRight": 39, "ArrowLeft": 37, "Enter": 13}


def data_of(text: str) -> dict:
    "The data that the gallery of a page draws."
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)[1])


def cards_of(text: str) -> list[dict]:
    "The cards of all settings of a page."
    return [card for run in data_of(text)["runs"] for card in run["cards"]]


class Browser:
    "A tab with `page`; `problems`: errors on its console, `asked`: what it asked for beside the page."
    def __init__(self, page: Path, width: int = 1280, height: int = 900, dark: bool = False, fragment: str = ""):
        self.url, self.size, self.dark = page.resolve().as_uri() + fragment, (width, height), dark
        self.number, self.problems, self.asked, self.session = 0, [], [], None

    def __enter__(self) -> "Browser":
        read, out = os.pipe()
        back, write = os.pipe()
        self.folder = tempfile.mkdtemp()
        def ends() -> None:      # it reads from 3 and writes to 4
            for here, there in ((read, 100), (write, 101), (100, 3), (101, 4)): os.dup2(here, there)
        self.process = subprocess.Popen([BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
                                         "--disable-background-networking", f"--user-data-dir={self.folder}", "about:blank"],
                                        preexec_fn=ends, close_fds=False, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        os.close(read)
        os.close(write)
        self.out, self.back, self.rest = out, back, b""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"): self.send(f"{domain}.enable")
        width, height = self.size
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        self.send("Emulation.setEmulatedMedia", features=[dict(name="prefers-color-scheme", value="dark" if self.dark else "light")])
        self.send("Page.navigate", url=self.url)
        self.until("document.readyState === 'complete'")
        return self

    def __exit__(self, *_) -> None:
        self.process.terminate()
        self.process.wait(30)
        os.close(self.out)
        os.close(self.back)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _message(self) -> dict:
        while b"\0" not in self.rest:
            more = os.read(self.back, 1 << 20)
            assert more, "the browser is gone"
            self.rest += more
        one, _, self.rest = self.rest.partition(b"\0")
        return json.loads(one)

    def send(self, method: str, **params) -> dict:
        self.number += 1
        call = dict(id=self.number, method=method, params=params) | (dict(sessionId=self.session) if self.session else {})
        os.write(self.out, json.dumps(call).encode() + b"\0")
        while (message := self._message()).get("id") != self.number: self._hear(message)
        assert "error" not in message, message
        return message["result"]

    def _hear(self, message: dict) -> None:
        "Errors, and requests that are neither the page nor data inside it."
        kind, told = message.get("method"), message.get("params", {})
        if kind == "Runtime.exceptionThrown": self.problems.append(told["exceptionDetails"].get("exception", {}).get("description", str(told)))
        if kind == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning"): self.problems.append(str(told["args"]))
        if kind == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"): self.problems.append(told["entry"]["text"])
        if kind == "Network.requestWillBeSent" and not told["request"]["url"].startswith(("data:", self.url.partition("#")[0])):
            self.asked.append(told["request"]["url"])

    def js(self, code: str):
        "The value of an expression in the page."
        found = self.send("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, code: str, seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while not self.js(f"!!({code})"):
            assert time.monotonic() < end, code
            time.sleep(.02)

    def frame(self) -> None: self.js("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def key(self, *keys: str) -> None:
        "Real presses, as of a hand."
        for key in keys:
            text = dict(text=key) if len(key) == 1 else {}
            for kind in ("keyDown", "keyUp"):
                code = CODES.get(key) or (ord(key.upper()) if key.isalnum() else 0)
                self.send("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **(text if kind == "keyDown" else {}))
        self.frame()

    def click(self, selector: str) -> None:
        self.js(f"document.querySelector({json.dumps(selector)}).scrollIntoView({{block: 'center'}})")
        x, y = self.js(f"(r => [r.x + r.width / 2, r.y + r.height / 2])(document.querySelector({json.dumps(selector)}).getBoundingClientRect())")
        for kind in ("mousePressed", "mouseReleased"): self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
        self.frame()

    def shot(self, path: Path, whole: bool = False) -> Path:
        Path(path).write_bytes(base64.b64decode(self.send("Page.captureScreenshot", captureBeyondViewport=whole)["data"]))
        return Path(path)
