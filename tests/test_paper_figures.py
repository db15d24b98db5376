"Pictures of the paper: what is in the table is in the picture, gaps are shown, and the same table gives the same bytes."
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from unsaf.core import UnsafError
from unsaf.paper import charts, figures

nan = float("nan")


def rows(*columns, values): return pd.DataFrame([dict(zip(columns, v)) for v in values])


def cells(models, groups, value=.7):
    return rows("row", "column", "group", "value", "low", "high", "reference",
        values=[(m, "x", g, value, value - .1, value + .1, .66) for m in models for g in groups])


FRAMES = {
    "cells": (figures.cells_figure, lambda n: cells([f"a model with a rather long name {i}" for i in range(n)], ("MC", "OE"))),
    "distances": (figures.distance_figure, lambda n: rows("metric", "setting", "a", "b", "distance", "low", "high", "chance", values=[
        (f"metric {i}", "MC", a, b, 2.0, 0, 4, 8) for i in range(n) for a, b in (("COCO", "VizWiz"), ("COCO", "TextVQA"), ("VizWiz", "TextVQA"))])),
    "curves": (figures.curve_figure, lambda n: rows("metric", "model", "n", "cv", "sd", "mean", values=[
        (m, f"m{i}", k, 1 / k, .1 / k, .1) for m in ("UnF1", "ECE") for i in range(n) for k in (10, 100)])),
    "bands": (figures.band_figure, lambda n: rows("metric", "model", "n", "mean", "sd",
        values=[("ECE", f"m{i}", k, .1, .02) for i in range(n) for k in (10, 100)])),
    "differences": (charts.difference_figure, lambda n: rows("pair", "dataset", "metric", "difference", "low", "high", values=[
        (f"pair {i}", "COCO", m, -.1, -.2, 0) for i in range(n) for m in ("audacity", "UnF1")])),
    "rates": (charts.rates_figure, lambda n: rows("model", "disposition", "setting", "prompt", "metric", "value", "low", "high", values=[
        (f"m{i}", ("timid", "audacious")[i % 2], "OE", p, k, .4, .3, .5) for i in range(n) for p in ("none", "timidity") for k in ("FU", "FA", "UnF1",
        "always_answer")])),
    "scale": (charts.scale_figure, lambda n: rows("model", "dataset", "parameters", "accuracy", "accuracy_low", "accuracy_high", "unf1", "unf1_low",
        "unf1_high",
                                                  "always_answer",
        values=[(f"m{i}", "COCO", 7.0, .5 + i / 50, .4, .6, .6 + i / 50, .5, .7, .66) for i in range(n)])),
    "shares": (charts.distribution_figure, lambda n: rows("student", "arm", "answerable", "outcome", "value", values=[
        (f"s{i}", "UnD-IQ", f, o, v) for i in range(n) for f, o, v in ((True, "TA", .8), (True, "FU", .2), (False, "FA", .5), (False, "TU", .4), (False,
        "neither", .1))])),
    "ratio": (charts.ratio_figure, lambda n: rows("model", "setting", "ratio", "unf1", "unf1_low", "unf1_high", "unf1_class", "always_answer", "expected",
        values=[
        (f"m{i}", "MC", r, .5, .4, .6, .67, .5, .5) for i in range(n) for r in (.125, 8)])),
    "tally": (charts.tally_figure, lambda n: rows("strategy", "dataset", "win", "tie", "loss", values=[(f"arm {i}", "COCO", 3, 4, 2) for i in range(n)])),
    "ledger": (charts.ledger_figure, lambda n: rows("kind", "verdict", "n", values=[(f"kind {i}", "reproduced", 4) for i in range(n)])),
}


def words(figure): return [t.get_text() for t in figure.findobj(lambda x: hasattr(x, "get_text"))]


@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.parametrize("n", [1, 9])
def test_draws_and_says_what_it_is_of(name, n, tmp_path):
    draw, make = FRAMES[name]
    figure = draw(make(n), note="made up for a test")
    assert any("made up for a test" in w for w in words(figure))
    paths = figures.save(figure, tmp_path, name)
    assert all(Image.open(paths[0]).size[i] > 200 for i in (0, 1)) and paths[1].read_text().startswith("<?xml")


@pytest.mark.parametrize("name", FRAMES)
def test_the_same_table_gives_the_same_bytes(name, tmp_path):
    draw, make = FRAMES[name]
    a, b = (figures.save(draw(make(2), note="n"), tmp_path/side, name) for side in "ab")
    assert [p.read_bytes() for p in a] == [p.read_bytes() for p in b]


@pytest.mark.parametrize("name", FRAMES)
def test_a_missing_column_is_one_line(name):
    draw, make = FRAMES[name]
    frame = make(1)
    with pytest.raises(UnsafError, match=f"lacks {frame.columns[0]}"): draw(frame.drop(columns=frame.columns[0]), note="")
    with pytest.raises(UnsafError, match="no rows"): draw(frame.iloc[:0], note="")


def test_every_value_is_drawn_at_its_place_and_a_gap_is_a_cross():
    frame = cells(["a", "b"], ("MC", "OE"))
    frame["value"] = [.1, .2, nan, .4]
    figure = figures.cells_figure(frame, note="n")
    ax = figure.axes[0]
    drawn = sorted(line.get_xdata()[0] for line in ax.lines if line.get_marker() in ("o", "s") and len(line.get_xdata()) == 1)
    assert np.allclose(drawn, [.1, .2, .4]) and sum(line.get_marker() == "x" for line in ax.lines) == 1
    ticks = [line for line in ax.lines if line.get_color() == figures.LINE]
    assert len(ticks) == 4 and all(np.allclose(line.get_xdata(), .66) for line in ticks)
    assert {"MC", "OE", "no value", "always answering"} <= set(words(figure))


def test_marks_differ_without_colour():
    assert len({m for m, _ in figures.MARKS}) == len(figures.MARKS) and len(set(map(str, figures.DASHES))) == len(figures.DASHES)
    assert len(set(charts._SHARES.values())) == len(charts._SHARES)


def test_bubbles_have_the_area_of_the_parameters():
    frame = FRAMES["scale"][1](2).assign(parameters=[2.0, 8.0])
    small, large = (c for c in charts.scale_figure(frame, note="").axes[0].collections if len(c.get_offsets()) == 1 and len(c.get_sizes()))
    assert large.get_sizes()[0] == pytest.approx(4 * small.get_sizes()[0])


def test_a_picture_of_the_example_has_every_question_and_cell():
    asked = rows("answerable", "question", "options", "reply", "cell",
        values=[(True, "Why?", "", "so", "TA"), (False, "How old?", "", "unanswerable", "TU"), (True, "?", "", "", None)])
    told = words(figures.example_figure(Image.new("RGB", (9, 9)), asked, "n"))
    assert {"Why?", "How old?", "so", "unanswerable", "TA", "TU", "-"} <= set(told)


def test_values_of_zero_and_gaps_are_told_on_logarithmic_axes():
    frame = FRAMES["curves"][1](2)
    frame.loc[0, "cv"], frame.loc[1, "cv"] = 0.0, nan
    told = " ".join(words(figures.curve_figure(frame, note="n")))
    assert "1 model with values of 0" in told and "1 model with gaps" in told
