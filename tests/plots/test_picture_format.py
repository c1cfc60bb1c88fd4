"""The format of pictures: size, letters, title, and how many strategies share a panel; read off figures and files."""

import re
import zlib

import numpy as np
import pytest
from matplotlib.figure import Figure
from synthetic import dipping, record, trace_from

from clbench import plots
from clbench.core.errors import Refused
from clbench.plots.picture_format import Format, formatted, groups, points, room
from clbench.plots.style import log_ticks

LINES = ("gap", "switches", "lag", "cost")


def runs(count, *, seeds=2):
    """Strategies s00, s01, ...: each is a little worse than the one before."""
    return [
        record(f"s{number:02d}", seed, dipping(seed, tasks=3, length=40, final=0.96 - 0.02 * number, noise=0))
        for number in range(count)
        for seed in range(seeds)
    ]


def named(axes):
    return [line.get_label() for line in axes.get_lines() if not line.get_label().startswith("_")]


@pytest.mark.parametrize("kind", ["gap", "tasks", "switches", "matrix", "lag"])
def test_a_picture_has_the_width_and_height_asked_for(kind):
    figure = plots.draw(kind, runs(2), Format(width=3.3, height=4.2))
    assert figure.get_size_inches() == pytest.approx((3.3, 4.2))


def test_letters_have_the_size_asked_for_and_are_smaller_in_narrow_pictures():
    def size(form):
        (legend,) = plots.draw("gap", runs(2), form).legends
        return legend.get_texts()[0].get_fontsize()

    assert size(Format(font_size=12)) == pytest.approx(12)
    assert [size(Format(width=width)) for width in (3.3, 6.0, 11.0)] == pytest.approx([7, 8, 9.5])
    axes = plots.draw("gap", runs(2), Format(font_size=19)).axes[0]
    assert axes.xaxis.label.get_fontsize() == pytest.approx(20)  # twice the usual 10 points
    assert axes.get_xticklabels()[0].get_fontsize() == pytest.approx(18)


def test_a_format_holds_inside_its_context_only():
    with formatted(Format(width=3.8, font_size=19)):
        assert (points(9.5), room(11.0)) == (19.0, 1.9)
    assert (points(9.5), room(11.0)) == (9.5, 11.0)


@pytest.mark.parametrize("kind", ["gap", "tasks", "switches", "matrix", "lag"])
def test_a_picture_without_title_is_lower_and_keeps_the_words_as_its_label(kind):
    whole, bare = (plots.draw(kind, runs(2), Format(title=title)) for title in (True, False))
    assert bare.texts == []
    assert bare.get_figheight() < whole.get_figheight() - 0.3
    assert whole.get_label() == bare.get_label()
    assert bare.get_label().startswith("split-digits@1")
    assert "mean of 2 seeds" in bare.get_label()


@pytest.mark.parametrize(("width", "figure_wide"), [(3.3, False), (11.0, True)])
def test_nothing_is_drawn_outside_of_the_picture(width, figure_wide):
    for kind in ("gap", "switches", "matrix", "tasks", "lag"):
        for count in (2, 8):
            figure = plots.draw(kind, runs(count), Format(width=width))
            figure.draw_without_rendering()
            box = figure.get_tightbbox()
            assert box.x0 > -0.05, (kind, count)
            assert box.x1 < width + 0.05, (kind, count)
            assert box.y0 > 0, (kind, count)
            assert box.y1 < figure.get_figheight(), (kind, count)
            if kind != "matrix" and figure.legends:
                legend = figure.legends[0].get_window_extent()
                axes = figure.axes[0].get_window_extent()
                assert bool(legend.x0 >= axes.x1) == figure_wide, kind
                assert bool(legend.y1 <= axes.y0) != figure_wide, kind


@pytest.mark.parametrize(
    ("labels", "per_panel", "sizes"),
    [(6, 6, [6]), (7, 6, [4, 3]), (12, 6, [6, 6]), (34, 6, [6, 6, 6, 6, 5, 5]), (5, 1, [1] * 5)],
)
def test_strategies_are_divided_into_few_panels_of_nearly_equal_sizes(labels, per_panel, sizes):
    names = [str(place) for place in range(labels)]
    with formatted(Format(per_panel=per_panel)):
        made = groups(names)
    assert [len(group) for group in made] == sizes
    assert [label for group in made for label in group] == names


@pytest.mark.parametrize("kind", LINES)
def test_a_panel_holds_at_most_six_strategies_unless_more_are_asked_for(kind):
    records = runs(8)
    own = {f"s{number:02d}" for number in range(8)}

    def most(form):
        settings = {"cost": "steps"} if kind == "cost" else {}
        panels = [set(named(axes)) & own for axes in plots.draw(kind, records, form, **settings).axes]
        assert set().union(*panels) == own
        return max(map(len, panels))

    assert most(Format()) == 4
    assert most(Format(per_panel=3)) == 3
    assert most(Format(per_panel=8)) == 8


def test_panels_go_from_the_best_strategies_to_the_worst():
    figure = plots.draw("lag", runs(8))
    assert [named(axes) for axes in figure.axes] == [["s00", "s01", "s02", "s03"], ["s04", "s05", "s06", "s07"]]
    assert [[text.get_text() for text in axes.get_legend().get_texts()] for axes in figure.axes] == [
        named(axes) for axes in figure.axes
    ]


def test_an_order_names_the_first_strategies_and_the_rest_follows_by_rank():
    assert named(plots.draw("lag", runs(4), order=["s02"]).axes[0]) == ["s02", "s00", "s01", "s03"]
    assert named(plots.draw("lag", runs(4), strategies=["s03", "s01"]).axes[0]) == ["s03", "s01"]
    with pytest.raises(Refused, match="'s09', which is not drawn"):
        plots.draw("lag", runs(4), order=["s09"])


def test_a_cost_panel_shows_the_strategies_of_other_panels_pale_and_the_front_of_all():
    first, *_, last = plots.draw("cost", runs(8), cost="steps").axes
    for axes in (first, last):
        pale = {line.get_label() for line in axes.get_lines() if line.get_label().startswith("_s")}
        assert {f"_{label}" for label in named(axes)} | pale >= {f"_s{number:02d}" for number in range(8)}
        (front,) = [line for line in axes.get_lines() if line.get_label() == "Pareto front"]
        assert len(front.get_xdata()) >= 1


def test_every_line_lies_above_every_band_and_bands_of_many_lines_are_pale():
    def bands(count):
        axes = plots.draw("gap", runs(count, seeds=3)).axes[0]
        lines = [line for line in axes.get_lines() if not line.get_label().startswith("_")]
        assert min(line.get_zorder() for line in lines) > max(band.get_zorder() for band in axes.collections)
        return axes.collections[0].get_alpha()

    assert bands(4) == pytest.approx(bands(1) / 2)


@pytest.mark.parametrize(
    "given", [{"width": 0.2}, {"height": 300}, {"font_size": 1}, {"per_panel": 0}, {"width": float("nan")}]
)
def test_impossible_formats_are_refused_with_what_is_possible(given):
    with pytest.raises(Refused, match="choose"):
        Format(**given)


def test_fonts_of_a_pdf_are_embedded_as_type_42(tmp_path):
    figure = plots.draw("lag", [record("er", 0, trace_from(np.eye(3), [4] * 3, lambda *_: np.full(3, 0.5)))])
    content = plots.save(figure, tmp_path / "lag.pdf").read_bytes()
    streams = re.findall(rb"stream\r?\n(.*?)endstream", content, re.DOTALL)
    packed = b"".join(zlib.decompressobj().decompress(held) for held in streams if held[:1] == b"x")
    everything = content + packed
    assert b"/FontFile2" in everything  # a TrueType font, which PDF calls CIDFontType2 and PostScript type 42
    assert b"/CIDFontType2" in everything
    assert b"/Type3" not in everything


@pytest.mark.parametrize("kind", ["gap", "tasks", "switches", "matrix", "lag"])
def test_strategies_and_benchmarks_are_drawn_under_their_new_names(kind):
    form = Format(names={"s00": "Ours", "split-digits@1": "Split-Digits"})
    figure = plots.draw(kind, runs(2), form, order=["s01", "Ours"])
    assert figure.get_label().startswith("Split-Digits: ")
    titles = [axes.get_title(loc="left").split("\n")[0] for axes in figure.axes]
    found = titles if kind in ("tasks", "matrix") else [text.get_text() for text in figure.legends[0].get_texts()]
    assert [name for name in found if name in ("Ours", "s00", "s01")] == ["s01", "Ours"]


def test_a_new_name_keeps_the_colour_of_its_label():
    def colours(**names):
        figure = plots.draw("gap", runs(3), Format(names=names))
        return [line.get_color() for line in figure.axes[0].get_lines() if not line.get_label().startswith("_")]

    assert colours(s01="er") == colours()


def test_two_strategies_cannot_have_one_name_in_a_picture():
    with pytest.raises(Refused, match="'s00' and 's01' cannot both be called 's01' in one picture"):
        plots.draw("gap", runs(2), Format(names={"s00": "s01"}))


def test_dollar_signs_and_underscores_of_names_are_drawn_as_they_are():
    form = Format(names={"s00": r"$\frac{$", "s01": "_mine"})
    figure = plots.draw("gap", runs(2), form)
    figure.draw_without_rendering()  # a broken formula would fail here
    assert [text.get_text().strip() for text in figure.legends[0].get_texts()] == [r"\$\frac{\$", "_mine"]


def test_a_picture_grows_with_a_legend_that_is_longer_than_its_panels():
    figure = plots.draw("gap", runs(40, seeds=1), Format(per_panel=40))
    figure.draw_without_rendering()
    legend = figure.legends[0].get_window_extent()
    assert legend.y0 > 0
    assert legend.y1 < figure.bbox.y1
    title, caption = (text.get_window_extent() for text in figure.texts)
    assert title.y0 > caption.y1 > figure.axes[0].get_window_extent().y1


@pytest.mark.parametrize(
    ("low", "high", "named"),
    [
        (2e4, 9e5, ["20k", "50k", "100k", "200k", "500k"]),
        (5.0, 2e6, ["10", "100", "1k", "10k", "100k", "1M"]),
        (0.18, 0.31, ["0.2", "0.25", "0.3"]),
    ],
)
def test_a_logarithmic_axis_names_few_round_values(low, high, named):
    axes = Figure().add_subplot()
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    log_ticks(axes)
    labels = [
        text for at, text in zip(axes.get_xticks(), axes.xaxis.get_ticklabels(), strict=True) if low <= at <= high
    ]
    assert [text.get_text() for text in labels] == named
    assert not any(text.get_text() for text in axes.xaxis.get_ticklabels(minor=True))
