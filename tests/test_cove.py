"CoVe: every step sees what it should and no more, what breaks is counted and never made up, costs are sums, wrappers compose."
import random, re
from dataclasses import replace
import pytest
from PIL import Image
from unsaf.prompts.benchmarks import cove_check_parts, cove_plan_parts, cove_revise_parts, version
from unsaf.core import ImageError, ModelError, Picture, Reply, Request, UnsafError
from unsaf.models.base import Scripted, collect, decides, render, template_of
from unsaf.models.cache import Cached, Replay
from unsaf.models.cove import Chain, Cove, Ending, intervene, reply_of
from unsaf.store import Store, key_of

RED = Picture("red", lambda: Image.new("RGB", (4, 4), "red"))
LOST = Reply("", finish="failed", error="connection lost")
REFUSED = Reply("", finish="refused", error="content filter")


def step_of(request):
    "Which step of the chain a request is, by the versions that it carries."
    if request.template == version("cove_plan"): return "plan"
    if request.template == version("cove_check"): return "check"
    return "revise" if request.template.endswith(version("cove_revise")) else "draft"


class Actor(Scripted):
    "Says what `lines` has for a step, a reply or a function of the request; tokens and cost are known for each step."
    PRICE = dict(draft=(10, 1, .01), plan=(20, 5, .02), check=(8, 1, .005), revise=(30, 2, .03))
    LINES = dict(draft="a dog", plan="1. Does it meow?\n2. Has it whiskers?", check="yes", revise="a cat")

    def __init__(self, **lines):
        lines = {**self.LINES, **lines}
        def say(request):
            step = step_of(request)
            said = lines[step](request) if callable(lines[step]) else lines[step]
            prompt, output, cost = self.PRICE[step]
            return replace(said if isinstance(said, Reply) else Reply(said), prompt_tokens=prompt, output_tokens=output, cost=cost)
        super().__init__(say, name="actor")


ASK = Request((RED, "Which animal is it?\nAnswer briefly."), system="You are a careful expert.", max_tokens=17, temperature=.5, seed=3,
              candidates=("a dog", "unanswerable"), template="abc")


def test_what_each_step_is_asked():
    actor = Actor()
    chain, = Cove(actor, checks=2, plan_tokens=99, check_tokens=9).chains([ASK])
    draft, plan, first, second, revise = actor.asked
    assert draft is ASK
    assert plan == replace(ASK, parts=cove_plan_parts(ASK.parts, "a dog", 2), max_tokens=99, candidates=(), template=version("cove_plan"))
    questions = ("Does it meow?", "Has it whiskers?")
    assert [first, second] == [Request(cove_check_parts(ASK.parts, q), max_tokens=9, temperature=.5, seed=3, template=version("cove_check"))
                               for q in questions]
    assert revise == replace(ASK, parts=cove_revise_parts(ASK.parts, "a dog", [(q, "yes") for q in questions]),
                             template="abc+" + version("cove_revise"))
    assert chain.ending == Ending.REVISED and [c.text for c in chain.calls] == ["a dog", Actor.LINES["plan"], "yes", "yes", "a cat"]


def test_a_check_sees_pictures_and_its_question_only():
    actor = Actor(draft="an ocelot")
    list(Cove(actor).generate([ASK]))
    for check in (r for r in actor.asked if step_of(r) == "check"):
        assert check.pictures == (RED,) and check.system == ""
        assert not any(word in check.text for word in ("ocelot", "animal", "expert", "briefly"))


def test_tokens_and_cost_are_sums():
    reply, = Cove(Actor()).generate([ASK])
    assert (reply.text, reply.prompt_tokens, reply.output_tokens, reply.error, reply.index) == ("a cat", 10 + 20 + 2 * 8 + 30, 1 + 5 + 2 + 2, "", 0)
    assert reply.cost == pytest.approx(.01 + .02 + 2 * .005 + .03)
    blank = Scripted(Actor().say, name="actor")
    blank.say = lambda r, say=blank.say: replace(say(r), cost=None)
    assert next(Cove(blank).generate([ASK])).cost is None


BREAKS = [(dict(draft=LOST), Ending.NO_DRAFT, 1), (dict(draft=REFUSED), Ending.NO_DRAFT, 1), (dict(draft="  "), Ending.NO_DRAFT, 1),
          (dict(plan=LOST), Ending.NO_PLAN, 2), (dict(plan=REFUSED), Ending.NO_PLAN, 2), (dict(plan=""), Ending.NO_PLAN, 2),
          (dict(plan="The draft is fine."), Ending.UNREADABLE_PLAN, 2), (dict(plan="1. Check the ears."), Ending.UNREADABLE_PLAN, 2),
          (dict(check=lambda r: LOST if "meow" in r.text else "yes"), Ending.FAILED_CHECK, 4), (dict(check=REFUSED), Ending.FAILED_CHECK, 4),
          (dict(check=" "), Ending.FAILED_CHECK, 4), (dict(revise=LOST), Ending.NO_REVISION, 5), (dict(revise=REFUSED), Ending.NO_REVISION, 5),
          (dict(revise="\n"), Ending.NO_REVISION, 5), ({}, Ending.REVISED, 5)]


@pytest.mark.parametrize(("lines", "ending", "calls"), BREAKS, ids=[f"{'+'.join(lines) or 'nothing'}-{i}" for i, (lines, _, _) in enumerate(BREAKS)])
def test_what_breaks_leaves_the_draft(lines, ending, calls):
    actor = Actor(**lines)
    cove = Cove(actor, checks=2)
    reply, = cove.generate([ASK])
    assert cove.counts[str(ending)] == 1 and sum(cove.counts[str(e)] for e in Ending) == 1 and len(actor.asked) == calls
    if ending == Ending.REVISED: assert (reply.text, reply.error) == ("a cat", "")
    elif ending == Ending.NO_DRAFT:
        draft, = Actor(**lines).generate([ASK])
        assert (reply.text, reply.finish, reply.error) == (draft.text, draft.finish, draft.error)
    else:
        assert reply.text == "a dog" and reply.finish == "stop" and str(ending) in reply.error and "the draft stands" in reply.error
        broken = next((x for x in lines.values() if isinstance(x, Reply)), None)
        if broken: assert broken.error in reply.error


def test_a_cut_plan_loses_its_last_piece():
    actor = Actor(plan=Reply("1. Does it meow?\n2. Has it whi", finish="length"))
    chain, = Cove(actor, checks=3).chains([ASK])
    assert chain.questions.items == ("Does it meow?",) and chain.questions.faults == {"cut off": 1} and chain.ending == Ending.REVISED


def test_an_abstaining_check_is_an_answer():
    actor = Actor(check="unanswerable")
    Cove(actor).chains([ASK])
    assert "Has it whiskers? unanswerable" in actor.asked[-1].text


def test_many_chains_in_blocks_equal_one_by_one():
    "Chains of every kind, mixed: those that break do not move the others."
    dice = random.Random(0)
    kinds = [dice.choice(BREAKS) for _ in range(40)]
    actors = [Actor(**lines) for lines, *_ in kinds]
    asks = [replace(ASK, parts=(f"Look at case {i}.",)) for i in range(40)]
    def say(request):
        "A check carries no trace of its request, so its question names the case."
        case = re.search(r"case (\d+)", request.text)[1]
        reply = actors[int(case)].say(request)
        return replace(reply, text=reply.text.replace("?", f" in case {case}?")) if step_of(request) == "plan" else reply
    cove = Cove(Scripted(say), checks=2, block=7)
    assert [len(b) for b in cove.batches(asks)] == [7] * 5 + [5]
    replies = collect(cove, asks)
    ends = [ending for _, ending, _ in kinds]
    assert [cove.counts[str(e)] for e in Ending] == [ends.count(e) for e in Ending]
    for actor, reply in zip(actors, replies):
        alone, = Cove(actor, checks=2).generate([ASK])
        assert (reply.text, reply.finish, reply.error, reply.prompt_tokens) == (alone.text, alone.finish, alone.error, alone.prompt_tokens)


def test_changed_counts_other_words_only():
    cove = Cove(Actor(revise="a dog "))
    list(cove.generate([ASK]))
    assert cove.counts == {"revised": 1, "changed": 0}


# ---- composition

def test_a_store_inside_keeps_every_step_and_repeats_what_failed():
    store, actor = Store(), Actor()
    collect(Cached(actor, store), [ASK])
    flaky = Actor(check=lambda r: LOST if "meow" in r.text else "yes")
    broken, = Cove(Cached(flaky, store), checks=2).generate([ASK])
    assert broken.text == "a dog" and [step_of(r) for r in flaky.asked] == ["plan", "check", "check"] and len(store) == 3   # no failure is kept
    mended, = Cove(Cached(actor, store), checks=2).generate([ASK])
    assert mended.text == "a cat" and [step_of(r) for r in actor.asked] == ["draft", "check", "revise"] and not mended.cached
    again, = Cove(Cached(actor, store), checks=2).generate([ASK])
    assert len(actor.asked) == 3 and again == replace(mended, cached=True)
    offline, = Cove(Replay(store), checks=2).generate([ASK])
    assert offline.text == "a cat" and offline.cached


def test_a_store_outside_keeps_the_reply_under_a_key_of_its_own():
    store, actor = Store(), Actor()
    models = [actor, Cove(actor, checks=2), Cove(actor, checks=1), Cove(actor, plan_tokens=9), Cove(actor, check_tokens=9), Cove(Cove(actor))]
    fresh = [collect(Cached(m, store), [ASK]) for m in models]
    assert len(store) == len(models)
    n = len(actor.asked)
    for model, replies in zip(models, fresh):
        assert collect(Cached(model, store), [ASK]) == [replace(r, cached=True) for r in replies]
    assert len(actor.asked) == n
    assert len({key_of(m.identity, render(m, ASK), "ask") for m in models}) == len(models)
    assert key_of(Cove(actor, block=1).identity, "", "ask") == key_of(Cove(actor, block=9).identity, "", "ask")   # changes no answer


def test_it_is_a_model_of_its_own_name():
    actor = Actor()
    actor.template, actor.note = "gpt", "a note"
    cove = Cove(actor)
    assert (cove.name, template_of(cove), cove.note) == ("actor+cove", "gpt", "a note") and not decides(cove)
    assert collect(cove, []) == []


# ---- what does not go

def test_refusals():
    for wrong in (dict(checks=0), dict(plan_tokens=0), dict(check_tokens=-1), dict(block=0), dict(checks=1.5)):
        with pytest.raises(UnsafError, match=next(iter(wrong))): Cove(Actor(), **wrong)
    with pytest.raises(ValueError, match="request 1"): list(Cove(Actor()).generate([ASK, replace(ASK, decide=True)]))
    class Forgetful:
        name = "forgetful"
        def generate(self, requests): return iter(())
    with pytest.raises(ModelError): list(Cove(Forgetful()).generate([ASK]))


def test_a_picture_that_cannot_be_read_fails_its_own_chain():
    def torn(): raise ImageError("torn.jpg: truncated")
    cove = Cove(Cached(Actor(), Store()), checks=2)
    good, bad = collect(cove, [ASK, replace(ASK, parts=(Picture("torn", torn), "What?"))])
    assert good.text == "a cat" and bad.finish == "failed" and "torn.jpg" in bad.error and cove.counts == {"revised": 1, "no draft": 1, "changed": 1}


def test_intervene():
    actor = Actor()
    assert intervene(actor) is intervene(actor, "none") is actor
    assert isinstance(intervene(actor, "cove", checks=2), Cove) and intervene(actor, "cove", checks=2).checks == 2
    for name, match in (("dola", "plain checkpoint"), ("vcd", "none, dola, cove"), ("", "none, dola, cove")):
        with pytest.raises(UnsafError, match=match): intervene(actor, name)
    with pytest.raises(UnsafError, match="settings"): intervene(actor, "none", checks=2)


def test_a_chain_that_never_began_is_no_revision():
    assert reply_of(Chain(Reply("a dog"))).text == "a dog" and Chain(Reply("a dog")).ending == Ending.NO_PLAN
    assert Chain(Reply("a dog"), revision=Reply("a cat")).ending == Ending.NO_PLAN   # a revision without its checks is none


# ---- on a real network

def test_on_the_bundled_model_and_around_dola(tiny_m):
    from unsaf.models.dola import Dola
    ask = Request((Picture("red", lambda: Image.new("RGB", (48, 48), "red")), "What is it?"), max_tokens=8)
    for model in (tiny_m, Dola(tiny_m)):
        store, cove = Store(), Cove(model, plan_tokens=24, check_tokens=8)
        plain, = collect(Cached(model, store), [ask])
        chain, = Cove(Cached(model, store), plan_tokens=24, check_tokens=8).chains([ask])
        assert replace(chain.draft, cached=False, index=None) == replace(plain, index=None) and chain.draft.cached
        reply, = cove.generate([ask])
        assert reply.text == reply_of(chain).text and reply.prompt_tokens == sum(c.prompt_tokens for c in chain.calls)
        assert cove.counts[str(chain.ending)] == 1
