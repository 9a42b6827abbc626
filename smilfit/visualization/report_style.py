"""The look of the report: light or dark as the reader's system is."""

# Kept as Python so that a wheel carries it without a list of data files.
STYLE = """
:root { color-scheme: light dark; --ink: #1c2733; --soft: #5b6b7a; --page: #f6f7f9; --card: #ffffff; --line: #dde3e9;
  --accent: #0b6bb0; --tint: #e9f3fb; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6ebf0; --soft: #9fb0bf; --page: #12181f; --card: #1b242d; --line: #2f3b47;
    --accent: #6cb8f0; --tint: #16293a; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 2rem 1.25rem 5rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 1rem; }
h2 { font-size: 1.3rem; margin: 2.6rem 0 .6rem; padding-top: .9rem; border-top: 1px solid var(--line); }
p { margin: .5rem 0; max-width: 52rem; overflow-wrap: anywhere; }
a { color: var(--accent); }
nav { display: flex; flex-wrap: wrap; gap: .4rem 1.2rem; margin: 1rem 0; font-size: .95rem; }
.summary { background: var(--tint); border-left: 4px solid var(--accent); border-radius: 6px; padding: .6rem 1.1rem; }
.summary p { max-width: none; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); gap: .8rem; margin: 1rem 0; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: .9rem 1rem; }
.value { font-size: 1.65rem; font-weight: 650; font-variant-numeric: tabular-nums; }
.label { font-weight: 550; }
.note { color: var(--soft); font-size: .88rem; }
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; background: var(--card); font-size: .93rem; min-width: 50%; }
caption { text-align: left; color: var(--soft); padding-bottom: .35rem; }
th, td { padding: .38rem .8rem; border: 1px solid var(--line); text-align: left; vertical-align: top; }
th { background: var(--tint); font-weight: 600; }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
figure { margin: 1rem 0; }
figure img, figure video { display: block; max-width: 100%; height: auto; border-radius: 8px;
  border: 1px solid var(--line); background: #fff; }
figcaption { color: var(--soft); font-size: .9rem; margin-top: .35rem; max-width: 46rem; }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.4rem; }
.legend span { display: inline-flex; align-items: center; gap: .5rem; }
.legend i { width: 1rem; height: 1rem; }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(320px, 1fr)); gap: .9rem; margin: 1rem 0; }
.grid figure { margin: 0; }
.grid img { width: 100%; }
"""
