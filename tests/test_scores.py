"""Probabilities of given replies from servers: equal to the model's own where they are called exact, and none where they cannot be had."""
import asyncio, math
import pytest
from PIL import Image
from scoring_servers import PIECES, Toy, logs
from unsaf.assessment.run import abstention
from unsaf.core import ModelError, Picture, Reply, Request, Setting
from unsaf.metrics.calibration import choice_confidence
from unsaf.models.served.api import Api
from unsaf.models.served.candidates import Call, FirstTokens, Unscored, first_tokens
from unsaf.store import Store

pytest.importorskip("openai")
red = Picture("red", lambda: Image.new("RGB", (6, 6), "red"))
TEXTS = ("A", "B", "C", "D", "unanswerable")
EXACT = ("vllm", "sglang", "unsaf")


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"): monkeypatch.delenv(name, raising=False)


def asks(n=6, **fields): return [Request((red, f"Question {i}?"), **{"candidates": TEXTS, "max_tokens": 8, **fields}) for i in range(n)]
def api(toy, **options): return Api("toy", toy.url, **{"backoff": .01, "timeout": 20, "key_env": "", **options})
def ordered(model, requests): return sorted(model.generate(requests), key=lambda r: r.index)
def messages(request): return [{"role": "user", "content": [{"type": "image_url"}, {"type": "text", "text": request.text}]}]


def wanted(toy, request): return {text: toy.score(messages(request), text) for text in request.candidates}


@pytest.mark.promise("scored")
@pytest.mark.parametrize("owner", EXACT)
def test_whole_replies_are_scored_as_the_model_does(owner, capsys):
    with Toy(owner) as toy:
        model = api(toy)
        replies, plain = ordered(model, asks()), ordered(api(toy, scores=False), asks())
        for request, reply, alone in zip(asks(), replies, plain):
            assert reply.candidates == pytest.approx(wanted(toy, request), abs=1e-9) and reply.first_tokens is None
            assert (reply.text, reply.finish, reply.logprobs) == (alone.text, alone.finish, None) and alone.candidates is None
            p, over = abstention(reply)
            assert p == pytest.approx(math.exp(reply.candidates["unanswerable"])) and 0 < over < 1
    assert toy.seen["/v1/models"] == 1 and capsys.readouterr().err.count("gives the probabilities of whole replies") == 1
    assert not model.stats.unscored and model.counters.get("scoring_calls", 0) == model.stats.calls - len(replies)


@pytest.mark.parametrize("owner", EXACT)
def test_the_most_probable_reply_is_decided_for(owner):
    with Toy(owner) as toy:
        model = api(toy)
        assert model.decides
        for request, reply in zip(asks(decide=True), ordered(model, asks(decide=True))):
            best = wanted(toy, request)
            assert reply.text == max(best, key=best.get) and reply.candidates == pytest.approx(best) and reply.finish == "stop"
    assert toy.seen["/v1/models"] == 1


def test_what_is_not_asked_costs_nothing():
    "No detection without candidates, for a provider, or where it is switched off; one where the server is another."
    with Toy("vllm") as toy:
        ordered(api(toy), asks(candidates=()))
        for off in ({"scores": False}, {"omit": ("logprobs",)}): ordered(api(toy, **off), asks())
        assert set(toy.seen) == {"/v1/chat/completions"} and toy.seen.total() == 18
        assert {*toy.bodies[-1][1]} == {"model", "messages", "temperature", "max_tokens"}
    with Toy("llamacpp") as toy:
        model = api(toy)
        ordered(model, asks()), ordered(model, asks())
        assert toy.seen == {"/v1/models": 1, "/v1/chat/completions": 12} and not model.decides
        with pytest.raises(ModelError, match="does not give the probability of a given reply"): model.generate(asks(decide=True))
    assert Api("gpt-4o", "https://api.openai.com/v1").scoring.closed
    assert Api("m", "http://h/v1").identity == Api("m", "http://h/v1", scores=False).identity == {"api": "h/v1", "model": "m"}


def test_few_calls_for_vllm():
    "A candidate of n tokens takes n steps at most, none along the reply itself, and each reads what is before it as it was."
    with Toy("vllm") as toy:
        model = api(toy, concurrency=1)
        [reply] = model.generate(asks(1))
        steps = [b for p, b in toy.bodies if p.endswith("completions") and b.get("continue_final_message") and b.get("logprob_token_ids")]
        assert len(steps) <= 4 + 2 and all(b["max_tokens"] == 1 and "prompt_logprobs" not in b for b in steps)
        before = toy.seen.total()
        list(model.generate(asks(1)))
        assert toy.seen.total() - before == 1 + len(steps)      # tokens of candidates are looked up once
    assert reply.prompt_tokens > 6 * len(toy.prompt(messages(asks(1)[0]))) and reply.output_tokens >= 1 + len(steps)


def test_prices_count_every_call():
    with Toy("vllm") as toy:
        model = api(toy, prices=(1.0, 1.0))
        replies = ordered(model, asks(4))
    told = sum(r.prompt_tokens + r.output_tokens for r in replies)
    assert sum(r.cost for r in replies) == pytest.approx(told / 1e6) and model.stats.cost == pytest.approx(told / 1e6)


# no number where there is none

@pytest.mark.parametrize("owner", ("vllm", "sglang"))
def test_merging_tokenizers_give_no_number(owner, capsys):
    with Toy(owner, merges=True) as toy:
        model = api(toy)
        replies = ordered(model, asks())
    assert all(r.candidates is None and r.finish != "failed" for r in replies)
    assert capsys.readouterr().err.count("no probabilities of given replies") == 1


@pytest.mark.parametrize("owner, path, answer", [
    ("vllm", "/tokenize", (404, {})), ("vllm", "/tokenize", (200, {"tokens": "none"})), ("vllm", "/tokenize", (500, {})),
    ("sglang", "/tokenize", (422, {"detail": "prompt: field required"})), ("sglang", "/generate", (500, {"error": {"message": "no"}})),
    ("sglang", "/generate", (200, {"meta_info": {"prompt_tokens": 3, "input_token_logprobs": [[-.5, 1, None]]}})),
    ("unsaf", "/v1/models", (501, {}))])
def test_a_server_that_cannot_is_named_once(owner, path, answer, capsys):
    with Toy(owner, lambda p, body: answer if p == path else None) as toy:
        model = api(toy, concurrency=1)
        replies = ordered(model, asks())
        asked = model.stats.calls
        replies += ordered(model, asks())
    assert model.stats.calls == asked + 6 and model.scoring.closed
    assert all(r.candidates is None and r.finish in ("stop", "length") for r in replies)
    assert capsys.readouterr().err.count("no probabilities of given replies") == 1


def test_fields_that_are_rejected_are_left_out():
    def refuse(path, body):
        return (400, {"error": {"message": "logprob_token_ids: more than allowed"}}) if body and "logprob_token_ids" in body else None
    with Toy("vllm", refuse) as toy:
        model = api(toy, concurrency=8)
        replies = ordered(model, asks(12))
        assert all(r.candidates is None and r.finish in ("stop", "length") for r in replies) and model.scoring.closed
        assert not model.fields.refused and "refused" not in model.identity


def test_an_older_vllm_gives_no_number():
    "It takes no notice of fields that it does not know."
    class Older(Toy):
        def told(self, body, before, token): return super().told({k: v for k, v in body.items() if k != "logprob_token_ids"}, before, token)
    with Older("vllm") as toy:
        model = api(toy)
        assert all(r.candidates is None for r in ordered(model, asks())) and "needs vLLM 0.32" in str(model.stats.unscored)


def test_a_step_that_fails_costs_the_probabilities_alone():
    def fail(path, body):
        return (400, {"error": {"message": "no"}}) if body and body.get("continue_final_message") and body["messages"][-1]["content"] == "C" \
            and "Question 2?" in str(body) else None
    with Toy("vllm", fail) as toy:
        model = api(toy)
        replies = ordered(model, asks())
    assert [r.candidates is None for r in replies] == [i == 2 for i in range(6)] and replies[2].text
    assert dict(model.stats.unscored) == {"rejected (400): no": 1} and model.counters["unscored"] == 1


def test_a_server_that_dies_in_the_middle_of_scoring():
    steps = []
    def die(path, body):
        if body and body.get("logprob_token_ids") and body.get("continue_final_message"): steps.append(path)
        return "die" if len(steps) > 40 else None
    with Toy("vllm", die) as toy:
        model, came = api(toy, retries=2, concurrency=2, backoff=.002), []
        with pytest.raises(ModelError, match="answers nobody any more"):
            for reply in model.generate(asks(100)): came.append(reply)
    assert all(r.candidates is None or len(r.candidates) == 5 for r in came) and any(r.candidates for r in came)


def test_busy_servers_are_waited_for():
    seen = []
    def busy(path, body):
        seen.append(path)
        return (429, {"error": {"message": "slow down"}}) if len(seen) % 4 == 0 else None
    with Toy("vllm", busy) as toy:
        model = api(toy, retries=20, backoff=.002)
        assert all(r.candidates for r in ordered(model, asks(3))) and model.stats.retries["rate_limit"] > 3


# first tokens

def test_first_tokens_are_apart_from_whole_replies(tmp_path):
    with Toy("acme") as toy:
        model = api(toy, scores=True)
        replies = ordered(model, asks())
        assert toy.seen == {"/v1/models": 1, "/v1/chat/completions": 6} and not model.decides
        for request, reply in zip(asks(), replies):
            row = logs(toy.prompt(messages(request)))
            top = sorted(row)[::-1][:20]
            letters = {t: row[PIECES.index(t)] for t in "ABCD" if row[PIECES.index(t)] in top}
            assert {t: v for t, v in reply.first_tokens.items() if t in "ABCD"} == pytest.approx(letters)
            assert reply.candidates is None and abstention(reply) == (None, None)
    assert "first token" in model.note and model.identity["scores"] is True
    with Store(tmp_path) as store:
        store.put(store.add_model("m", {}), [("key", "ask", asks(1)[0], replies[0])])
        assert store.get(["key"])["key"].first_tokens == replies[0].first_tokens


def test_letters_are_read_from_first_tokens_where_all_are_told():
    whole = Reply("A", candidates={"A": math.log(.6), "B": math.log(.2)})
    first = Reply("A", first_tokens={"A": math.log(.3), "B": math.log(.1)})
    assert choice_confidence(whole, "A", "AB").renormalised == pytest.approx(.75) == choice_confidence(first, "A", "AB").renormalised
    with pytest.raises(ModelError, match="no probability for"): choice_confidence(first, "A", "ABC")
    assert first_tokens({"token": "A", "logprob": -9999.0}, TEXTS) == {} == first_tokens(None, TEXTS)


@pytest.mark.parametrize("more", [dict(message=dict(content="A", reasoning_content="A dog, I think.")),
                                  dict(usage=dict(completion_tokens=9, completion_tokens_details=dict(reasoning_tokens=7)))])
def test_the_first_token_of_a_thought_is_no_letter(more):
    "A server may take the thought out of the reply, and leave its tokens among the probabilities."
    choice = dict(message=dict(content="A"), logprobs=dict(content=[dict(token="A", logprob=-.1)]))
    call = Call(asks(1)[0], answer=dict(choices=[choice | {k: v for k, v in more.items() if k == "message"}], usage=more.get("usage", {})))
    with pytest.raises(Unscored, match="thought"): asyncio.run(FirstTokens("m").scores(call, None))
    plain = Call(asks(1)[0], answer=dict(choices=[choice]))
    assert asyncio.run(FirstTokens("m").scores(plain, None)) == {"A": pytest.approx(-.1)}


def test_an_assessment_has_p_abstain_from_a_server():
    import unsaf
    from unsaf.models.base import Scripted
    mc = "Question: What is red?\nA. the box\nB. the sky\nC. the sea\nD. the sun\n" * 2
    with Toy("vllm") as toy:
        class Writes:
            "The toy writes no lists of questions, so somebody else does."
            def __init__(self): self.model, self.name, self.template, self.decides = api(toy), "toy", "none", True
            def generate(self, requests):
                made = Scripted(lambda r: mc)
                yield from (self.model if requests[0].candidates else made).generate(requests)
        for mode in ("generate", "logit"):
            table = unsaf.assess(Writes(), unsaf.images("scenes", n=2), Setting.MC, k=2, answer_mode=mode, progress=False).table
            assert len(table) and table.p_abstain.notna().all() and table.p_abstain_choice.between(0, 1).all()
    assert set(table.reply) <= set(TEXTS)
