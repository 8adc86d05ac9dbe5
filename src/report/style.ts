// The look of the report: one calm column of cards, light or dark as the reader's system is, narrow screens and print too.

export const STYLE = `
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --ink: #16202c; --soft: #5d6b7c; --line: #e3e7ec; --grid: #edf0f3;
  --c0: #1769e0; --c1: #d9480f; --c2: #8a95a3; --c3: #0b8a5f; --c4: #8e3bbd; --c5: #b7791f; --shade: #1769e014;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #0e1319; --card: #161d26; --ink: #e6ebf1; --soft: #93a1b1; --line: #26303c; --grid: #1f2833;
    --c0: #5aa2ff; --c1: #ff9a5c; --c2: #718096; --c3: #3ecf99; --c4: #c792ea; --c5: #e7b75f; --shade: #5aa2ff1c;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", "Liberation Sans", sans-serif;
  font-variant-numeric: tabular-nums; -webkit-font-smoothing: antialiased;
}
main { max-width: 1180px; margin: 0 auto; padding: 40px 24px 56px; }
header { display: flex; flex-wrap: wrap; align-items: baseline; gap: 4px 16px; margin-bottom: 24px; }
h1 { font-size: 28px; line-height: 1.2; letter-spacing: -0.02em; margin: 0; overflow-wrap: anywhere; }
header p { margin: 0; color: var(--soft); }
h2 { font-size: 15px; margin: 0; letter-spacing: -0.005em; }
.note { color: var(--soft); font-size: 13px; margin: 0; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 1px; background: var(--line);
  border: 1px solid var(--line); border-radius: 12px; overflow: hidden; margin: 0 0 20px; }
.tiles div { background: var(--card); padding: 16px 20px; }
.tiles dt { color: var(--soft); font-size: 13px; }
.tiles dd { margin: 2px 0 0; font-size: 24px; font-weight: 600; letter-spacing: -0.02em; line-height: 1.25; }
.tiles dd small { display: block; font-size: 12px; font-weight: 400; letter-spacing: 0; color: var(--soft); }
.bar { display: flex; justify-content: flex-end; margin: 0 0 12px; }
.switch { display: inline-flex; border: 1px solid var(--line); border-radius: 8px; background: var(--card); padding: 2px; }
.switch button { font: inherit; font-size: 13px; color: var(--soft); background: none; border: 0; border-radius: 6px;
  padding: 3px 12px; cursor: pointer; }
.switch button[aria-pressed="true"] { color: var(--ink); background: var(--shade); font-weight: 600; }
.switch button:focus-visible { outline: 2px solid var(--c0); outline-offset: 1px; }
.grid { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 20px; margin-bottom: 20px; align-items: start; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 18px 20px; min-width: 0; }
.chart { min-height: 284px; margin: 6px 0 0 -8px; }
.grid > :last-child:nth-child(odd) { grid-column: 1 / -1; }
.table-wrap { overflow-x: auto; margin-top: 10px; }
table.data { border-collapse: collapse; width: 100%; font-size: 14px; }
table.data th { text-align: left; font-weight: 500; color: var(--soft); }
table.data th, table.data td { padding: 7px 16px 7px 0; border-top: 1px solid var(--line); vertical-align: top; }
table.data thead th { border-top: 0; font-size: 13px; padding-top: 2px; }
table.data th:last-child, table.data td:last-child { padding-right: 0; }
table.data td { overflow-wrap: anywhere; }
table.data .n { text-align: right; white-space: nowrap; }
table.data tr.best td { font-weight: 600; }
table.events td:last-child { width: 100%; }
table.pairs th { width: 45%; overflow-wrap: anywhere; }
code { font: 13px ui-monospace, SFMono-Regular, Menlo, "DejaVu Sans Mono", monospace; }
footer { color: var(--soft); font-size: 13px; display: flex; flex-wrap: wrap; gap: 4px 16px; margin-top: 28px; }
a { color: inherit; }
.u-legend { font-size: 12px; color: var(--soft); text-align: left; margin: 4px 0 0; padding-left: 8px; }
.u-legend th { font-weight: 400; }
.u-legend .u-marker { width: 10px; height: 10px; border-radius: 5px; }
.u-legend .u-value { color: var(--ink); font-weight: 600; vertical-align: middle; }
.u-series > * { padding: 2px; }
.u-inline tr { margin-right: 5px; }
.u-legend .u-series:first-child .u-marker { display: none; }
.u-select { background: var(--shade); }
.u-hz .u-cursor-x, .u-vt .u-cursor-y, .u-hz .u-cursor-y, .u-vt .u-cursor-x { border-color: var(--c2); }
@media (max-width: 780px) {
  main { padding: 24px 14px 40px; }
  .grid { grid-template-columns: minmax(0, 1fr); gap: 14px; }
  .tiles { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .tiles div:last-child:nth-child(odd) { grid-column: span 2; }
}
@media print { .bar { display: none; } .card, .tiles { break-inside: avoid; } body { background: none; } }
`;
