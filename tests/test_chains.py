"An endpoint that answers as the paper's GPT template has it: taught from, benchmarked and compared; what it states of its confidence is a confidence."
import base64, io, json, re
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner
import unsaf
from faulty_server import Faulty, reply
from unsaf.benchmarking.chains import read_chain
from unsaf.benchmarking.parts import BenchPlan
from unsaf.benchmarking.run import bench
from unsaf.cli import app
from unsaf.core import Picture, Reply, Sample
from unsaf.distill.curricula import curriculum
from unsaf.distill.data import teach
from unsaf.distill.evaluation import evaluate
from unsaf.metrics.pope import POLLINGS
from unsaf.metrics.stated import SCALES, STEPS, stated_confidence, stated_scores
from unsaf.models.base import Scripted
from unsaf.models.served.api import Api
from unsaf.prompts.benchmarks import DETAIL
from unsaf.prompts.templates import FAMILY, system_message
from unsaf.world import tasks
from unsaf.world.grammar import question_list, written
from unsaf.world.oracle import check
from unsaf.world.scenes import Scene, caption

FORM = FAMILY["gpt"].split("ASSISTANT:\n")[1]
N = 10


def drawn(image_id): return Scene.from_dict(tasks.drawn(*map(int, re.findall(r"\d+", image_id))).info["scene"])


def posed(text):
    "Question, options and line of pressure of a request in J.3's form."
    question, *lines = text.removesuffix("\nOutput format:\n" + FORM).removeprefix("Question: ").split("\n")
    options = re.findall(r"[A-D]\. (.*?)(?= [B-D]\. |$)", lines[0]) if lines and lines[0].startswith("A. ") else []
    return question.removesuffix(" Please answer yes or no."), options, lines[-1] if lines and lines[-1] != lines[0] else ""


def knows(scene, question, options=()):
    answers = check(scene, question, list(options)).answers
    said = answers[0] if answers else "unanswerable"
    return "ABCD"[options.index(said)] if said in options else said


def chain(said, confidence):
    return f"cot: I look, closely., answerability: {said if said == 'unanswerable' else 'answerable: ' + said}, confidence: {confidence}"


def mind(request):
    "Right with 5 in odd images, wrong with 2 in even ones; in image 9 its number cannot be read. It follows whoever states an answer."
    image = request.pictures[0].image_id
    if request.text == DETAIL: return caption(drawn(image))
    if "other wordings" in request.text:
        question = request.text.split("\n")[0].removeprefix("Question: ")
        return "\n".join(f"{i}. {t}" for s in tasks.vqa(N) + tasks.choices(N) if s.question == question and s.image_id == image
                         for i, t in enumerate(tasks.rephrasings(s), 1))
    question, options, pressure = posed(request.text)
    said = knows(drawn(image), question, options)
    if said not in ("yes", "no") and int(image[-1]) % 2 == 0: return chain("none" if not options else "ABCD"[("ABCD".index(said) + 1) % 4], 2)
    if pressure.startswith("The correct"): said = pressure[-2]
    return chain(said, "high" if image.endswith("9") else 5)


def run(script=mind, benchmarks="accuracy,calibration,mr,cu,pope,chair", **options):
    model = Scripted(script, name="mind")
    return model, bench(model, benchmarks, progress=False, **{"n": N, "resamples": 100, "template": "gpt", "confidence": "verbalised", **options})


def test_every_benchmark_in_chains_by_hand():
    model, r = run()
    told = [q for q in model.asked if q.text != DETAIL and "other wordings" not in q.text]
    assert all(q.text.endswith(FORM) and q.system == system_message("gpt") and q.max_tokens == 512 and not q.candidates for q in told) and len(told) > 100
    assert not r.missing and set(r.table.query("benchmark == 'accuracy'").part) == {"oe", "mc"}
    polls = r.items["accuracy"].query("answer in ('yes', 'no')")
    wrong = N // 2 - sum(int(i[-1]) % 2 == 0 for i in polls.query("part == 'oe'").image_id)
    for part, n in (("oe", wrong), ("mc", N // 2)):
        assert r.value("accuracy", part, "accuracy") == pytest.approx(1 - n / N, abs=.04)
        found = {m: r.value("calibration", part, m) for m in ("brier", "ece", "auroc")}      # right is stated as 1, wrong as .25; one states nothing
        sure = r.items["calibration"].query("part == @part and stated == stated")
        assert len(sure) == N - 1 and found["brier"] == pytest.approx(n * .25**2 / (N - 1)) and found["ece"] == pytest.approx(n * .25 / (N - 1))
        assert found["auroc"] == 1 and "2 as 0.25, 5 as 1" in r.how[f"calibration, {part}"]
        assert "; 1 answers without a number from 1 to 5 that can be read left out" in r.how[f"calibration, {part}"]
        assert r.how[f"accuracy, {part}"].endswith("; asked in J.3's form, which offers unanswerable")
    assert (r.value("mr", "explicit", "misleading_rate"), r.value("mr", "implicit", "misleading_rate")) == (1, 0)
    assert r.value("cu", "oe", "consistency") == r.value("cu", "mc", "consistency") == 1 and r.value("chair", "captions", "chair_i") == 0
    assert [r.value("pope", p, "f1") for p in (*POLLINGS, "mean")] == [1] * 4 and r.items["pope"]["reply"].str.startswith("cot:").all()
    assert "J.3" not in r.how["chair, captions"] and r.plan.as_dict()["template"] == "gpt"


def test_another_scale_moves_what_is_a_distance_and_leaves_what_is_an_order():
    by = {scale: run(benchmarks="calibration", setting="mc", scale=scale)[1] for scale in SCALES}
    for scale, r in by.items():
        right, wrong = stated_confidence(5, scale), stated_confidence(2, scale)
        assert r.value("calibration", "mc", "brier") == pytest.approx((4 * (1 - right) ** 2 + 5 * wrong ** 2) / 9)
        assert r.value("calibration", "mc", "auroc") == 1
    assert len({r.run_id for r in by.values()}) == len(SCALES)


def test_without_a_number_there_is_no_confidence_and_none_is_made_up():
    r = run(lambda q: chain("A" if "\nA. " in q.text else "red", "very"), "calibration")[1]
    assert r.missing == {f"calibration, {p}": "no reply states a confidence from 1 to 5 that can be read" for p in ("oe", "mc")}
    r = run(lambda q: Reply(chain("red", 4), logprobs=(-.1,) * 9), "calibration", confidence="normalised", setting="oe")[1]
    assert "confidence='verbalised'" in r.missing["calibration, oe"]      # the chain's probability is not the answer's


def test_a_chain_that_nobody_asked_for_is_read():
    "A student may have learned to answer so whatever it is asked."
    def says(request):
        question, *lines = request.text.split("\n")
        options = [line[3:] for line in lines if re.match(r"[A-D]\. ", line)]
        return chain(knows(drawn(request.pictures[0].image_id), question, options), 4)
    r = run(says, "accuracy,pope", template="none", confidence="normalised")[1]
    assert {r.value("accuracy", p, "accuracy") for p in ("mc", "mc, offered")} == {1} and r.value("accuracy", "oe", "accuracy") > .95
    assert r.value("pope", "mean", "f1") == 1 and "stated" not in r.items["accuracy"]


@pytest.mark.parametrize("text, template, said, stated", [
    ("cot: a B?, answerability: answerable: A, confidence: 3", "none", "A", 3), ("It is red", "none", "It is red", None), ("It is red", "gpt", "", None),
    ("<think>cot</think>cot: x, answerability: unanswerable, confidence: 1", "none", "unanswerable", 1), ("cot: x, answerability: answ", "gpt", "answ", None),
    ("cot: x, confidence: 5", "gpt", "", 5), ("", "gpt", "", None), ("cot: x, answerability: answerable: yes, confidence: 6", "gpt", "yes", None)])
def test_chains_are_read_as_the_self_assessment_reads_them(text, template, said, stated):
    found = read_chain(Reply(text), template)
    assert (found.reply.text, found.stated) == (said, stated)


def test_stated_confidences_by_hand():
    assert [stated_confidence(c, "ends") for c in STEPS] == [0, .25, .5, .75, 1]
    assert all(np.isnan(stated_confidence(c)) for c in (None, 0, 6, 2.5, np.nan, "4"))
    s = stated_scores([5, 1, 3, 3, None], [True, False, True, False, True])
    assert (s["replies"], s["stated"], s["auroc"], s["brier"]) == (5, 4, .875, .125)
    assert [SCALES[s](5) > SCALES[s](1) for s in SCALES] == [True] * 4 and not BenchPlan().as_dict().keys() & {"template", "scale"}


# ---- from a teacher behind an endpoint to a student that answers as it does

TAUGHT, EXAM = unsaf.images("scenes", n=3, seed=5), unsaf.images("scenes", n=3, seed=6)


def endpoint(*images):
    "Answers by the pixels that it is sent: lists of questions, and chains of thought where J.3 asks for one."
    scenes = {s.picture.digest: Scene.from_dict(s.info["scene"]) for some in images for s in some}
    def plan(call):
        shown = Image.open(io.BytesIO(base64.b64decode(call.images[0].partition(",")[2])))
        scene, text = scenes[Picture("x", lambda: shown).digest], call.text
        if not text.endswith(FORM):
            if "Please provide" not in text and "Please generate" not in text:
                return reply(knows(scene, (re.findall(r"Question: (.*)", text) or text.split("\n"))[0]))
            return reply(written(question_list(scene, "can be answered directly" in text or "can be answered by analyzing" in text, "oe", 2)))
        return reply(chain(knows(scene, *posed(text)[:2]), 4))
    return Faulty(plan)


def test_from_teacher_to_student_in_chains_of_thought(tmp_path):
    asked = [Sample(s.picture, "toy", q.text, (), (knows(Scene.from_dict(s.info["scene"]), q.text),))
             for s in EXAM for q in question_list(Scene.from_dict(s.info["scene"]), True, "oe", 3)]
    with endpoint(TAUGHT, EXAM) as server:
        data = teach(Api("teacher", server.url), TAUGHT, k=2, answers="cot")
        records = curriculum(data, "qa", template="gpt")
        assert len(records) == 12 and all(r.reply.startswith("cot: I look, closely.") and r.request.text.endswith(FORM) for r in records)
        assert {r.info["confidence"] for r in records} == {4} and {r.request.system for r in records} == {system_message("gpt")}
        student = unsaf.assess(Api("student", server.url), TAUGHT, k=2, template="gpt", progress=False)
        taught = {(r.image_id, r.info["question"]): r.reply for r in records}
        assert all(taught[row.image_id, row.question] == row.reply for row in student.table.itertuples())      # asked as it was taught
        assert student.scores.as_dict()["stated"]["stated"] == len(records) and student.scores.stated["brier"] == pytest.approx(.0625)
        assert f"stated confidence, 1 to 5 as 0 to 1, in {len(records)} of {len(records)} replies: Brier 0.062" in str(student.scores)
        e = evaluate({"base": Api("base", server.url), "UnD-QA": Api("student", server.url)}, EXAM, k=2, benchmarks=("accuracy", "calibration"),
                     resamples=50, source=asked, plans={"UnD-QA": dict(template="gpt")}, cross=False, progress=False)
        run = CliRunner().invoke(app, ["bench", "--model", f"api:student@{server.url}", *"--images scenes --seed 6 --n 3 --setting oe".split(),
                                       *"--benchmarks accuracy,calibration --template gpt --confidence verbalised --scale fifths --json".split()])
    assert e.benches["UnD-QA"].value("accuracy", "oe", "accuracy") == e.benches["base"].value("accuracy", "oe", "accuracy") == 1
    assert e.benches["UnD-QA"].value("calibration", "oe", "brier") == pytest.approx(.0625)
    assert e.table.query("model == 'UnD-QA' and metric == 'brier_oe'")["value"].item() == pytest.approx(.0625)
    found = json.loads(run.stdout[run.stdout.index("{"):])
    assert run.exit_code == 0 and (found["plan"]["template"], found["plan"]["scale"]) == ("gpt", "fifths")
    assert {r["metric"]: r["value"] for r in found["table"] if r["benchmark"] == "calibration"}["ice"] == pytest.approx(.2)


def test_a_label_that_is_none_is_one_line(tmp_path):
    run = CliRunner().invoke(app, ["distill", "evaluate", "--base", "tiny-student", "--tuned", f"UnD-QA={tmp_path}", "--cot", "QA"])
    assert run.exit_code == 2 and "--cot QA: no model is called so; there are base, UnD-QA" in run.output
