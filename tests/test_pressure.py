"""Misleading rate and consistency: the formulas in plain loops, what becomes of abstentions and blanks, and every judge."""
import itertools, random, sys, types
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from unsaf.benchmarking.parts import embedding_judge, model_judge, nli_judge
from unsaf.core import ModelError, Outcome, Reply
from unsaf.metrics import pressure as room
from unsaf.metrics.pressure import (CELLS, RATES, Judge, Pressure, agreement, by_image, consistency, misled_cells, misleading_rate,
                                    normalised_match, pressure, pressure_scorer, share)
from unsaf.metrics.resampling import cluster_bootstrap, paired_permutation
from unsaf.models.base import Scripted

ANSWERS = ["A", "B", "C", "unanswerable", None]


# ---- the misleading rate

def eq7(first, misled, gold):
    above = sum(1 for f, m, y in zip(first, misled, gold) if f == y and m != y)
    below = sum(1 for f, y in zip(first, gold) if f == y)
    return above / below if below else float("nan")


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(ANSWERS), st.sampled_from(ANSWERS), st.sampled_from("ABC")), min_size=1, max_size=30))
def test_the_rate_is_equation_7(items):
    first, misled, gold = zip(*items)
    assert misleading_rate(first, misled, gold) == pytest.approx(eq7(first, misled, gold), nan_ok=True)
    other_way = [(m == y) for f, m, y in items if f != y]
    p = pressure(first, misled, gold)
    assert p.correction_rate == pytest.approx(np.mean(other_way) if other_way else np.nan, nan_ok=True)
    assert p.right + p.wrong == len(items) and p.misleading_rate == pytest.approx(eq7(*zip(*items)), nan_ok=True)
    shuffled = random.Random(0).sample(items, len(items))
    assert misleading_rate(*zip(*shuffled)) == pytest.approx(p.misleading_rate, nan_ok=True)


def test_every_combination_has_one_cell():
    items = list(itertools.product(ANSWERS, ANSWERS, ["A"]))
    cells = misled_cells(*zip(*items))
    assert cells.shape == (25, 6) and (cells.sum(1) == 1).all() and cells.dtype.kind == "i"
    name = {item[:2]: CELLS[row.argmax()] for item, row in zip(items, cells)}
    assert name["A", "A"] == "kept" and name["A", "C"] == "turned" and name["A", "unanswerable"] == "abstained"
    assert name["A", None] == "unreadable" and name["B", "A"] == name[None, "A"] == name["unanswerable", "A"] == "corrected"
    assert name["B", "B"] == name[None, None] == name["unanswerable", "B"] == "stayed"


def test_by_hand_and_ends():
    assert misleading_rate(["A", "B", "C", "A"], ["B", "B", "D", "A"], ["A", "B", "C", "D"]) == 2 / 3
    assert misleading_rate(["A"], ["A"], ["A"]) == 0 and misleading_rate(["A"], ["unanswerable"], ["A"]) == 1
    assert np.isnan(misleading_rate(["B"], ["A"], ["A"])) and type(misleading_rate("A", "B", "A")) is float
    assert misleading_rate(np.array(["A", "B"]), np.array(["A", "A"]), np.array(["A", "B"])) == .5
    assert misleading_rate([1, 2], [1, 3], [1, 2]) == .5                       # any answers that can be compared
    p = pressure("AAAA", ["A", "B", "Unanswerable.", float("nan")], "AAAA")
    assert (p.kept, p.turned, p.abstained, p.unreadable) == (1, 1, 1, 1) and p.abstained_rate == p.turned_rate == .25
    assert pressure(["unanswerable"], ["unanswerable"], ["unanswerable"]).kept == 1    # where abstaining is the right answer


@pytest.mark.parametrize("args", [([], [], []), (["A"], [], ["A"]), (["A"], ["A"], ["A", "B"]), (["A"], ["A"], [None]),
                                  (["A"], ["A"], [float("nan")])])
def test_lists_without_a_meaning_are_refused(args):
    with pytest.raises(ValueError): misleading_rate(*args)


def test_arrays_of_counts_are_scored_at_once():
    counts = np.random.default_rng(0).integers(0, 4, (50, 6))
    counts[0] = 0
    got = pressure_scorer()(counts)
    assert set(got) == set(RATES)
    for i, row in enumerate(counts.tolist()):
        for rate in RATES: assert got[rate][i] == pytest.approx(getattr(Pressure(*row), rate), nan_ok=True)
    assert np.isnan(got["misleading_rate"][0])
    with pytest.raises(ValueError): pressure_scorer("audacity")


def test_intervals_and_paired_tests_over_images():
    rng = np.random.default_rng(0)
    ids = [f"i{k}" for k in rng.integers(0, 40, 400)]
    first = rng.choice(["A", "B"], 400, p=[.8, .2])
    weak, firm = (np.where(rng.random(400) < p, "B", "A") for p in (.5, .1))
    a, b = (by_image(misled_cells(first, m, ["A"] * 400), ids) for m in (weak, firm))
    assert a[0].tolist() == sorted(set(ids)) and a[1].sum() == 400
    i = cluster_bootstrap(pressure_scorer("misleading_rate"), a[1], n=500)["misleading_rate"]
    assert i.value == misleading_rate(first, weak, ["A"] * 400) and i.low < .5 < i.high
    pair = paired_permutation(a[1], b[1], pressure_scorer("misleading_rate"), n=500)["misleading_rate"]
    assert pair.difference > .2 and pair.p < .01


def test_by_image_adds_rows():
    ids, out = by_image([[1, 0], [2, 5], [3, 0]], ["b", "a", "b"])
    assert ids.tolist() == ["a", "b"] and out.tolist() == [[2, 5], [4, 0]]
    assert by_image(np.array([[.5, 1.]]), [7])[0].tolist() == ["7"]
    for bad in (([[1]], []), ([1, 2], ["a", "b"]), ([[1], [2]], ["a", None])):
        with pytest.raises(ValueError): by_image(*bad)


# ---- consistency

def eq8(answers, rephrased, equal):
    return sum(sum(bool(equal(a, b)) for b in row) / len(row) for a, row in zip(answers, rephrased)) / len(answers)


words = st.sampled_from(["red", "crimson", "2", "two", "a dog", "Dog.", ""])


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5).flatmap(lambda k: st.lists(st.tuples(words, st.lists(words, min_size=k, max_size=k)), min_size=1, max_size=8)))
def test_the_value_is_equation_8(items):
    answers, rephrased = zip(*items)
    same_start = lambda a, b: a[:1] == b[:1]
    assert consistency(answers, rephrased, same_start) == pytest.approx(eq8(answers, rephrased, same_start))
    assert consistency(answers, rephrased) == pytest.approx(eq8(answers, rephrased, normalised_match))
    a = agreement(answers, rephrased)
    assert a.low == pytest.approx(a.value) == a.high and a.k == len(rephrased[0]) and share(a.cells.sum(0)) == pytest.approx(a.value)
    assert consistency(answers, [[x] * len(rephrased[0]) for x in answers]) == 1


def test_by_hand():
    assert consistency(["red"], [["Red.", "blue", "the red", "RED", "green"]]) == 3 / 5
    assert consistency(["2", "dog"], [["two", "3"], ["dog", "dog"]]) == 3 / 4
    assert type(consistency(["a"], [["b"]])) is float and consistency(["a"], np.array([["a", "b"]])) == .5
    assert consistency([1, 2], [[1, 1], [2, 3]]) == 3 / 4


def test_abstentions_need_no_judge():
    asked = []
    def judge(a, b): asked.append((a, b)); return True
    a = agreement(["unanswerable", "red"], [["Unanswerable!", "red"], ["unanswerable", "blue"]], judge)
    assert a.counts == {"equal": 2, "different": 2} and a.value == .5 and asked == [("red", "blue")] and a.judge == "judge"


def test_blanks_are_left_out_counted_and_bounded():
    a = agreement(["red", None, "blue"], [["red", None], ["red", "red"], [float("nan"), None]])
    assert a.counts == {"equal": 1, "no answer": 5} and a.value == 1
    assert a.low == pytest.approx(1 / 6) and a.high == 1 and a.cells.tolist() == [[1, 1], [0, 0], [0, 0]]
    nothing = agreement([None], [["a"]])
    assert np.isnan(nothing.value) and (nothing.low, nothing.high) == (0, 1)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4).flatmap(lambda k: st.lists(
    st.tuples(st.sampled_from(["a", "b", None]), st.lists(st.sampled_from(["a", "b", None]), min_size=k, max_size=k)), min_size=1, max_size=5)))
def test_bounds_hold_whatever_the_blanks_were(items):
    "Every way of filling in verdicts for the missing ones lies within the bounds, and both ends are reached."
    rows = [[None if a is None or b is None else a == b for b in row] for a, row in items]
    gaps = [(i, j) for i, row in enumerate(rows) for j, v in enumerate(row) if v is None]
    got = agreement(*zip(*items))
    values = []
    for fill in itertools.islice(itertools.product([False, True], repeat=len(gaps)), 64) if len(gaps) <= 6 else [[False] * len(gaps), [True] * len(gaps)]:
        full = [list(row) for row in rows]
        for (i, j), v in zip(gaps, fill): full[i][j] = v
        values.append(np.mean([np.mean(row) for row in full]))
    assert min(values) == pytest.approx(got.low) and max(values) == pytest.approx(got.high)


def test_each_pair_is_judged_once():
    seen = []
    def compare(pairs):
        seen.extend(pairs)
        return [True] * len(pairs)
    judge = Judge("counting", compare)
    agreement(["a", "a"], [["b", "b", "c"], ["b", "c", "c"]], judge)
    assert sorted(seen) == [("a", "b", ""), ("a", "c", "")]
    seen.clear()
    agreement(["a", "a"], [["b"], ["b"]], judge, questions=["q1", "q2"])
    assert sorted(seen) == [("a", "b", "q1"), ("a", "b", "q2")]


@pytest.mark.parametrize("args", [([], []), (["a"], []), (["a"], [[]]), (["a", "b"], [["x"], ["x", "y"]]), (["a"], ["xyz"]), (["a"], [None]),
                                  (["a"], [["b"]], "exact"), (["a"], [["b"]], lambda a, b: None), (["a"], [["b"]], lambda a, b: .7),
                                  (["a"], [["b"]], Judge("short", lambda pairs: []))])
def test_what_has_no_meaning_is_refused(args):
    with pytest.raises(ValueError): consistency(*args)


def test_questions_must_fit():
    with pytest.raises(ValueError): agreement(["a"], [["b"]], questions=["q", "r"])


def test_the_choice_of_judge_is_recorded():
    def lenient(a, b): return True
    assert agreement(["a"], [["b"]]).judge == "normalised match"
    assert agreement(["a"], [["b"]], lenient).judge == "lenient" and agreement(["a"], [["b"]], Judge("mine", lambda p: [False])).judge == "mine"


# ---- judges

class Vectors:
    name = "vectors"
    def __init__(self, table): self.table, self.asked = table, []
    def encode(self, texts):
        self.asked += list(texts)
        return [self.table[t] for t in texts]


def test_embeddings_by_cosine():
    rng = np.random.default_rng(0)
    table = {w: rng.normal(size=8) for w in ["red", "crimson", "blue", "azure"]}
    for t in (-1, -.2, 0, .3, .99, 1):
        judge = embedding_judge(Vectors(table), t)
        for a, b in itertools.product(table, repeat=2):
            cosine = table[a] @ table[b] / np.sqrt((table[a] @ table[a]) * (table[b] @ table[b]))
            assert judge(a, b) == (a == b or cosine >= t)
    model = Vectors(table)
    verdicts = embedding_judge(model, .5).compare([("red", "blue", ""), ("red", "azure", ""), ("red", "Red.", "")])
    assert sorted(model.asked) == ["azure", "blue", "red"] and verdicts[2] is True        # each text once; "Red." needs no model
    assert embedding_judge(model, .5).name == "normalised match, else embedding vectors >= 0.5"
    for t in (1.5, -2, float("nan")):
        with pytest.raises(ValueError): embedding_judge(model, t)


def test_a_vector_without_direction_gives_no_verdict():
    for broken in ([0, 0], [np.nan, 1]):
        a = agreement(["red"], [["blue", "red"]], embedding_judge(Vectors({"red": [1, 0], "blue": broken}), .5))
        assert a.counts == {"unreadable": 1, "equal": 1} and (a.low, a.value, a.high) == (.5, 1, 1)


class Entails:
    name = "facts"
    def __init__(self, facts, labels=("contradiction", "entailment", "neutral")):
        self.facts, self.labels = facts, [x.lower() for x in labels]
        self.config = types.SimpleNamespace(id2label=dict(enumerate(labels)))
    def predict(self, pairs):
        return np.array([[3. * (x == ("entailment" if p in self.facts else "neutral")) for x in self.labels] for p in pairs])


def test_entailment_must_hold_both_ways_and_labels_go_by_name():
    facts = {("a", "b"), ("b", "a"), ("puppy", "dog"), ("left", "left")}
    for labels in (("contradiction", "entailment", "neutral"), ("ENTAILMENT", "NEUTRAL", "CONTRADICTION"), ("neutral", "contradiction", "Entailment")):
        judge = nli_judge(Entails(facts, labels))
        assert judge.compare([("a", "b", ""), ("puppy", "dog", ""), ("a", "c", "")]) == [True, False, False]
    asked = {("Where? left", "Where? on the left"), ("Where? on the left", "Where? left")}
    assert nli_judge(Entails(asked))("left", "on the left", "Where?") is True and nli_judge(Entails(asked))("left", "on the left") is False
    with pytest.raises(ModelError, match="entailment"): nli_judge(Entails(facts, ("LABEL_0", "LABEL_1", "LABEL_2")))
    with pytest.raises(ModelError, match="entailment"): nli_judge(Vectors({}))


def test_a_model_as_judge_is_read_strictly():
    script = {"puppy": "Yes", "wolf": "No.", "fox": "They differ in species", "cow": "yes or no", "ox": Reply("", finish="refused"),
              "elk": Reply("", finish="failed", error="no network")}
    model = Scripted(script, name="judge-1")
    a = agreement(["dog"], [["puppy", "wolf", "fox", "cow", "ox", "elk", "a dog", None]], model_judge(model), questions=["What animal is it?"])
    assert a.counts == {"equal": 2, "different": 1, "unreadable": 2, "refused": 1, "failed": 1, "no answer": 1}
    assert a.value == 2 / 3 and (a.low, a.high) == (2 / 8, 7 / 8)
    assert len(model.asked) == 6 and all("What animal is it?" in r.text and "dog" in r.text for r in model.asked)
    assert "judge-1" in a.judge and "prompt" in a.judge and model.asked[0].template in a.judge
    assert model_judge(Scripted(["nothing"] * 1))("a", "b") is Outcome.UNREADABLE


def test_replies_of_a_judge_may_come_in_any_order():
    class Backwards:
        name = "backwards"
        def generate(self, requests):
            for i in reversed(range(len(requests))): yield Reply("yes" if "puppy" in requests[i].text else "no", index=i)
    assert model_judge(Backwards()).compare([("dog", "puppy", ""), ("dog", "cat", ""), ("puppy", "cow", "")]) == [True, False, True]


def test_a_missing_package_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    for make in (lambda: embedding_judge("some/model", .5), lambda: nli_judge("some/model")):
        with pytest.raises(ModelError, match=r"pip install 'unsaf\[embeddings\]'") as e: make()
        assert "\n" not in str(e.value)


def test_a_folder_without_a_model_is_one_line(monkeypatch, tmp_path):
    def broken(path): raise OSError(f"{path} has no config.json\nand a long story")
    monkeypatch.setitem(sys.modules, "sentence_transformers", types.SimpleNamespace(SentenceTransformer=broken, CrossEncoder=broken))
    for make in (lambda: embedding_judge(tmp_path, .5), lambda: nli_judge(str(tmp_path))):
        with pytest.raises(ModelError, match="config.json") as e: make()
        assert "\n" not in str(e.value)


def test_the_package_is_given_the_path(monkeypatch):
    made = {}
    def load(path): made["path"] = path; return Vectors({"red": [1, 0], "crimson": [1, 0]})
    monkeypatch.setitem(sys.modules, "sentence_transformers", types.SimpleNamespace(SentenceTransformer=load))
    judge = embedding_judge("/models/one", .9)
    assert made["path"] == "/models/one" and judge("red", "crimson") is True and "/models/one" in judge.name


# ---- with the package itself, on tiny models with random weights that are made here

WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] red crimson blue dog puppy cat a the".split()


def tiny_bert(folder, **config):
    from transformers import BertConfig, BertTokenizerFast
    import torch
    torch.manual_seed(0)
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    tokenizer = BertTokenizerFast(vocab=str(folder / "vocab.txt"), vocab_file=str(folder / "vocab.txt"))
    return tokenizer, BertConfig(vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
                                 max_position_embeddings=32, **config)


def test_a_sentence_transformer_from_a_local_folder(tmp_path):
    package = pytest.importorskip("sentence_transformers")
    from transformers import BertModel
    tokenizer, config = tiny_bert(tmp_path)
    BertModel(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    net = package.SentenceTransformer(str(tmp_path))
    x = net.encode(["red", "crimson"])
    cosine = float(x[0] @ x[1] / np.linalg.norm(x[0]) / np.linalg.norm(x[1]))
    assert embedding_judge(tmp_path, cosine - .01)("red", "crimson") is True and embedding_judge(str(tmp_path), min(1, cosine + .01))("red", "crimson") is False
    with pytest.raises(ModelError): embedding_judge(tmp_path / "nothing", .5)


def test_a_cross_encoder_from_a_local_folder(tmp_path):
    package = pytest.importorskip("sentence_transformers")
    from transformers import BertForSequenceClassification
    tokenizer, config = tiny_bert(tmp_path, id2label={0: "contradiction", 1: "entailment", 2: "neutral"},
                                  label2id={"contradiction": 0, "entailment": 1, "neutral": 2})
    net = BertForSequenceClassification(config)
    net.classifier.weight.data.mul_(100)                        # random labels that differ between pairs
    net.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    scores = lambda a, b: package.CrossEncoder(str(tmp_path)).predict([(a, b)])[0].argmax()
    judge = nli_judge(tmp_path)
    for a, b in itertools.permutations(["red", "blue", "dog"], 2): assert judge(a, b) == (scores(a, b) == 1 == scores(b, a))


def test_later_rooms_are_opened_only_when_needed():
    import ast, inspect
    top = [n for n in ast.parse(inspect.getsource(room)).body if isinstance(n, ast.ImportFrom)]
    assert {"core", "awareness", "text.normalise", "text.short_answers"} == {n.module for n in top if n.level}
