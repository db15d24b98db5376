"What a run may spend: bounds, the first Ctrl-C, dollars, and what a dry run tells beforehand."
import json
import signal
import subprocess
import sys
import time
from functools import partial
import pytest
from typer.testing import CliRunner
import unsaf
from faulty_server import Faulty, reply
from test_line import api, answering, lines, pictures, scripted, talk
from unsaf.cli import app
from unsaf.core import UnsafError
from unsaf.models.base import Scripted
from unsaf.models.budget import Budget
from unsaf.paper.workers import Task, Workers
from unsaf.store import Store

pytest.importorskip("openai")


def command(*args):
    return CliRunner().invoke(app, [str(a) for a in args], prog_name="unsaf")


def assessed(server, *args):
    return command("assess", "--model", f"api:m@{server.url}", "--images", "scenes", "--limit", 12, "--no-report", *args)


CLI = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)       # a shell's background job ignores it
from unsaf.cli import app
app(prog_name="unsaf")
"""


@pytest.mark.promise("interrupt")
@pytest.mark.slow
@pytest.mark.parametrize("sign, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "term"])
def test_the_first_signal_stores_what_the_server_answers(tmp_path, sign, code):
    "64 places and 200 ms a call: what had gone out is paid for, so all of it is in the store, and the next run does not ask it again."
    with Faulty(lambda c: reply(talk(c.text)), delay=.2) as server:
        run = [sys.executable, "-c", CLI, "assess", "--model", f"api:m@{server.url}", "--images", "scenes", "--limit", "60",
               "--concurrency", "64", "--store", str(tmp_path)]
        p = subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        with Store(tmp_path) as store:
            asked(store, 200)
            p.send_signal(sign)
            out, err = p.communicate(timeout=60)
            assert p.returncode == code and 200 <= len(store) == len(server.calls) < 720 and server.peak > 32
        assert err.count("what is under way is awaited and stored") == 1 and "goes on from here" in err
        assert out.startswith("m, 60 images of scenes:0, oe: up to 720 calls") and out.count("\n") == 1   # the first line, and no score
        assert subprocess.run(run, capture_output=True, timeout=120).returncode == 0 and len(server.calls) == 720


def asked(store, least):
    until = time.monotonic() + 60
    while len(store) < least and time.monotonic() < until: time.sleep(.02)


def asks(url, folder):
    unsaf.assess(unsaf.load(f"api:m@{url}", concurrency=32), unsaf.images("scenes", n=60), store=folder)


@pytest.mark.promise("interrupt")
@pytest.mark.slow
def test_a_stopped_reproduction_stores_what_its_processes_had_asked(tmp_path):
    with Faulty(lambda c: reply(talk(c.text)), delay=.2) as server, Store(tmp_path) as store:
        with pytest.raises(KeyboardInterrupt), Workers(1) as machine:
            machine.start(Task("asks", "asks", partial(asks, server.url, tmp_path)))
            asked(store, 100)
            raise KeyboardInterrupt
        assert 100 <= len(store) == len(server.calls) < 720


@pytest.mark.promise("bounds")
def test_calls_are_bounded_to_the_call_and_the_rest_goes_on(tmp_path):
    with answering() as server:
        first = unsaf.assess(api(server), pictures(20), store=tmp_path, progress=False, budget=Budget(calls=100))
        assert len(server.calls) == first.calls["asked"] == 100 == len(Store(tmp_path))
        assert 1 <= len(first.images) < 9 and len(first.table) == 10 * len(first.images) and first.scores.images == len(first.images)
        assert "--max-calls is 100" in first.stopped and len(first.planned) == 20
        whole = unsaf.assess(api(server), pictures(20), store=tmp_path, progress=False, budget=Budget(calls=1000))
        assert len(server.calls) == 240 and whole.calls == dict(asked=140, cached=100, failed=0)
    assert not whole.stopped and len(whole.images) == 20 and whole.run_id == first.run_id and not lines()


@pytest.mark.promise("bounds")
def test_dollars_are_bounded_with_what_is_under_way():
    "A list costs 20 cents and an answer 2: at most what was out when nothing was known yet goes beyond a dollar's bound."
    def plan(c): return reply(talk(c.text), usage=(0, 200_000 if "Output Format:\nQuestion" in c.text else 20_000))
    with Faulty(plan, delay=.02) as server:
        model, budget = api(server, prices=(1, 1), concurrency=4), Budget(cost=10)
        found = unsaf.assess(model, pictures(40), progress=False, budget=budget)
    assert 9.5 < budget.paid <= 10 and found.cost["paid"] == pytest.approx(budget.paid) == found.cost["dollars"]
    assert 8 <= len(found.images) <= 16 and "--max-cost is $10" in found.stopped


@pytest.mark.promise("bounds")
def test_time_is_bounded_while_a_server_asks_for_a_pause():
    with Faulty(lambda c: "429 for an hour" if c.number >= 30 else reply(talk(c.text))) as server:
        start = time.monotonic()
        found = unsaf.assess(api(server, max_wait=9999), pictures(9), progress=False, budget=Budget(minutes=.03))
    assert "--max-minutes" in found.stopped and time.monotonic() - start < 15 and found.calls["asked"] == 30


@pytest.mark.promise("bounds")
def test_a_model_without_a_server_is_bounded_too(tmp_path):
    found = unsaf.assess(scripted(), pictures(9), store=tmp_path, progress=False, budget=Budget(calls=50))
    assert found.calls["asked"] == 50 == len(Store(tmp_path)) and len(found.images) == 4
    with pytest.raises(UnsafError, match="prices of m are not known"): unsaf.assess(scripted(), pictures(2), budget=Budget(cost=1))
    with answering() as server, pytest.raises(UnsafError, match="--max-calls"):      # Faulty's other reply tells no tokens
        server.plan = lambda c: reply(talk(c.text), usage=None)
        unsaf.assess(api(server, prices=(1, 1)), pictures(2), progress=False, budget=Budget(cost=1))


def test_bench_scores_what_was_asked(tmp_path):
    model = Scripted(lambda r: "A" if "A." in r.text else "yes", name="m")
    part = unsaf.bench(model, "accuracy,pope", n=20, store=tmp_path, resamples=50, progress=False, budget=Budget(calls=70))
    assert part.stopped and part.missing["pope"].startswith("not asked") and part.calls["asked"] == 70 and not part.calls["failed"]
    assert set(part.table["benchmark"]) == {"accuracy"} and part.table["failed"].sum() == 0
    whole = unsaf.bench(model, "accuracy,pope", n=20, store=tmp_path, resamples=50, progress=False)
    plain = unsaf.bench(model, "accuracy,pope", n=20, resamples=50, progress=False)
    assert whole.table.equals(plain.table) and not whole.stopped


@pytest.mark.promise("exits")
def test_the_command_says_where_it_stopped_and_what_it_took(tmp_path):
    with answering() as server:
        bound = assessed(server, "--store", tmp_path, "--prices", "1000,1000", "--max-calls", 60, "--max-concurrency", 4)
        assert bound.exit_code == 5 and server.peak <= 4 and "images are finished, and scored" in bound.output
        assert "the same command goes on" in bound.output and "cost: $1.38" in bound.output       # 60 x 23 tokens
        assert json.loads((tmp_path/"scores-oe.json").read_text())["stopped"]
        whole = assessed(server, "--store", tmp_path, "--prices", "1000,1000", "--max-calls", 600, "--json")
        card = json.loads(whole.stdout)[0]
        assert whole.exit_code == 0 and "stopped" not in card
        assert card["cost"] == dict(dollars=pytest.approx(144 * .023), paid=pytest.approx(84 * .023), unpriced=0)
        assert [p.name for p in tmp_path.glob("scores-*.json")] == ["scores-oe.json"]      # the whole run has its name
        unknown = assessed(server, "--max-cost", 1)
        assert unknown.exit_code == 2 and "give them with --prices" in unknown.output
        odd = assessed(server, "--concurrency", 9, "--max-concurrency", 4)
        assert odd.exit_code == 2 and "--max-concurrency 4 where" in odd.output


def varied(call):
    "As `talk`, but about some images only three questions of a class come to mind."
    few = 3 if sum(call.images[0].encode()) % 2 else 5
    return reply("\n".join(talk(call.text).splitlines()[:few]), usage=(100, 10))


@pytest.mark.promise("dry")
def test_a_dry_run_tells_what_the_run_then_takes(tmp_path):
    "Its sample is asked once: the run goes on from it, and its calls and dollars lie in the interval."
    how = "--prices", "1000,1000", "--store", tmp_path, "--json"
    with Faulty(varied) as server:
        told = json.loads(assessed(server, *how, "--dry-run", "--sample", 6).stdout)[0]
        dry = len(server.calls)
        assert told["calls"]["asked"] == dry and told["cost"]["paid"] == pytest.approx(dry * .11) and not [*tmp_path.glob("scores*")]
        again = json.loads(assessed(server, *how, "--dry-run", "--sample", 6).stdout)[0]
        assert again["calls"]["cached"] == dry == len(server.calls) and again["measures"]["time"] is None
        ran = json.loads(assessed(server, *how).stdout)[0]
        calls, dollars = told["measures"]["calls"], told["measures"]["dollars"]
        assert ran["calls"]["cached"] == dry and calls["low"] < calls["value"] < calls["high"]
        assert calls["low"] <= len(server.calls) <= calls["high"] and dollars["low"] <= ran["cost"]["dollars"] <= dollars["high"]
        nothing = assessed(server, "--dry-run", "--sample", 0)
        assert len(server.calls) == sum(ran["calls"].values()) and "95% interval 24 to 144" in nothing.output and "dollars        unknown" in nothing.output


@pytest.mark.promise("dry")
def test_prices_that_come_later_count_for_what_is_stored(tmp_path):
    "The natural order: a dry run without prices says to give them, and has its replies already."
    with Faulty(varied) as server:
        assert "give --prices" in assessed(server, "--store", tmp_path, "--dry-run", "--sample", 2).output
        calls = len(server.calls)
        told = json.loads(assessed(server, "--store", tmp_path, "--dry-run", "--sample", 2, "--prices", "1000,1000", "--json").stdout)[0]
    assert len(server.calls) == calls and told["cost"] == dict(dollars=pytest.approx(calls * .11), paid=0, unpriced=0)
    assert told["measures"]["dollars"]["value"] == pytest.approx(told["measures"]["calls"]["value"] * .11)


@pytest.mark.promise("bounds")
def test_a_bound_that_ends_a_probe_is_told_and_what_it_paid_counts(tmp_path):
    "12 images of 12 calls; of 120 further ones for the probe 20 go out, and none of another model whose price nobody knows."
    with answering() as server:
        ask = "--store", tmp_path, "--prices", "1000,1000", "--probes", "blank"
        ended = assessed(server, *ask, "--max-calls", 164)
        assert ended.exit_code == 5 and "blank: not done (stopped after 164 calls" in ended.output and "20 replies asked for" in ended.output
        assert "$3.7720 of it paid in this run" in ended.output and len(server.calls) == 164      # 164 x 23 tokens
        refused = assessed(server, *ask, "--cross", f"api:other@{server.url}", "--max-cost", 9)
        assert refused.exit_code == 2 and "the prices of other are not known: bound the calls" in refused.output and len(server.calls) == 164
        assert assessed(server, "--dry-run", "--max-calls", 3).exit_code == 5
    with Faulty(lambda c: "filter 400" if c.number == 3 else varied(c)) as server:      # one refusal is not a server without tokens
        assert "unknown: 1 of" in assessed(server, "--dry-run", "--sample", 2, "--prices", "1,2").output


@pytest.mark.parametrize("options, message", [
    ("--prices nan,1 --max-cost 1", "two numbers from 0"), ("--prices=-1,2", "two numbers from 0"), ("--prices 1,inf", "two numbers from 0"),
    ("--concurrency 100", "--max-concurrency 64 where it ends"), ("--max-concurrency 0", "max_concurrency must be at least 1"),
    ("--sample 8", "--sample is of --dry-run"), ("--dry-run --until-halfwidth 7", "between 0 and 1")])
def test_what_would_be_a_surprise_on_the_bill_is_one_line(options, message):
    with Faulty() as server:
        done = assessed(server, *options.split())
    assert done.exit_code == 2 and message in done.output and not server.calls


@pytest.mark.promise("dry")
def test_a_dry_run_of_benchmarks_and_of_a_teacher(tmp_path):
    with Faulty(lambda c: reply(talk(c.text))) as server:
        model = f"api:m@{server.url}"
        bench = ["bench", "--model", model, "--benchmarks", "accuracy,mr,pope", "--n", 12, "--store", tmp_path/"bench", "--max-failures", 1]
        told = command(*bench, "--dry-run", "--sample", 3, "--json")
        dry = len(server.calls)
        command(*bench)
        assert json.loads(told.stdout)[0]["measures"]["calls"]["value"] == len(server.calls) > dry > 0
        before = len(server.calls)
        taught = ["distill", "data", "--teacher", model, "--n", 6, "--out", tmp_path/"taught"]
        assert "calls                    72" in command(*taught, "--dry-run", "--sample", 2).output and not (tmp_path/"taught/card.json").exists()
        assert len(server.calls) == before + 24
        bound = command(*taught, "--max-calls", 36)
        assert bound.exit_code == 5 and json.loads((tmp_path/"taught/card.json").read_text())["stopped"] and len(server.calls) == before + 60


def test_what_came_in_a_list_is_stored_to_its_end(tmp_path):
    "A model of one's own that asks all at once: the calls were made before the bound could end them."
    class Own:
        name, asked = "own", 0
        def generate(self, requests):
            self.asked += len(requests)
            return [unsaf.core.Reply(talk(r.text)) for r in requests]
    own = Own()
    unsaf.assess(own, pictures(3), store=tmp_path, progress=False, budget=Budget(calls=4))
    assert own.asked == len(Store(tmp_path)) > 4


def test_a_replay_spends_nothing(tmp_path):
    unsaf.assess(scripted(), pictures(2), store=tmp_path, progress=False)
    again = unsaf.assess(f"replay:{tmp_path}", pictures(2), progress=False, budget=Budget(calls=1, cost=1))
    assert len(again.images) == 2 and not again.stopped


def test_a_run_that_ends_leaves_another_threads_bound():
    from unsaf.models.budget import spending
    model, first, second = Scripted([]), Budget(calls=1), Budget(calls=2)
    model.budget = None
    one, two = spending(first, model), spending(second, model)
    one.__enter__(), two.__enter__(), one.__exit__(None, None, None)
    assert model.budget is second
    two.__exit__(None, None, None)
