"""What real servers answer: each answer with what is to become of it, played by `faulty_server`."""
import base64
import gzip
import io
import json
import random
import time
import zipfile
import zlib
from email.utils import formatdate
from pathlib import Path
import pytest
from PIL import Image
from faulty_server import Answer, Faulty, error, reply
from unsaf.core import ModelError, Picture, Reply, Request, UnsafError
from unsaf.data.files import FromBase64, FromZip
from unsaf.data.image_set import FromFile, FromMemory
from unsaf.models.served.address import checked_url, hidden, one_line, split_spec
from unsaf.models.served.api import Api, from_spec
from unsaf.models.cache import Cached
from unsaf.models.served.faults import Fault, fault_of, is_too_large, refused_options, retry_after
from unsaf.models.served.messages import finish_of, read_reply, understood
from unsaf.store import Store

CASES = json.loads((Path(__file__).parent / "cases" / "servers.json").read_text())
red = Picture("red", lambda: Image.new("RGB", (6, 6), "red"))
KEY = "sk-test-0123456789abcdef"


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"): monkeypatch.delenv(name, raising=False)


def asks(n, **fields): return [Request((red, f"question {i}"), **fields) for i in range(n)]
def api(server, **options): return Api("m", server.url, **{"backoff": .001, "timeout": 5, **options})
def case(kind): return next(Answer(c["status"], c["body"], c["headers"]) for c in CASES if c["kind"] == kind)
def answers(model, requests): return sorted(model.generate(requests), key=lambda r: r.index)


def stops(model, requests):
    "The line that ends a run, and the replies before it."
    came = []
    with pytest.raises(ModelError) as caught:
        for r in model.generate(requests): came.append(r)
    assert "\n" not in str(caught.value) and len(str(caught.value)) <= 300
    return str(caught.value), came


# the answers of the file

def one(kind, **options):
    with Faulty(lambda c: case(kind)) as server:
        model = api(server, **options)
        [r] = model.generate(asks(1))
    return r, len(server.calls)


@pytest.mark.promise("outcomes")
@pytest.mark.parametrize("kind", ["a 403 about the content of one request", "a 400 about the content of one request", "finish reason in capitals",
    "finish reason with a detail"])
def test_a_refused_content_is_an_outcome_and_the_run_goes_on(kind):
    with Faulty(lambda c: case(kind) if c.text.endswith(" 3") else None) as server: replies = answers(api(server), asks(12))
    assert [r.finish for r in replies] == ["stop"] * 3 + ["refused"] + ["stop"] * 8 and replies[3].error and len(server.calls) == 12


def test_length_in_another_word(): assert one("length in another vendor's word")[0].finish == "length"


@pytest.mark.parametrize("kind", ["only reasoning came back", "null content, cut in its reasoning"])
def test_only_reasoning(kind):
    r, calls = one(kind)
    assert (r.finish, calls, r.text) == ("failed", 1, "") and "only reasoning came back" in r.error and "--answer-tokens" in r.error
    assert ("length limit" in r.error) == (kind.startswith("null")) and r.output_tokens == 3


def test_an_error_with_status_200_keeps_its_words():
    r, _ = one("an error with status 200")
    assert r.finish == "failed" and "daily limit reached" in r.error


def test_a_code_as_text_is_a_rate_limit():
    with Faulty(lambda c: case("an error code as text") if c.nth == 0 else None) as server:
        model = api(server)
        [r] = model.generate(asks(1))
    assert r.finish == "stop" and dict(model.stats.retries) == {"rate_limit": 1}
    assert "slow down" in one("an error code as text", retries=1)[0].error


def test_temperature_named_in_the_message_alone(capfd):
    with Faulty(lambda c: case("temperature refused, named in the message only") if "temperature" in c.body else None) as server:
        model = api(server, concurrency=1)
        replies = answers(model, asks(20))
    assert {r.finish for r in replies} == {"stop"} and {r.left_out for r in replies} == {("temperature",)} and len(server.calls) == 21
    said = capfd.readouterr().err
    assert said.count("temperature") == 1 and "not greedy" in said and "not greedy" in model.note and model.identity["refused"] == ["temperature"]


def test_a_system_role_refused():
    with Faulty(lambda c: case("system role refused")) as server: said, _ = stops(api(server), asks(200, system="be brief"))
    assert "--template none" in said and "System role is not supported" in said and len(server.calls) <= 8


def test_events_that_nobody_asked_for():
    r, calls = one("events sent though none were asked for")
    assert (r.text, r.finish, calls) == ("B", "stop", 1)


def test_an_image_too_large():
    r, calls = one("picture too large")
    assert r.finish == "failed" and calls == 1 and "6 x 6 pixels" in r.error and "--max-side" in r.error and "MB" in r.error


@pytest.mark.parametrize("status, said, large", [
    (400, "image exceeds 5 MB maximum: 6291456 bytes > 5242880 bytes", True), (400, "image dimensions exceed max allowed size: 8000 pixels", True),
    (400, "Exceeded limit on max bytes per data-uri item : 10485760", True), (422, "[height:10000 or width:10000 must be smaller than 8192]", True),
    (422, "[height:4 or width:4 must be larger than 10]", False), (400, "maximum context length is 4096 tokens, the image has 3000", False),
    (431, "Request Header Fields Too Large", False), (413, "", True)])
def test_what_is_too_large(status, said, large): assert is_too_large(fault_of(status, {"error": {"message": said}}, {})) == large


# contents, keys, regions

@pytest.mark.parametrize("status, said", [
    (403, "Your chosen model requires moderation and your input was flagged for \"violence\""), (400,
    "Input data may contain inappropriate content."),
    (400, "Output data may contain inappropriate content."), (451, "Unavailable For Legal Reasons"), (400,
    "Output blocked by content filtering policy"),
    (400, "The response was filtered due to the prompt triggering Azure OpenAI's content management policy."), (403, "Blocked by guardrails: HATE"),
    (400, "Invalid prompt: your prompt was flagged as potentially violating our usage policy."), (400,
    "The request was rejected as a result of our safety system."),
    (400, "PROHIBITED_CONTENT"), (403, "This image contains sensitive material"), (400, "图片内容违规"), (400,
    "The image may violate our terms; your account may be suspended."),
    (422, "NSFW content detected"), (500, "content_filter triggered"), (403, "Request blocked due to policy: self-harm"),
    (400, "Content Exists Risk"), (400, "input new_sensitive"), (451, ""), (451, "Request blocked"), (400, "SAFETY"), (400, "RECITATION"),
    (403, "Content violates usage guidelines. API key ID: ab, Failed check: SAFETY_CHECK_TYPE_BIO"), (403, "Prompt was blocked"),
    (403, "blocked_by_safety_filter"), (400, "The image you provided contains nudity and cannot be processed."), (400, "the input content is not safe"),
    (400, "Content blocked: credit card number detected"), (400, "输入内容包含敏感词"), (400, "Le contenu a été bloqué par le filtre de contenu"),
    (403, "The prompt was flagged; contact your administrator")])
def test_content(status, said): assert fault_of(status, {"error": {"message": said, "code": status}}, {}).kind == "refused"


@pytest.mark.parametrize("status, said, kind", [
    (403, "Your API key does not have permission to use this model", "key"), (403, "no access", "key"), (403, "", "key"), (400,
    "API key not valid. Please pass a valid API key.", "key"),
    (400, "User location is not supported for the API use.", "key"), (403, "Country, region, or territory not supported", "key"), (403,
    "Your account has been flagged and suspended", "key"),
    (403, "Access denied by firewall", "key"), (401, "Your input was flagged", "key"), (403,
    "<html>Sorry, you have been blocked. You are unable to access this site</html>", "key"),
    (451, "This service is not available in your region", "key"), (403, "Key limit exceeded (total limit)", "key"), (400,
    "Your credit balance is too low", "quota"),
    (403, "Your account is in arrears: pay the outstanding balance", "quota"), (429, "sensitive to load: slow down", "rate_limit"), (503,
    "The model is overloaded. Content later", "overload"),
    (400, "prompt is too long", "rejected"), (400, "Invalid image: cannot be decoded", "rejected"),
    (400, "Schema violation: messages.0.content must be a string", "rejected"), (400, "Model names are case-sensitive", "rejected"),
    (400, "Additional properties are prohibited: seed", "rejected"), (403, "Request is prohibited by organization's policy", "key"),
    (403, "not authorized to perform: bedrock:InvokeModel because no identity-based policy allows the action", "key"),
    (403, "Blocked by network security policy", "key"), (403, "Your request was blocked.", "key"), (403, "Rate limit exceeded", "rate_limit"),
    (400, "Model Not Exist", "model"), (400, "The requested model 'x' does not exist", "model"), (400, "m is not a multimodal model", "rejected"),
    (500, "internal constraint violated", "server"), (424, "dependency failed", "rejected")])
def test_no_content(status, said, kind): assert fault_of(status, {"error": {"message": said}}, {}).kind == kind


@pytest.mark.parametrize("code", ["content_filter", "DataInspectionFailed", "data_inspection_failed", "ResponsibleAIPolicyViolation", 1301, "1301",
    "PROHIBITED_CONTENT", "content_policy_violation", "InputImageSensitiveContentDetected.PolicyViolation"])
@pytest.mark.parametrize("status", [400, 403, 451])
def test_content_by_its_code(status, code): assert fault_of(status, {"error": {"message": "no", "code": code}}, {}).kind == "refused"


@pytest.mark.parametrize("body, kind, words", [
    ({"error": {"message": "Forbidden", "code": 403, "metadata": {"reasons": ["sexual"], "flagged_input": ".."}}}, "refused", "Forbidden"),
    ({"error": {"message": "no", "innererror": {"content_filter_result": {"hate": {"filtered": True}}}}}, "refused", "no"),
    ({"error": {"message": "Provider returned error", "metadata": {"raw": '{"error": {"message": "Output blocked by content filtering policy"}}'}}},
     "refused", "Provider returned error: Output blocked"),
    ({"error": {"message": "Provider returned error", "metadata": {"raw": "no such key"}}}, "key", "no such key"),
    ({"error": {"message": "Provider returned error", "metadata": {"raw": None}}}, "key", "Provider")])
def test_what_stands_beside_the_message(body, kind, words):
    fault = fault_of(403, body, {})
    assert (fault.kind, words in fault.message) == (kind, True)


@pytest.mark.parametrize("reason, finish", [
    *((r, "refused") for r in ("SAFETY", "PROHIBITED_CONTENT", "RECITATION", "BLOCKLIST", "SPII", "IMAGE_SAFETY", "refusal", "guardrail_intervened",
    "content_filter: SAFETY",
                               "CONTENT_FILTER", "content-filter", "ContentFilter", ["content_filter"],
                               {"type": "content_filter"}, {"reason": "SAFETY"}, " safety ", ["stop", "content_filter"], "FinishReason.SAFETY")),
    *((r, "length") for r in ("MAX_TOKENS", "max_tokens", "max_output_tokens", "LENGTH", "length", ["length"], "model_length", "max_new_tokens",
                              {"finish": "length"})),
    *((r, "stop") for r in ("STOP", "end_turn", "eos", "stop_sequence", None, "", 7, True, [], {}, [[]], "COMPLETE", {"a": 1})), ("ERROR", "broken"),
    ("network_error", "broken"), ("insufficient_system_resource", "broken")])
def test_reasons_to_finish(reason, finish): assert finish_of(reason) == finish


@pytest.mark.parametrize("body, text, finish", [
    ({"choices": [], "promptFeedback": {"blockReason": "SAFETY"}}, "", "refused"), ({"promptFeedback": {"blockReason": "OTHER"}}, "", "refused"),
    ({"choices": [{"finish_reason": "stop", "message": {"content": [{"type": "thinking", "thinking": "C?"}, {"type": "text", "text": "B"}]}}]}, "B",
    "stop"),
    ({"choices": [{"finish_reason": "stop", "message": {"content": [{"type": "text", "text": {"value": "B"}}, "!", None, 3]}}]}, "B!", "stop"),
    ({"choices": [{"finish_reason": "stop", "message": {"content": "B", "reasoning_content": "C?"}}]}, "B", "stop"),
    ({"choices": [{"finish_reason": "stop", "message": {"content": [{"type": "refusal", "refusal": "no"}]}}]}, "", "refused"),
    ({"choices": [{"finish_reason": "stop", "native_finish_reason": "SAFETY", "message": {"content": ""}}]}, "", "refused"),
    ({"choices": {"0": {"message": {"content": "B"}}}}, "B", "stop"), ({"choices": [{"text": "B", "finish_reason": "length"}]}, "B", "length"),
    ({"choices": [{"message": {"content": [{"type": "thinking", "thinking": "C?"}]}}]}, "", "failed"), ({"choices": [{"message": {"content": "",
    "reasoning": "C?"}}]}, "", "failed"),
    ({"choices": [{"message": {"content": ""}}], "usage": {"completion_tokens": 64, "completion_tokens_details": {"reasoning_tokens": 64}}}, "",
    "failed"),
    ({"choices": [{"message": {"content": "", "reasoning": "", "reasoning_content": None}}]}, "", "stop"),
    ({"choices": [{"message": {"content": {"text": "B"}}}]}, "B", "stop"),
    ({"choices": [{"message": {"content": None}, "content_filter_results": {"hate": {"filtered": True}}}]}, "", "refused"),
    ({"choices": [{"message": {"content": "B"}, "content_filter_results": {"hate": {"filtered": False}}}]}, "B", "stop"),
    ({"choices": [], "prompt_filter_results": [{"content_filter_results": {"hate": {"filtered": True}}}]}, "", "refused"),
    ({"choices": [{"message": {"content": ""}}], "promptFeedback": {"blockReason": "SAFETY"}}, "", "refused"),
    ({"candidates": [{"finishReason": "SAFETY"}]}, "", "refused"), ({"data": {"choices": [{"message": {"content": "B"}}]}, "code": 0}, "B", "stop"),
    ({"choices": [{"message": {"content": "B"}, "finish_details": {"type": "max_tokens"}}]}, "B", "length"),
    ({"choices": [{"message": {"content": "B"}, "finish_reason": "stop"}], "error": {"code": 0, "message": "success"}}, "B", "stop"),
    ({"choices": [{"message": {"content": None}, "finish_reason": "length"}], "usage": {"completion_tokens": 64}}, "", "failed"),
    ({"choices": [{"message": {"content": "\n\n"}, "finish_reason": "length"}]}, "\n\n", "length")])
def test_messages(body, text, finish):
    r = read_reply(body)
    assert isinstance(r, Reply) and (r.text, r.finish) == (text, finish)


@pytest.mark.parametrize("body, words, kind", [
    ({"detail": "no such route"}, "no such route", "server"), ({"msg": "down", "code": 503}, "down", "overload"), ({"error": "text alone"},
    "text alone", "server"),
    ({"error": {"message": "bad key", "code": "401"}}, "bad key", "key"), ({"error": {"message": "x", "code": "rate_limit_exceeded"}}, "x",
    "rate_limit"),
    ([{"error": {"code": 429, "message": "RESOURCE"}}], "RESOURCE", "rate_limit"), ({"base_resp": {"status_code": 1004, "status_msg": "login fail"}},
    "login fail", "key"),
    ({"choices": [{"error": {"code": 502, "message": "upstream died"}, "finish_reason": "error", "message": {"content": ""}}]}, "upstream died",
    "server"),
    ({"error": {"message": "x", "code": "HTTP_429"}}, "x", "rate_limit"), ({"error": "Too many requests"}, "Too many", "rate_limit"),
    ({"error": {"code": "1302", "message": "您的账户已达到速率限制"}}, "速率", "rate_limit"), ({"error": {"message": "x", "code": 429.0}}, "x", "rate_limit"),
    ({"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}, "balance", "quota"),
    ({"base_resp": {"status_code": 1026, "status_msg": "input new_sensitive"}}, "sensitive", "refused"),
    ({"error": {"message": "died", "code": 429}, "choices": [{"message": {"content": ""}}]}, "died", "rate_limit"),
    ({"error": {"message": "flagged by moderation", "code": "403"}}, "flagged by moderation", "refused"), ({"errors": [{"message": "several"}]},
    "several", "server"),
    ({"choices": None}, "no choice", "malformed"), ({}, "no choice", "malformed"), ([], "no choice", "malformed"), (None, "no choice", "malformed"),
    (7, "no choice", "malformed")])
def test_errors_with_status_200(body, words, kind):
    fault = read_reply(body)
    assert isinstance(fault, Fault) and (words in fault.message, fault.kind) == (True, kind)


def test_tokens_of_reasoning_are_counted_and_stored(tmp_path):
    body = {"choices": [{"finish_reason": "stop", "message": {"content": "B", "reasoning_content": "C?"}}],
            "usage": {"prompt_tokens": 5, "completion_tokens": 90, "completion_tokens_details": {"reasoning_tokens": 88}}}
    with Faulty(lambda c: Answer(200, body)) as server, Store(tmp_path) as store:
        model = api(server)
        assert [r.reasoning_tokens for r in Cached(model, store).generate(asks(2))] == [88, 88]
        assert model.stats.reasoning_tokens == 176 and model.counters == {"reasoning_tokens": 176}
        assert [(r.reasoning_tokens, r.cached) for r in Cached(model, store).generate(asks(2))] == [(88, True)] * 2


# what the wire can bring

@pytest.mark.promise("failing")
@pytest.mark.parametrize("content", [
    b"[" * 50_000, b'{"choices":' * 3_000, b'{"choices":[{"message":{"content":' + b"[" * 900 + b"]" * 900 + b"}}]}",
    b"", b"\xff\xfe\x00", b"null", b"NaN", b"1" * 5_000, b"\x00",
    b'{"error":' * 900 + b"1" + b"}" * 900, b"\xef\xbb\xbf{}", b"data: [1, 2]\n\n",
    b"data: {\"choices\": 3}\n\ndata: [DONE]\n", b":\n\n" * 100, b"data:" * 1000])
@pytest.mark.parametrize("status", [200, 400, 500])
def test_any_content_is_a_reply_or_a_fault(status, content): assert isinstance(understood(status, {}, content), (Reply, Fault))


@pytest.mark.promise("failing")
def test_any_json_is_a_reply_or_a_fault():
    rng = random.Random(5)
    odd = [None, True, 0, -1, 1e999, float("nan"), 10 ** 40, "", "x", "429", "SAFETY", [], {}, "\ud800", "\x1b[31m"]
    names = ["choices", "message", "content", "finish_reason", "error", "code", "usage", "prompt_tokens", "completion_tokens",
        "completion_tokens_details", "reasoning_tokens",
             "logprobs", "logprob", "text", "type", "delta", "detail", "loc", "reasoning", "refusal", "promptFeedback", "blockReason",
             "0", "innererror", "param"]
    def some(depth):
        kind = rng.random()
        if depth == 0 or kind < .25: return rng.choice(odd)
        if kind < .45: return [some(depth - 1) for _ in range(rng.randrange(3))]
        return {rng.choice(names): some(depth - 1) for _ in range(rng.randrange(5))}
    for _ in range(1500):
        body = {"choices": [{"message": some(3), "finish_reason": some(1), "logprobs": some(3)}], "usage": some(2)} if rng.random() < .5 else some(5)
        for status in (200, rng.choice([400, 403, 429, 500])):
            found = understood(status, {}, json.dumps(body).encode(), (1.0, 2.0))
            assert isinstance(found, Fault) or (isinstance(found.text, str) and found.finish in ("stop", "length", "refused",
                "failed") and (found.prompt_tokens or 0) < 1e9)


@pytest.mark.parametrize("stream, text, finish", [
    ('data: {"choices":[{"delta":{"content":"B"}}]}\n\ndata: [DONE]\n\n', "B", "stop"),
    ('event: message\ndata: {"choices":[{"delta":{"content":"B"},"finish_reason":"length"}]}\n\n', "B", "length"),
    ('data: {"choices":[{"delta":{"reasoning_content":"C?"}}]}\r\n\r\ndata: {"choices":[{"delta":{"content":"B"}}]}\r\n\r\ndata: [DONE]\r\n', "B",
    "stop"),
    (': ping\n\ndata:{"choices":[{"delta":{"role":"assistant"}}]}\n\ndata:{"choices":[{"delta":{"content":"B"},"finish_reason":"stop"}]}\n\n', "B",
    "stop"),
    ('data: {"choices":[{"delta":{"reasoning_content":"C?"}}]}\n\ndata: [DONE]\n\n', "", "failed"),
    ('data: {"choices":[{"message":{"content":"B"}}]}\n\n', "B", "stop"),
    ('{"choices":[{"delta":{"content":"B"}}]}\n{"choices":[{"delta":{"content":"!"},"finish_reason":"stop"}]}\n', "B!", "stop"),
    ('data: {"choices":[{"delta":{"content":"B"},"finish_reason":"SAFETY"}]}\n\n', "B", "refused")])
def test_streams(stream, text, finish):
    r = understood(200, {"content-type": "text/event-stream"}, stream.encode())
    assert isinstance(r, Reply) and (r.text, r.finish) == (text, finish)


@pytest.mark.parametrize("stream, kind", [('data: {"error":{"message":"busy","code":"503"}}\n\n', "overload"),
    ('data: {"choices":[{"delta":{"content":"B"}}]}\n\n', "malformed"),
                                          ("event: done\n\n", "unusable"), ("data: hello\n\n", "unusable")])
def test_streams_that_are_none(stream, kind): assert understood(200, {"content-type": "text/event-stream"}, stream.encode()).kind == kind


def test_a_bomb_ends_at_the_limit():
    bomb = gzip.compress(b" " * (64 << 20), 1)
    with Faulty(lambda c: Answer(200, bomb, {"content-encoding": "gzip"})) as server: [r] = api(server).generate(asks(1))
    assert r.finish == "failed" and "larger than 32 MB" in r.error and len(server.calls) == 1
    with Faulty(lambda c: Answer(200, b"xx",
        {"content-encoding": "br"})) as server: assert "packed as br" in next(api(server).generate(asks(1))).error


def test_packed_answers():
    body = json.dumps(reply("B").body).encode()
    bare = zlib.compressobj(wbits=-15)
    packed = [(gzip.compress(body), "GZip"), (gzip.compress(body[:9]) + gzip.compress(body[9:]), "gzip"), (zlib.compress(body), "deflate"),
              (bare.compress(body) + bare.flush(), "deflate"), (body, "identity"), (b"\xef\xbb\xbf" + body, "none")]
    with Faulty(lambda c: Answer(200, packed[c.number][0], {"content-encoding": packed[c.number][1]})) as server:
        assert [r.text for r in api(server, concurrency=1, max_concurrency=1).generate(asks(6))] == ["B"] * 6 and len(server.calls) == 6


def test_a_page_in_the_place_of_an_answer_is_named():
    with Faulty(lambda c: Answer(200, "<html><title>Welcome</title></html>")) as server: said, _ = stops(api(server), asks(60))
    assert "a page, not JSON: Welcome" in said and "ends in /v1" in said and len(server.calls) <= 60
    assert understood(200, {}, b"").message == "the answer is empty"


@pytest.mark.promise("inert")
def test_no_escape_of_a_server_reaches_the_terminal(capfd):
    evil = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202eno\r\nunsaf: all is well"
    with Faulty(lambda c: error(401, evil)) as server: said, _ = stops(api(server), asks(1))
    with Faulty(lambda c: error(400, evil)) as server: [r] = api(server).generate(asks(1))
    for text in (said, r.error, one_line(evil)): assert text.isprintable() and "[2J" not in text and "owned" not in text
    assert "\x1b" not in capfd.readouterr().err


# options that a model refuses

@pytest.mark.parametrize("said, options", [
    ("Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.", ("max_tokens",)),
    ("'temperature' does not support 0 with this model. Only the default (1) value is supported.", ("temperature",)),
    ("invalid temperature: only 1 is allowed for this model", ("temperature",)),
    ("`temperature` is deprecated for this model.", ("temperature",)), ("temperature: must be strictly positive", ("temperature",)),
    ("Unknown name \"seed\": Cannot find field.", ("seed",)),
    ("property 'seed' is unsupported", ("seed",)), ("seed: Extra inputs are not permitted", ("seed",)), ("logprobs is not supported", ("logprobs",)),
    ("This model does not support the temperature parameter", ("temperature",)), ("`temperature` may only be set to 1 when thinking is enabled",
    ("temperature",)),
    ("`top_p` must be unset", ("top_p",)), ("System messages are not supported by this model", ("system",)), ("role 'system' is not supported", ("system",)),
    ("Unsupported value: 'messages[0].role' does not support 'system' with this model.", ("system",)),
    ("max_tokens is too large: 512. This model supports at most 64", ()),
    ("This model's maximum context length is 4096 tokens, however you requested 5000 (512 in max_tokens)", ()), ("the system is overloaded", ()),
    ("temperature", ()), ("Setting 'temperature' isn't allowed", ("temperature",)), ("Please omit temperature", ("temperature",)),
    ("temperature パラメータはサポートされていません", ("temperature",)), ("Die Option temperature wird nicht unterstützt", ("temperature",)),
    ("Range of max_tokens should be [1, 8192]", ()), ("Invalid value: 'system'. Supported values are: 'user' and 'assistant'.", ("system",)),
    ("After the optional system message, conversation roles must alternate user/assistant", ()),
    ("An unexpected error occurred at room temperature sensors", ("temperature",))][:-1])
def test_refused_options(said, options): assert refused_options(said) == options


@pytest.mark.parametrize("option, request_fields, options", [
    ("seed", {"temperature": .7, "seed": 5}, {}), ("logprobs", {}, {"logprobs": True}), ("top_p", {}, {"extra_body": {"top_p": .5}}), ("max_tokens",
    {}, {}), ("temperature", {}, {})])
@pytest.mark.parametrize("status", [400, 422])
def test_a_refused_option_is_left_out(status, option, request_fields, options, tmp_path):
    refuse = lambda c: error(status, f"Unsupported parameter: '{option}' is not supported with this model.") if option in c.body else None
    with Faulty(refuse) as server, Store(tmp_path) as store:
        kept = Cached(api(server, concurrency=1, **options), store)
        assert {r.left_out for r in kept.generate(asks(5, **request_fields))} == {(option,)} and len(server.calls) == 6
        assert kept.identity["refused"] == [option] and ("max_completion_tokens" in server.calls[-1].body) == (option == "max_tokens")
        again = Cached(api(server, concurrency=1, **options), store)      # another process, another day
        replies = answers(again, asks(7, **request_fields))
        assert [r.cached for r in replies] == [True] * 5 + [False] * 2 and len(server.calls) == 8 and again.identity == kept.identity
        meant = Cached(api(server, concurrency=1, omit=(option,), **options), store)      # the same on purpose is another identity
        assert not any(r.cached for r in meant.generate(asks(1, **request_fields))) or option == "top_p"


def test_replies_before_the_refusal_are_found_too(tmp_path):
    refuse = lambda c: error(400, "temperature is not supported") if "temperature" in c.body and c.number >= 3 else None
    with Faulty(refuse) as server, Store(tmp_path) as store:
        one = answers(Cached(api(server, concurrency=1, max_concurrency=1), store), asks(6))
        assert [r.left_out for r in one] == [()] * 3 + [("temperature",)] * 3 and len(server.calls) == 7
        assert all(r.cached for r in Cached(api(server), store).generate(asks(6))) and len(server.calls) == 7


def test_an_assessment_that_adapted_is_the_same_run_again(tmp_path):
    import unsaf
    refuse = lambda c: error(400, "temperature is not supported") if "temperature" in c.body else reply("1. Question: Is it red?")
    with Faulty(refuse) as server:
        runs = [unsaf.assess(api(server), [red], k=1, store=tmp_path, progress=False) for _ in range(2)]
        calls = len(server.calls)
        saved = unsaf.assess(api(server, retries=0), [red], k=1, store=tmp_path, progress=False)
    assert runs[0].identity == runs[1].identity and runs[0].identity["refused"] == ["temperature"] and runs[0].run_id == runs[1].run_id == saved.run_id
    assert len(server.calls) == calls and runs[1].calls["asked"] == 0 and "not greedy" in runs[1].note


def test_an_option_that_is_complained_of_for_ever_ends():
    with Faulty(lambda c: error(400, "temperature is not supported")) as server: [r] = api(server).generate(asks(1))
    assert r.finish == "failed" and len(server.calls) == 2


def test_omit():
    with Faulty() as server:
        list(api(server, omit=("temperature", "seed", "max_tokens", "system", "logprobs"), logprobs=True).generate(asks(1, temperature=.5,
            system="x")))
        assert set(server.calls[0].body) == {"model", "messages"} and len(server.calls[0].body["messages"]) == 1
    with pytest.raises(ModelError, match="omit can leave out temperature.*, not model"): Api("m", "http://h/v1", omit=("model",))
    assert Api("m", "http://h/v1", omit="seed").omit == ("seed",)


# runs that only fail, servers that are sick

@pytest.mark.parametrize("answer, words", [
    (error(400, "no field 'messages'"), "8 x rejected (400)"), (error(422, "bad"), "--omit"), (Answer(413, "<html>413</html>"), "--max-side"),
    (error(400, "this model takes no image_url"), "may take no images"), (error(418, "teapot"), "8 x rejected (418): teapot")])
def test_a_run_whose_first_requests_are_all_rejected_stops(answer, words):
    with Faulty(lambda c: answer) as server: said, came = stops(api(server), asks(300))
    assert words in said and "the first 8 requests all ended in" in said and len(server.calls) <= 16 and len(came) <= 8


def test_rejections_among_replies_stop_nothing():
    with Faulty(lambda c: error(400, "odd") if c.number % 8 else None) as server: replies = answers(api(server), asks(80))
    assert len(replies) == 80 == len(server.calls)
    both = iter([error(400, "odd"), error(422, "even")] * 40)
    with Faulty(lambda c: next(both)) as server: assert len(answers(api(server), asks(40))) == 40


@pytest.mark.promise("sick")
def test_500_to_everything_is_given_up_soon():
    with Faulty(lambda c: "500") as server: said, _ = stops(api(server), asks(120))
    assert "answers nobody any more" in said and "internal" in said and len(server.calls) <= 45


@pytest.mark.promise("sick")
def test_a_hang_in_the_middle_is_given_up():
    with Faulty(lambda c: "hang" if c.number >= 50 else None) as server: said, came = stops(api(server, timeout=.4), asks(668))
    assert "timeout" in said and len(came) >= 20 and len(server.calls) <= 50 + 64 + 30


def test_a_server_that_comes_back_is_not_given_up(capfd):
    with Faulty(lambda c: "503" if 20 <= c.number < 36 else None) as server:
        model = api(server, concurrency=4, max_concurrency=4)
        assert {r.finish for r in model.generate(asks(100))} == {"stop"}
    assert capfd.readouterr().err.count("is asked less now") == 1 and not model.pace.sick


def test_one_image_that_breaks_the_server_stops_nothing():
    ill = Picture("ill", lambda: Image.new("RGB", (6, 6), "blue"))
    requests = [Request((ill if 20 <= i < 28 else red, f"question {i}")) for i in range(60)]
    blue = {f"question {i}" for i in range(20, 28)}
    for most in (1, 8):      # one at a time, and several
        with Faulty(lambda c: "500" if c.text in blue else None) as server:
            replies = answers(api(server, concurrency=most, max_concurrency=most, retries=2), requests)
        assert [r.index for r in replies if r.finish == "failed"] == list(range(20, 28))


def test_a_long_pause_holds_for_all_and_is_told(monkeypatch, capfd):
    monkeypatch.setattr("unsaf.models.served.pace.LONG", .1)
    with Faulty(lambda c: error(429, "slow down", {"retry-after": "1"}) if c.number == 0 else None) as server:
        assert len(answers(api(server, concurrency=2, max_concurrency=2), asks(40))) == 40
    first = server.calls[0].at
    assert sum(c.at - first < .9 for c in server.calls) <= 4 and "asks for a pause" in capfd.readouterr().err


def test_a_pause_that_is_too_long_ends_the_run():
    with Faulty(lambda c: error(429, "come back tomorrow", {"retry-after": "86400"})) as server: said, _ = stops(api(server), asks(600))
    assert "a pause of 86,400 s" in said and "come back tomorrow" in said and len(server.calls) <= 8


def test_a_date_is_measured_against_the_date_of_the_answer():
    wrong_clock = time.time() - 7200
    assert retry_after({"retry-after": formatdate(wrong_clock + 300, usegmt=True), "date": formatdate(wrong_clock, usegmt=True)}) == 300
    assert retry_after({"retry-after": formatdate(wrong_clock + 300, usegmt=True), "date": "yesterday"}) == 0
    dated = {"retry-after": formatdate(wrong_clock + 1, usegmt=True), "date": formatdate(wrong_clock, usegmt=True)}
    with Faulty(lambda c: error(429, "slow down", dated) if c.number == 0 else None) as server:
        answers(api(server, concurrency=1, max_concurrency=1), asks(3))
    assert server.calls[1].at - server.calls[0].at > .9


def test_a_silent_server_is_not_said_to_ask_for_a_pause(monkeypatch, capfd):
    monkeypatch.setattr("unsaf.models.served.pace.LONG", .001)
    with Faulty(lambda c: "500") as server: stops(api(server), asks(60))
    assert "does not answer" in (said := capfd.readouterr().err) and "asks for a pause" not in said


# addresses

@pytest.fixture(scope="module")
def meant_by_nobody():
    with Faulty() as server: yield server


@pytest.mark.promise("elsewhere")
@pytest.mark.parametrize("spec", [
    "m@vllm.internal/v1", "m@htp://host:8000/v1", "m@localhost/v1", "m@//host:8000/v1", "m@[::1]:8000/v1", "m@host:8000", "m@http:/host",
    "m@http//host", "m@ws://host/v1", "m@localhost",
    "m@127.0.0.1", "m@api.example.com", "m@HTTP:host", "m@https", "m@host:8000/v1/", "m@user:pw@host/v1", "m@user:pw@host", "m@http://",
    "m@http:///v1", "m@http://:80", "m@", "m@ ", "m@?x=1",
    "m@http://h:99999/v1", "m@http://a b/v1", "m@http://http://h/v1", "http://host/v1", "m http://host/v1", "m＠http://host/v1", "m@host\\v1",
    "m@http：//host/v1", "m@host:", "a/b@c/d@e/f", "m@::1", "m@host:80oo", "m@host;8000", "m@host,8000", "m@#x", "m@пример.рф", "m@xn--e1.xn--p1ai",
    "m@example.com.", "m@2130706433:80", "m@0x7f.1:80", "m@http://256.1.1.1/v1", "m@http://1.2.3/v1", "m@http://h/a@b/v1", "m@http://u:p@pw/w@h:1/v1",
    "m@http://ｈｏｓｔ/v1", "m@http://h/\u202ev1", "m@http://[::1/v1", "m@http://[zz]/v1", "m@http://h:0/v1", "m@http://h:-1/v1", "m@http://-h/v1",
    "m@http://h..x/v1", "m@file:///etc/passwd", "m@unix:///s", "m@data:x", "m@ http ://h", "m@\thttp://h/v1", "127.0.0.1:8000", "localhost", "//h:80/m",
    "@", "@http://h/v1", "m@main:7b", "m@https:\\\\h\\v1"])
def test_a_slip_in_an_address_is_one_line_and_nobody_is_asked(spec, monkeypatch, meant_by_nobody):
    monkeypatch.setenv("OPENAI_BASE_URL", meant_by_nobody.url)
    with pytest.raises(ModelError) as caught: list(from_spec(f"api:{spec}").generate(asks(1)))
    assert not meant_by_nobody.calls and "\n" not in str(caught.value) and "pw" not in str(caught.value)


@pytest.mark.parametrize("spec, name, url", [
    ("m@HTTP://host/v1", "m", "http://host/v1"), ("m@hTTps://Host.Example:8443/v1/", "m", "https://host.example:8443/v1"),
    ("claude-3-5-sonnet@20240620", "claude-3-5-sonnet@20240620", None),
    ("publishers/x@v1.5", "publishers/x@v1.5", None), ("org/model@main", "org/model@main", None), ("llava:7b", "llava:7b", None),
    ("qwen/qwen2-vl@2024-05", "qwen/qwen2-vl@2024-05", None),
    ("anthropic.claude-v2:0", "anthropic.claude-v2:0", None), ("org/m@0123abcd", "org/m@0123abcd", None), ("q/q@2024-05:free", "q/q@2024-05:free", None),
    ("m@sha256:0a1b", "m@sha256:0a1b", None), ("/models/llava", "/models/llava", None), ("m@1.0.3", "m@1.0.3", None),
    ("llava:13b@http://localhost:11434/v1/", "llava:13b", "http://localhost:11434/v1"), ("/data/q@http://h:65535", "/data/q", "http://h:65535"),
    ("m@https://müller.example/v1", "m", "https://xn--mller-kva.example/v1"), ("@cf/meta/llama",
    "@cf/meta/llama", None),
    ("m@http://[::1]:8000/v1", "m", "http://[::1]:8000/v1"), ("m@2024@http://h/v1", "m@2024", "http://h/v1"), ("m@http://h/v1/chat/completions", "m",
    "http://h/v1"),
    ("m@host/x@http://h/v1", None, None), ("m@http://u:p@h/v1", "m", "http://h/v1")])
def test_addresses(spec, name, url, capfd):
    if name is None:
        with pytest.raises(ModelError): split_spec(f"api:{spec}")
        return
    model = from_spec(f"api:{spec}")
    assert (model.name, model.url) == (name, url or "https://api.openai.com/v1")
    first = capfd.readouterr().err.splitlines()[-1]
    assert model.url.partition("/v1")[0] in first and "images" in first


@pytest.mark.parametrize("url", ["vllm.internal/v1", "localhost:8000", "htp://h", "http:/h", "h", "http://h:port"])
def test_the_address_in_the_environment_is_checked(url, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    with pytest.raises(ModelError, match="OPENAI_BASE_URL"): Api("m")


def test_parameters_of_an_address_are_kept():
    with Faulty() as server:
        model = Api("m", server.url + "/?api-version=2024-10-21", backoff=.001)
        assert [r.finish for r in model.generate(asks(1))] == ["stop"]
    assert server.calls[0].path == "/v1/chat/completions?api-version=2024-10-21" and model.identity["api"].endswith("/v1?api-version=2024-10-21")
    assert checked_url("https://h/v1?api-version=1&key=hunter2&sig=x") == ("https://h/v1", "?api-version=1")


@pytest.mark.promise("elsewhere")
@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_a_redirect_to_another_origin_gets_nothing(status, monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)
    with Faulty() as other, Faulty(lambda c: Answer(status, "", {"location": other.url.replace("//",
        "//me:hunter2@") + "/chat/completions?k=" + KEY})) as server:
        said, _ = stops(api(server, key_env="MY_KEY"), asks(50))
    assert not other.calls and len(server.calls) <= 8 and other.url.removesuffix("/v1") in said and KEY not in said and "hunter2" not in said


def test_redirects_within_the_origin_are_followed_a_few_times():
    with Faulty(lambda c: Answer(307, "", {"location": "/v1/chat/completions?moved"}) if "moved" not in c.path else None) as server:
        assert [r.text for r in api(server).generate(asks(1))] == ["question 0"] and [c.path[-6:] for c in server.calls] == ["etions", "?moved"]
    with Faulty(lambda c: Answer(307, "", {"location": "/v1/chat/completions"})) as server: said, _ = stops(api(server), asks(1))
    assert "again and again" in said and len(server.calls) == 4


# secrets

@pytest.mark.promise("keys")
@pytest.mark.parametrize("key", ["sk-proj-abcDEF123", "gsk_a1B2c3D4e5F6", "AIzaSyA-1234_abc", "hf_abcdefghij", "AKIAIOSFODNN7EXAMPLE",
    "sk_live_51Habc", "my secret key"])
def test_a_key_typed_in_the_place_of_its_variable_is_not_repeated(key, capfd):
    with Faulty() as server:
        with pytest.raises(ModelError) as caught: list(api(server, key_env=key).generate(asks(1)))
    assert key not in str(caught.value) + capfd.readouterr().err and not server.calls


@pytest.mark.promise("keys")
@pytest.mark.parametrize("name", ["hf:http://me:hunter2@host/x", "http://me:hunter2@host/v1", "hf:me:hunter2@host/x",
    "replay:https://me:hunter2@host", "api:m@me:hunter2@host:1/v1",
                                  "api:m@ftp://me:hun/ter2@host/v1", "api:m@http://me:hunter2@host:port/v1", "api:me:hunter2@host:80/v1", "api:me:hunter2@host",
                                  "api:me:hun@hunter2@host/v1", "API:m@me:hunter2@host", "api:m@http://me:hun@hunter2/@host/v1"])
def test_passwords_are_never_printed(name, capfd):
    import unsaf
    from unsaf.models.loading import checkpoint_of
    for open_it in (unsaf.load, checkpoint_of) if not name.startswith(("api:", "replay:")) else (unsaf.load,):
        with pytest.raises(UnsafError) as caught: open_it(name)
        assert "unter2" not in str(caught.value) and "ter2" not in hidden(str(caught.value)) and "\n" not in str(caught.value)
    assert "unter2" not in capfd.readouterr().err


@pytest.mark.promise("keys")
def test_a_password_in_an_address_is_stored_nowhere(tmp_path, capfd):
    with Faulty() as server:
        model = from_spec("api:m@" + server.url.replace("//", "//me:hunter2@") + "?token=hunter2", backoff=.001)
        with Store(tmp_path) as store: list(Cached(model, store).generate(asks(1)))
    assert "hunter2" not in repr(model) + str(vars(model)) + capfd.readouterr().err
    assert not any(b"hunter2" in p.read_bytes() for p in tmp_path.iterdir())


# images as they are

def photo(path, size=(400, 300), **options):
    im = Image.effect_noise(size, 80).convert("RGB")
    im.save(path, **options)
    return Picture(path.name, FromFile(str(path)))


def sent(call):
    return [base64.b64decode(uri.partition(",")[2]) for uri in call.images]


@pytest.mark.parametrize("name, kind", [("a.jpg", "jpeg"), ("a.png", "png"), ("a.webp", "webp")])
def test_a_file_goes_out_as_it_is(name, kind, tmp_path):
    picture = photo(tmp_path / name)
    data = (tmp_path / name).read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive: archive.writestr(name, data)
    others = [Picture("b", FromBase64(base64.b64encode(data).decode())), Picture("c", FromZip(str(tmp_path / "a.zip"), name)), Picture("d", FromMemory(data))]
    with Faulty() as server: list(api(server).generate([Request((p, "q")) for p in (picture, picture.pinned(), *others)]))
    assert [sent(c) for c in server.calls] == [[data]] * 5 and server.calls[0].images[0].startswith(f"data:image/{kind};base64,")


def test_what_is_not_upright_or_opaque_goes_out_as_pixels(tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 6
    pictures = [photo(tmp_path / "turned.jpg", exif=turned), photo(tmp_path / "a.bmp")]
    Image.new("RGBA", (5, 5), (255, 0, 0, 90)).save(tmp_path / "clear.png")
    pictures.append(Picture("clear.png", FromFile(str(tmp_path / "clear.png"))))
    noise = Image.effect_noise((40, 30), 80)
    noise.convert("CMYK").save(tmp_path / "cmyk.jpg")
    noise.convert("RGB").save(tmp_path / "two.png", save_all=True, append_images=[Image.new("RGB", (40, 30))])
    Image.new("I;16", (40, 30), 40_000).save(tmp_path / "deep.png")
    pictures += [Picture(name, FromFile(str(tmp_path / name))) for name in ("cmyk.jpg", "two.png", "deep.png")]
    with Faulty() as server: list(api(server, concurrency=1, max_concurrency=1).generate([Request((p, "q")) for p in pictures]))
    for picture, call in zip(pictures, server.calls):
        assert call.images[0].startswith("data:image/png") and Image.open(io.BytesIO(sent(call)[0])).tobytes() == picture.pixels().tobytes()


def test_images_are_scaled_for_those_who_want_it(tmp_path):
    picture = photo(tmp_path / "a.jpg", (1200, 900))
    sizes = []
    for limits in ({"max_side": 300}, {"max_side": 1200}, {"max_bytes": 40_000}, {"max_side": 100, "max_bytes": 1000}):
        with Faulty() as server: list(api(server, **limits).generate([Request((picture, "q"))]))
        sizes.append((Image.open(io.BytesIO(sent(server.calls[0])[0])).size, len(sent(server.calls[0])[0])))
    assert sizes[0][0] == (300, 225) and sizes[1] == ((1200, 900),
        (tmp_path / "a.jpg").stat().st_size) and sizes[2][1] <= 40_000 and sizes[3][1] <= 1000
    plain, small = Api("m", "http://h/v1"), Api("m", "http://h/v1", max_side=300, max_bytes=9)
    assert "max_side" not in plain.identity and small.identity["max_side"] == 300 and small.identity["max_bytes"] == 9
    assert "300 pixels a side" in small.note and not plain.note
    for wrong in ({"max_side": 0}, {"max_bytes": -1}, {"max_side": 1.5}):
        with pytest.raises(ModelError): Api("m", "http://h/v1", **wrong)


# the command line

def test_the_command_line_takes_the_options(tmp_path, capfd):
    from typer.testing import CliRunner
    from unsaf.cli.main import app
    picture = tmp_path / "images" / "a.jpg"
    picture.parent.mkdir()
    photo(picture)
    refuse = lambda c: error(400, "top_p is not supported") if "top_p" in c.body else reply("1. Question: Is it red?")
    with Faulty(refuse) as server:
        done = CliRunner().invoke(app, ["assess", "--model", f"api:m@{server.url}", "--images", str(picture.parent), "--k", "1", "--store",
            str(tmp_path / "run"), "--no-report",
                                        "--template", "none", "--omit", "temperature,seed", "--extra-body", '{"top_p": 0.5}',
                                        "--answer-tokens", "300", "--question-tokens", "900",
                                        "--timeout", "9", "--retries", "1", "--max-side", "100"])
    said = capfd.readouterr().err + done.stderr
    assert done.exit_code in (0, 4) and server.url.removesuffix("/v1") in said.splitlines()[0] and said.count("top_p") == 1
    assert {c.body["max_tokens"] for c in server.calls} == {300, 900} and not any("temperature" in c.body for c in server.calls)
    card = json.loads((tmp_path / "run" / "scores-oe.json").read_text())
    assert card["identity"]["max_side"] == 100 and card["identity"]["refused"] == ["top_p"] and card["identity"]["omit"] == ["temperature", "seed"]
    assert card["plan"]["answer_tokens"] == 300 and "100 pixels a side" in card["note"]
