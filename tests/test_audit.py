"The audit: numbers known by hand, planted faults are found, and what is right is left alone."

import numpy as np
import pandas as pd
import pytest
from unsaf.core import UnsafError
from unsaf.metrics.awareness import awareness
from unsaf.paper.audit import FAMILIES, audit, cells, lines, prose, second, verdicts
from unsaf.paper.audit.verdicts import derived, recompute
from unsaf.paper.studies import audit as plots
from unsaf.paper.audit.checks import (CONSISTENT, IMPOSSIBLE, INCONSISTENT, UNDECIDED, Check, Range, above, corners, counted,
                                      harmonic, judge_count, mean, printed, quoted, rate)


# ---- ranges

def test_half_units_by_hand():
    span = corners(harmonic, rate("0.60"), rate("0.77"))
    assert span.low == pytest.approx(2 * .595 * .765 / 1.36) and span.high == pytest.approx(2 * .605 * .775 / 1.38)
    assert rate("1.00") == Range(.995, 1) and rate("0.00").low == 0 and printed("1.00").high == 1.005


def test_corners_hold_what_a_search_finds():
    "Random points inside the box never leave the range of its corners, for every formula that is used so."
    rng = np.random.default_rng(0)
    for f, n in ((harmonic, 2), (cells.eq1, 3), (lambda a, t: t * (2 - 1 / a), 2), (lambda a, t: t * (1 - a) / a, 2)):
        for _ in range(50):
            box = [Range(*sorted(rng.uniform(.05, 1, 2))) for _ in range(n)]
            span = corners(f, *box)
            points = [f(*(rng.uniform(r.low, r.high) for r in box)) for _ in range(50)]
            assert span.low - 1e-12 <= min(points) and max(points) <= span.high + 1e-12


def test_corners_of_the_gain_over_always_answering():
    row = dict(TA="0.88", FU="0.12", FA="0.83", TU="0.17", UnF1="0.65")
    span, (t, f), u = prose.gain_over_always(row), cells.run_rates(row), rate(row["UnF1"])
    rng = np.random.default_rng(1)
    for _ in range(500):
        a, b, c = (rng.uniform(r.low, r.high) for r in (t, f, u))
        ratio = cells.class_ratio(a, b, c)
        # the sign says on which side of always answering the same questions this UnF1 lies
        assert np.sign(a - b - ratio * (1 - a)) == np.sign(c - cells.eq1(1, 1, ratio))
        assert span.low - 1e-9 <= a - b - ratio * (1 - a) <= span.high + 1e-9


def test_comparison_has_three_answers():
    assert above(rate("0.96"), rate("0.94")) is True and above(rate("0.94"), rate("0.96")) is False and above(rate("0.94"), rate("0.94")) is None
    assert above(printed("83.98"), printed("83.63")) is True
    with pytest.raises(ValueError): Range(1, 0)


@pytest.mark.parametrize("sure, possible, n, word, verdict", [
    (27, 27, 27, "all", CONSISTENT), (26, 26, 27, "all", INCONSISTENT), (26, 27, 27, "all", UNDECIDED), (14, 14, 27, "most", CONSISTENT),
    (13, 13, 26, "most", INCONSISTENT), (0, 0, 5, "none", CONSISTENT), (0, 0, 5, "some", INCONSISTENT),
    (9, 10, 12, "nearly all", UNDECIDED), (0, 0, 4, "mostly?", INCONSISTENT)])
def test_words_are_counts(sure, possible, n, word, verdict): assert judge_count(sure, possible, n, word) == verdict


def test_checks_refuse_nonsense():
    with pytest.raises(ValueError): Check("a", "b", "c", "d", "e", None, None, "wrong")
    with pytest.raises(ValueError): counted("table01", "here", "nothing", [])


def test_a_quoted_number():
    ten = mean([printed("9.0"), printed("11.0")])
    assert ten.low == pytest.approx(9.95) and ten.high == pytest.approx(10.05)
    assert quoted("text", "x", "y", "10", ten).verdict == CONSISTENT and quoted("text", "x", "y", "12", ten).verdict == INCONSISTENT


# ---- cells

@pytest.mark.parametrize("unf1, verdict", [("0.67", CONSISTENT), ("0.68", CONSISTENT), ("0.69", IMPOSSIBLE), ("0.71", IMPOSSIBLE), ("0.66", INCONSISTENT)])
def test_harmonic_verdicts(unf1, verdict): assert cells.harmonic_verdict("0.60", "0.77", unf1)[1] == verdict


def test_averaging_over_seeds_only_lowers_unf1():
    "The reason for the two verdicts: the harmonic mean is concave."
    rng = np.random.default_rng(2)
    a, t = rng.uniform(.01, 1, (2, 1000, 3))
    assert (np.mean(2 * a * t / (a + t), 1) <= 2 * a.mean(1) * t.mean(1) / (a.mean(1) + t.mean(1)) + 1e-12).all()


def test_a_planted_cell_is_found(monkeypatch):
    before, planted = {c.where for c in cells.unf1_checks("table04") if c.verdict != CONSISTENT}, cells.runs("table04")
    next(r for r in planted if (r["model"], r["dataset"], r["setting"]) == ("GPT-4o", "CoCo", "MC"))["UnF1"] = "0.95"
    monkeypatch.setattr(cells, "runs", lambda name: planted)
    after = {c.where: c.verdict for c in cells.unf1_checks("table04") if c.verdict != CONSISTENT}
    assert set(after) - before == {"GPT-4o, CoCo, MC"} and after["GPT-4o, CoCo, MC"] == IMPOSSIBLE


def test_planted_rates_are_found(monkeypatch):
    planted = cells.runs("table06")
    planted[0]["FU"] = "0.05"
    monkeypatch.setattr(cells, "runs", lambda name: planted)
    assert [c.where for c in cells.sum_checks() if c.verdict == IMPOSSIBLE] == ["LLaVA-7B, MC, Baseline"]


def test_which_cells_of_tables_1_4_5_are_off():
    off = {(c.of, c.where): c.verdict for name in ("table01", "table04", "table05") for c in cells.unf1_checks(name) if c.verdict != CONSISTENT}
    assert len(off) == 8 and off["table04", "InternVL-8B, MMBench, MC"] == INCONSISTENT       # 2 x .56 x .98 / 1.54 = .713, printed .69
    assert off["table01", "InternVL-14B, InternVL-8B, UnD-Joint, COCO-test"] == IMPOSSIBLE    # 2 x .74 x .86 / 1.60 = .796, printed .83


def test_eq1_and_the_class_ratio_against_the_metric_room():
    s = awareness(ta=77, fa=63 * 3, tu=37 * 3, fu=23)
    assert cells.eq1(.77, .63, 1 / 3) == pytest.approx(s.unf1) and cells.eq1(.77, .63) == pytest.approx(s.unf1_class)
    assert cells.class_ratio(.77, .63, s.unf1) == pytest.approx(1 / 3)
    assert cells.eq1(1, 1, 1 / 3) == pytest.approx(s.always_answer)
    needed = cells.ratio_needed(dict(TA="0.77", FU="0.23", FA="0.63", TU="0.37", UnF1="0.67"))
    assert .63 / (2 * .77 / .67 - 1.77) in needed and 1 not in needed


def test_no_class_ratio_where_unf1_is_above_2t_over_1_plus_t():
    assert cells.class_ratio(.5, .3, .67) == np.inf
    assert cells.ratio_needed(dict(TA="0.50", FU="0.50", FA="0.30", TU="0.70", UnF1="0.90")).low == np.inf


def test_table_8_is_impossible_under_counts_and_possible_under_class_rates():
    checks = cells.ratio_checks()
    flat = {c.where: c.verdict for c in checks if c.claim.startswith("one value")}
    assert len(checks) == 40 and len(flat) == 10 and {c.verdict for c in checks if not c.claim.startswith("one value")} == {IMPOSSIBLE}
    assert flat["LLaVA-7B, MC"] == CONSISTENT and flat["LLaVA-7B, OE"] == INCONSISTENT


def test_the_program_recovers_planted_rates():
    "Rows made by Eq. 1 from t and f are possible, and f is found where the values are exact."
    rows = [(Range(r, r), Range(cells.eq1(.9, .4, r), cells.eq1(.9, .4, r))) for r in (.125, .5, 2, 8)]
    assert cells.largest_false_rate(rows) == pytest.approx(.4, abs=1e-6)
    rounded = [(r, rate(f"{u.low:.2f}")) for r, u in rows]
    assert .4 <= cells.largest_false_rate(rounded) < .5
    assert np.isnan(cells.largest_false_rate([(Range(.125, .125), rate("0.90")), (Range(8, 8), rate("0.30"))]))     # UnF1 cannot fall with the ratio


def test_table_10_with_a_tolerance_of_half_a_point():
    got = {(c.where): (c.published, c.recomputed) for c in cells.tie_checks()[:9]}
    assert got["UnD-QA, VizWiz"] == ("7/1/1", "7/1/1") and got["UnD-IQ, VizWiz"] == ("6/0/3", "6/0/3") and got["UnD-Joint, MMBench"] == ("3/4/2", "3/4/2")
    assert all(a == b for a, b in got.values())
    last = cells.tie_checks()[-1]
    assert last.verdict == CONSISTENT and last.low == pytest.approx(.48) and last.high == pytest.approx(.58)


def test_tie_tolerances_by_hand():
    assert cells.tie_tolerances([2, -1, .3], (1, 1, 1)) == Range(.3, 1) and cells.tie_tolerances([2, -1, .3], (2, 0, 1)) == Range(0, .3)
    assert cells.tie_tolerances([2, -1, .3], (0, 3, 0)).high == np.inf and cells.tie_tolerances([2, -1, .3], (1, 0, 2)) is None


def test_cells_that_are_not_there():
    with pytest.raises(LookupError): cells.cells("table04", model="nobody")
    with pytest.raises(LookupError): cells.cell("table04", model="GPT-4o", metric="A")


# ---- repeats and prose

def test_repeats_by_hand():
    by = {(c.of, c.where): c for c in cells.teacherless_checks() + cells.between_tables() + cells.same_run_checks() + cells.lookalike_checks()}
    assert by["table09", "UnF1, Table 9 and Table 1"].recomputed == "33 of 36" and by["table02", "Table 2 and Table 13"].recomputed == "36 of 36"
    assert by["table01", "rows without a teacher"].recomputed == "26 of 27"
    assert by["table01", "InternVL-8B, COCO, OE"].low == .61 and by["table01", "InternVL-8B, COCO, OE"].high == .76
    assert by["table02", "DoLa, InternVL-8B and mPLUG-Owl-7B"].recomputed == "2 of 3 identical"
    assert cells.one_number(["0.66", "0.67"]) and not cells.one_number(["0.76", "0.79"])


def test_prose_by_hand():
    by = {c.claim: c for c in prose.distillation_numbers() + prose.distillation_counts() + prose.generalisation() + prose.hallucination() + prose.accuracy()}
    assert by["UnD-IQ improves UnF1 by 15 % on average (read as points)"].recomputed == "15.1"
    two = by["UnD-QA improves UnF1 by 2 % on average (read as points)"]
    assert two.recomputed == "-5.0" and two.verdict == INCONSISTENT and (two.low, two.high) == pytest.approx((-6, -4))
    assert by["the teacher discriminates better than its student"].recomputed == "6 of 12"
    assert by["0.61 to 0.96 is a gain of 0.46"].recomputed == "0.350" and by["UnD-IQ gains 0.24 over UnD-QA on average"].recomputed == "0.226"
    assert by["all three variants lower hallucination, teacher InternVL-14B"].recomputed == "20 of 27"
    assert by["UnD-IQ and UnD-Joint are superior to DoLa and CoVe"].recomputed == "21 of 36" and by["the same, CHAIR_i alone"].recomputed == "2 of 12"
    assert by["most comparisons on OKVQA show clear gains"].recomputed == "12 of 27"


def test_prose_on_models_by_hand():
    by = {c.claim: c for c in prose.main_table() + prose.prompting() + prose.tuning()}
    assert by["GPT-4o is above Moonshot-v1, open-ended"].recomputed == "0 of 3" and by["open-source UnF1 lies between 0.58 and 0.69"].recomputed == "27 of 30"
    assert by["OE: timid models lose FU"].recomputed == "2 of 3"
    near = {c.where: c.recomputed for c in prose.always_answer()}
    assert near["Table 4"] == "36 of 48" and near["Table 8"] == "47 of 80" and near["Table 11"] == "24 of 32"     # away from the line: 12, 33 and 8 are on it
    assert near["Table 4, open-source, OE"] == "0 to 1 of 15"


def test_rankings_by_hand():
    one, two = [Range(x, x) for x in (3, 2, 1)], [Range(x, x) for x in (2, 3, 1)]
    assert prose.ranking_distance(one, one) == Range(0, 0) and prose.ranking_distance(one, two) == Range(2, 2)
    tied = [rate("0.63"), rate("0.63"), rate("0.50")]
    assert prose.ranking_distance(tied, tied) == Range(0, 2)


# ---- the second reading

def test_the_second_reading_by_hand():
    "Counts that were made with paper and pencil from the printed tables."
    count = lambda checks: [c.verdict for c in checks].count(INCONSISTENT)
    assert (len(second.audacity_checks()), count(second.audacity_checks())) == (9, 3)
    ratio = second.ratio_of_audacity(Range(.8, .8), Range(.4, .4), Range(.5, .5))          # A = .8 r/(.8 r + .4) is a half where r is
    assert ratio == Range(.5, .5)
    by = {(c.where, c.claim): c for c in second.repeated_run_checks()}
    a = by["InternVL-8B, COCO, OE", "one run has one A"]
    assert a.published == "0.65 (T1), 0.59 (T4), 0.53 (T5)" and a.verdict == INCONSISTENT
    assert count(second.hundredth_checks()) == 6 and all("." in c.published for c in second.hundredth_checks())
    assert [c.recomputed for c in second.underline_checks()] == ["19 of 26", "0 of 1", "6 of 6", "27 of 27"]
    orders = second.order_checks()
    assert orders[0].comment.startswith("13 pairs are reversed") and orders[0].recomputed.endswith("of 160")


def test_a_mean_is_not_credible_where_rounding_would_have_to_conspire():
    verdict = lambda text, low, high, n: second.credible(text, Range(low, high), second.rounding_sd([1 / n] * n))[0]
    assert verdict("0.24", .216, .236, 24) == "not credible"                               # 0.235 is in the range, and 15 deviations from its middle
    assert verdict("0.23", .216, .236, 24) == CONSISTENT and verdict("0.24", .21, .23, 24) == INCONSISTENT
    assert verdict("0.24", .23, .236, 1) == CONSISTENT                                      # one cell may well lie there
    rng = np.random.default_rng(0)
    x = rng.random((4000, 12))
    assert (x.round(2) - x).mean(1).std() == pytest.approx(second.rounding_sd([1 / 12] * 12), rel=.05)


def test_an_order_by_hand():
    flags, pairs = second.order_flags([("a", "0.70", Range(.1, .2)), ("b", "0.60", Range(.3, .4)), ("c", "0.50", Range(.15, .25)), ("d", "0.50", Range(0, 1))])
    assert pairs == ["a over b"] and flags.count(False) == 1 and flags.count(True) == 1 and len(flags) == 5     # c and d tie


# ---- the whole

def test_the_whole_audit_adds_up():
    found = audit()
    assert len(found) == 426 and list(found["check"].unique()) == list(FAMILIES) and not found.duplicated(["check", "of", "where", "claim"]).any()
    assert (found["low"].isna() | (found["low"] <= found["high"] + 1e-9) | found["high"].isna()).all()
    some = audit("win, tie, loss")
    assert len(some) == 10
    with pytest.raises(UnsafError, match="rumours"): audit("rumours")
    found.loc[:, "verdict"] = "spoiled"
    assert "spoiled" not in set(audit()["verdict"])


def test_what_is_kept_is_what_comes_out():
    "The verdicts in the package are those that the checks give today; else: `unsaf.paper.audit.keep()`, and look at what changed."
    pd.testing.assert_frame_equal(audit(), recompute(), check_exact=False, rtol=0, atol=1e-12)


def test_lines_show_every_check_that_is_off():
    text = lines()
    off = audit()["verdict"].ne(CONSISTENT).sum()
    assert sum(line.startswith("  [") for line in text) == off and max(map(len, text)) <= 120


def test_derived_scores_by_hand():
    four = derived("table04").set_index(["model", "dataset", "setting"])
    gpt = four.loc[("GPT-4o", "CoCo", "MC")]
    assert gpt["j"] == pytest.approx(.99 * (2 - 1 / .87)) and gpt["balanced_accuracy"] == pytest.approx((1 + gpt["j"]) / 2) and gpt["against_always"] == "above"
    llava = four.loc[("LLaVA-7B", "CoCo", "MC")]
    assert llava["j"] == 0 and llava["j_low"] < 0 < llava["j_high"]
    six = derived("table06").set_index(["model", "setting", "aug_type"]).loc[("InternVL-8B", "OE", "Baseline")]
    assert six["j"] == pytest.approx(.14) and six["always_low"] > .67 and six["against_always"] == "below"
    with pytest.raises(UnsafError): derived("table12")


def test_j_from_audacity_and_timidity_against_counts():
    "A and T of whole counts with equal classes give back their J."
    s = awareness(ta=430, fa=210, tu=290, fu=70)
    assert s.timidity * (2 - 1 / s.audacity) == pytest.approx(s.youden_j)
    a, t = f"{s.audacity:.2f}", f"{s.timidity:.2f}"
    j, (low, high) = verdicts._of_scores(dict(A=a, T=t))
    assert low <= s.youden_j <= high and abs(j - s.youden_j) < .02


@pytest.mark.parametrize("draw", [plots.ratio_figure, plots.main_figure, plots.verdict_figure])
def test_figures_are_drawn(draw):
    figure = draw()
    assert figure._repr_png_()[:4] == b"\x89PNG" and all(ax.has_data() for ax in figure.axes)
