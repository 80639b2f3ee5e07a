"""The page's style sheet: one column, system fonts, light and dark by the reader's own setting, fit for print."""

from __future__ import annotations

from joulegrid.jobs.report.plots import COLOURS, GRID, INK, PAPER, SOFT

STYLE = """
:root { color-scheme: light dark; --ink: #1f2329; --soft: #5b6470; --paper: #fefefe; --card: #f4f6f8;
  --line: #d5d9df; --accent: #0067a5; --warn: #fff4d6; --bad: #b3261e; --blue: #0072b2; --violet: #6b4c9a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --soft: #a2abb6; --paper: #16191d; --card: #1f242a;
  --line: #3a424c; --accent: #6fb7e6; --warn: #3d3418; --bad: #ff8a80; --blue: #3a9bdc; --violet: #a98bd8; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1.5rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
h1 { margin: 0; font-size: 1.7rem; line-height: 1.2; overflow-wrap: anywhere; }
h3 { margin: 1.2rem 0 .3rem; font-size: 1rem; }
h2 { margin: 2.2rem 0 .6rem; padding-bottom: .2rem; border-bottom: 1px solid var(--line); font-size: 1.2rem; }
p { margin: .4rem 0; }
.soft, figcaption, .note { color: var(--soft); font-size: .9rem; }
.soft { overflow-wrap: anywhere; }
.warn { margin: .6rem 0; padding: .5rem .8rem; border-left: 4px solid #c98a00; background: var(--warn); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
th { padding: .35rem .6rem; border-bottom: 2px solid var(--line); text-align: left; vertical-align: bottom; }
td { padding: .35rem .6rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
td .note, th .note { display: block; font-weight: normal; white-space: nowrap; }
td.number, th.number { text-align: right; }
td.number { white-space: nowrap; }
td.name { min-width: 11rem; max-width: 24rem; overflow-wrap: anywhere; }
.facts td:first-child { color: var(--soft); white-space: nowrap; }
.facts td { overflow-wrap: anywhere; }
.box { margin: .6rem 0; padding: .4rem .9rem; border: 1px solid var(--line); border-radius: .5rem;
  background: var(--card); }
figure { margin: 1rem 0; }
figure .drawing { overflow-x: auto; }
figure svg { display: block; max-width: 100%; min-width: var(--least, 0); height: auto; }
details { margin: .35rem 0; }
summary { cursor: pointer; overflow-wrap: anywhere; }
summary b { color: var(--bad); }
pre { margin: .4rem 0; padding: .7rem .9rem; overflow-x: auto; border: 1px solid var(--line); border-radius: .5rem;
  background: var(--card); font: .84rem/1.45 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
ul { margin: .4rem 0; padding-left: 1.3rem; }
a { color: var(--accent); }
@media print { details { display: block; } body { max-width: none; } }
"""

COLOUR_NAMES = {
    INK: "var(--ink)",
    PAPER: "var(--paper)",
    GRID: "var(--line)",
    SOFT: "var(--soft)",
    COLOURS[0]: "var(--blue)",  # these two are too dark on a dark page
    COLOURS[6]: "var(--violet)",
}
"""Colours of a drawn figure → the page's own, so that an inline figure follows light and dark."""
