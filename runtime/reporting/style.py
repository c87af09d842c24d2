"""The look of pages that a run writes: that of the plan's page, so that both read alike."""

from __future__ import annotations

from typing import Final

__all__ = ["STYLE"]

STYLE: Final = """
:root {
  color-scheme: light dark;
  --bg: #f6f7f8; --panel: #ffffff; --ink: #1a2027; --soft: #57616d; --line: #dfe3e8; --grid: #e9ecef;
  --mono: ui-monospace, "SF Mono", SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
}
@media (prefers-color-scheme: dark) {
  :root { --bg: #12161b; --panel: #1a1f26; --ink: #e6e9ed; --soft: #9da7b3; --line: #2c343e; --grid: #262d36; }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--bg); color: var(--ink); font-variant-numeric: tabular-nums;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
}
.page { max-width: 1196px; margin: 0 auto; padding: 32px 24px 64px; }
h1 { font-size: 28px; line-height: 1.2; letter-spacing: -0.015em; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 18px; line-height: 1.3; margin: 0 0 4px; }
h3 { font-size: 14px; font-weight: 600; margin: 0 0 12px; }
p { margin: 0 0 12px; }
code { font-family: var(--mono); font-size: 0.87em; overflow-wrap: anywhere; }
.soft { color: var(--soft); }
.lead { color: var(--soft); margin: 0 0 20px; max-width: 92ch; }
header .id { color: var(--soft); margin: 6px 0 20px; }
.tiles {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(min(150px, 44%), 1fr)); gap: 1px; margin: 0 0 24px; padding: 0;
  background: var(--panel); border: 1px solid var(--line); border-radius: 10px; overflow: hidden;
}
.tiles > div { box-shadow: 0 0 0 1px var(--line); padding: 14px 16px 12px; }
.tiles dt, .tiles .note { font-size: 13px; color: var(--soft); }
.tiles dd { margin: 0; }
.tiles .value { font-size: 24px; line-height: 1.3; font-weight: 600; letter-spacing: -0.015em; white-space: nowrap; }
section { background: var(--panel); border: 1px solid var(--line); border-radius: 10px; padding: 24px; margin: 0 0 24px; }
.two { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 32px; }
.two h3 { margin-top: 4px; }
.picture { display: block; width: 100%; height: auto; background: #fff; border-radius: 6px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th, td { text-align: left; padding: 6px 16px 6px 0; border-bottom: 1px solid var(--grid); vertical-align: baseline; }
th:last-child, td:last-child { padding-right: 0; }
thead th { font-weight: 600; border-bottom-color: var(--line); white-space: nowrap; }
tbody th { font-weight: 400; white-space: nowrap; }
.scroll tr > th:first-child { position: sticky; left: 0; background: var(--panel); }
tbody th.indent { padding-left: 16px; color: var(--soft); }
tbody th.group { font-size: 13px; color: var(--soft); padding-top: 16px; border-bottom-color: var(--line); }
td.n, th.n { text-align: right; min-width: 88px; }
td.none { color: var(--soft); }
footer { color: var(--soft); font-size: 13px; overflow-wrap: anywhere; }
@media (max-width: 780px) { .two { grid-template-columns: minmax(0, 1fr); } }
@media (max-width: 640px) { .page { padding: 20px 12px 48px; } section { padding: 16px 15px; } }
@media print { :root { --bg: #ffffff; } .page { max-width: none; padding: 0; } section { border: 0; padding: 12px 0; } }
"""
"""CSS without a file of its own: the runtime can't read the compiler's, and the page must stand alone."""
