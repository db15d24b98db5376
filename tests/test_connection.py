"The `openai` package as the connection: what it takes from the environment, Azure, proxies, TLS, and that nothing is imported before it is needed."
import socket
import subprocess
import sys
import threading
import pytest
from faulty_server import Answer, Faulty, error, reply
from unsaf.core import ModelError, Request
from unsaf.models.served.api import Api, from_spec

openai = pytest.importorskip("openai")
KEY, TOKEN = "sk-test-0123456789abcdef", "token-0123456789abcdef"
NAMES = """OPENAI_API_KEY OPENAI_BASE_URL OPENAI_ORG_ID OPENAI_PROJECT_ID OPENAI_CUSTOM_HEADERS OPENAI_API_VERSION AZURE_OPENAI_API_KEY
    AZURE_OPENAI_AD_TOKEN AZURE_OPENAI_ENDPOINT HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY http_proxy https_proxy all_proxy no_proxy""".split()


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in NAMES: monkeypatch.delenv(name, raising=False)


class Azure(Faulty):
    "A server with Azure's paths: /openai/deployments/NAME/chat/completions."
    endpoint = property(lambda self: self.url.removesuffix("/v1"))


def asks(n): return [Request((f"question {i}",)) for i in range(n)]
def api(name, url, **options): return Api(name, url, **{"backoff": .001, "timeout": 5, **options})
def stops(model):
    with pytest.raises(ModelError) as caught: list(model.generate(asks(1)))
    assert "\n" not in str(caught.value) and len(str(caught.value)) <= 300
    return str(caught.value)


# what is imported, and when

def run(code): return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300).stdout.strip()


def test_the_package_is_imported_with_the_first_connection():
    assert run("import sys, unsaf.models.served.api as room; room.Api('m', 'http://127.0.0.1:9/v1'); print('openai' in sys.modules)") == "False"


def test_without_the_package_there_is_one_line():
    hide = "import sys; sys.modules['openai'] = sys.modules['httpx2'] = None\nimport unsaf.models.served.api as room, unsaf.models.served.connection as c\n"
    assert run(hide + "try: c.sdk()\nexcept room.ModelError as e: print(e)") == (
        "models behind an API need the package openai: pip install 'unsaf[api]'")
    hide += "room.find_spec = lambda name: None\n"
    assert "pip install 'unsaf[api]'" in run(hide + "try: room.Api('m', 'http://127.0.0.1:9/v1')\nexcept room.ModelError as e: print(e)")


def test_no_model_of_an_answer_is_built(monkeypatch):
    def build(*args, **options): raise AssertionError("built")
    monkeypatch.setattr("openai._response.AsyncAPIResponse.parse", build)
    with Faulty(lambda c: error(400, "odd") if c.text.endswith("1") else None) as server:
        assert sorted(r.finish for r in api("m", server.url).generate(asks(2))) == ["failed", "stop"]


# headers

@pytest.mark.promise("elsewhere")
def test_the_account_goes_where_its_key_goes(monkeypatch):
    for name, value in dict(OPENAI_API_KEY=KEY, OPENAI_ORG_ID="org-1", OPENAI_PROJECT_ID="proj-1", MY_KEY=TOKEN).items(): monkeypatch.setenv(name, value)
    with Faulty() as server:
        for options in ({}, {"key_env": "MY_KEY"}, {"key_env": ""}): list(api("m", server.url, **options).generate(asks(1)))
    seen = [(c.headers["authorization"], c.headers.get("openai-organization"), c.headers.get("openai-project")) for c in server.calls]
    assert seen == [(f"Bearer {KEY}", "org-1", "proj-1"), (f"Bearer {TOKEN}", None, None), ("Bearer none", None, None)]
    told = {name for c in server.calls for name in c.headers if name.startswith("x-stainless")}
    assert told <= {"x-stainless-retry-count", "x-stainless-read-timeout"}      # nothing of this machine
    assert {c.headers["user-agent"] for c in server.calls} == {"unsaf"} and {c.headers["accept-encoding"] for c in server.calls} == {"gzip"}


@pytest.mark.promise("keys")
def test_headers_of_the_environment_are_sent_and_their_secrets_kept_out_of_messages(monkeypatch, capfd, caplog):
    caplog.set_level("DEBUG")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", f"X-Gateway-Token: {TOKEN}\nX-Team: blue")
    with Faulty(lambda c: error(401, f"bad token {TOKEN}") if c.text.endswith("1") else reply(f"{TOKEN} of team blue")) as server:
        model = api("m", server.url, concurrency=1, max_concurrency=1)
        replies = model.generate(asks(2))
        assert next(replies).text == "[key] of team blue"
        with pytest.raises(ModelError) as caught: next(replies)
    assert (server.calls[0].headers["x-gateway-token"], server.calls[0].headers["x-team"]) == (TOKEN, "blue")
    shown = [str(caught.value), repr(model), str(vars(model)), str(model.identity), caplog.text, *capfd.readouterr()]
    assert "[key]" in shown[0] and not any(TOKEN in text for text in shown)


# Azure

def test_azure(monkeypatch):
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)
    with Azure(paths=("/openai/deployments/gpt-4o/chat/completions",)) as server:
        model = from_spec(f"api:azure/gpt-4o@{server.endpoint}?api-version=2024-10-21", backoff=.001)
        assert [r.text for r in model.generate(asks(1))] == ["question 0"]
    [call] = server.calls
    assert call.path == "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21" and call.body["model"] == "gpt-4o"
    assert call.headers["api-key"] == KEY and "authorization" not in call.headers and KEY not in str(vars(model))
    assert model.identity == {"api": server.endpoint.removeprefix("http://") + "?api-version=2024-10-21", "model": "azure/gpt-4o"}


def test_azure_by_a_token_and_by_variables(monkeypatch):
    monkeypatch.setenv("AZURE_OPENAI_AD_TOKEN", TOKEN)
    monkeypatch.setenv("OPENAI_API_VERSION", "2024-10-21")
    with Azure(paths=("/openai/deployments/d/chat/completions",)) as server:
        monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", f"{server.endpoint}/openai/deployments/d/chat/completions?api-version=2024-06-01")
        model = from_spec("api:azure/d", backoff=.001)
        assert [r.text for r in model.generate(asks(1))] == ["question 0"] and model.source == "AZURE_OPENAI_ENDPOINT"
        assert server.calls[0].headers["authorization"] == f"Bearer {TOKEN}" and server.calls[0].path.endswith("api-version=2024-06-01")
    assert Api("azure/d", "https://x.openai.azure.com/openai/").identity["api"] == "x.openai.azure.com?api-version=2024-10-21"


def test_azure_without_a_version_or_a_key_is_one_line(monkeypatch):
    with pytest.raises(ModelError, match="OPENAI_API_VERSION"): Api("azure/d", "https://x.openai.azure.com")
    model = Api("azure/d", "https://x.openai.azure.com?api-version=2024-10-21")
    with pytest.raises(ModelError, match="AZURE_OPENAI_API_KEY is not set"): model.generate(asks(1))


def test_faults_of_azure_are_read_as_all_others():
    answers = [error(429, "slow down", {"retry-after-ms": "5"}), error(400, "filtered", code="content_filter"), error(401, "Access denied due to invalid key")]
    with Azure(lambda c: answers[c.number], paths=("/openai/deployments/d/chat/completions",)) as server:
        model = api("azure/d", f"{server.endpoint}?api-version=1")
        assert [r.finish for r in model.generate(asks(1))] == ["refused"] and dict(model.stats.retries) == {"rate_limit": 1}
        assert "refuses a call without a key" in stops(model)


def test_a_gateway_may_call_its_models_azure():
    with Faulty() as server:
        model = api("azure/gpt-4o", server.url)
        assert [r.finish for r in model.generate(asks(1))] == ["stop"] and model.azure is None
    assert server.calls[0].path == "/v1/chat/completions" and server.calls[0].body["model"] == "azure/gpt-4o"


# proxies, TLS

def test_a_proxy_of_the_environment_is_asked(monkeypatch):
    with Faulty(paths=("http://served.invalid/v1/chat/completions",)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.removesuffix("/v1"))
        assert [r.text for r in api("m", "http://served.invalid/v1", key_env="").generate(asks(1))] == ["question 0"]
    assert proxy.calls[0].path == "http://served.invalid/v1/chat/completions"


@pytest.mark.parametrize("name, value, why", [("ALL_PROXY", "socks5://127.0.0.1:9", "socksio|socks"), ("HTTPS_PROXY", "ftp://me:secret@h", "Unknown scheme"),
                                              ("HTTP_PROXY", ":::", "Invalid port"), ("SSL_CERT_FILE", "/no/such", "No such file")])
def test_a_proxy_or_a_certificate_that_cannot_be_used_is_one_line_that_names_it(monkeypatch, tmp_path, name, value, why):
    from unsaf.models.served.batch import Batched
    monkeypatch.setenv(name, value)
    model = api("m", "http://served.invalid/v1", key_env="")
    for asked in (model, Batched(model, tmp_path)):
        with pytest.raises(ModelError, match=f"of the environment .*{name}.* cannot be used: .*({why})") as e: list(asked.generate(asks(1)))
        assert "secret" not in str(e.value)


def test_a_proxy_that_is_not_there_or_refuses_is_named(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert "is not reachable" in stops(api("m", "http://served.invalid/v1", key_env=""))
    with Faulty(lambda c: Answer(407, "<html>Proxy Authentication Required</html>"), paths=("http://served.invalid/v1/chat/completions",)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.removesuffix("/v1"))
        [r] = api("m", "http://served.invalid/v1", key_env="").generate(asks(1))
    assert r.finish == "failed" and r.error == "rejected (407): Proxy Authentication Required"


def test_no_tls_there_is_not_reachable():
    with Faulty() as server: assert "is not reachable" in stops(api("m", server.url.replace("http:", "https:"), key_env=""))


def test_a_tls_answer_that_is_none_is_not_reachable():
    listener = socket.create_server(("127.0.0.1", 0))
    def hang_up():
        while True:
            try: connection, _ = listener.accept()
            except OSError: return
            connection.recv(100)
            connection.close()
    threading.Thread(target=hang_up, daemon=True).start()
    try: assert "is not reachable" in stops(api("m", f"https://127.0.0.1:{listener.getsockname()[1]}/v1", key_env=""))
    finally: listener.close()
