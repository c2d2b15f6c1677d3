"""Tables that a screen reader, a phone and a printer can read: every cell knows the name of its column.

On a narrow screen a row becomes a card, and the names stand before the values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tutelage.findings import Span
from tutelage.report.page import text
from tutelage.report.study_words import UNKNOWN, interval, points

STYLE = """\
.scroll{overflow-x:auto}
table.data{margin:.4rem 0 1.2rem;font-size:.9rem;line-height:1.4}
.data caption{text-align:left;padding:.3rem 0 .5rem;font-size:.9rem}
.data th,.data td{padding:.5rem .8rem .5rem 0}.data :is(th,td):last-child{padding-right:.2rem}
.data thead th{vertical-align:bottom;line-height:1.25;font-size:.92em}
.data tbody th[scope=row]{min-width:10rem;overflow-wrap:anywhere}
.data td.t{min-width:7.6rem;overflow-wrap:anywhere}.data td.n,.data thead th.n{text-align:right}
.data td.n{white-space:nowrap}.data td.n .note{white-space:normal;min-width:7rem;max-width:14rem;margin-left:auto}
.data td small{display:block;font-size:.91em}.data td.n small small{display:block}
.data b{font-weight:600}.data tbody th small{margin-top:.15rem;font-size:.91em;line-height:1.35}
.data tbody th.group{padding-top:1.3rem;border-bottom:1px solid var(--soft);overflow-wrap:anywhere}
.data tbody:first-of-type th.group{padding-top:.6rem}
@media screen and (max-width:60rem){
.data thead{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
.data,.data tbody,.data tbody th,.data td,.data caption{display:block}
.data tbody tr{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,17rem),1fr));column-gap:1.5rem;
padding:.6rem 0;border-bottom:1px solid var(--line)}.data tbody th{grid-column:1/-1}
.data tbody :is(th,td){border:0;padding:.12rem 0;text-align:left}
.data tbody th.group{padding:1rem 0 .2rem;border:0}
.data td{display:flex;gap:.8rem}
.data td.n{text-align:left;white-space:normal}.data td.n .note{max-width:none;margin:0}
.data td::before{content:attr(data-is);flex:0 0 8.5rem;color:var(--soft);font-size:.85rem}
.data td>div{flex:1;min-width:0}.data td small.between{display:inline;margin-left:.6em}
}
@media print{.scroll{overflow:visible}table.data{font-size:7.5pt}.data th,.data td{padding:.25rem .45rem .25rem 0}
.data tbody th[scope=row]{min-width:6rem}.data td.t{min-width:5.4rem}.data td.n .note{min-width:4rem}
.data tr:has(.group){break-after:avoid}}
"""


@dataclass(frozen=True)
class Column:
    """A column's name, and whether numbers stand in it: to the right, never broken."""

    name: str
    is_number: bool = True


@dataclass(frozen=True)
class Row:
    """A row: the name that it goes by, and its cells, all of them trusted HTML."""

    name: str
    cells: Sequence[str]
    id: str = ""


Groups = Sequence[tuple[str, Sequence[Row]]]
"""Rows with the heading that stands above them (trusted HTML), empty for none."""


def table(name: str, caption: str, columns: Sequence[Column], groups: Groups) -> str:
    """Return a table; nothing, if it has no row.

    Args:
        name: of the table in the page, a word.
        caption: trusted HTML that says what the table shows.
        columns: the first is that of the rows' names.
    """
    if not any(rows for _, rows in groups):
        return ""
    head = "".join(
        f"<th scope=col{' class=n' if column.is_number and i else ''}>{text(column.name)}</th>"
        for i, column in enumerate(columns)
    )
    body = "".join(_body(heading, rows, columns) for heading, rows in groups if rows)
    return (
        f"<div class=scroll tabindex=0 role=group aria-labelledby={name}-table>"
        f"<table class=data><caption id={name}-table>{caption}</caption>"
        f"<thead><tr>{head}</tr></thead>{body}</table></div>"
    )


def _body(heading: str, rows: Sequence[Row], columns: Sequence[Column]) -> str:
    above = f"<tr><th class=group scope=rowgroup colspan={len(columns)}>{heading}</th></tr>" if heading else ""
    return f"<tbody>{above}{''.join(_row(row, columns[1:]) for row in rows)}</tbody>"


def _row(row: Row, columns: Sequence[Column]) -> str:
    cells = "".join(
        f'<td class={"n" if column.is_number else "t"} data-is="{text(column.name)}"><div>{cell}</div></td>'
        for column, cell in zip(columns, row.cells, strict=True)
    )
    place = f" id={row.id}" if row.id else ""
    return f"<tr{place}><th scope=row>{row.name}</th>{cells}</tr>"


def span(value: Span, is_difference: bool = False) -> str:
    """Return a cell: the value, below it the interval, below that what must be said with it."""
    note = f"<small class=note>{text(value.note)}</small>" if value.note else ""
    between = interval(value)
    if value.value is None:
        return (f"<span>{text(between)}</span>{note}" if between else note) or soft(UNKNOWN)
    said = f"<b>{points(value.value, signed=is_difference)}</b>"
    return said + (f"<small class=between>{between}</small>" if between else "") + note


def soft(said: str) -> str:
    """Return a text in the background: what is missing or does not apply."""
    return f"<span class=soft>{text(said)}</span>"


def small(said: str) -> str:
    """Return a text of the second line; nothing, if there is none."""
    return f"<small>{text(said)}</small>" if said else ""
