"""The choice of a table's rows: which strategies, under which names, in which order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from clbench.core.errors import Refused, did_you_mean
from clbench.leaderboard.board_rows import Row
from clbench.leaderboard.standings import STANDINGS
from clbench.metrics import get as get_metric
from clbench.metrics import metric_names

BY_RANK, BY_NAME = "rank", "name"


@dataclass(frozen=True)
class RowChoice:
    """Choose the rows of tables.

    Args:
        rows: Labels of the strategies to show; ``None`` for all.
        names: Label of a strategy, or title of a table -> the name to show.
        order: ``rank``, ``name``, the name of a metric (best first), or labels: these come first, in this order.
    """

    rows: tuple[str, ...] | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    order: str | tuple[str, ...] = BY_RANK

    def shows(self, label: str) -> bool:
        """Return whether a strategy is shown."""
        return self.rows is None or label in self.rows

    def ordered(self, rows: Iterable[Row]) -> list[Row]:
        """Return rows in the order of the choice; unranked rows come last, unless labels say otherwise."""
        by_rank = sorted(rows, key=_place)
        if self.order == BY_RANK:
            return by_rank
        if self.order == BY_NAME:
            return sorted(by_rank, key=lambda row: row.strategy.casefold())
        if isinstance(self.order, str):
            sign = -1 if get_metric(self.order).higher_is_better else 1
            valued = [row for row in by_rank if row.metrics[self.order].n]
            valued.sort(key=lambda row: sign * row.metrics[str(self.order)].mean)
            return valued + [row for row in by_rank if not row.metrics[self.order].n]
        place = {label: i for i, label in enumerate(self.order)}
        return sorted(by_rank, key=lambda row: place.get(row.label, len(place)))

    def across(self, tables: Iterable[Iterable[Row]]) -> tuple[str, ...]:
        """Return the names of the rows of several tables in one order: that of the first table, then that of the next
        for rows that the first lacks; or by name, or as labels say."""
        rows = {row.strategy: row for table in tables for row in table}
        if self.order == BY_NAME:
            return tuple(sorted(rows, key=str.casefold))
        if isinstance(self.order, str):
            return tuple(rows)
        place = {self.names.get(label, label): i for i, label in reversed(list(enumerate(self.order)))}
        return tuple(sorted(rows, key=lambda name: place.get(name, len(place))))


def _place(row: Row) -> tuple[int, int, int, str]:
    """Return what sorts rows: their standing, then their rank, then how many reference seeds they have."""
    return STANDINGS.index(row.standing), row.rank or 0, -row.covered[0], row.strategy


def choose(
    strategies: Iterable[str],
    titles: Iterable[str],
    *,
    rows: str | Sequence[str] | None = None,
    rename: Mapping[str, str] | Iterable[str] = (),
    order: str | Sequence[str] = BY_RANK,
) -> RowChoice:
    """Check a choice of rows against the strategies that there are.

    Args:
        strategies: The labels of all tables.
        titles: The titles of all tables.
        rows: Strategies to show: labels, or text with commas between them.
        rename: New names: ``{"mine": "Ours"}``, or texts ``"mine=Ours"``. The title of a table may be renamed too.
        order: As in :class:`RowChoice`; text with commas is a list of labels.

    Raises:
        Refused: A strategy does not exist, or a text cannot be read.
    """
    labels, titles = list(dict.fromkeys(strategies)), list(dict.fromkeys(titles))
    names = new_names(rename, labels, titles)
    known = {_bare(name): label for label, name in names.items() if label in labels} | {_bare(x): x for x in labels}

    def found(written: str | Sequence[str], option: str) -> tuple[str, ...]:
        if isinstance(written, str) and _bare(written) in known:
            return (known[_bare(written)],)  # a label may contain commas, brackets and quotes
        if not written or (isinstance(written, str) and not written.strip()):
            raise Refused(f"{option} names no strategy; known: {', '.join(labels) or 'none'}")
        return tuple(_label(text, known, labels) for text in _split(written))

    chosen = None if rows is None else found(rows, "--rows")
    if isinstance(order, str):
        order = order.strip()
    if isinstance(order, str) and (order in (BY_RANK, BY_NAME) or order in metric_names()):
        return RowChoice(chosen, names, order)
    if isinstance(order, str) and "," not in order and _bare(order) not in known:
        raise Refused(
            f"--order {order!r} is no order; choose {BY_RANK}, {BY_NAME}, a metric or strategies "
            f"({did_you_mean(order, [BY_RANK, BY_NAME, *metric_names(), *labels])})"
        )
    return RowChoice(chosen, names, found(order, "--order"))


def one_label(written: str, labels: Sequence[str], choice: RowChoice) -> str:
    """Return the label of the strategy that all others are compared with.

    Args:
        written: Its label, or its new name.
        labels: The labels of all tables.
        choice: The rows that are shown.

    Raises:
        Refused: There is no such strategy, or it is not shown.
    """
    named = {_bare(name): label for label, name in choice.names.items() if label in labels}
    label = _label(written, named | {_bare(each): each for each in labels}, labels)
    if not choice.shows(label):
        raise Refused(f"--versus {written} is not among --rows; name it there too")
    return label


def _split(written: str | Sequence[str]) -> list[str]:
    from clbench.strategies.notation import split_list

    return split_list(written) if isinstance(written, str) else list(written)


def _bare(text: str) -> str:
    """Return a label without spaces, so that ``er(a=1,b=2)`` finds ``er(a=1, b=2)``."""
    return "".join(text.split())


def _label(text: str, known: Mapping[str, str], labels: Sequence[str]) -> str:
    if _bare(text) not in known:
        raise Refused(f"no strategy is called {text!r} in these results; {did_you_mean(text, labels)}")
    return known[_bare(text)]


def new_names(
    rename: Mapping[str, str] | Iterable[str], labels: Sequence[str], titles: Sequence[str]
) -> dict[str, str]:
    """Map known labels and titles to their new names; labels may contain ``=`` themselves.

    Args:
        rename: As in :func:`choose`.
        labels: The labels of all tables.
        titles: The titles of all tables.

    Raises:
        Refused: A label or title is unknown, or a text cannot be read.
    """
    made = {}
    known = {_bare(name): name for name in (*titles, *labels)}
    pairs = list(rename.items()) if isinstance(rename, Mapping) else [_halves(text, known) for text in rename]
    for old, new in pairs:
        if not new.strip():
            raise Refused(f"--rename {old}= has no new name; write it as --rename '{old}=Ours'")
        if _bare(old) not in known:
            raise Refused(
                f"no strategy or benchmark is called {old!r} in these results; {did_you_mean(old, [*known.values()])}"
            )
        made[known[_bare(old)]] = " ".join(new.split())
    return made


def _halves(text: str, known: Mapping[str, str]) -> tuple[str, str]:
    """Split ``mine(a=1)=Ours`` at the first ``=`` whose left side is known, or else at the first."""
    places = [i for i, letter in enumerate(text) if letter == "="]
    if not places:
        raise Refused(f"--rename {text!r} cannot be read; write the old name, =, and the new one: --rename 'mine=Ours'")
    at = next((i for i in places if _bare(text[:i]) in known), places[0])
    return text[:at].strip(), text[at + 1 :].strip()
