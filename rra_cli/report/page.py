"""The page of a report: layout and colours, for screen (light and dark) and print, and its sections."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from string import Template
from urllib.parse import quote

_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>$title – rra report</title>
<style>
:root { color-scheme: light dark; --text: #1c1c1e; --soft: #5b5f66; --line: #d9dce1; --page: #fff; }
:root { --panel: #f6f7f9; --link: #0b5cad; --warn: #8a4b00; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e8e8ea; --soft: #a5aab3; --line: #3a3d44; --page: #17181b; }
  :root { --panel: #202227; --link: #7db7f5; --warn: #f0b35c; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 62rem; overflow-wrap: anywhere; }
body { background: var(--page); color: var(--text); font: 16px/1.5 system-ui, sans-serif; }
h1 { margin: 0; font-size: 1.7rem; }
h2 { margin: 2.2rem 0 .7rem; font-size: 1.2rem; border-bottom: 1px solid var(--line); padding-bottom: .25rem; }
h3 { margin: 0 0 .5rem; font-size: 1rem; }
a { color: var(--link); }
p.folder { margin: .2rem 0 0; color: var(--soft); }
table { border-collapse: collapse; font-size: .875rem; }
th, td { padding: .25rem .9rem .25rem 0; text-align: left; vertical-align: top; }
thead th { border-bottom: 1px solid var(--line); white-space: nowrap; }
tbody td { border-bottom: 1px solid var(--line); }
.number { text-align: right; font-variant-numeric: tabular-nums; }
.facts th { white-space: nowrap; color: var(--soft); }
.wide { overflow-x: auto; }
.plots { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 1.8rem 1.6rem; align-items: start; }
figure { margin: 0; break-inside: avoid; }
figure img { display: block; width: 100%; height: auto; background: #fff; }
figure img { border: 1px solid var(--line); border-radius: 6px; padding: .5rem; }
figcaption { margin-top: .5rem; font-size: .84rem; color: var(--soft); }
.files { white-space: nowrap; }
.warnings { background: var(--panel); border-left: 4px solid var(--warn); padding: .7rem 1rem .7rem 2rem; }
.links { columns: 2; font-size: .9rem; padding-left: 1.2rem; }
dt { font-weight: 600; margin-top: .8rem; }
dd { margin: .2rem 0 0; }
details { margin: .5rem 0; }
summary { cursor: pointer; margin-bottom: .6rem; }
pre { background: var(--panel); padding: 1rem; white-space: pre-wrap; font-size: .8rem; }
abbr { cursor: help; }
@media (max-width: 45rem) { .plots { grid-template-columns: minmax(0, 1fr); } .links { columns: 1; } }
@media print {
  :root { --text: #000; --soft: #333; --line: #bbb; --page: #fff; --panel: #f4f4f4; --link: #000; --warn: #555; }
  body { padding: 0; max-width: none; font-size: 11pt; }
  .plots { display: block; }
  figure { display: inline-block; width: 48%; margin: 0 1% 1.5rem 0; vertical-align: top; }
}
</style>
</head>
<body>
<header><h1>$title</h1><p class="folder">$folder</p></header>
$body</body>
</html>
""")


def page(title: str, folder: str, sections: Iterable[tuple[str, str]]) -> str:
    """The whole page. sections: heading and HTML of each; those without any are left out."""
    body = "".join(f"<section><h2>{escape(head)}</h2>{content}</section>\n" for head, content in sections if content)
    return _PAGE.substitute(title=escape(title), folder=escape(folder), body=body)


def file_list(links: Sequence[str]) -> str:
    """Links to files, relative to the page."""
    items = "".join(f'<li><a href="{quote(link)}">{escape(link)}</a></li>' for link in links)
    return f'<ul class="links">{items}</ul>'
