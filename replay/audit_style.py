"""The one style sheet of an audit report: for the screen, and for paper."""

from typing import Final

STYLE: Final = """
:root { color-scheme: light; --ink: #1d2126; --soft: #5b6470; --rule: #d5d9de; --late: #9a6700;
  --back: #b3261e; --ahead: #2b5c9e; }
* { box-sizing: border-box; }
html { background: #fff; }
body { margin: 0 auto; max-width: 190mm; padding: 14mm 6mm; color: var(--ink);
  font: 10pt/1.45 "Helvetica Neue", Helvetica, Arial, "Liberation Sans", "DejaVu Sans", sans-serif;
  overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
h1 { font-size: 19pt; font-weight: 400; line-height: 1.2; margin: 0 0 1mm; }
h2 { font-size: 12pt; font-weight: 600; margin: 9mm 0 2mm; break-after: avoid; }
h3 { font-size: 10pt; font-weight: 600; margin: 4mm 0 1mm; break-after: avoid; }
p { margin: 0 0 2mm; max-width: 160mm; }
p.note, figcaption { color: var(--soft); font-size: 8.5pt; }
p.book { color: var(--soft); margin-bottom: 5mm; }
bdi { unicode-bidi: isolate; }
code, .id { font: 8.5pt/1.4 "DejaVu Sans Mono", "Liberation Mono", Menlo, Consolas, monospace; }
pre { font: 8.5pt/1.5 "DejaVu Sans Mono", "Liberation Mono", Menlo, Consolas, monospace;
  background: #f5f6f7; padding: 2mm 3mm; margin: 1mm 0 3mm; white-space: pre-wrap; }
table { width: 100%; border-collapse: collapse; table-layout: fixed; }
th { text-align: left; font-weight: 600; font-size: 8.5pt; color: var(--soft); }
th, td { vertical-align: top; padding: 1.2mm 2mm 1.2mm 0; }
td.number, th.number { text-align: right; padding-right: 0; }
table.facts th { width: 44mm; font-weight: 400; font-size: 10pt; }
table.facts th, table.facts td { padding-top: .5mm; padding-bottom: .5mm; }
table.lines { margin-top: 1mm; }
table.lines thead th { border-bottom: 1px solid var(--ink); }
table.lines td { border-bottom: 1px solid var(--rule); }
table.lines tr { break-inside: avoid; }
tr.sum td { border-bottom: 0; font-weight: 600; }
table.trail { table-layout: fixed; }
table.trail > thead { display: table-header-group; }
table.trail > thead th { border-bottom: 1px solid var(--ink); }
table.trail > tbody { break-inside: avoid; border-bottom: 1px solid var(--rule); }
.trail .n { width: 17mm; } .trail .when { width: 43mm; } .trail .who { width: 45mm; }
.trail td.when, .trail td.who { font-size: 9pt; } .trail td.when .k { display: block; }
.trail .what strong { font-weight: 600; }
.trail div { margin-bottom: .6mm; }
.trail .k { color: var(--soft); font-size: 8.5pt; }
.trail .fields { color: var(--soft); font-size: 8.5pt; }
.trail table.entry { margin-top: 1mm; font-size: 8.5pt; }
.trail table.entry td { padding: .2mm 2mm .2mm 0; border: 0; }
.trail table.entry td:nth-child(2), .trail table.entry td:nth-child(3) { width: 24mm;
  text-align: right; padding-right: 0; }
.tag { font-size: 8.5pt; font-weight: 600; }
.tag.back-dated, .tag.refused { color: var(--back); } .tag.late { color: var(--late); }
.tag.ahead { color: var(--ahead); }
figure { margin: 2mm 0 3mm; break-inside: avoid; }
svg { display: block; width: 100%; height: auto; }
svg text { font: 9px "DejaVu Sans Mono", "Liberation Mono", Menlo, Consolas, monospace;
  fill: #1d2126; unicode-bidi: isolate; direction: ltr; white-space: pre; }
svg text.lane { fill: #5b6470; } svg text.number { fill: #5b6470; }
svg line { stroke: #8a929c; stroke-width: 1; }
svg line.lane { stroke: #d5d9de; stroke-width: 1.5; }
svg line.many { stroke-width: 2.4; }
svg line.late { stroke: #c48a1a; } svg line.back-dated { stroke: #b3261e; stroke-dasharray: 7 2;
  stroke-width: 2; }
svg line.ahead { stroke: #2b5c9e; stroke-dasharray: 2 3; }
svg .dot { fill: #1d2126; } svg path.refused { stroke: #b3261e; stroke-width: 2; fill: none; }
svg .band { fill: none; stroke: #b9c6d6; } svg .tip { fill: #8fa3bb; }
svg rect.account { fill: #fff; stroke: #8a929c; }
svg text.amount { paint-order: stroke; stroke: #fff; stroke-width: 3px; }
@page { size: A4; margin: 15mm 14mm 18mm;
  @bottom-right { content: counter(page) " / " counter(pages); font: 8pt sans-serif; } }
@media print { body { padding: 0; max-width: none; } a { color: inherit; }
  pre { background: none; border: 1px solid #d5d9de; } }
@media (max-width: 640px) { .trail .when, .trail .who { width: 30mm; } }
"""
