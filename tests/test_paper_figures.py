"The figures of the paper: each draws what its table holds, says what is missing, carries its note, and is the same bytes each time."
from itertools import combinations, product
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from unsaf.core import UnsafError
from unsaf.paper import draw
from unsaf.paper.studies import accuracy, distillation, main, prompts, ranks, ratio as ratios, scale as scales, sizes, tuning
from unsaf.assessment.figures import Drawing

nan = np.nan
NOTE = "made-up numbers; testbed: tiny models in a drawn world; nothing here speaks of a real model"
NAMES = ["LLaVA-7B", "mPLUG-Owl-7B", "Qwen-VL-Chat-7B", "MiniCPM-8B", "InternVL2-8B", "Qwen2.5-VL-Instruct-32B", "InternVL3-8B-Pretrained",
         "GPT-4o", "Moonshot_v1 ($5)"]
DATA = ["COCO", "ImageNet", "MMBench", "OKVQA", "VizWiz (validation split, without the pictures that are blurred)", "TextVQA", "VQAv2", "MME", "MMMU"]


def around(value, width=.04, name="value"):
    low, high = ("low", "high") if name in ("value", "difference", "distance") else (f"{name}_low", f"{name}_high")
    return {name: value, low: value - width, high: value + width}


def example(n):
    cells = {True: ["TA", "FU", None], False: ["TU", "FA", None]}
    return pd.DataFrame([dict(answerable=i % 2 == 0, question=f"What is number {i}? " + "It is a long question. " * (i % 7),
                              reply="a long reply " * (1 + i % 30), cell=cells[i % 2 == 0][i // 2 % 3],
                              options=["red", "blue", "a green one", "none"] if i % 3 else "") for i in range(n)])


def distance(metrics, names, settings=("MC",)):
    return pd.DataFrame([dict(metric=m, setting=s, a=a, b=b, chance=8.0, max=12.0, models=5, **around(float(i % 7) * 2, 1, "distance"))
                         for s, m in product(settings, metrics) for i, (a, b) in enumerate(combinations(names, 2))])


def curve(metrics, models, sizes=(100, 250, 500, 1000, 2000, 4000)):
    return pd.DataFrame([dict(metric=m, model=name, by="questions", n=n, mean=.5, sd=.5 * (i + 1) / n**.5, cv=(i + 1) / n**.5, population=4000, draws=5, fpc=.5)
                         for m in metrics for i, name in enumerate(models) for n in sizes])


def difference(pairs, data):
    return pd.DataFrame([dict(pair=p, dataset=d, metric=m, **around(.1 * i - .2, .05, "difference")) for i, p in enumerate(pairs) for d in data
                         for m in ("audacity", "timidity", "UnF1", "J")])


def rates(models, settings, both=False):
    own = {True: "timidity", False: "audacity"}
    return pd.DataFrame([dict(model=m, disposition="timid" if i % 2 else "audacious", setting=s, prompt=p, metric=k,
                              **around(.66 if k == "always_answer" else .1 + .07 * i))
                         for i, m in enumerate(models) for s in settings for p in (("none", "audacity", "timidity") if both else ("none", own[bool(i % 2)]))
                         for k in ("FU", "FA", "UnF1", "always_answer")])


def scale(models, data):
    return pd.DataFrame([dict(model=m, dataset=d, parameters=[7, 7.2, 9.6, 8, 8, 32, 8, nan, nan][i], always_answer=2 / 3,
                              **around(.5 + .02 * i, .03, "accuracy"), **around(.6 + .01 * (i % 4), .02, "unf1")) for d in data for i, m in enumerate(models)])


def distribution(students, arms):
    return pd.DataFrame([dict(student=s, arm=a, answerable=f, outcome=o, count=int(200 * v), **around(v, .05)) for s in students for a in arms
                         for f, shares in ((True, dict(TA=.6, FU=.3, neither=.1)), (False, dict(FA=.25, TU=.75, neither=0.0))) for o, v in shares.items()])


def cells(rows, columns, groups):
    return pd.DataFrame([dict(row=r, column=c, group=g, reference=2 / 3, **around(.5 + .05 * (i % 9)))
                         for i, (r, c, g) in enumerate(product(rows, columns, groups))])


def ratio(models, settings):
    return pd.DataFrame([dict(model=m, setting=s, ratio=r, always_answer=2 * r / (2 * r + 1), expected=.5, **around(.5, .04, "unf1"),
                              **around(.6, .03, "unf1_class"))
                         for m in models for s in settings for r in (1 / 8, 1 / 6, 1 / 4, 1 / 2, 2 / 3, 2.0, 3.0, 8.0)])


def tally(strategies, data):
    return pd.DataFrame([dict(strategy=s, dataset=d, win=float(i), tie=1.0, loss=8.0 - i) for i, s in enumerate(strategies) for d in data])


def verdicts(kinds): return pd.DataFrame([dict(kind=k, verdict=v, n=n) for k in kinds for v, n in zip(draw.VERDICT_LOOKS, (3, 2, 0, 1, 900))])


def drawn_example(rows, note=""): return main.example_figure(Image.new("RGB", (30, 20), "red"), rows, note)
def drawn_distribution(found, note=""): return distillation.distribution_figure(found, "a teacher", note)
def drawn_cells(found, note=""): return draw.cells_figure(found, "UnF1", "always answering", note, "a title", share=True)


METRICS = ["UnF1", "Brier", "MacroCE", "ICE", "ECE", "MCE", "CU", "MR"]
FIGURES = {                          # name: (function, columns that hold scores, smallest table, largest table)
    "example": (drawn_example, [], example(1), example(20)),
    "distance": (ranks.distance_figure, ["distance", "low", "high"], distance(["UnF1"], DATA[:2]), distance(METRICS, DATA)),
    "curve": (lambda found, note="": sizes.curve_figure(found, "cv", note), ["cv"], curve(["ECE"], NAMES[:1], (100,)),
              curve(["UnF1 (MC)", "UnF1 (OE)", "ECE", "CU", "MR"], NAMES)),
    "spread": (lambda found, note="": sizes.curve_figure(found, "sd", note), ["sd"], curve(["ECE"], NAMES[:1]), curve(["UnF1 (MC)", "ECE"], NAMES)),
    "band": (sizes.band_figure, ["mean", "sd"], curve(["ECE"], NAMES[:1], (100,)), curve(["ECE"], NAMES)),
    "difference": (tuning.difference_figure, ["difference", "low", "high"], difference(NAMES[:1], DATA[:1]), difference(NAMES, DATA)),
    "rates": (prompts.rates_figure, ["value", "low", "high"], rates(NAMES[:1], ["OE"]), rates(NAMES, ["MC", "OE"], both=True)),
    "scale": (scales.scale_figure, ["unf1", "unf1_low", "unf1_high"], scale(NAMES[:1], DATA[:1]), scale(NAMES, DATA)),
    "distribution": (drawn_distribution, ["value", "low", "high", "count"], distribution(NAMES[:1], ["Baseline"]), distribution(NAMES, NAMES[:8])),
    "cells": (drawn_cells, ["value", "low", "high"], cells(["a"], ["b"], ["c"]), cells(NAMES, DATA, NAMES)),
    "ratio": (ratios.ratio_figure, ["unf1", "unf1_low", "unf1_high", "unf1_class", "expected"], ratio(NAMES[:1], ["OE"]), ratio(NAMES, ["MC", "OE"])),
    "tally": (accuracy.tally_figure, ["win", "tie", "loss"], tally(["UnD-QA"], DATA[:1]), tally(NAMES, DATA)),
    "ledger": (draw.ledger_figure, ["n"], verdicts(["claim"]), verdicts(["cell", "claim", "audit"])),
}
NEEDED = {"curve": ["metric", "model", "n", "cv"], "spread": ["metric", "model", "n", "sd"], "band": ["metric", "model", "n", "mean", "sd"]}
SPARE = {"models"}                    # a distance table may leave it out
everyone = pytest.mark.parametrize("name", FIGURES)


def words(figure): return " ".join(" ".join(t.get_text() for t in figure.findobj(mpl.text.Text)).split())
def marks(figure, crosses=False):
    "Single marks in the panels of a figure, without those of its legend."
    return [line for ax in figure.axes for line in ax.lines if line.get_ls() == "None" and (line.get_marker() == "x") == crosses]
def parts(figure, gid): return [p for ax in figure.axes for p in ax.patches if p.get_gid() == gid]
def lines_of_always(figure): return [line for ax in figure.axes for line in ax.lines if line.get_color() == draw.LINE]
def drawn(name, which=2, **changes): return FIGURES[name][0](FIGURES[name][which].assign(**changes), NOTE)


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in ("cells", "distribution", "ratio", "scale"))) for n in FIGURES])
def test_the_largest_table_is_drawn_and_nothing_lies_on_anything_else(name):
    "Its note is there; legend, note and title keep clear of the panels and of each other."
    before = FIGURES[name][3].copy(deep=True)
    figure = drawn(name, 3)
    pd.testing.assert_frame_equal(FIGURES[name][3], before)                            # the table is read, not written
    assert isinstance(figure, Drawing) and NOTE in words(figure)
    figure.draw_without_rendering()
    page = figure.get_window_extent()
    boxes = [legend.get_window_extent() for legend in figure.legends] + [t.get_window_extent() for t in figure.texts if t.get_text()]
    for a, b in combinations(boxes, 2): assert not a.padded(-1).overlaps(b), name
    if name == "example": return                                                       # one panel is the whole page
    for ax in figure.axes:
        if not ax.get_visible(): continue
        assert ax.get_window_extent().width > 60 and ax.get_window_extent().height > 20, "a panel is pressed flat"
        assert page.x0 - 2 <= ax.get_tightbbox().x0 and ax.get_tightbbox().x1 <= page.x1 + 2
        for box in boxes: assert not ax.get_tightbbox().padded(-2).overlaps(box), name


@everyone
def test_no_row_or_a_missing_column_is_one_line(name):
    function, _, small, _ = FIGURES[name]
    with pytest.raises(UnsafError, match="no rows"): function(small[:0])
    for column in NEEDED.get(name, [c for c in small if c not in SPARE]):
        with pytest.raises(UnsafError, match=f"lacks {column}$") as e: function(small.drop(columns=column))
        assert "\n" not in str(e.value)


@everyone
@pytest.mark.parametrize("share", ["one", "all"])
def test_missing_values_are_told(name, share):
    function, scores, _, large = FIGURES[name]
    if not scores: pytest.skip("no scores in this figure")
    found = large[:10].copy()
    found[scores] = found[scores].astype(float)
    rows = found.index[:1] if share == "one" else found.index
    found.loc[rows, scores] = nan
    if "metric" in found and name == "rates": found.loc[found["metric"] == "always_answer", "value"] = .66
    figure = function(found, NOTE)
    assert any(told in words(figure) for told in ("no value (x)", "no UnF1 (x)", "no count")), name
    if name not in ("distance", "distribution", "tally", "ledger"): assert marks(figure, crosses=True)


def test_reasons_stand_in_the_small_print():
    found = cells(["a", "b"], ["c"], ["d"]).assign(why=["", "the model was not at hand"])
    found.loc[1, ["value", "low", "high"]] = nan
    assert "no value (x): b, c, d: the model was not at hand" in words(drawn_cells(found))
    many = draw.missing_note(pd.DataFrame(dict(who=list("abcdefghi"), value=nan)), "value", "who")
    assert many.endswith("; and 3 more") and draw.missing_note(pd.DataFrame(dict(who=["a"], value=[1.0])), "value", "who") == ""


def test_cells_marks_intervals_and_references():
    found = cells(NAMES[:3], DATA[:2], ["MC", "OE"])
    found.loc[2, ["value", "low", "high"]], found.loc[3, ["low", "high"]], found.loc[4, "reference"] = nan, nan, nan
    figure = drawn_cells(found)
    assert len(marks(figure)) == 11 and len(marks(figure, crosses=True)) == 1 and len(lines_of_always(figure)) == 11
    assert sorted(line.get_xdata()[0] for line in marks(figure)) == sorted(found["value"].dropna())
    assert {tuple(line.get_xdata()) for line in lines_of_always(figure)} == {(2 / 3, 2 / 3)}
    solid = [line for ax in figure.axes for line in ax.lines if line.get_ls() == "-" and line.get_color() == draw.INK]
    whiskers = [tuple(line.get_xdata()) for line in solid if len(line.get_xdata()) == 2]
    assert sorted(whiskers) == sorted(map(tuple, found[["low", "high"]].dropna().to_numpy()))
    assert {t.get_text() for t in figure.axes[0].get_yticklabels()} == set(NAMES[:3])
    heights = {round(float(line.get_ydata()[0]), 6) for line in marks(figure) + marks(figure, crosses=True) if line.axes is figure.axes[0]}
    assert len(heights) == 6                                                           # no two marks on one line
    assert "2 marks stand on the line of another" in words(drawn_cells(pd.concat([found, found[:2]])))


def test_cells_share_one_scale_only_where_asked():
    found = cells(["a"], ["F1", "percent"], ["g"])
    found.loc[1, ["value", "low", "high"]] = 80, 75, 85
    apart, same = draw.cells_figure(found), draw.cells_figure(found, share=True)
    assert apart.axes[0].get_xlim() != apart.axes[1].get_xlim() and same.axes[0].get_xlim() == same.axes[1].get_xlim()


def test_example_shows_every_question_whole():
    rows = example(8)
    figure = drawn_example(rows)
    badges = parts(figure, "badge")
    assert len(badges) == 8 and len(parts(figure, "stage")) == 4
    looks = {(type(b.get_boxstyle()).__name__, b.get_hatch(), b.get_facecolor(), b.get_linestyle()) for b in badges}
    assert len(looks) == 5                                                             # four cells and neither
    told = words(figure)
    for question in rows["question"]: assert " ".join(question.split()) in told
    assert "A. red" in told and "D. none" in told and "announced as answerable: 4" in told and "announced as unanswerable: 4" in told
    n = rows["cell"].value_counts()
    assert f"TA {n['TA']} FU {n['FU']} FA {n['FA']} TU {n['TU']} neither {rows['cell'].isna().sum()}" in told
    assert f"= {2 * n['TA'] / (2 * n['TA'] + n['FU'] + n['FA']):.2f}; always answering" in told
    long = drawn_example(rows[:1].assign(reply="word " * 500, options=[np.array(["red", "blue"])]))
    assert "more characters]" in words(long) and "B. blue" in words(long)
    assert "nothing to score" in words(drawn_example(rows.assign(cell=None))) and "no reply" in words(drawn_example(rows.assign(reply=nan)))


def test_distances_are_a_square_a_pair():
    found = distance(["UnF1", "ECE"], DATA[:4])
    found.loc[0, ["distance", "low", "high"]], found.loc[1, ["low", "high"]] = nan, nan
    figure = ranks.distance_figure(found)
    squares = [ax.collections[0].get_array() for ax in figure.axes]
    assert [s.count() for s in squares] == [6, 6] and sorted(squares[1].compressed()) == [0, 2, 4, 6, 8, 10]
    assert sorted(int(t.get_text().split("\n")[0]) for t in figure.axes[1].texts if t.get_text()) == [0, 2, 4, 6, 8, 10]
    assert all("\n" in t.get_text() for t in figure.axes[1].texts if t.get_text())                 # each with its interval
    assert [t.get_text() for t in figure.axes[0].texts].count("x") == 1
    assert figure.axes[0].get_title() == "UnF1 (MC)\nmean 6.0, chance 8" and "ECE (MC)\nmean 5.0, chance 8" == figure.axes[1].get_title()
    assert "fewer than two models" in words(ranks.distance_figure(found.assign(models=1)))
    assert ranks.distance_figure(found.drop(columns="models")).axes[1].collections[0].get_array().count() == 6
    with pytest.raises(UnsafError, match="two data sets"): ranks.distance_figure(found[:1].assign(b="COCO"))


def test_a_curve_breaks_at_what_is_missing_or_zero():
    found = curve(["ECE"], NAMES[:2])
    found.loc[1, "cv"], found.loc[8, "cv"] = nan, 0
    figure = sizes.curve_figure(found)
    ax = figure.axes[0]
    lines = {line.get_label(): line for line in ax.lines}
    first, second, guide = lines[NAMES[0]], lines[NAMES[1]], lines["falls as 1/sqrt(n)"]
    assert np.flatnonzero(np.isnan(first.get_ydata())).tolist() == [1] and np.flatnonzero(np.isnan(second.get_ydata())).tolist() == [2]
    assert first.get_marker() != second.get_marker() and first.get_linestyle() != second.get_linestyle()
    x, y = guide.get_data()
    assert y[0] / y[1] == pytest.approx((x[1] / x[0]) ** .5) and guide.get_ls() == ":" and (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert len(marks(figure)) == 1 and len(marks(figure, crosses=True)) == 1 and "at the lower edge is a value of 0" in words(figure)
    with pytest.raises(UnsafError, match="use cv or sd"): sizes.curve_figure(found, y="mean")


def test_rows_of_two_settings_get_panels_of_their_own():
    both = pd.concat([curve(["ECE"], NAMES[:1]).assign(setting=s) for s in ("MC", "OE")], ignore_index=True)
    assert [ax.get_title() for ax in sizes.curve_figure(both).axes] == ["ECE, MC", "ECE, OE"]
    two = pd.concat([difference(NAMES[:1], ["COCO"]).assign(setting=s) for s in ("MC", "OE")], ignore_index=True)
    assert [ax.get_title() for ax in tuning.difference_figure(two).axes] == ["COCO, MC", "COCO, OE"]
    assert [ax.get_title() for ax in tuning.difference_figure(two[:4]).axes] == ["COCO"]


def test_bands():
    found = curve(["ECE"], NAMES[:2])
    found.loc[0, ["mean", "sd"]], found.loc[3, "sd"] = nan, nan
    figure = sizes.band_figure(found)
    line = next(line for line in figure.axes[1].lines if line.get_label() == "mean of the subsets")
    assert line.get_ydata().tolist() == [.5] * 6 and [ax.get_title() for ax in figure.axes] == NAMES[:2]
    assert len(marks(figure, crosses=True)) == 1 and "a mean without a deviation: LLaVA-7B" in words(figure)
    with pytest.raises(UnsafError, match="one metric, the table holds ECE, CU"): sizes.band_figure(curve(["ECE", "CU"], NAMES[:1]))


def test_differences_stay_in_their_rows():
    found = difference(NAMES, DATA[:2])
    found.loc[0, ["difference", "low", "high"]] = nan
    figure = tuning.difference_figure(found)
    assert len(marks(figure)) == 71 and len(marks(figure, crosses=True)) == 1
    for line in marks(figure): assert abs(line.get_ydata()[0] - round(float(line.get_ydata()[0]))) < .45
    assert len({(m.get_marker(), mpl.colors.to_hex(m.get_markerfacecolor())) for m in marks(figure)}) == 9
    for ax in figure.axes: assert any(list(line.get_xdata()) == [0, 0] for line in ax.lines)


def test_rates_go_from_without_to_with():
    found = rates(NAMES[:4], ["OE", "MC"])
    start = (found[["model", "metric", "setting", "prompt"]] == [NAMES[0], "FU", "MC", "none"]).all(axis=1)
    found.loc[start, ["value", "low", "high"]] = nan
    figure = prompts.rates_figure(found)
    assert [ax.get_title() for ax in figure.axes] == ["MC: FU", "OE: FU", "MC: FA", "OE: FA", "MC: UnF1", "OE: UnF1"]
    assert len(marks(figure)) == 3 * 2 * 8 - 1 and len(marks(figure, crosses=True)) == 1
    arrows = [t for ax in figure.axes for t in ax.texts if isinstance(t, mpl.text.Annotation)]
    assert len(arrows) == 3 * 2 * 4 - 1                                                # none from where there is no start
    assert len(lines_of_always(figure)) == 2 * 8
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == [NAMES[0], NAMES[2], NAMES[1], NAMES[3]]    # timid models below
    assert sum(p.get_facecolor() == mpl.colors.to_rgba("#eceef1") for p in figure.axes[0].patches) == 2
    both = prompts.rates_figure(rates(NAMES[:2], ["OE"], both=True))
    assert len(marks(both)) == 3 * 2 * 3 and {m.get_marker() for m in marks(both)} == {"o", "v", "^"}
    with pytest.raises(UnsafError, match="prompt 'bravery' is unknown"): prompts.rates_figure(found.assign(prompt="bravery"))


def test_bubbles_have_the_area_of_their_size_and_names_of_their_own():
    found = scale(NAMES, DATA[:1])
    found.loc[1, ["unf1", "unf1_low", "unf1_high"]], found.loc[2, ["accuracy", "accuracy_low", "accuracy_high"]] = nan, nan
    figure = scales.scale_figure(found)
    ax = figure.axes[0]
    there = found.dropna(subset=["accuracy", "unf1"])
    bubbles = {tuple(c.get_offsets()[0]): c for c in ax.collections if len(c.get_offsets()) == 1}
    assert len(bubbles) == len(there) == 7
    sized = there[there["parameters"].notna()]
    areas = np.array([bubbles[a, u].get_sizes()[0] for a, u in zip(sized["accuracy"], sized["unf1"])])
    assert np.allclose(areas / areas.max(), sized["parameters"] / 32) and "20 B parameters" in words(figure) and "size not known" in words(figure)
    names = [t for t in ax.texts if t.get_text()]
    assert sorted(t.get_text() for t in names) == sorted(there["model"])
    for a, b in combinations(names, 2): assert not a.get_window_extent().overlaps(b.get_window_extent()), (a.get_text(), b.get_text())
    centres = {m: ax.transData.transform((a, u)) for m, a, u in zip(there["model"], there["accuracy"], there["unf1"])}
    for t in names:
        for x, y in centres.values(): assert not t.get_window_extent().contains(x, y)
    assert len(marks(figure, crosses=True)) == 2 and "no UnF1 (x): mPLUG-Owl-7B" in words(figure) and "no accuracy (x): Qwen-VL-Chat-7B" in words(figure)
    assert lines_of_always(figure)[0].get_ydata()[0] == pytest.approx(2 / 3)
    apart = scales.scale_figure(found.assign(always_answer=np.linspace(.6, .7, 9)))
    assert "median and range of the models" in words(apart) and lines_of_always(apart)[0].get_ydata()[0] == pytest.approx(.65)
    assert scales._sizes(nan) == [] and scales._sizes(.0005) == pytest.approx([.0005, .0002, .0001]) and scales._spelled(.0005) == "500 k parameters"


def test_shares_of_a_class_fill_its_bar():
    found = distribution(NAMES[:2], ["Baseline", "UnD-IQ"])
    found.loc[(found["student"] == NAMES[0]) & (found["arm"] == "UnD-IQ") & found["answerable"], ["value", "low", "high"]] = nan
    figure = drawn_distribution(found)
    assert [len(ax.patches) for ax in figure.axes] == [3, 4, 6, 4]                     # three or two outcomes a bar; one bar is missing
    for ax in figure.axes:
        for y in {round(p.get_y(), 6) for p in ax.patches}: assert sum(p.get_width() for p in ax.patches if round(p.get_y(), 6) == y) == pytest.approx(1)
    assert "no question of this class" in words(figure) and "teacher a teacher" in words(figure) and "n=200" in words(figure)
    looks = {(mpl.colors.to_hex(p.get_facecolor()), p.get_hatch()) for ax in figure.axes for p in ax.patches}
    assert len(looks) == 5
    intervals = [line for ax in figure.axes for line in ax.lines if line.get_marker() == "|"]
    assert sorted({tuple(np.round(line.get_xdata(), 6)) for line in intervals}) == [(.2, .3), (.55, .65)] and len(intervals) == 7
    with pytest.raises(UnsafError, match="outcome 'TX' is unknown"): drawn_distribution(found.assign(outcome="TX"))


def test_ratios_have_their_own_ticks_and_panels():
    found = ratio(NAMES[:2], ["MC", "OE"])
    found.loc[3, ["unf1", "unf1_low", "unf1_high"]], found.loc[9, "unf1_class"] = nan, nan
    figure = ratios.ratio_figure(found)
    assert [ax.get_title() for ax in figure.axes] == [f"{m}, {s}" for s in ("MC", "OE") for m in NAMES[:2]]
    assert [t.get_text() for t in figure.axes[3].get_xticklabels()] == ["1:8", "1:2", "2:1", "8:1"] and figure.axes[0].get_xscale() == "log"
    assert len(marks(figure, crosses=True)) == 1 and "UnF1 on counts only: LLaVA-7B, OE" in words(figure)
    for line in lines_of_always(figure): assert np.allclose(line.get_ydata(), 2 * line.get_xdata() / (2 * line.get_xdata() + 1)) and line.get_ls() == "--"
    assert len(lines_of_always(figure)) == 4
    assert [ratios._ratio(r) for r in (1 / 6, 2 / 3, 1, 3, .123456)] == ["1:6", "2:3", "1:1", "3:1", "0.12:1"]
    nine = ratios.ratio_figure(ratio(NAMES, ["MC", "OE"]))
    assert sum(ax.get_visible() for ax in nine.axes) == 18
    with pytest.raises(UnsafError, match="above 0"): ratios.ratio_figure(found.assign(ratio=0.0))


def test_counts_are_written_out():
    figure = accuracy.tally_figure(tally(["UnD-QA", "UnD-IQ"], DATA[:2]))
    assert [[t.get_text() for t in ax.texts] for ax in figure.axes] == [["1", "1", "1", "8", "7"]] * 2     # wins, ties, losses
    gap = tally(["UnD-QA", "UnD-IQ"], DATA[:1])
    gap.loc[0, "tie"] = nan
    missing = accuracy.tally_figure(gap)
    assert len(missing.axes[0].patches) == 3 and "no value (x): UnD-QA, COCO" in words(missing)                    # no bar is better than half of one
    with pytest.raises(UnsafError, match="UnD-QA on COCO has several rows"): accuracy.tally_figure(pd.concat([gap, gap]))
    counts = draw.ledger_figure(verdicts(["cell", "claim"]))
    assert [[t.get_text() for t in ax.texts] for ax in counts.axes] == [["3", "2", "0", "1", "900"]] * 2 and counts.axes[0].get_title() == "cell: 906"
    with pytest.raises(UnsafError, match="verdict 'maybe' is unknown"): draw.ledger_figure(verdicts(["cell"]).assign(verdict="maybe"))


def test_every_verdict_of_the_ledger_has_a_look():
    from unsaf.paper.ledger import VERDICTS
    assert set(draw.VERDICT_LOOKS) == set(VERDICTS)


def test_looks_differ_without_colour():
    looks = [(a["marker"], a["mfc"]) for a in map(draw.look, range(27))]
    assert len(set(looks)) == 27 and len({m for m, _ in looks[:9]}) == 9 and len(set(map(str, draw.DASHES))) == 9
    greys = [np.dot(mpl.colors.to_rgb(face), (.299, .587, .114)) for face in draw.FACES]
    assert min(abs(a - b) for a, b in combinations(greys, 2)) > .25


@everyone
def test_the_same_table_gives_the_same_bytes(name, tmp_path):
    "In a new figure, and in a figure that was saved before."
    figure = drawn(name)
    assert NOTE in words(figure)
    first, other = draw.save(figure, tmp_path/"a", name), draw.save(drawn(name), tmp_path/"deep"/"c", name)
    again = draw.save(figure, tmp_path/"b", name) if name in ("example", "cells", "rates") else first
    assert [p.name for p in first] == [f"{name}.png", f"{name}.svg"]
    for a, b, c in zip(first, again, other): assert a.read_bytes() == b.read_bytes() == c.read_bytes()
    assert b"<dc:date>" not in first[1].read_bytes() and Image.open(first[0]).info.get("Software") is None
    assert Image.open(first[0]).info["dpi"] == pytest.approx((130, 130), abs=.1)
