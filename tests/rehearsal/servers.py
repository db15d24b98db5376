"""Providers with their quirks, and a server of open weights: behind each a bundled model writes the replies.

    with providers({"GPT-4o": 9001, ...}) as there: there["GPT-4o"]

What a provider does is told from the text that it is asked, so a request that is repeated gets the same answer."""
import base64, hashlib, io, json, re, threading
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from PIL import Image
import unsaf
from faulty_server import Faulty, error, reply
from unsaf.core import Picture, Question, Reply, Request, Setting
from unsaf.models.base import collect
from unsaf.prompts.templates import FAMILY, answer_parts

FORM = FAMILY["gpt"].split("ASSISTANT:\n")[1]


def picture_of(url):
    data = base64.b64decode(url.partition(",")[2])
    return Picture(hashlib.sha256(data).hexdigest()[:12], lambda: Image.open(io.BytesIO(data)).convert("RGB"))


def posed(text):
    "Question and options of a request in J.3's form."
    question, *lines = text.partition("\nOutput format:")[0].removeprefix("Question: ").split("\n")
    options = re.findall(r"[A-D]\. (.*?)(?= [B-D]\. |$)", lines[0]) if lines and lines[0].startswith("A. ") else []
    return Question(question, Setting.MC, True, tuple(options)) if len(options) == 4 else Question(question, Setting.OE, True)


class Mind:
    "A bundled model, asked one call after the other; a request for a chain of thought gets its short answer in that form."
    def __init__(self, name):
        self.model, self.turn = unsaf.load(name), threading.Lock()

    def say(self, body):
        blocks = [b for b in body["messages"][-1]["content"]]
        shown = [picture_of(b["image_url"]["url"]) for b in blocks if b["type"] == "image_url"]
        text = "".join(b["text"] for b in blocks if b["type"] == "text")
        chain = text.endswith(FORM)
        parts = answer_parts(shown[0], posed(text)) if chain else (*shown, text)
        with self.turn: [said] = collect(self.model, [Request(parts, max_tokens=body.get("max_completion_tokens") or body.get("max_tokens") or 64)])
        if not chain: return replace(said, text=said.text.replace(" circle at the ", " ball at the "))      # COCO has balls
        able = "unanswerable" if said.text.strip().lower() == "unanswerable" else f"answerable: {said.text.strip()}"
        return Reply(f"cot: I look at the image, piece by piece., answerability: {able}, confidence: {3 + len(said.text) % 3}", said.finish,
                                prompt_tokens=said.prompt_tokens, output_tokens=(said.output_tokens or 0) + 12)


class Provider:
    "How often a text out of so many meets a quirk, and the quirk; `seen` counts them by name."
    def __init__(self, mind, *quirks):
        self.mind, self.quirks, self.asked, self.seen, self.turn = mind, quirks, Counter(), Counter(), threading.Lock()

    def __call__(self, call):
        digest = hashlib.sha256(json.dumps([call.body["messages"], call.body.get("seed")]).encode()).hexdigest()
        with self.turn:
            first = self.asked[digest, "met"] == 0
            self.asked[digest, "met"] += 1
        for quirk in self.quirks:
            if answer := quirk(call, int(digest[:8], 16), first):
                with self.turn: self.seen[quirk.__name__] += 1
                if answer.status == 200:
                    with self.turn: self.asked[digest, "paid"] += 1
                return answer
        said = self.mind.say(call.body)
        with self.turn: self.asked[digest, "paid"] += 1
        return reply(said.text, said.finish, (said.prompt_tokens or 0, said.output_tokens or 0))

    @property
    def paid(self):
        "Calls that were answered."
        return sum(n for (_, what), n in self.asked.items() if what == "paid")


# quirks: (call, a number that its text gives, whether it is new) -> an answer, or None for a proper one

def crowded(call, number, first):
    if first and number % 13 == 0: return error(429, "Rate limit reached for requests", {"retry-after-ms": "30"}, code="rate_limit_exceeded")

def renamed(call, number, first):
    if "max_tokens" in call.body:
        return error(400, "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
                     code="unsupported_parameter", param="max_tokens")

def refusing(call, number, first):
    if number % 61 == 1: return reply(None, refusal="I'm sorry, I can't assist with that.")

def filtering(call, number, first):
    if number % 67 == 1: return error(400, "The request was rejected because it was considered high risk", type="content_filter")

def sensitive(call, number, first):
    if number % 71 == 1: return reply("", "sensitive")

def overloaded(call, number, first):
    if first and number % 29 == 0: return error(503, "The engine is currently overloaded, please try again later", {"retry-after-ms": "30"})

def without_logprobs(call, number, first):
    if call.body.get("logprobs"): return error(400, "The parameter 'logprobs' is not supported with this model.", param="logprobs")


QUIRKS = {"GPT-4o": (renamed, crowded, refusing), "Moonshot-v1": (without_logprobs, crowded, overloaded, filtering),
          "GLM-4V-Plus": (without_logprobs, overloaded, sensitive), "MiniCPM-8B": ()}


@contextmanager
def providers(ports, tiny="tiny-l"):
    "{name: (Faulty server, Provider)} of the three commercial models, and of one that anybody may serve; `ports` by name."
    mind, out = Mind(tiny), {}
    with ExitStack() as stack:
        for name, quirks in QUIRKS.items():
            plan = Provider(mind, *quirks)
            out[name] = stack.enter_context(Faulty(plan, port=ports[name])), plan
        yield out
