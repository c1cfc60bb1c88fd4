"""Leaderboards for papers: LaTeX tables that need only the package booktabs.

A table fits one column of a two-column paper if it can: smaller fonts, intervals as subscripts and broken names are
tried in this order. A wider table spans both columns (``table*``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from clbench.leaderboard.board import Board
from clbench.leaderboard.latex_text import breakable, escaped, width
from clbench.leaderboard.numbers import Number
from clbench.leaderboard.pair_sheets import pair_sheets
from clbench.leaderboard.sheets import Sheet, sheets

ROOMS = (("table", 218.0), ("table*", 342.0), ("table*", 390.0), ("table*", 440.0))
"""Environments with the widths in points that tables are fitted to: a column of a two-column article, the page of a
one-column article, that of usual conferences, and both columns of a two-column article."""


@dataclass(frozen=True)
class Layout:
    """Describe how a table is set.

    Args:
        font: Command of the font's size.
        points: The font's size in points.
        gap: Half the space between columns, in points.
        subscripts: Whether half-widths are subscripts.
        environment: ``table``, or ``table*`` for both columns.
        room: Width that is available, in points.
    """

    font: str
    points: float
    gap: float
    subscripts: bool
    environment: str
    room: float


@dataclass(frozen=True)
class Shape:
    """Say what the cells of a column have room for.

    Args:
        half: Characters of the longest half-width.
        signed: Whether one has the sign of a value that is not separated from the best.
    """

    half: int
    signed: bool

    @classmethod
    def of(cls, cells: Iterable[Number]) -> Shape:
        cells = list(cells)
        return cls(max((len(cell.half) for cell in cells), default=0), any(cell.sign for cell in cells))


SIZES = ((r"\small", 9.25, 5.0), (r"\footnotesize", 8.5, 3.0), (r"\scriptsize", 7.97, 2.5))
"""Fonts with the widths of their em in points, and gaps."""
LAYOUTS = [
    Layout(font, points, gap, subscripts, environment, room)
    for environment, room in ROOMS
    for font, points, gap in SIZES
    for subscripts in (False, True)
]
LINES = {r"\small": 11.0, r"\footnotesize": 9.5, r"\scriptsize": 8.0}
"""Heights of the lines of fonts, in points."""
HEAD = 4
"""Lines of the text around a table that its rules, spaces and header need."""
PAGE = 540.0
"""Height of a page in points, about that of an article."""
TOO_LONG = "% It is longer than a page: choose fewer rows with --rows, or shorter names with --rename."
SUBSCRIPT = 0.89
"""Width of a letter as a subscript, in widths of it beside the line."""
TOO_WIDE = "% It is wider than a page in the smallest font: choose fewer columns with --columns, or --decimals."
SIGN = r"$^{\approx}$"
BREAK = r" \\ "
SHORTEST_NAME = 8
"""Smallest number of characters in a line of a broken name."""


def latex(board: Board) -> str:
    """Return a table per benchmark, or one for all, with caption and label."""
    labels: list[str] = []
    parts = []
    for sheet in (*sheets(board, decimals=1, format="latex"), *pair_sheets(board, decimals=1)):
        labels.append(_label(sheet.title, labels))
        parts.append(_table(sheet, labels[-1]))
    return "\n".join(parts)


def _label(title: str, before: Sequence[str]) -> str:
    """Return a label of letters, digits and hyphens that no earlier table has."""
    label = "tab:" + (re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "board")
    same = sum(re.sub(r"--\d+$", "", other) == label for other in before)
    return f"{label}--{same + 1}" if same else label


def _table(sheet: Sheet, label: str) -> str:
    layout, name_width = _fitted(sheet)
    wide = [] if name_width <= _room(sheet, layout) else [TOO_WIDE]
    wide += [TOO_LONG] if _height(sheet, layout, name_width / layout.points) > PAGE else []
    shapes = [Shape.of(line[place] for line in sheet.every) for place in range(len(sheet.columns))]
    body = [
        " & ".join(
            _text(cell, name_width, layout) if column.is_text else _number(cell, shape, layout)
            for cell, column, shape in zip(line, sheet.columns, shapes, strict=True)
        )
        + r" \\"
        for line in sheet.lines
    ]
    others = [
        " & ".join(
            rf"\textit{{{text}}}" if str(cell) else ""
            for cell, column, shape in zip(line, sheet.columns, shapes, strict=True)
            for text in [_text(cell, name_width, layout) if column.is_text else _number(cell, shape, layout)]
        )
        + r" \\"
        for line in sheet.others
    ]
    told = [f"{sheet.title}: {sheet.legend}", sheet.seeds, sheet.marks]
    notes = BREAK.join(map(breakable, sheet.notes))
    lines = [
        r"% Written by clbench. Needs \usepackage{booktabs} in the preamble.",
        rf"% \ref{{{label}}} refers to this table.",
        *wide,
        rf"\begin{{{layout.environment}}}[t]",
        r"\centering\sloppy",
        rf"\caption{{{breakable('; '.join(filter(None, told)))}.}}",
        rf"\label{{{label}}}",
        r"\smallskip",
        layout.font,
        rf"\setlength{{\tabcolsep}}{{{layout.gap:g}pt}}",
        rf"\begin{{tabular}}{{{''.join('l' if column.is_text else 'r' for column in sheet.columns)}}}",
        r"\toprule",
        *_header(sheet, layout),
        r"\midrule",
        *body,
        *([r"\midrule", *others] if others else []),
        r"\bottomrule",
        r"\end{tabular}",
        *([r"\par\smallskip", rf"\parbox{{\linewidth}}{{\raggedright\scriptsize {notes}}}"] if notes else []),
        rf"\end{{{layout.environment}}}",
    ]
    return "\n".join(lines) + "\n"


# ------------------------------------------------------------------------------------------------------------ cells


def _text(cell: Number, room: float, layout: Layout) -> str:
    """Return a name, in several lines if it is wider than its room."""
    count = rf" {{\tiny {escaped(cell.count)}}}" if cell.count else ""
    count = (rf"$^{{\mathrm{{{cell.raised}}}}}$" if cell.raised else "") + count
    if width(_words(cell)) * layout.points <= room:
        return escaped(cell.main) + count
    return rf"\parbox[t]{{{room:.0f}pt}}{{\raggedright {breakable(cell.main, SHORTEST_NAME)}{count}\strut}}"


def _words(cell: Number) -> str:
    """Return the letters of a cell of text, about as wide as they are set: raised ones are smaller."""
    return str(cell) + cell.raised


def _number(cell: Number, shape: Shape, layout: Layout) -> str:
    """Return a number; half-widths are filled up to equal numbers of digits, so that means stand below each other."""
    main = cell.main.replace("-", "−") if re.fullmatch(r"[-\d.,% ]+", cell.main) else cell.main
    main = escaped(main)
    if cell.half:
        half = r"\phantom{0}" * (shape.half - len(cell.half)) + cell.half
        if layout.subscripts:
            main = (rf"\textbf{{{main}}}" if cell.is_best else main) + rf"$_{{\pm{half}}}$"
        else:
            main = rf"{main} $\pm$ {half}"
    if cell.is_best and not (cell.half and layout.subscripts):
        main = rf"\textbf{{{main}}}"
    count = rf" {{\tiny {escaped(cell.count)}}}" if cell.count else ""
    return main + count + (SIGN if cell.sign else rf"\phantom{{{SIGN}}}" * shape.signed)


def _header(sheet: Sheet, layout: Layout) -> list[str]:
    """Return the lines of the header: the groups, if there are any, and the titles, broken to the widths of columns."""
    titles = []
    for place, column in enumerate(sheet.columns):
        broken = [
            escaped(line) for line in _broken(column.title, _cell_width(sheet, place, layout) / layout.points, layout)
        ]
        align = "l" if column.is_text else "r"
        titles.append(broken[0] if len(broken) == 1 else rf"\shortstack[{align}]{{{BREAK.join(broken)}}}")
    lines = [" & ".join(titles) + r" \\"]
    if not any(column.group for column in sheet.columns):
        return lines
    heads: list[str] = []
    rules, first = [], 1
    for group, found in groupby(enumerate(sheet.columns), key=lambda pair: pair[1].group):
        places = [place for place, _ in found]
        if group:
            room = _group_room(sheet, places, layout) / layout.points
            split = BREAK.join(escaped(line) for line in _broken_group(group, room))
            heads.append(rf"\multicolumn{{{len(places)}}}{{c}}{{\shortstack{{{split}}}}}")
            rules.append(rf"\cmidrule(lr){{{first}-{first + len(places) - 1}}}")
        else:
            heads += [""] * len(places)
        first += len(places)
    return [" & ".join(heads) + r" \\", " ".join(rules), *lines]


def _broken(title: str, room: float, layout: Layout) -> list[str]:
    """Break a title at spaces into lines no wider than the room, in em, or than its longest word.

    An arrow stays with the word before it, unless room is short.
    """
    return _lines(re.findall(r"\s+|\S+", title if layout.subscripts else re.sub(r" (?=[↑↓])", "\u00a0", title)), room)


def _broken_group(title: str, room: float) -> list[str]:
    """Break the name of a benchmark into lines, inside words too."""
    return _lines(_pieces(title), room)


def _lines(pieces: Sequence[str], room: float) -> list[str]:
    room = max([room, *map(width, pieces)]) + 1e-9
    lines = [""]
    for piece in pieces:
        if width(lines[-1] + piece.rstrip(" ")) <= room:
            lines[-1] += piece
        else:
            lines.append(piece.lstrip(" "))
    return [line.strip(" ") for line in lines if line.strip(" ")]


# ------------------------------------------------------------------------------------------------------------ widths


def _fitted(sheet: Sheet) -> tuple[Layout, float]:
    """Return the first layout that fits, and the width of names in points.

    For each width, layouts in which no name is broken are tried first, unless their font is the smallest; then those in
    which names have two lines; then any. Layouts in which the table is higher than a page are used only if all are.
    """
    names = _names(sheet)
    longest = max(map(width, names), default=0.0)
    shortest = max([SHORTEST_NAME * width("a"), *(width(piece) for name in names for piece in _pieces(name))])
    longer: list[tuple[Layout, float]] = []
    for _, room in ROOMS:
        own = [(layout, _room(sheet, layout) / layout.points) for layout in LAYOUTS if layout.room == room]
        whole = [pair for pair in own[:-2] if longest <= pair[1]]
        broken = [pair for pair in own if shortest <= pair[1]]
        short = [pair for pair in broken if all(len(_lines(_pieces(name), pair[1])) <= 2 for name in names)]
        fitting = [*whole, *short, *broken]
        for layout, left in fitting:
            if _height(sheet, layout, left) <= PAGE:
                return layout, min(left, longest) * layout.points
        longer += fitting
    if longer:
        layout, left = min(longer, key=lambda pair: _height(sheet, *pair))
        return layout, min(left, longest) * layout.points
    return LAYOUTS[-1], max(longest * LAYOUTS[-1].points, 1.0)


def _height(sheet: Sheet, layout: Layout, room: float) -> float:
    """Return about how high a table is with its caption and notes, in points.

    Args:
        sheet: The table.
        layout: How it is set.
        room: Width of a name, in em.
    """
    texts = [place for place, column in enumerate(sheet.columns) if column.is_text]
    rows = sum(max([1, *(len(_lines(_pieces(_words(line[place])), room)) for place in texts)]) for line in sheet.every)
    caption = "; ".join((sheet.title, sheet.legend, sheet.seeds, sheet.marks))
    lines = math.ceil(10 * width(caption) / layout.room) + HEAD
    notes = sum(math.ceil(7.97 * width(note) / layout.room) for note in sheet.notes)
    return 12 * lines + LINES[layout.font] * rows + LINES[r"\scriptsize"] * notes


def _names(sheet: Sheet) -> list[str]:
    """Return the texts of all columns of text, with their titles."""
    texts = [(place, column) for place, column in enumerate(sheet.columns) if column.is_text]
    return [text for place, column in texts for text in (column.title, *(_words(line[place]) for line in sheet.every))]


def _pieces(text: str) -> list[str]:
    """Return the parts of a name, with the spaces between them; no part is ever broken. Parts end at the signs of
    :func:`clbench.leaderboard.latex_text.breakable`."""
    return re.findall(r"\s+|[^\s=,./_(+@:-]*[=,./_(+@:-]|[^\s=,./_(+@:-]+", text)


def _room(sheet: Sheet, layout: Layout) -> float:
    """Return the width that the columns of numbers leave for one column of text, in points."""
    texts = sum(column.is_text for column in sheet.columns)
    taken = 2 * layout.gap * len(sheet.columns)
    for _, found in groupby(enumerate(sheet.columns), key=lambda pair: (pair[1].group, pair[1].is_text)):
        places = [place for place, column in found if not column.is_text]
        taken += _group_width(sheet, places, layout)
    return (layout.room - taken) / max(1, texts)


def _group_width(sheet: Sheet, places: Sequence[int], layout: Layout) -> float:
    """Return the width of neighbouring columns, without the gaps around them; a wide title of a group widens them."""
    if not places:
        return 0.0
    inner = sum(_column_width(sheet, place, layout) for place in places)
    group = sheet.columns[places[0]].group
    title = max(map(width, _pieces(group))) * layout.points if group else 0.0
    return max(inner, title - 2 * layout.gap * (len(places) - 1))


def _group_room(sheet: Sheet, places: Sequence[int], layout: Layout) -> float:
    return _group_width(sheet, places, layout) + 2 * layout.gap * (len(places) - 1)


def _column_width(sheet: Sheet, place: int, layout: Layout) -> float:
    cells = _cell_width(sheet, place, layout) / layout.points
    return max(cells, *map(width, _broken(sheet.columns[place].title, cells, layout))) * layout.points


def _cell_width(sheet: Sheet, place: int, layout: Layout) -> float:
    """Return the width of the widest cell of a column, in points."""
    column = [line[place] for line in sheet.every]
    shape = Shape.of(column)
    return max((_em(cell, shape, layout) * layout.points for cell in column), default=0.0)


def _em(cell: Number, shape: Shape, layout: Layout) -> float:
    em = width(cell.main, bold=cell.is_best)
    if cell.half:
        half = width("±" + "0" * (shape.half - 1) + ".", bold=cell.is_best and not layout.subscripts)
        em += SUBSCRIPT * half + 0.06 if layout.subscripts else half + 2 * width(" ")
    return em + 0.03 + 0.75 * shape.signed + (width(f" {cell.count}") if cell.count else 0.0)
