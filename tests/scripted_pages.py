"""Three pages to be looked at: of a model that thinks aloud, of one that speaks Chinese, and of a server that refuses some images.

    python tests/scripted_pages.py FOLDER

Each is made by a scripted OpenAI-compatible server on loopback, through the client that real ones are asked with.
"""
import hashlib
import sys
from pathlib import Path
import unsaf
from faulty_server import Answer, Faulty, error, reply
from unsaf.models.served.api import Api


def writing(call) -> bool: return call.body.get("max_tokens", call.body.get("max_completion_tokens", 0)) > 100
def easy(call) -> bool: return "can be answered" in call.text
def choices(call) -> bool: return "A." in call.text
def of_image(call, n: int) -> int: return hashlib.sha256(call.images[0].encode()).digest()[0] % n


def counted(text, finish="stop", thought=0, **message) -> Answer:
    "A reply whose usage says how many of its tokens were reasoning."
    answer = reply(text, finish, (250, 40 + thought), **message)
    answer.body["usage"]["completion_tokens_details"] = {"reasoning_tokens": thought}
    return answer


# ---- a model that thinks aloud: in its reply, in a field of its own, and at times until it is cut

COLORS = "\nA. red\nB. blue\nC. green\nD. black"

def thinker(call):
    if writing(call):
        if of_image(call, 4) == 0 and easy(call): return reply("<think>\nThe picture shows shapes. Ideas:\n1. Question: What color is the largest", "length")
        kinds = ("What color is shape", "How large is shape") if easy(call) else ("Who drew shape", "Why was somebody fond of shape")
        asked = "\n".join(f"{i}. Question: {kind} number {i}?{COLORS if choices(call) else ''}" for i, kind in enumerate(kinds, 1))
        return reply(f"<think>\nIdeas:\n1. Question: Is it old? Too vague.\n2. Question: What is behind it? It cannot be seen.\n</think>\n\n{asked}")
    if "Why was" in call.text and of_image(call, 3) == 0: return counted(None, "length", 64, reasoning_content="Somebody may have been fond of it, but who")
    if "Who drew" in call.text: return reply("<think>There is no signature. A? B? I cannot tell who drew it.</think>unanswerable")
    if "Why was" in call.text: return counted("unanswerable", thought=180, reasoning_content="A feeling is nothing that a picture shows.")
    if "How large" in call.text and of_image(call, 3) == 1: return reply("<think>Compared with the others it might be unanswerable, or B, or", "length")
    return reply("It might be A or D... no: it is blue.\n</think>\n\n" + ("B" if choices(call) else "blue"))


# ---- one that speaks Chinese

def chinese(call):
    if writing(call):
        kinds = ("图中最大的形状是什么颜色", "图中有几个形状") if easy(call) else ("这幅画是谁画的", "画这些形状的人当时在想什么")
        options = "\n（A）红色\n（B）蓝色\n（C）绿色\n（D）黑色" if choices(call) else ""
        return reply("好的，以下是问题：\n" + "\n".join(f"问题{i}：{kind}？{options}" for i, kind in enumerate(kinds, 1)))
    if "想什么" in call.text: return reply("无法确定")
    if "谁画" in call.text: return reply("unanswerable")
    return reply("答案是B。" if choices(call) else "蓝色。")


# ---- a server that refuses what it takes for improper, in several ways

def refusing(call):
    if writing(call) and of_image(call, 5) == 0: return error(403, "The input was flagged by moderation (violence).")
    if not writing(call) and of_image(call, 5) == 1 and "number 2" in call.text: return reply(None, "content_filter")
    if not writing(call) and of_image(call, 5) == 2 and "number 1" in call.text: return error(400, "The input may be inappropriate.",
        code="data_inspection_failed")
    if writing(call): return reply("\n".join(f"{i}. Question: {'What' if easy(call) else 'Why'} is number {i}?{COLORS if choices(call) else ''}"
                                             for i in (1, 2)))
    return reply(("B" if choices(call) else "a circle") if "What" in call.text else "unanswerable")


PAGES = dict(thinking=thinker, chinese=chinese, refusing=refusing)

def make(folder: Path, n: int = 12) -> dict[str, tuple[list, Path]]:
    "Both settings of each kind of server: its assessments and their page."
    from unsaf.assessment.report import page
    made = {}
    for name, plan in PAGES.items():
        with Faulty(plan) as server:
            model = Api(name, server.url)
            results = [unsaf.assess(model, unsaf.images("scenes", n=n, seed=3), setting, k=2, max_failures=1) for setting in ("oe", "mc")]
        made[name] = results, page(results, Path(folder) / f"{name}.html")
    return made


if __name__ == "__main__":
    for results, path in make(Path(sys.argv[1])).values(): print(path, *(f"{r.plan.setting}: {r.scores.sentence}" for r in results), sep="\n")
