"""Question lists as real models write them: text -> (questions, pieces), no silent loss, and speed on nasty inputs."""
import json, time
from collections import Counter
import pytest
from hypothesis import given, settings, strategies as st
from unsaf.prompts.list_pieces import LIST_LIMIT
from unsaf.prompts.readers import read_questions

C, W = "What color is the ball?", "Where is the ball?"
CW = [C, W]
O4 = ("red", "green", "blue", "black")
OPTS = "A. red\nB. green\nC. blue\nD. black"
ZC, ZW = "图中的球是什么颜色？", "球在哪里？"
ZO = ("红色", "绿色", "蓝色", "黑色")

# name: (text, questions, pieces): open-ended
OPEN = {
    # other scripts
    "zh": (f"问题1：{ZC}\n问题2：{ZW}", [ZC, ZW], {}),
    "zh traditional": ("問題1：球是什麼顏色？\n問題2：球在哪裡？", ["球是什麼顏色？", "球在哪裡？"], {}),
    "zh asked": (f"质问1：{ZC}\n质问2：{ZW}", [ZC, ZW], {}),
    "zh count": (f"第1题：{ZC}\n第2题：{ZW}", [ZC, ZW], {}),
    "zh spelt": (f"第一题：{ZC}\n第二题：{ZW}", [ZC, ZW], {}),
    "zh Q": (f"Q1：{ZC}\nQ2：{ZW}", [ZC, ZW], {}),
    "zh wide Q": (f"Ｑ１：{ZC}\nＱ２：{ZW}", [ZC, ZW], {}),
    "zh list": (f"1、{ZC}\n2、{ZW}", [ZC, ZW], {}),
    "zh wide list": (f"１．{ZC}\n２．{ZW}", [ZC, ZW], {}),
    "zh wide brackets": (f"（1）{ZC}\n（2）{ZW}", [ZC, ZW], {}),
    "zh numerals": (f"一、{ZC}\n二、{ZW}", [ZC, ZW], {}),
    "zh numerals in brackets": (f"（一）{ZC}\n（二）{ZW}", [ZC, ZW], {}),
    "zh lenticular": (f"【问题1】{ZC}\n【问题2】{ZW}", [ZC, ZW], {}),
    "zh bold": (f"**问题1：** {ZC}\n**问题2：** {ZW}", [ZC, ZW], {}),
    "zh heading": (f"### 问题1\n{ZC}\n\n### 问题2\n{ZW}", [ZC, ZW], {}),
    "zh one line": (f"问题1：{ZC}问题2：{ZW}", [ZC, ZW], {}),
    "zh one line, numbered": (f"1. {ZC}2. {ZW}", [ZC, ZW], {}),
    "zh one line, wide": (f"1、{ZC}2、{ZW}", [ZC, ZW], {}),
    "zh one line, circled": (f"①{ZC}②{ZW}", [ZC, ZW], {}),
    "zh particle": ("1. 这个人是老师吗\n2. 他在做什么呢。", ["这个人是老师吗", "他在做什么呢。"], {}),
    "zh answer": (f"问题1：{ZC}\n答案：红色\n问题2：{ZW}\n答：桌上", [ZC, ZW], {"answer given": 2}),
    "zh answer on the line": (f"问题1：{ZC}答案：红色", [ZC], {"answer given": 1}),
    "zh question and answer": (f"问：{ZC}\n答：红色", [ZC], {"answer given": 1}),
    "zh reason": (f"1. {ZC}\n   - 理由：颜色看得见吗？看得见。\n2. {ZW}\n   - 类型：位置", [ZC, ZW], {"chatter": 2}),
    "zh remark": ("1. 他叫什么名字？（图中没有显示，对吗？）\n2. 他几岁？（无法回答）", ["他叫什么名字？", "他几岁？"], {"chatter": 2}),
    "zh chatter": (f"好的，以下是两个问题：\n1. {ZC}\n2. {ZW}\n希望对您有帮助！", [ZC, ZW], {"chatter": 2}),
    "ja": ("質問1：ボールは何色ですか。\n質問2：ボールはどこにありますか。", ["ボールは何色ですか。", "ボールはどこにありますか。"], {}),
    "ja list": ("1. ボールは何色ですか。\n2. 犬は何匹いますか", ["ボールは何色ですか。", "犬は何匹いますか"], {}),
    "ja plain": ("ボールは何色ですか。\n犬は何匹いますか？", ["ボールは何色ですか。", "犬は何匹いますか？"], {}),
    "ja count": ("問1. ボールは何色か。\n問2. どこにあるか。", ["ボールは何色か。", "どこにあるか。"], {}),
    "ja reason": ("1. これは何ですか。（理由：見えない）\n2. 誰ですか？", ["これは何ですか。", "誰ですか？"], {"chatter": 1}),
    "ja answer": ("質問：これは何ですか。\n正解：犬\n解説：犬です。", ["これは何ですか。"], {"answer given": 1, "chatter": 1}),
    "ko": ("질문 1: 공은 무슨 색입니까?\n질문 2: 공은 어디에 있나요?", ["공은 무슨 색입니까?", "공은 어디에 있나요?"], {}),
    "ko particle": ("1. 공은 무슨 색입니까.\n2번. 공은 어디에 있나요", ["공은 무슨 색입니까.", "공은 어디에 있나요"], {}),
    "ko answer": ("질문 1: 공은 무슨 색입니까?\n정답: 빨간색\n이유: 보입니까? 네.", ["공은 무슨 색입니까?"], {"answer given": 1, "chatter": 1}),
    "es": ("Pregunta 1: ¿De qué color es la pelota?\nRespuesta: roja\nPregunta 2: ¿Dónde está?",
           ["¿De qué color es la pelota?", "¿Dónde está?"], {"answer given": 1}),
    "de": ("Frage 1: Welche Farbe hat der Ball?\nAntwort: rot\nFrage 2: Wo ist er?\nBegründung: Sieht man ihn? Ja.",
           ["Welche Farbe hat der Ball?", "Wo ist er?"], {"answer given": 1, "chatter": 1}),
    "fr": ("Question 1 : De quelle couleur est le ballon ?\nRéponse : rouge\nQuestion 2 : Où est-il ?",
           ["De quelle couleur est le ballon ?", "Où est-il ?"], {"answer given": 1}),
    "fr no-break": ("Question\u00a01\u00a0: Où est-il\u00a0?\nQuestion\u00a02\u00a0: Qui est-ce\u202f?", ["Où est-il ?", "Qui est-ce ?"], {}),
    "it": ("Domanda 1: Di che colore è?\nRisposta: rosso", ["Di che colore è?"], {"answer given": 1}),
    "pt": ("Pergunta 1: Qual é a cor?\nResposta: vermelha", ["Qual é a cor?"], {"answer given": 1}),
    "ru": ("Вопрос 1: Какого цвета мяч?\nОтвет: красный\nВопрос 2: Где он?", ["Какого цвета мяч?", "Где он?"], {"answer given": 1}),
    "ar": ("سؤال ١: ما لون الكرة؟\nسؤال ٢: أين الكرة؟\nالإجابة: هنا", ["ما لون الكرة؟", "أين الكرة؟"], {"answer given": 1}),
    "ar list": ("١. ما لون الكرة؟\n٢) أين الكرة؟", ["ما لون الكرة؟", "أين الكرة؟"], {}),
    "ar named": ("السؤال الأول: ما لون الكرة؟\nالسؤال الثاني: أين الكرة؟", ["ما لون الكرة؟", "أين الكرة؟"], {}),
    "hi": ("प्रश्न 1: गेंद का रंग क्या है?\nप्रश्न 2: गेंद कहाँ है?\nउत्तर: यहाँ", ["गेंद का रंग क्या है?", "गेंद कहाँ है?"], {"answer given": 1}),
    "hi digits": ("१. गेंद का रंग क्या है?\n२. गेंद कहाँ है?", ["गेंद का रंग क्या है?", "गेंद कहाँ है?"], {}),
    "el": ("Ερώτηση 1: Τι χρώμα έχει η μπάλα;\n2. Πού είναι;", ["Τι χρώμα έχει η μπάλα;", "Πού είναι;"], {}),
    "vi": ("Câu hỏi 1: Quả bóng màu gì?\nTrả lời: đỏ\nCâu 2: Nó ở đâu?", ["Quả bóng màu gì?", "Nó ở đâu?"], {"answer given": 1}),
    "tr": ("Soru 1: Top ne renk?\nCevap: kırmızı", ["Top ne renk?"], {"answer given": 1}),
    "th": ("คำถาม 1: ลูกบอลสีอะไร\nคำถาม 2: อยู่ที่ไหน", ["ลูกบอลสีอะไร", "อยู่ที่ไหน"], {}),
    "he": ("שאלה 1: מה צבע הכדור?\nתשובה: אדום", ["מה צבע הכדור?"], {"answer given": 1}),
    # JSON
    "texts": (json.dumps(CW), CW, {}),
    "objects": (json.dumps([{"question": C}, {"question": W}]), CW, {}),
    "indented": (json.dumps([{"question": C}, {"question": W}], indent=2), CW, {}),
    "capital key": (json.dumps([{"Question": C}, {"Question": W}]), CW, {}),
    "short key": (json.dumps([{"q": C}, {"q": W}]), CW, {}),
    "text key": (json.dumps([{"text": C}, {"text": W}]), CW, {}),
    "prompt key": (json.dumps([{"prompt": C}, {"prompt": W}]), CW, {}),
    "camel key": (json.dumps([{"questionText": C}, {"questionText": W}]), CW, {}),
    "zh key": (json.dumps([{"问题": ZC}, {"问题": ZW}], ensure_ascii=False), [ZC, ZW], {}),
    "zh escaped": (json.dumps([{"问题": ZC}]), [ZC], {}),
    "under questions": (json.dumps({"questions": CW}), CW, {}),
    "under a long key": (json.dumps({"answerable_questions": [{"question": C}, {"question": W}]}), CW, {}),
    "numbers as keys": (json.dumps({"1": C, "2": W}), CW, {}),
    "numbered keys": (json.dumps({"question1": C, "question2": W}), CW, {}),
    "numbered keys and answers": (json.dumps({"question1": C, "answer1": "red", "question2": W, "answer2": "left"}), CW, {"answer given": 2}),
    "named keys": (json.dumps({"color": C, "place": W}), CW, {}),
    "objects by name": (json.dumps({"q1": {"question": C}, "q2": {"question": W}}), CW, {}),
    "nested": (json.dumps({"data": {"questions": [{"question": {"text": C}}, {"question": {"text": W}}]}}), CW, {}),
    "two lists": (json.dumps({"easy": [C], "hard": [W]}), CW, {}),
    "with the rest": (json.dumps([{"id": 1, "question": C, "answer": "red", "rationale": "Is it seen? Is it?", "type": "color", "difficulty": "easy"}]),
                      [C], {"answer given": 1, "chatter": 3}),
    "answer first": (json.dumps([{"answer": "Is it red?", "question": C}]), [C], {"answer given": 1}),
    "correct answer": (json.dumps([{"question": C, "correct_answer": "Who knows?", "expected_answer": "?"}]), [C], {"answer given": 2}),
    "reasons": (json.dumps([{"question": C, "reason_unanswerable": "Is it shown?", "why": "Is it?", "notes": ["Is it?", "no"]}]), [C], {"chatter": 4}),
    "odd keys": (json.dumps([{"question": C, "follow_up": "Is it big?", "is_answerable": True}]), [C], {"chatter": 2}),
    "echo of the prompt": (json.dumps({"prompt": "Shall I write questions?", "questions": CW}), CW, {"chatter": 1}),
    "options in oe": (json.dumps([{"question": C, "options": O4}, {"question": W}]), [W], {"options given": 1}),
    "fenced": (f"```json\n{json.dumps(CW)}\n```", CW, {"chatter": 2}),
    "fenced, chatter": (f"Sure!\n```json\n{json.dumps(CW, indent=1)}\n```\nShall I write more?", CW, {"chatter": 4}),
    "chatter on the line": (f"Here are the questions: {json.dumps(CW)} Enjoy!", CW, {"chatter": 2}),
    "assignment": (f"questions = {json.dumps(CW)}", CW, {"chatter": 1}),
    "lines": ("\n".join(json.dumps({"question": q}) for q in CW), CW, {}),
    "lines, wide": ("\n\n".join(json.dumps({"question": q}, indent=2) for q in CW), CW, {}),
    "one after another": (json.dumps({"question": C}) + json.dumps({"question": W}), CW, {}),
    "with commas": (json.dumps({"question": C}) + ",\n" + json.dumps({"question": W}) + ",", CW, {}),
    "numbered objects": ("1. " + json.dumps({"question": C}) + "\n2. " + json.dumps({"question": W}), CW, {"chatter": 2}),
    "marked objects": ("Question 1: " + json.dumps({"question": C}) + "\nQuestion 2: " + json.dumps({"question": W}), CW, {"chatter": 2}),
    "trailing commas": (f'[{{"question": "{C}",}},\n{{"question": "{W}",}},]', CW, {}),
    "single quotes": (f"['{C}', '{W}']", CW, {}),
    "apostrophes": ("['What's this?', 'The dogs' names?']", ["What's this?", "The dogs' names?"], {}),
    "a tag as a word": ("1. What does <i> mean?\n2. <Who is he?>", ["What does <i> mean?", "Who is he?"], {}),
    "python objects": (str([{"question": C, "answerable": True, "x": None}]), [C], None),
    "quotation inside": ('[{"question": "What does "STOP" mean?"}]', ['What does "STOP" mean?'], {}),
    "escapes": (r'["What does \"STOP\" mean?", "Who\u2019s he?"]', ['What does "STOP" mean?', "Who’s he?"], {}),
    "curly quotes": (f"[“{C}”, “{W}”]", CW, {}),
    "bare keys": (f'{{question: "{C}", answer: "red"}}', [C], {"answer given": 1}),
    "comments": (f'[\n  "{C}", // color\n  "{W}"\n  ...\n]', CW, {}),
    "missing comma": (f'["{C}"\n"{W}"]', CW, {}),
    "marks inside": (json.dumps([f"1. {C}", f"Question 2: {W}"]), CW, {}),
    "a list as text": (json.dumps({"questions": f"1. {C}\n2. {W}"}), CW, {}),
    "statements": (json.dumps([C, "The ball is red."]), [C], {"missing question": 1}),
    "empty question": (json.dumps([{"question": ""}, {"question": W}]), [W], {"missing question": 1}),
    "no question": (json.dumps({"answer": "red"}), [], {"answer given": 1}),
    "empty list": ("[]", [], {"chatter": 1}),
    "empty list under a key": ('{"questions": []}', [], {"chatter": 1}),
    "a duplicate": (json.dumps([{"question": C}, {"question": C.lower()}]), [C], {"duplicate": 1}),
    "cut in a string": (f'[{{"question": "{C}"}}, {{"question": "Where is the', [C], {"cut off": 1}),
    "cut in a text": (f'["{C}", "Where is', [C], {"cut off": 1}),
    "cut in a key": (f'[{{"question": "{C}"}}, {{"quest', [C], {"cut off": 1}),
    "cut behind a key": (f'[{{"question": "{C}"}}, {{"question":', [C], {"cut off": 1}),
    "cut behind an answer": (f'[{{"question": "{C}", "answer": "re', [C], {"cut off": 1}),
    "cut behind a comma": (f'[{{"question": "{C}"}},', [C], {}),
    "cut and fenced": (f'```json\n["{C}",\n "Where is', [C], {"chatter": 1, "cut off": 1}),
    "json in text": ('1. What does {"a": 1} mean?', ['What does {"a": 1} mean?'], {}),
    "citations": ("1. What is in [1]?\n2. Who is [the man]?", ["What is in [1]?", "Who is [the man]?"], {}),
    "a list without quotes": (f"[{C}, {W}]", CW, {}),
    # tables
    "table": (f"| # | Question |\n|---|---|\n| 1 | {C} |\n| 2 | {W} |", CW, {"chatter": 1}),
    "table, answers": (f"| Question | Answer | Rationale |\n|:--|:-:|--:|\n| {C} | red | Is it? Yes? |\n| {W} | left | seen |", CW,
                       {"chatter": 3, "answer given": 2}),
    "table without pipes outside": (f"Question | Answer\n--- | ---\n{C} | red\n{W} | left", CW, {"chatter": 1, "answer given": 2}),
    "table without rule": (f"| # | Question |\n| 1 | {C} |\n| 2 | {W} |", CW, {"chatter": 1}),
    "table without header": (f"| 1 | {C} |\n| 2 | {W} |", CW, {}),
    "table, odd column": (f"| No. | Type | Question |\n|--|--|--|\n| 1 | What? | {C} |", [C], {"chatter": 2}),
    "table, chatter": (f"Here you are:\n\n| Question |\n|---|\n| {C} |\n| {W} |\n\nBye!", CW, {"chatter": 3}),
    "table, empty cell": (f"| Question | Answer |\n|--|--|\n| | red |\n| {W} | left |", [W], {"chatter": 1, "missing question": 1, "answer given": 2}),
    "table, bold": (f"| **Question** |\n|---|\n| **{C}** |\n| 2. {W} |", CW, {"chatter": 1}),
    "table, options in oe": (f"| Question | A | B |\n|--|--|--|\n| {C} | red | blue |", [], {"chatter": 1, "options given": 1}),
    "zh table": (f"| 序号 | 问题 | 答案 |\n|--|--|--|\n| 1 | {ZC} | 红 |", [ZC], {"chatter": 1, "answer given": 1}),
    "html table": (f"<table><tr><th>Question</th></tr><tr><td>{C}</td></tr><tr><td>{W}</td></tr></table>", CW, None),
    # marked up
    "ol": (f"<ol><li>{C}</li><li>{W}</li></ol>", CW, {}),
    "ul, lines": (f"<ul>\n  <li>{C}</li>\n  <li>{W}</li>\n</ul>", CW, {}),
    "paragraphs": (f"<p>1. {C}</p><p>2. {W}</p>", CW, {}),
    "breaks": (f"1. {C}<br>2. {W}<br/>", CW, {}),
    "strong": (f"<p><strong>Question 1:</strong> {C}</p>\n<p><strong>Question 2:</strong> <em>{W}</em></p>", CW, {}),
    "entities": ("<ol><li>What&#39;s &quot;it&quot; &amp; why?</li></ol>", ['What\'s "it" & why?'], {}),
    "nested remark": (f"<ol><li>{C}<ul><li>Rationale: is it?</li><li>Is it seen?</li></ul></li><li>{W}</li></ol>", CW, {"chatter": 2}),
    "tags": (f"<question>{C}</question>\n<question>{W}</question>", CW, {}),
    "tags with numbers": (f'<question id="1">{C}</question><question id="2">{W}</question>', CW, {}),
    "tags named by number": (f"<question1>{C}</question1><question2>{W}</question2>", CW, {}),
    "tags and answers": (f"<question>{C}</question><answer>Is it red?</answer><question>{W}</question><answer>left</answer>", CW, {"answer given": 2}),
    "tags, lines": (f"<questions>\n<question>\n{C}\n</question>\n<rationale>Is it?</rationale>\n<question>\n{W}\n</question>\n</questions>", CW,
                    {"chatter": 1}),
    "tags and texts": (f"<item><question><text>{C}</text></question><explanation>Is it? No?</explanation></item>", [C], {"chatter": 1}),
    "an answer tag each": (f"1. {C} <answer>red</answer>\n2. {W} <answer>left</answer>", CW, {"answer given": 2}),
    "all in an answer tag": (f"<answer>\n1. {C}\n2. {W}\n</answer>", CW, {}),
    "thought and answer tag": (f"I think: 1. Who is he?\n<answer>1. {C}\n2. {W}</answer>", CW, {}),
    "json in an answer tag": (f"<answer>{json.dumps(CW)}</answer>", CW, {}),
    "each in an answer tag": (f"<answer>{C}</answer>\n<answer>{W}</answer>", CW, {}),
    "tags cut": (f"<question>{C}</question><question>Where is the", [C], {"cut off": 1}),
    "image line": (f"Image: <image>\nQuestion: {C}", [C], {"chatter": 1}),
    "not a tag": ("1. Is 3 < 4 or 5 > 4?\n2. What is <name>?", ["Is 3 < 4 or 5 > 4?", "What is <name>?"], {}),
    "enumerate": (f"\\begin{{enumerate}}\n\\item {C}\n\\item {W}\n\\end{{enumerate}}", CW, {}),
    "itemize": (f"\\begin{{itemize}} \\item \\textbf{{{C}}} \\item[2.] {W} \\end{{itemize}}", CW, {}),
    "nested enumerate": (f"\\begin{{enumerate}}\\item {C}\\begin{{itemize}}\\item Is it?\\end{{itemize}}\\item {W}\\end{{enumerate}}", CW, {"chatter": 1}),
    # sub-bullets and lines behind a question
    "rationale": (f"1. {C}\n   - *Rationale*: Is it visible? Yes.\n2. {W}\n   - *Rationale*: it can be seen.", CW, {"chatter": 2}),
    "rationale asks": (f"1. {C}\n   - Rationale: Is it visible?\n2. {W}\n   - Rationale: can it be seen?", CW, {"chatter": 2}),
    "nested, unnamed": (f"1. {C}\n   - Is it visible?\n2. {W}\n   - Who knows?", CW, {"chatter": 2}),
    "bullets, unnamed": (f"1. {C}\n- Is it visible?\n2. {W}\n- Who knows?", CW, {"chatter": 2}),
    "nested numbers": (f"1. {C}\n   1. Is it visible?\n   2. Yes.\n2. {W}", CW, {"chatter": 2}),
    "bullets in bullets": (f"- {C}\n  - Is it visible?\n- {W}\n  - Is it?", CW, {"chatter": 2}),
    "bold labels": (f"1. **{C}**\n   **Answer:** red\n   **Why:** is it?\n   **Type:** color\n   **Difficulty:** easy\n2. **{W}**", CW,
                    {"answer given": 1, "chatter": 3}),
    "labels without marks": (f"Question: {C}\nReason: Is it seen?\nType: what?\nExpected answer: red\nQuestion: {W}\nExplanation - is it?", CW,
                             {"chatter": 3, "answer given": 1}),
    "why": (f"1. {C}\n   Why it is unanswerable: is it shown? No.\n2. {W}\n   *Why this cannot be answered:* it is not shown", CW, {"chatter": 2}),
    "label on the line": (f"1. {C} Rationale: is it seen? Yes?\n2. {W} (Type: place?)", CW, {"chatter": 2}),
    "label behind a dash": (f"1. {C} — Rationale: is it seen?\n2. {W} - *Reason:* is it?", CW, {"chatter": 2}),
    "label alone": (f"1. {C}\nRationale:\nIt is seen. Is it?\n2. {W}", CW, {"chatter": 2}),
    "answers at the end": (f"1. {C}\n2. {W}\n\nAnswers:\n1. red\n2. left", CW, {"answer given": 3}),
    "answer key": (f"1. {C}\n2. {W}\n\n**Answer key**\n1) red\n2) left", CW, {"answer given": 3}),
    "A1": (f"Q1: {C}\nA1: red\nQ2: {W}\nA2: left", CW, {"answer given": 2}),
    "headings": (f"### Answerable questions\n1. {C}\n\n### What cannot be answered?\n2. {W}", CW, {"chatter": 2}),
    "categories": (f"**Category: colour**\n1. {C}\n**Category: place**\n2. {W}", CW, {"chatter": 2}),
    "titles above": (f"1. **Color**\n   {C}\n2. **Place**\n   {W}", CW, None),
    "titled questions": (f"### Question 1: Color\n{C}\n### Question 2: Place\n{W}", CW, None),
    "headings as items": (f"1. Color\n   - {C}\n2. Place\n   - {W}", CW, {"missing question": 2}),
    "title in brackets": (f"**Question 1 (Color):** {C}\n**Question 2 [Place]:** {W}", CW, {}),
    "traits as titles": ("1. **Type**: What type of car is it?\n2. **Source**: Where does the light come from?",
                         ["What type of car is it?", "Where does the light come from?"], {}),
    "yaml": (f"- question: {C}\n  answer: red\n  type: color\n- question: {W}\n  rationale: is it?", CW, {"answer given": 1, "chatter": 2}),
    "yaml list": (f"questions:\n  - {C}\n  - {W}", CW, {"chatter": 1}),
    # numbers
    "keycaps": (f"1️⃣ {C}\n2️⃣ {W}", CW, {}),
    "circled": (f"① {C}\n② {W}", CW, {}),
    "black circles": (f"❶ {C}\n❷ {W}", CW, {}),
    "roman": (f"i. {C}\nii. {W}", CW, {}),
    "ROMAN": (f"I) {C}\nII) {W}", CW, {}),
    "roman in brackets": (f"(iv) {C}\n(v) {W}", CW, {}),
    "colon": (f"1: {C}\n2: {W}", CW, {}),
    "dash": (f"1 - {C}\n2 – {W}", CW, {}),
    "hash": (f"#1 {C}\n#2: {W}", CW, {}),
    "square": (f"[1] {C}\n[2] {W}", CW, {}),
    "escaped": (f"1\\. {C}\n2\\. {W}", CW, {}),
    "bare": (f"1 {C}\n2 {W}", CW, {}),
    "letters": (f"a) {C}\nb) {W}", CW, {}),
    "no blank": (f"1.{C}\n2.{W}", CW, {}),
    "bold number": (f"**1.** {C}\n**2)** **{W}**", CW, {}),
    "No.": (f"No. 1: {C}\n№ 2 {W}", CW, {}),
    "italic mark": (f"*Question 1:* {C}\n_Question 2:_ {W}", CW, {}),
    "bold mark, colon outside": (f"**Question 1**: {C}\n***Q2.*** {W}", CW, {}),
    "spelt": (f"Question one: {C}\nSecond question: {W}", CW, {}),
    "bullet and number": (f"- 1. {C}\n- 2. {W}", CW, {}),
    "boxes": (f"- [ ] {C}\n- [ ] {W}", CW, {}),
    "arrows and emoji": (f"👉 {C}\n🔹 {W}", CW, {}),
    "emoji behind": (f"1. {C} 🎨\n2. {W} 📍", CW, {"chatter": 2}),
    "unseen marks": (f"\ufeff1. {C}\n\u200b2. {W}", CW, {}),
    "first line loses its indent": (f"   1. {C}\n   2. {W}\n   3. Who is he?", [*CW, "Who is he?"], {}),
    # joined and parted
    "several in one": (f"1. {C} And where is it?", [f"{C} And where is it?"], None),
    "one line of three": (f"1. {C} 2. {W} 3. Who?", [*CW, "Who?"], {}),
    "one line of orders": ("1. Describe the ball. 2. Describe the man.", [], {"missing question": 2}),
    "one line behind a colon": (f"Sure, here are 2 questions: 1. {C} 2. {W}", CW, {"chatter": 1}),
    "one line of bullets": (f"- {C} - {W}", CW, {}),
    "one line of dots": (f"• {C} • {W}", CW, {}),
    "one line of Q": (f"Q1: {C} Q2: {W}", CW, {}),
    "unanswerable remark": (f"1. {C} (unanswerable because the ball is hidden)\n2. {W} [unanswerable]", CW, {"chatter": 2}),
    "unanswerable remark, bare": (f"1. {C} unanswerable because it is hidden\n2. {W} *Unanswerable: not shown*", CW, {"chatter": 2}),
    "unanswerable tag": (f"1. [Unanswerable] {C}\n2. (unanswerable) {W}", CW, {}),
    "remark that asks": (f"1. {C} (Is it shown? No.)\n2. {W} (who knows?)", CW, {"chatter": 2}),
    "remark behind an order": ("Question: Tell his name. (unanswerable)", ["Tell his name."], {"chatter": 1}),
    "offer at the end": (f"{C}\n{W}\n\nWould you like more questions?", CW, {"chatter": 1}),
    "offer at the start": (f"Do you want questions about the image? Here they are.\n1. {C}\n2. {W}", CW, {"chatter": 2}),
    "dash that asks": (f"1. **{C}** – This cannot be determined, can it?\n2. **{W}** - not shown", CW, {"chatter": 2}),
    "quoted, one line": (f'"{C}", "{W}"', CW, {}),
    "semicolons": (f"{C}; {W}", CW, {}),
    "letters, one line": (f"(a) {C} (b) {W}", CW, {}),
    "Q. A.": (f"Q. {C}\nA. red\nQ. {W}\nA. left", CW, {"answer given": 2}),
    "q and a": (json.dumps([{"q": C, "a": "red"}, {"q": W, "a": "left"}]), CW, {"answer given": 2}),
    "label over a list": (f"Question:\n\n1. {C}\n\n2. {W}", CW, {"chatter": 1}),
    "angles": (f"1. <{C}>\n2. <{W}>", CW, {}),
    "under output": (json.dumps({"output": CW}), CW, {}),
    "tuple": (f"('{C}', '{W}')", CW, {}),
    "table, asking header": (f"| Question | Why? |\n|---|---|\n| {C} | Is it hidden? |", [C], {"chatter": 2}),
    "bare rows": (f"1 | {C}\n2 | {W}", CW, {}),
    "comma-separated": (f'id,question\n1,"{C}"\n2,"{W}"', CW, {"chatter": 1}),
    "sections": (f"**Answerable:**\n* {C}\n\n**Unanswerable:**\n* {W}", CW, {"chatter": 2}),
    "quoted remark": (f"1. {C}\n> Rationale: is it?\n2. {W}\n> *It is not visible. Is it?*", CW, {"chatter": 2}),
    "thought": (f"<think>\nIdeas:\n1. Who?\n2. Is it old? Too vague.\n</think>\n\n1. {C}\n2. {W}", CW, {}),
    # titles in front of a question
    "title": (f"1. **Color**: {C}\n2. **Place:** {W}", CW, {}),
    "title, any dress": (f"- *Color*: {C}\n- [Place] {W}\n- **Count** – How many?", [*CW, "How many?"], {}),
    "title, plain": (f"1. Object attributes: {C}\n2. Spatial relationship - {W}", CW, {}),
    "title behind a mark": (f"**Question 1 - Color:** {C}\n**Question 2:** **Place**: {W}", CW, {}),
    "title in the number's bold": (f"**1. Color:** {C}\n**2. Category: Place** - {W}", CW, {}),
    "title, quoted": (f'1. **Color**: "{C}"\n2. **Place**:\n   “{W}”', CW, {}),
    "title, json and cells": (json.dumps([f"Color: {C}"]) + f"\n| Question |\n|---|\n| **Place**: {W} |", CW, {"chatter": 1}),
    "zh title": (f"1. **颜色**：{ZC}\n2. 空间关系：{ZW}\n3. 【数量】有几个？", [ZC, ZW, "有几个？"], {}),
    "es title": ("1. **Color**: ¿De qué color es?\n2. **Lugar:** ¿Dónde está?", ["¿De qué color es?", "¿Dónde está?"], {}),
    "no title": ("1. In the picture: what is it?\n2. **The man**: What is he holding?\n3. **At the left**: what is it?\n4. True or false: Is it red?",
                 ["In the picture: what is it?", "The man: What is he holding?", "At the left: what is it?", "True or false: Is it red?"], {}),
    # remarks behind a question
    "remark, dressed": (f"1. {C} *(Rationale: is it visible? Yes)*\n2. {W} **[Type: place]**", CW, {"chatter": 2}),
    "remark in italics": (f"1. {C} *Is it visible? Yes.*\n2. **{W}** It is on the left. Is it seen?", CW, {"chatter": 3}),
    "remark, code": (f"1. {C} `[color]`\n2. {W} // left", CW, {"chatter": 2}),
    "remark in plain lines": (f"{C} (Is it visible?)\n{W} *Is it?*", CW, {"chatter": 2}),
    "remark, one word": (f"Question: {C} red\nQuestion: {W} ...", CW, {"chatter": 1}),
    "answer behind": (f"1. {C} — Answer: red\n2. {W} → Left", CW, {"answer given": 1, "chatter": 2}),
    "zh remark, dashes": (f"1. {ZC}——看得见吗？\n2. {ZW}*（理由：看得见吗？）*", [ZC, ZW], {"chatter": 2}),
    "es remark": ("1. ¿Dónde está? (Justificación: ¿se ve? Sí)\n2. ¿Qué es? → no se puede responder", ["¿Dónde está?", "¿Qué es?"], {"chatter": 2}),
    "quotation inside a question": ('1. What does "Who?" mean?\n2. Is it (or was it?) red?', ['What does "Who?" mean?', "Is it (or was it?) red?"], {}),
    "labels inside a question": ("1. What does 'Answer: 5' mean?\n2. Which of A. Smith, B. Jones and C. Brown is shown?",
                                 ["What does 'Answer: 5' mean?", "Which of A. Smith, B. Jones and C. Brown is shown?"], {}),
    # keys that are no question
    "title alone": ('{"title": "Is it?"}', [], {"chatter": 1}),
    "titles alone": (json.dumps({"titles": ["Is it?"], "thoughts": "Who?", "questions": [{"question": C, "title": {"text": "Is it?"}}]}), [C], {"chatter": 3}),
    "title tag": (f"<question><title>Is it?</title><text>{C}</text></question>", [C], {"chatter": 1}),
    "title column": (f"| Title | Question |\n|---|---|\n| Is it? | {C} |", [C], {"chatter": 2}),
    "title and remark columns": ("| Title | Rationale |\n|---|---|\n| Is it? | Is it seen? |", [], {"chatter": 3}),
    "orders under questions": (json.dumps({"questions": ["Name the color."]}), ["Name the color."], {}),
    "json in a json text": (json.dumps(json.dumps(CW)), CW, {"chatter": 2}),
    "keyed by letter": (json.dumps({"A": {"question": C}, "B": {"question": W}}), CW, {}),
    "q and an asking a": (json.dumps({"q": C, "a": "Who?"}), [C], {"answer given": 1}),
    "definitions": (f"<dl><dt>{C}</dt><dd>Is it red?</dd><dt>{W}</dt></dl>", CW, {"chatter": 1}),
    "toml": (f'[[questions]]\nquestion = "{C}"\n[[questions]]\nquestion = "{W}"', CW, {"chatter": 2}),
    # lists without marks or question marks, and offers
    "nothing but questions on a line": (f"{C} {W}", CW, {}),
    "joined without a blank": (f"{ZC}{ZW}", [ZC, ZW], {}),
    "line ends written out": (f"1. {C}\\n2. {W}", CW, {}),
    "no question mark at all": ("1. What color is the ball\n2. Where is it", ["What color is the ball", "Where is it"], {}),
    "offers": (f"{C}\n{W}\n\nNeed anything else?\n需要我调整难度吗？\n¿Quieres más preguntas?\nSoll ich noch mehr schreiben?", CW, {"chatter": 4}),
    "bold questions, remarks that ask": (f"**{C}**\nIt is seen. Is it red?\n\n**{W}**\nIs it left?", CW, {"chatter": 2}),
    "headings that ask": (f"## {C}\nIt is seen. Is it red?\n\n## {W}", CW, {"chatter": 1}),
    "user": (f"User: {C}\nAssistant: red\nUser: {W}", CW, {"chatter": 1}),
    "dash behind the number": (f"1- {C}\n٢- أين الكرة؟", [C, "أين الكرة؟"], {}),
    "guillemets": ("1. « Où est-il ? »\n2. „Wo ist er?“", ["Où est-il ?", "Wo ist er?"], {}),
    # unclean texts
    "surrogates": ("1. Who\ud83d is he?\n2. Is it\ude00 red?", ["Who is he?", "Is it red?"], {}),
    "surrogate pair": ("1. Who \ud83d\ude00 is he?", ["Who 😀 is he?"], {}),
    "json surrogates": (r'["Who \ud83d\ude00 is he?", "Who\ud83d?"]', ["Who 😀 is he?", "Who?"], {}),
    "control characters": ("1. Who\x00 is\x1b[31m he\x07?\n2. Why\x7f?", ["Who is he?", "Why?"], {}),
}


def test_open_ended():
    found = {name: read_questions(text, "oe", False, 5, cut=name == "tags cut") for name, (text, _, _) in OPEN.items()}
    assert {name: [q.text for q in f.questions] for name, f in found.items()} == {name: questions for name, (_, questions, _) in OPEN.items()}
    told = {name: pieces for name, (_, _, pieces) in OPEN.items() if pieces is not None}
    assert {name: found[name].pieces for name in told} == told


def obj(**more): return {"question": C, **more}


# multiple choice: every question is C or W in order, with the options red, green, blue, black
CHOICE = {
    "list": (json.dumps([obj(options=O4)]), 1, {}),
    "by letter": (json.dumps([obj(options=dict(zip("ABCD", O4)))]), 1, {}),
    "by small letter": (json.dumps([obj(options=dict(zip("abcd", O4)))]), 1, {}),
    "with letters": (json.dumps([obj(options=["A. red", "B) green", "(C) blue", "D: black"])]), 1, {}),
    "choices": (json.dumps([obj(choices=O4, answer="B", explanation="Is it?")]), 1, {"answer given": 1, "chatter": 1}),
    "options first": (json.dumps([{"options": O4, "question": C}, {"options": O4, "question": W}]), 2, {}),
    "answers": (json.dumps([obj(answers=O4, correct=1)]), 1, {"answer given": 1}),
    "letters in the record": (json.dumps([obj(**dict(zip("ABCD", O4)), answer="B")]), 1, {"answer given": 1}),
    "option_a": (json.dumps([obj(**{f"option_{c}": o for c, o in zip("abcd", O4)})]), 1, {}),
    "optionA": (json.dumps([obj(**{f"option{c}": o for c, o in zip("ABCD", O4)})]), 1, {}),
    "option1": (json.dumps([obj(**{f"option{n}": o for n, o in enumerate(O4, 1)})]), 1, {}),
    "objects": (json.dumps([obj(options=[{"label": c, "text": o} for c, o in zip("ABCD", O4)])]), 1, {}),
    "objects, id": (json.dumps([obj(options=[{"id": c.lower(), "text": o, "correct": False} for c, o in zip("ABCD", O4)])]), 1, {"answer given": 4}),
    "objects, one key": (json.dumps([obj(options=[{c: o} for c, o in zip("ABCD", O4)])]), 1, {}),
    "one text": (json.dumps([obj(options="A. red B. green C. blue D. black")]), 1, {}),
    "one text, lines": (json.dumps([obj(options=OPTS)]), 1, {}),
    "in the question": (json.dumps([f"{C}\n{OPTS}", f"{W} A. red B. green C. blue D. black"]), 2, {}),
    "nested": (json.dumps({"q1": {"text": C, "choices": O4}, "q2": {"text": W, "choices": O4}}), 2, {}),
    "numbered": (json.dumps({"question1": C, "options1": O4, "question2": W, "options2": O4}), 2, {}),
    "python": (str([obj(options=list(O4))]), 1, {}),
    "numbers as options": (json.dumps([obj(options=[1, 2, 3, 4])]), 0, None),
    "three": (json.dumps([obj(options=O4[:3]), {"question": W, "options": O4}]), 1, {"malformed options": 1}),
    "none": (json.dumps([obj(), {"question": W, "options": O4}]), 1, {"malformed options": 1}),
    "no question": (json.dumps([{"options": O4}, {"question": W, "options": O4}]), 1, {"missing question": 1}),
    "null question": (json.dumps([{"question": None, "options": O4}, {"question": W, "options": O4}]), 1, None),
    "cut in an option": (json.dumps([obj(options=O4)])[:-1] + ', {"question": "Where?", "options": ["red", "gre', 1, {"cut off": 1}),
    "cut behind an option": (json.dumps([obj(options=O4)])[:-1] + ', {"question": "Where?", "options": ["red", "green"', 1, {"cut off": 1}),
    "cut behind a question": (json.dumps([obj(options=O4)])[:-1] + ', {"question": "Where?",', 1, {"cut off": 1}),
    "cut in the answer": (json.dumps([obj(options=O4)])[:-1] + ', {"question": "' + W + '", "options": ["red","green","blue","black"], "answer": "B', 2,
                          {"cut off": 1}),
    "cut behind the options": (json.dumps([obj(options=O4)])[:-2], 1, {}),
    "zh brackets": (f"问题1：{C}\n（A）red\n（B）green\n（C）blue\n（D）black", 1, {}),
    "zh comma": (f"问题1：{C}\nA、red\nB、green\nC、blue\nD、black\n答案：B", 1, {"answer given": 1}),
    "zh stop": (f"1．{C}\nA．red\nB．green\nC．blue\nD．black\n正解：Ｂ", 1, {"answer given": 1}),
    "zh wide": (f"1、{C}\nＡ：red\nＢ：green\nＣ：blue\nＤ：black", 1, {}),
    "zh label": (f"问题1：{C}\n选项：\nA. red\nB. green\nC. blue\nD. black", 1, {"chatter": 1}),
    "zh option": (f"问题1：{C}\n选项A：red\n选项B：green\n选项C：blue\n选项D：black", 1, {}),
    "zh one line": (f"1. {C}A、red B、green C、blue D、black", 1, {}),
    "zh correct": (f"1. {C}\nA. red\nB. green（正确）\nC. blue\nD. black", 1, {"answer given": 1}),
    "circled": (f"1. {C}\n① red\n② green\n③ blue\n④ black", 1, {}),
    "circled, one line": (f"1. {C}\n①red ②green ③blue ④black", 1, {}),
    "circled letters": (f"1. {C}\nⒶ red\nⒷ green\nⒸ blue\nⒹ black", 1, {}),
    "numbers": (f"1. {C}\n   1) red\n   2) green\n   3) blue\n   4) black\n2. {W}\n   1) red\n   2) green\n   3) blue\n   4) black", 2, {}),
    "roman": (f"1. {C}\n  i. red\n  ii. green\n  iii. blue\n  iv. black", 1, {}),
    "ru": (f"Вопрос 1: {C}\nА) red\nБ) green\nВ) blue\nГ) black\nПравильный ответ: Б", 1, {"answer given": 1}),
    "ko": (f"질문 1: {C}\n가) red\n나) green\n다) blue\n라) black\n정답: 나", 1, {"answer given": 1}),
    "ja": (f"問題1：{C}\nア．red\nイ．green\nウ．blue\nエ．black", 1, {}),
    "ar": (f"سؤال ١: {C}\nأ) red\nب) green\nج) blue\nد) black", 1, {}),
    "table": (f"| # | Question | A | B | C | D | Answer |\n|--|--|--|--|--|--|--|\n| 1 | {C} | red | green | blue | black | B |", 1,
              {"chatter": 1, "answer given": 1}),
    "table of options": (f"| Question | Options | Answer |\n|--|--|--|\n| {C} | A. red B. green C. blue D. black | B |\n"
                         f"| {W} | A. red<br>B. green<br>C. blue<br>D. black | A |", 2, {"chatter": 1, "answer given": 2}),
    "table, option names": (f"| Question | Option A | Option B | Option C | Option D |\n|--|--|--|--|--|\n| {C} | red | green | blue | black |", 1,
                            {"chatter": 1}),
    "table without header": (f"| 1 | {C} | red | green | blue | black |\n| 2 | {W} | red | green | blue | black |", 2, {}),
    "table on its side": (f"| Question | {C} |\n|--|--|\n| A | red |\n| B | green |\n| C | blue |\n| D | black |\n| Answer | B |", 1, {"answer given": 1}),
    "ol": (f'<ol><li>{C}<ol type="A"><li>red</li><li>green</li><li>blue</li><li>black</li></ol></li></ol>', 1, {}),
    "paragraphs": (f"<p>1. {C}</p><p>A. red<br>B. green<br>C. blue<br>D. black</p>", 1, {}),
    "tags": ("".join(f"<question>{q}</question><options><option>red</option><option>green</option><option>blue</option><option>black</option></options>"
                     f"<answer>{a}</answer>" for q, a in ((C, "B"), (W, "A"))), 2, {"answer given": 2}),
    "tags with letters": (f'<question>{C}</question><option id="A">red</option><option id="B">green</option>'
                          '<option id="C">blue</option><option id="D">black</option>', 1, {}),
    "letters as tags": (f"<question>{C}</question><A>red</A><B>green</B><C>blue</C><D>black</D>", 1, {}),
    "tag of options": (f"<question>{C}</question>\n<options>\n{OPTS}\n</options>\n<answer>B</answer>", 1, {"answer given": 1}),
    "enumerate": (f"\\begin{{enumerate}}\\item {C}\n\\begin{{enumerate}}\\item red\\item green\\item blue\\item black\\end{{enumerate}}\\end{{enumerate}}", 1,
                  {}),
    "exam": (f"\\begin{{questions}}\n\\question {C}\n\\begin{{choices}}\n\\choice red\n\\CorrectChoice green\n\\choice blue\n\\choice black\n"
             "\\end{choices}\n\\end{questions}", 1, {}),
    "ol of letters": (f'<p>1. {C}</p><ol type="A"><li>red</li><li>green</li><li>blue</li><li>black</li></ol>', 1, {}),
    "es answer": (f"Pregunta 1: {C}\n{OPTS}\nRespuesta correcta: B", 1, {"answer given": 1}),
    "zh semicolons": (f"问题1：{C}\nA：red；B：green；C：blue；D：black", 1, {}),
    "bulleted answer": (f"1. {C}\n   - A) red\n   - B) green\n   - C) blue\n   - D) black\n   - *Correct Answer:* B", 1, {"answer given": 1}),
    "asking options": (f"1. {C}\n{OPTS}\nRationale: A. Is it? B. No? C. x", 1, {"chatter": 1}),
    "json, asking": (json.dumps([{"stem": C, **dict(zip("ABCD", O4))}]), 1, {}),
    "number keys": (json.dumps([obj(options={str(n): o for n, o in enumerate(O4, 1)})]), 1, {}),
    "tick before": (f"1. {C}\nA. red\n✅ B. green\nC. blue\nD. black", 1, {"answer given": 1}),
    "answer below": (f"1. {C}\n{OPTS}\nCorrect answer:\nB. green", 1, {"answer given": 2}),
    "answers as label": (f"1. {C}\nAnswers:\n{OPTS}", 1, {"answer given": 1}),
    "many under a long key": (json.dumps({"multiple_choice_questions": [{"question_number": 1, "question": C, "options": O4}]}), 1, {}),
    "titles of options": (json.dumps([obj(title="Is it?", options=[{"title": o} for o in O4])]), 1, {"chatter": 1}),
    "title and remark": (f"1. **Color**: {C} *(Rationale: is it? A. No)*\n{OPTS}", 1, {"chatter": 1}),
    "letters in code": (f"1. {C}\n`A` red\n- **B** green\n_C._ blue\n\\(D\\) black", 1, {}),
    "correct behind": (f"1. {C}\nA. red\nB. green <- correct\nC. blue - Correct\nD. black", 1, {"answer given": 2}),
    "table of letters": (f"**1. {C}**\n\n| Option | Text |\n|---|---|\n| A | red |\n| B | green |\n| C | blue |\n| D | black |", 1, {"chatter": 1}),
    "one sentence": (f"1. {C} A. red, B. green, C. blue, D. black.", 1, {}),
    "rationale": (f"1. {C}\n{OPTS}\n   - **Rationale:** is it green?\n2. {W}\n{OPTS}\nDifficulty: easy", 2, {"chatter": 2}),
}


def test_multiple_choice():
    found = {name: read_questions(text, "mc", True, 5) for name, (text, _, _) in CHOICE.items()}
    assert found["numbers as options"].questions[0].options == ("1", "2", "3", "4")
    asked = {name: [((W if name in ("three", "none", "no question", "null question") else (C, W)[i]), O4) for i in range(n)]
             for name, (_, n, _) in CHOICE.items() if name != "numbers as options"}
    assert {name: [(q.text, q.options) for q in found[name].questions] for name in asked} == asked
    told = {name: pieces for name, (_, _, pieces) in CHOICE.items() if pieces is not None}
    assert {name: found[name].pieces for name in told} == told


def test_zh_options_stay_as_written():
    found = read_questions("问题1：球是什么颜色？\n（A）红色\n（B）绿色\n（C）蓝色\n（D）黑色", "mc", True, 5)
    assert [(q.text, q.options) for q in found.questions] == [("球是什么颜色？", ZO)] and not found.pieces


def test_several_questions_are_noted_and_polite_forms_are_questions():
    assert read_questions(f"1. {C} And where is it?", "oe", True, 5).questions[0].notes == ("several questions",)
    assert read_questions("1. これは何ですか。", "oe", True, 5).questions[0].notes == ()
    assert read_questions("1. 这是什么？在哪里？", "oe", True, 5).questions[0].notes == ("several questions",)


def test_what_was_done_before_reading_is_noted():
    found = read_questions(f"<think>1. Who?</think>1. {C}", "oe", True, 5)
    assert [q.text for q in found.questions] == [C] and found.notes == ("thought removed",)
    assert read_questions("<think>1. Who?", "oe", True, 5, cut=True).pieces == {"cut in its thought": 1}


# ---- properties ----

def ink(text): return "".join(text.split())


BITS = st.sampled_from(["[", "]", "{", "}", "(", '"', "'", ",", ":", '"question": ', '"options": [', '"answer": ', "\\", "\\n", "|", "|---|\n", "| a | b |\n",
    "<ol>", "<li>", "</li>", "<question>", "</question>", "<option>", "</option>", "<answer>", "</answer>", "<br>", "<b>", "&amp;", "<td>", "</tr>", "\\item ",
    "\\begin{enumerate}", "\\end{enumerate}", "\\textbf{", "问题1：", "第2题", "？", "。", "か。", "（A）", "A、", "①", "②", "1️⃣", "(iv) ", "ii. ", "#3 ",
    "Q4: ",
    "1. ", "2. ", "- ", "  - ", "   1. ", "Question: ", "What is it?", "Is it red", "Rationale: ", "*Why*: ", "Answer: B", "Answers:\n", "A. ", "B) ", "✓",
    "(correct)", "2) ", "(b) ", "C) ", "D: ", "Q1: ", "red", "Who is he", "A. x B. y C. z D. w", "\x1c",
    "Options:", "**", "`", "```json\n", "#", ">", " ", "\n", "\n\n", "\r\n", "\t", "\x00", "\u200b", "?", "; ", " - ", " — ", "null", "3", "...", "// x\n"])
REPLIES = st.one_of(st.text(), st.lists(BITS, max_size=40).map("".join))


@pytest.mark.promise("outcomes")
@settings(max_examples=160, deadline=None)
@given(REPLIES, st.sampled_from(["mc", "oe"]), st.booleans(), st.integers(1, 6), st.booleans())
def test_nothing_is_dropped_in_any_form(text, setting, answerable, k, cut):
    found = read_questions(text, setting, answerable, k, cut=cut)
    whole = ink("".join(raw for _, raw in found.lines))
    if "<answer>" not in text and "</answer>" not in text: assert whole == ink(text)
    assert whole in ink(text) or "answer>" in text
    kinds = Counter(kind for kind, _ in found.lines)
    assert set(kinds) == set(found.pieces) - {"empty"} | ({"question"} if found.questions else set())
    assert all(kinds[kind] >= n >= 1 for kind, n in found.pieces.items() if kind != "empty") and not (ink(text) and "empty" in found.pieces)
    assert all(kinds[kind] == n for kind, n in found.pieces.items() if kind in ("chatter", "answer given"))
    assert len(found.unasked) == found.pieces.get("duplicate", 0) + found.pieces.get("beyond k", 0)
    assert len(found.questions) <= k and [q.number for q in found.questions] == sorted({q.number for q in found.questions})
    assert len({(q.text, q.options) for q in found.questions}) == len(found.questions)
    for q in found.questions:
        assert q.text == " ".join(q.text.split()) and any(c.isalnum() for c in q.text)
        assert len(set(q.options)) == len(q.options) == (4 if setting == "mc" else 0) and all(q.options)
        assert set(q.text) <= set(text) | {" "} or "&" in text or "\\" in text
        q.text.encode(), [o.encode() for o in q.options]


WORDS = st.lists(st.sampled_from("the car dog red house near left man's woman \"holding\" sign, tree: of is a 是 что".split()), min_size=1, max_size=6)
TEXTS = st.lists(WORDS.map(lambda w: f"What {' '.join(w)} here?"), min_size=1, max_size=6, unique=True)
STYLES = ["Question: {}", "Question : {}", "{n}. {}", "{n}) {}", "**Question {n}:** {}", "Q{n}. {}", "{n}. Question: {}", "- Question: {}",
          "### Question {n}\n{}"]
OPTION_STYLES = ["{c}. {}", "{c}) {}", "({c}) {}", "**{c}.** {}", "- {c}. {}", "{c}: {}"]
FORMS = {
    "texts": lambda qs, opts: json.dumps([f"{q}\n{opts}" for q in qs]),
    "records": lambda qs, opts: json.dumps([{"id": n, "question": q, "options": [*map(str, O4)], "answer": "Is it B?"} for n, q in enumerate(qs)], indent=2),
    "lines": lambda qs, opts: "\n".join(json.dumps({"options": dict(zip("ABCD", O4)), "question": q}, ensure_ascii=False) for q in qs),
    "python": lambda qs, opts: f"Sure!\n```python\nquestions = {[{'question': q, 'choices': [*O4]} for q in qs]}\n```",
    "tags": lambda qs, opts: "\n".join(f"<question>{q}</question><options>\n{opts}\n</options><rationale>Is it so?</rationale>" for q in qs),
    "table": lambda qs, opts: "| # | Question | A | B | C | D |\n|-|-|-|-|-|-|\n" + "\n".join(
        f"| {n} | {q} | " + " | ".join(O4) + " |" for n, q in enumerate(qs, 1)),
    "list": lambda qs, opts: "\n".join(f"{n}. **{q}**\n{opts}\n   - *Rationale*: Is it so?" for n, q in enumerate(qs, 1)),
}


@settings(max_examples=40, deadline=None)
@given(TEXTS, st.sampled_from(sorted(FORMS)))
def test_what_was_written_in_a_form_is_read_back(texts, form):
    "Cut anywhere, a reply gives the first of its questions and never another."
    text = FORMS[form](texts, OPTS)
    assert [(q.text, q.options) for q in read_questions(text, "mc", True, 9).questions] == [(t, O4) for t in texts]


@settings(max_examples=60, deadline=None)
@given(TEXTS, st.sampled_from(STYLES), st.sampled_from(OPTION_STYLES), st.sampled_from(["\n", " "]), st.booleans(),
       st.lists(st.sampled_from(["one", "two dogs", "a red car", "C", "12:30", "near the D", "3.5"]), min_size=4, max_size=4, unique=True))
def test_what_was_written_in_a_style_is_read_back(texts, style, option_style, between, lower, options):
    "A writer of its own; the reader gets back exactly what it wrote."
    lines = [style.format(t, n=n) for n, t in enumerate(texts, 1)]
    assert [q.text for q in read_questions("\n".join(lines), "oe", True, 6).questions] == texts
    joint = between.join(option_style.format(o, c=c) for c, o in zip("abcd" if lower else "ABCD", options))
    if between == " " and option_style.startswith("-"): return  # a bullet begins a line
    found = read_questions("\n".join(f"{line}\n{joint}" for line in lines), "mc", True, 6)
    assert [(q.text, q.options) for q in found.questions] == [(t, tuple(options)) for t in texts] and not found.pieces


@settings(max_examples=60, deadline=None)
@given(TEXTS, st.sampled_from(["texts", "records", "lines", "python"]), st.floats(0, 1))
def test_data_that_was_cut_gives_its_first_questions(texts, form, share):
    text = FORMS[form](texts, OPTS)
    found = read_questions(text[:int(share*len(text))], "mc", True, 9, cut=True)
    assert [(q.text, q.options) for q in found.questions] == [(t, O4) for t in texts][:len(found.questions)]


# ---- speed ----

PATTERNS = ["1. Who?\n", "A. x\n", "？", "。", "Question: a\n", "？1. ", "✓ ", " — ", "? - a", "가. 나. 다. ", "か か", "? *a* ", "1. **a**: B?\n", "A? B",
            "['a", '["a",', '{"question": "a?"},', '[{"a":{"b":', "| a? | b |\n", "<li>", "<question>", "<answer>a?</answer>", "\\textbf{", "\\n1. ",
            "1. a?\n   - *Rationale*: is it?\n", "? ", " ", "(correct ", "answerability: ", "["]


@pytest.mark.slow
def test_four_times_what_is_read_of_anything_is_read_at_once():
    seconds = {}
    texts = {pattern: pattern*(200_000//len(pattern)) for pattern in PATTERNS} | {f"B{c!r}": "B" + c*60_000 for c in "\u200b"}
    for n, (pattern, text) in enumerate(texts.items()):
        start = time.process_time()
        read_questions(text, ("oe", "mc")[n % 2 == len(PATTERNS) % 2], True, 5)
        seconds[pattern] = time.process_time() - start
    assert max(seconds.values()) < 60, max(seconds, key=seconds.get)    # quadratic reading takes many minutes


def test_what_is_beyond_the_limit_is_counted():
    text = f"1. {C}\n2. {W}\n" + "so be it.\n"*(LIST_LIMIT//8)
    found = read_questions(text, "oe", True, 5)
    assert [q.text for q in found.questions] == CW and found.pieces["unread"] == 1
    assert ink("".join(raw for _, raw in found.lines)) == ink(text)
