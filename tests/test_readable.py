"Scores of what could be read are never passed off as scores of all: bounds by brute force, the gate wherever a score is shown."
import itertools, json, math
import pytest
import unsaf
from unsaf.assessment.probes import StyleCheat
from unsaf.assessment.saved import paired
from unsaf.core import Reply, UnsafError
from unsaf.metrics.pope import pope, pope_cells
from unsaf.metrics.readable import POPE_BOUNDED, Readable, always_yes, pope_bounds, pope_read, pope_read_mean
from unsaf.models.base import Scripted

GATED = "of the readable ones"


class Few(StyleCheat):
    "Writes a list that can be read once in five."
    name, asked = "few", 0
    def generate(self, requests):
        for i, reply in enumerate(super().generate(requests)):
            self.asked += 1
            yield Reply(reply.text if self.asked % 5 == 0 else "gibberish", index=i)


# ---- bounds

def scores(replies, labels):
    found = pope(replies, labels, "strict")
    return {name: getattr(found, name) for name in POPE_BOUNDED}


@pytest.mark.promise("readable")
@pytest.mark.parametrize("read", itertools.product((0, 2), repeat=4))
def test_bounds_are_those_of_all_assignments(read):
    "Each unread reply is made a yes and a no, by the scorer itself; least and most of what is defined."
    tp, fp, fn, tn = read
    known = [("yes", "yes")] * tp + [("yes", "no")] * fp + [("no", "yes")] * fn + [("no", "no")] * tn
    for there, other in ((0, 0), (2, 0), (0, 2), (2, 1)):
        if not len(known) + there + other: continue
        labels = [label for _, label in known] + ["yes"] * there + ["no"] * other
        tried = [scores([r for r, _ in known] + list(made), labels) for made in itertools.product(("yes", "no"), repeat=there + other)]
        found = pope_bounds(tp, fp, fn, tn, there, other)
        for name in POPE_BOUNDED:
            values = [x[name] for x in tried if not math.isnan(x[name])]
            low, high = found[name]
            if values: assert high == pytest.approx(max(values)) or math.isnan(high), (name, read, there, other)
            if name == "f1" and len(values) < len(tried) and "yes" in labels: values.append(0)      # nobody said yes to what is there
            if values and not math.isnan(low): assert low == pytest.approx(min(values)), (name, read, there, other)
        if "yes" in labels: assert not any(map(math.isnan, (*found["f1"], *found["accuracy"], *found["recall"], *found["yes_ratio"])))


@pytest.mark.promise("readable")
def test_one_yes_and_nineteen_pieces_of_nonsense():
    replies, labels = ["yes"] + ["banana"] * 19, ["yes"] * 10 + ["no"] * 10
    assert pope(replies, labels, "strict").f1 == 1
    read = pope_read(pope_cells(replies, labels, ["p"] * 20, "strict")[1].sum(0))
    assert read.readable.share == .05 and read.readable.of_the_readable and read.bounds["f1"] == (2 / 21, 1)
    assert read.always_yes == pytest.approx(scores(["yes"] * 20, labels)) == always_yes(10, 10)
    assert pope_read_mean([read, read, read]).bounds["f1"] == pytest.approx(read.bounds["f1"])


@pytest.mark.parametrize("share", [-.1, 1.1, math.nan, "all"])
def test_a_gate_is_a_share(share):
    with pytest.raises(UnsafError, match="give a share from 0 to 1"): Readable(1, 2, share)
    for run in (lambda: unsaf.assess(StyleCheat(), "scenes", n=2, min_read=share), lambda: unsaf.bench(StyleCheat(), "pope", n=2, min_read=share)):
        with pytest.raises(UnsafError, match="give a share from 0 to 1"): run()


# ---- where scores are shown

def test_bench_marks_what_is_of_the_readable_ones(tmp_path):
    "Nothing but words and marks differs with the gate; a failed call is unread, too."
    said = iter(["yes", "no", "no"])
    def reply(request): return next(said, "banana")
    closed = unsaf.bench(Scripted(reply, name="babbler"), "pope,chair", n=10, resamples=200, store=tmp_path)
    again = dict(benchmarks="pope,chair", n=10, resamples=200, store=tmp_path)
    opened = unsaf.bench(Scripted(reply, name="babbler"), **again, min_read=0)
    assert closed.table.equals(opened.table)
    part, read = next((p, r) for p, r in closed.reads().items() if r.readable.read)
    rows = {r["metric"]: r for r in closed.as_dict()["table"] if (r["benchmark"], r["part"]) == ("pope", part)}
    assert all(r.get("of_the_readable") for name, r in rows.items() if name != "read_share") and rows["accuracy"]["value"] is not None
    assert closed.as_dict()["readable"][f"pope, {part}"]["share"] == pytest.approx(rows["read_share"]["value"])
    marked = [line for line in str(closed).splitlines() if line.endswith(GATED)]
    assert len(marked) == 4 * 5 and not any("chair" in line for line in marked) and GATED in closed._repr_html_()
    assert "always saying yes" in str(opened) and not [line for line in str(opened).splitlines() if line.endswith(GATED)]
    assert not any("of_the_readable" in r for r in opened.as_dict()["table"])
    low, high = read.bounds["accuracy"]
    right = read.readable.read * closed.value("pope", part, "accuracy")
    assert (low, high) == pytest.approx((right / read.readable.asked, (right + read.readable.asked - read.readable.read) / read.readable.asked))
    rows = closed.items["pope"]
    closed.items["pope"] = rows.assign(outcome=["failed"] * 5 + rows["outcome"].tolist()[5:])
    assert sum(r.readable.asked for p, r in closed.reads().items() if p != "mean") == len(rows)


@pytest.mark.promise("readable")
def test_an_assessment_says_of_how_many_questions_it_is(tmp_path):
    images = unsaf.images("scenes", n=20, seed=0)
    result = unsaf.assess(Few(), images, k=3, progress=False)
    read = result.scores.readable
    assert read.asked == 120 and read.read == int(result.table["cell"].notna().sum()) < 40
    body = result.as_dict()
    assert body["readable"] == read.as_dict() and body["scores"]["of_the_readable"] and body["scores"]["scores"][0]["value"] is not None
    assert result.scores.sentence.startswith(f"Of the readable ones only ({read.read} of 120 questions): ")
    page = result.report(tmp_path / "page.html").read_text()
    for text in (str(result.scores), result.scores._repr_html_(), page): assert text.lower().count(GATED) >= 2
    whole = unsaf.assess(StyleCheat(), images, k=3, progress=False)
    assert GATED not in str(whole.scores) and "of_the_readable" not in whole.as_dict()["scores"] and not whole.as_dict()["readable"]["of_the_readable"]
    assert whole.scores.frame().equals(unsaf.assess(StyleCheat(), images, k=3, progress=False, min_read=1).scores.frame())


def test_a_comparison_names_who_is_of_the_readable_ones_and_offers_cross():
    images = unsaf.images("scenes", n=20, seed=0)
    whole, few = (unsaf.assess(m, images, k=3, progress=False) for m in (StyleCheat(), Few()))
    few.model = "few"
    pair = paired(whole, few)
    text = "\n".join(pair.lines())
    assert pair.of_the_readable == ["few"] and GATED in text and "of 120 questions" in text
    assert "the questions that it wrote itself" in text and "--cross" in text
    assert GATED not in "\n".join(paired(whole, whole).lines()) and "--cross" not in "\n".join(pair.lines(crossed=True))


@pytest.mark.promise("readable")
def test_the_option_reaches_every_command(tmp_path, inside):
    cheat = unsaf.assess(Few(), "scenes", n=6, seed=5, store=tmp_path / "few")
    cheat.save(tmp_path / "few")
    assert inside("report", tmp_path / "few").returncode == 0 and GATED in (tmp_path / "few/report.html").read_text()
    inside("report", tmp_path / "few", "--min-read", "0")
    assert GATED not in (tmp_path / "few/report.html").read_text()
    unsaf.assess(Few(), "scenes", n=5, seed=5, store=tmp_path / "fewer").save(tmp_path / "fewer")
    shown = inside("compare", tmp_path / "few", tmp_path / "fewer", "--json")
    assert json.loads(shown.stdout)["of_the_readable"] == ["cheat"] * 2
    wrong = inside("report", tmp_path / "few", "--min-read", "2")
    assert wrong.returncode == 2 and "give a share from 0 to 1" in wrong.stderr
