"How the paper's gaps are filled (docs/gaps.md) where that is more than a setting: what a study runs, counts and keeps."
from dataclasses import replace
from inspect import signature
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from unsaf.prompts import templates as prompts
from unsaf.assessment.run import Plan, answer_request, question_request
from unsaf.benchmarking.run import bench
from unsaf.benchmarking.parts import BenchPlan, part_of
from unsaf.benchmarking.scores import score_calibration
from unsaf.core import Picture, Question, Sample, Setting, UnsafError
from unsaf.data.benchmarks import BENCHMARKS
from unsaf.data.choices import mmbench
from unsaf.data.sources import Benchmark
from unsaf.metrics.awareness import Awareness, awareness
from unsaf.metrics.calibration import ece
from unsaf.models import families
from unsaf.paper import runspec
from unsaf.paper.published import provenance, published
from unsaf.paper.runspec import Missing, Student, run_spec
from unsaf.paper.stats import STATISTICS, balanced, rows_of
from unsaf.paper.studies.ranks import METRICS
from unsaf.paper.studies.sizes import curve
from unsaf.paper.study import PAPER, PROFILES, open_study, studies
from unsaf.paper.tables import scored


def quiet(line): pass


def nothing_ran(name, profile="testbed", **changes):
    "A study with a reason in the place of every result."
    study = open_study(name, profile, **changes)
    study.results.update({spec: Missing("not run") for spec in study.specs()})
    return study


@pytest.fixture(scope="module")
def store(tmp_path_factory): return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def small(store):
    "Two models on six images, both settings."
    return open_study("table04", store=store, models=["tiny-s", "tiny-m-base"], data="plain", n=6, k=3).run(quiet)


# ---- the score

@pytest.mark.parametrize("name", ["table01", "table04", "table05", "table06", "table07", "table08", "table09", "table11"])
def test_unf1_never_stands_alone(name, small):
    found = nothing_ran(name).table()
    assert {"UnF1", "UnF1_class", "J", "always_answer"} <= set(found["metric"])
    if name in ("table01", "table04", "table05", "table06", "table07"):
        assert {"read_answerable", "read_unanswerable", "n", "images", "why"} <= set(found.columns) and "FA" in set(found["metric"])
    ran = small.table().pivot(index=["model", "setting"], columns="metric", values="value")
    for (model, setting), row in ran.iterrows():
        own = small.over("model", "dataset", "setting")[model, "plain", setting][0].scores.awareness
        assert row["always_answer"] == pytest.approx(2 * own.answerable / (2 * own.answerable + own.unanswerable))
        assert own.balanced_accuracy == pytest.approx((1 + row["J"]) / 2) and row["FA"] == pytest.approx(own.fa_rate)


def test_equal_class_size_in_each_image(small):
    "By hand: an image with 3 answerable and 1 unanswerable question brings 1 of each, one without unanswerable ones none."
    rows = [("a", True, "TA")] * 3 + [("a", False, "TU")] + [("b", True, "FU")] * 2 + [("c", True, "TA"), ("c", False, "FA"), ("c", False, "TU")]
    run = replace(small.over("model", "dataset", "setting")["tiny-s", "plain", "OE"][0], images=list("abc"))
    run.table = pd.DataFrame(rows, columns=["image_id", "answerable", "cell"])
    plain, equal = ({r["metric"]: r["value"] for r in scored([r])} for r in (run, balanced(run)))
    assert plain["T"] == 4 / 6 and equal["T"] == 1 and equal["always_answer"] == pytest.approx(2 / 3)
    assert plain["UnF1"] != plain["UnF1_class"] and equal["UnF1"] == pytest.approx(equal["UnF1_class"])


def test_words_for_audacity_and_timidity():
    assert "precision" in Awareness.audacity.__doc__ and "lower = bolder" in Awareness.audacity.__doc__
    assert "recall" in Awareness.timidity.__doc__ and "lower = abstains more" in Awareness.timidity.__doc__
    bold, shy = awareness(10, 10, 0, 0), awareness(5, 0, 10, 5)
    assert bold.audacity < shy.audacity and shy.timidity < bold.timidity


def test_no_score_is_not_zero():
    rows = nothing_ran("table01").table()
    assert rows["value"].isna().all() and (rows["why"] == "not run").all() and {"UNK-VQA (BY)", "UNK-VQA (OE)", "MM-UPD"} <= set(rows["strategy"])
    assert awareness(0, 0, 10, 10).unf1 == 0
    assert {"UNK-VQA (BY)", "UNK-VQA (OE)", "MM-UPD"} <= set(studies()["table01"][0].paper["arms"]) and len(studies()["table01"][0].paper["students"]) == 3


# ---- sizes, models, data

def test_sizes_of_the_paper():
    assert (PAPER.n, PAPER.k, PAPER.n_bench, PAPER.train["n"], PAPER.train["epochs"]) == (1000, 5, 4000, 1000, 5)
    four, nine = open_study("table04", "paper"), open_study("table09", "paper")
    assert {(u.n, u.k) for u in four.specs()} == {(1000, 5)} and {u.n for u in nine.specs() if u.kind == "bench"} == {4000}
    p, y = np.random.default_rng(0).random(500), np.random.default_rng(1).random(500) < .5
    assert ece(p, y) == ece(p, y, n_bins=15) != ece(p, y, n_bins=10)
    some = Benchmark([str(i) for i in range(9)], None, "toy", order=range(9), shown=[str(i) for i in range(9)])
    assert len(some.at_most(4000)) == 9 and len(some.at_most(4)) == 4
    assert BENCHMARKS["mme"].sizes["test"] == 2374 and BENCHMARKS["mmmu"].split == "validation"
    assert (BENCHMARKS["mmmu"].sizes["dev"], BENCHMARKS["mmmu"].sizes["validation"]) == (150, 900)


def test_a_score_says_how_many_it_rests_on(small):
    found = small.table().query("metric == 'UnF1'").set_index(["model", "setting"])
    for (model, setting), row in found.iterrows():
        own = small.over("model", "dataset", "setting")[model, "plain", setting][0]
        assert row["n"] == own.table["cell"].notna().sum() and row["images"] == 6
        assert row["low"] <= row["value"] <= row["high"]


def test_both_internvl_8b_are_run():
    both = {"InternVL2-8B", "InternVL3-8B"}
    for name in ("table04", "table06", "fig05", "table08"):
        c = open_study(name, "paper").choices
        assert both <= set(c["models"]), name
        keys = set(open_study(name, "paper").plan["model"])
        assert both <= keys and "InternVL-8B" not in keys
    assert len({PAPER.models[m] for m in both}) == 2
    for name in ("table01", "table02", "table07", "table09", "table12", "table13"):
        c = studies()[name][0].paper
        assert c["students"][0] == "InternVL2-8B" and "InternVL3-14B" in c["teachers"]
    assert ("InternVL3-8B", "InternVL3-8B-Pretrained", "InternVL3-8B") in studies()["table05"][0].paper["pairs"]
    assert PAPER.models["InternVL3-8B-Pretrained"] == "bridge:internvl2@OpenGVLab/InternVL3-8B-Pretrained"     # code of its own
    more = open_study("table07", "paper", students=["InternVL2-8B", "InternVL3-8B"])
    assert both <= set(more.plan["student"])


def test_where_images_come_from():
    assert PAPER.data["COCO"] == "coco:test2017" and PAPER.data["ImageNet"] == "imagenet" and BENCHMARKS["imagenet"].split == "validation"
    assert {u.n for u in open_study("table04", "paper", data="ImageNet").specs()} == {1000}
    assert {data for data, _, _ in PAPER.held_out} == {"coco:test2017"} and {seed for _, _, seed in PAPER.held_out} == set(PAPER.seeds)
    students = [u.model for u in open_study("table01", "paper").specs() if isinstance(u.model, Student)]
    assert students and all(s.held_out == PAPER.held_out and s.data == "coco:train2014" for s in students)      # disjoint from val2014 and from the tests


def test_data_of_the_sample_size_study():
    c = open_study("fig03", "paper").choices
    assert (c["data"], c["cu_data"], c["settings"]) == (("MMBench",), ("OKVQA",), ("MC", "OE"))
    asked = {(part, dict(u.options)["benchmarks"], u.data, u.setting)
             for part, u in open_study("fig03", "paper").plan[["part", "spec"]].itertuples(index=False) if u.kind == "bench"}
    assert asked == {("bench", "calibration,mr", "mmbench", "mc"), ("cu", "cu", "ok-vqa", "both")}


def test_mr_takes_questions_with_options():
    def asked(**more): return part_of(Sample(Picture("x", lambda: None), "toy", "Is it red?", **more), "mr")
    assert asked(answers=("B",), options=("red", "blue")) == "mc"
    assert asked(answers=("yes",)) is None                                                # MME as published
    assert asked(answers=("unanswerable",), options=("red", "blue")) is None              # no option is right: nothing to be misled from


def test_metrics_of_the_figures():
    assert METRICS["OE"] == ("UnF1", "Brier", "MacroCE", "ICE", "ECE", "MCE", "CU") and METRICS["MC"] == (*METRICS["OE"], "MR")
    assert set(METRICS["MC"]) <= set(STATISTICS) and {s.name for s in STATISTICS.values() if s.higher_is_better} == {"UnF1", "UnF1_class", "J", "CU"}


def test_curves_count_questions_and_images(small):
    rows = rows_of(small.over("model", "dataset", "setting")["tiny-s", "plain", "OE"][0], "UnF1", "OE")
    by = {by: curve(rows, "UnF1", [2], draws=3, by=by).iloc[0] for by in ("questions", "images")}
    assert by["questions"]["population"] == len(rows) > by["images"]["population"] == 6 and {"mean", "sd", "cv", "fpc"} <= set(by["images"].index)


def test_table_7_measures_every_base():
    plan = open_study("table07", "paper").plan
    bases = plan[plan["strategy"] == "Baseline"].set_index(["student", "dataset"])["spec"].to_dict()
    assert set(bases) == {(s, d) for s in ("InternVL2-8B", "Qwen-VL-Chat-7B", "mPLUG-Owl-7B") for d in ("MMBench", "OKVQA")}
    assert len({u.data for (s, _), u in bases.items() if s == "InternVL2-8B"}) == 2


def test_gpt_4o_and_its_printed_endpoint():
    name, printed = families.find("GPT-4o"), families.find(published("table03").set_index("name").loc["GPT-4o", "link_or_endpoint"])
    assert (name.hub, printed.hub) == ("gpt-4o", "gpt-4-turbo-2024-04-09") and PAPER.models["GPT-4o"] == name.load == "api:gpt-4o"
    other = open_study("table04", "paper", models="GPT-4o", addresses={"GPT-4o": printed.load})
    assert {u.model for u in other.specs()} == {"api:gpt-4-turbo-2024-04-09"}


def test_exchanged_cells_stay_as_printed():
    t = published("table12").set_index(["student", "strategy", "teacher", "dataset"])["value_str"]
    assert t["Qwen-VL-Chat-7B", "UnD-Joint", "InternVL-14B", "MMBench"] == "64.03" and t["Qwen-VL-Chat-7B", "UnD-Joint", "InternVL-14B", "OKVQA"] == "70.69"
    assert t["mPLUG-Owl-7B", "UnD-QA", "GPT-4o", "OKVQA"] == "49.98" and t["mPLUG-Owl-7B", "UnD-QA", "GPT-4o", "VizWiz"] == "67.82"
    assert all(f"{a} and {b} look exchanged" in provenance() for a, b in (("64.03", "OKVQA 70.69"), ("49.98", "VizWiz 67.82")))


# ---- seeds, lessons, prompts

@pytest.mark.parametrize("profile", list(PROFILES))
def test_what_a_seed_chooses(profile):
    plan = open_study("table01", profile, seeds=[0, 1], arms=["UnD-IQ", "UNK-VQA (OE)"]).plan
    first, second = (list(plan[plan["seed"] == seed]["spec"]) for seed in (0, 1))
    assert len(first) == len(second) and not set(first) & set(second)
    for a, b in zip(first, second):
        assert b.seed == a.seed + 1 and b.data == a.data                                   # pictures
        if isinstance(a.model, Student): assert (a.model.seed, b.model.seed) == (0, 1)     # lessons, order, start
        if isinstance(a.model, Student) and a.model.teacher: assert runspec._taught(b.model).seed == runspec._taught(a.model).seed + 1
    assert Plan(Setting.OE).temperature == 0 and not any("temperature" in dict(u.options) for u in first)


def test_short_answers_for_teachers_that_reason():
    def forms(**changes):
        found = open_study("table01", "paper", seeds=0, arms=["UnD-QA"], **changes).specs()
        return {u.model.teacher: u.model.answers for u in found if isinstance(u.model, Student)}
    whole = forms()
    assert sorted(whole.values()) == ["cot", "cot", "short"] and whole[PAPER.models["InternVL3-14B"]] == "short"
    assert set(forms(answers="short").values()) == {"short"} and set(forms(answers="cot").values()) == {"cot"}
    assert set(forms(answers="short")) == set(whole)


def test_students_are_taught_open_ended():
    for name in ("table01", "table07", "table09"):
        assert studies()[name][0].paper["settings"] == studies()[name][0].testbed["settings"] == ("OE",)
    both = [u for u in open_study("table01", settings=["OE", "MC"]).specs() if isinstance(u.model, Student)]
    assert {u.setting for u in both} == {"oe", "mc"} and {u.model.setting for u in both} == {"oe"}
    assert {u.model.setting for u in open_study("table01", lessons="mc").specs() if isinstance(u.model, Student)} == {"mc"}


def test_a_student_of_chains_has_room_for_them():
    "512 tokens for answers wherever it is examined by self-assessment; nobody else's are changed."
    for unit in open_study("table01", "paper").specs():
        room = isinstance(unit.model, Student) and unit.model.answers == "cot"
        assert unit.kind == "student" or dict(unit.options).get("answer_tokens") == (512 if room else None)
    label = "InternVL2-8B, UnD-QA by GPT-4o"                  # trained and served elsewhere
    for name in ("table01", "table12", "table13"):
        served = [u for u in open_study(name, "paper", addresses={label: "api:mine@http://127.0.0.1:9/v1"}).specs() if u.model == "api:mine@http://127.0.0.1:9/v1"]
        assert served and all(dict(u.options)["answer_tokens"] == 512 for u in served)


def test_captions_of_500_images():
    for name in ("table02", "table13"):
        sizes = {u.data: u.n for u in open_study(name, "paper").specs()}
        assert sizes == {"pope": 9000, "chair": 500} and {u.n for u in open_study(name, "paper", n_chair=20).specs() if u.data == "chair"} == {20}


def test_records_of_one_question_or_of_a_list(store):
    made = {arm: Student("tiny-student", arm, "tiny-l", "scenes:plain", n=2, k=3) for arm in ("UnD-IQ", "UnD-IQ k=1", "UnD-Joint k=1")}
    run_spec(runspec._taught(made["UnD-IQ"]), store, quiet)
    records = {arm: runspec._records(s, store, [])[0] for arm, s in made.items()}
    sizes = {arm: [r.info["k"] for r in some if r.kind == "iq"] for arm, some in records.items()}
    assert max(sizes["UnD-IQ"]) == 3 and set(sizes["UnD-IQ k=1"]) == set(sizes["UnD-Joint k=1"]) == {1}
    assert sum(sizes["UnD-IQ"]) == len(sizes["UnD-IQ k=1"]) == len(sizes["UnD-Joint k=1"])
    found = open_study("table01", arms=["UnD-IQ", "UnD-IQ k=1"], teachers="tiny-l", students="tiny-student").specs()
    assert len({u.model.arm for u in found if isinstance(u.model, Student)}) == 2 and len({runspec._taught(s).key for s in made.values()}) == 1


def test_teachers_are_examined_too():
    plan = open_study("table01", "paper", settings=["OE", "MC"], seeds=0).plan
    own = plan[plan["pool"] == "teachers"].set_index(["teacher", "setting"])["spec"].to_dict()
    assert set(own) == {(t, s) for t in ("GPT-4o", "Moonshot-v1", "InternVL3-14B") for s in ("OE", "MC")} and all(u.kind == "assess" for u in own.values())


def test_the_llava_template():
    "The family's own message by default; the option reaches both stages of every unit."
    qwen, others = ("Qwen-VL-Chat-7B", "Qwen2-VL-7B", "Qwen2.5-VL-Instruct-7B"), ("LLaVA-7B", "InternVL2-8B", "InternVL3-8B", "mPLUG-Owl-7B", "MiniCPM-8B")
    assert {families.find(m).template for m in qwen} == {"qwen"} and {families.find(m).template for m in others} == {"llava"}
    for name in ("table04", "table06", "table11", "table08", "fig02"):
        found = [u for u in open_study(name, "paper", template="llava", layout="paper").specs() if u.kind == "assess"]
        assert found and all({("template", "llava"), ("layout", "paper")} <= set(u.options) for u in found)
        assert not any(dict(u.options).get("template") for u in open_study(name, "paper").specs())
    plan, picture = Plan(Setting.OE, template="llava"), Picture("x", lambda: Image.new("RGB", (8, 8)))
    asked = question_request(picture, True, plan), answer_request(picture, Question("Why?", Setting.OE, True), plan)
    assert {r.system for r in asked} == {prompts.SYSTEM["llava"]} and prompts.SYSTEM["llava"] in prompts.FAMILY["llava"]
    literal = Plan(Setting.OE, template="llava-roles")
    written = question_request(picture, True, literal), answer_request(picture, Question("Why?", Setting.OE, True), literal)
    for plain, r in zip(asked, written):
        assert not r.system and r.text.startswith(prompts.SYSTEM["llava"] + "\nUSER: ") and r.text.endswith("\nASSISTANT:") and r.template != plain.template


def test_a_template_and_a_layout_run_through(store):
    study = open_study("table04", store=store, models="tiny-s", data="plain", settings="OE", n=2, k=2, template="llava", layout="paper").run(quiet)
    run, = study.over("model", "dataset", "setting")["tiny-s", "plain", "OE"]
    assert (run.plan.template, run.plan.layout) == ("llava", "paper") and len(run.lists) == 4


def test_what_figure_5_and_table_6_hold():
    shown = nothing_ran("fig05").table()
    assert set(shown["metric"]) == {"FU", "FA", "UnF1", "always_answer"}
    assert {"A", "T", "TA", "FU", "FA", "TU", "UnF1"} <= set(nothing_ran("table06").table()["metric"])


# ---- benchmarks

def test_two_definitions_of_confidence_and_correctness(store):
    "Both confidences of every answer are kept, and another rule of comparison asks nothing anew."
    first = bench("tiny-s", "calibration", "scenes:textured", n=40, store=store/"two", progress=False, resamples=50)
    items = first.items["calibration"]
    sure = items[items["confidence"].notna()]
    mc = sure[sure["part"] == "mc"]
    assert np.allclose(mc["raw"], mc["confidence"] * mc["mass"]) and (sure["raw"] <= sure["confidence"] + 1e-9).all()
    bare = {p.name: p.scores["ece"].value for p in score_calibration(items.assign(confidence=items["raw"]), 50)}
    for part in ("oe", "mc"):
        mine = sure[sure["part"] == part]
        assert bare[part] == pytest.approx(ece(mine["raw"].clip(0, 1), mine["credit"] >= .5))
        rows = rows_of(first, "ECE", part)
        assert STATISTICS["ECE"](rows.assign(confidence=rows["raw"])) == pytest.approx(bare[part])
    assert bare["oe"] != first.value("calibration", "oe", "ece")
    for rule in ("exact", "vqa", "value"):
        again = bench("tiny-s", "calibration", "scenes:textured", n=40, store=store/"two", progress=False, resamples=50, rule=rule)
        assert (again.calls["asked"], again.calls["cached"]) == (0, 80)
        assert set(again.items["calibration"].query("part == 'oe'")["rule"]) == {rule}
    raw = bench("tiny-s", "calibration", "scenes:textured", n=40, store=store/"two", progress=False, resamples=50, confidence="raw", right_from=1.0)
    assert (raw.calls["asked"], raw.calls["cached"]) == (0, 80) and "probability of the whole reply; right from credit 1" in raw.how["calibration, oe"]
    strict = raw.items["calibration"].query("part == 'oe' and confidence.notna()")
    assert raw.value("calibration", "oe", "ece") == pytest.approx(ece(strict["raw"].clip(0, 1), strict["credit"] >= 1))
    assert STATISTICS["ECE"](rows_of(raw, "ECE", "oe")) == pytest.approx(raw.value("calibration", "oe", "ece"))
    for wrong in (dict(rule="guess"), dict(confidence="sure"), dict(right_from=0.0)):
        with pytest.raises(UnsafError, match=next(iter(wrong))): BenchPlan(**wrong).check()


def test_accuracy_on_validation_splits_with_its_abstentions(store):
    assert {name: BENCHMARKS[name].split for name in ("vizwiz", "ok-vqa", "vqav2", "mmbench")} == {
        "vizwiz": "val", "ok-vqa": "val2014", "vqav2": "validation", "mmbench": "dev"}
    assert signature(mmbench).parameters["passes"].default is False                     # one pass, not the circular evaluation
    found = bench("tiny-s", "accuracy", "scenes:plain", n=12, store=store/"accuracy", progress=False, resamples=50)
    for row in found.table.itertuples():
        part, _, offered = row.part.partition(", ")
        items = found.items["accuracy"]
        items = items[(items["part"] == part) & (items["offered"] == bool(offered))]
        assert row.abstained == (items["outcome"] == "abstained").sum() and row.replies == len(items) == 12
