"""Hooks of mkdocs (mkdocs.yml): documents are pages of the site where they lie in the repository.

So links between documents mean the same in a checkout, on a code host and on the site. Whatever a page links
to comes along: pictures, model cards, sources.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
OWN = "docs/site/"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Files of the site: those of the theme, the pages of ``nav``, and all that pages link to."""
    kept = [file for file in files if file.src_dir != config.docs_dir]
    own = [name for name in config.extra_css if name.startswith(OWN)]
    kept += [_file(name, config) for name in _linked([*_pages(config.nav), *own])]
    return Files(kept)


def on_post_build(config: MkDocsConfig) -> None:
    """Refusal of a site that would load anything from another host."""
    for page in Path(config.site_dir).rglob("*.html"):
        finder = _Loads()
        finder.feed(page.read_text(encoding="utf-8"))
        if finder.elsewhere:
            raise PluginError(f"{page}: loads {finder.elsewhere[0]}; keep a copy in the repository")


class _Loads(HTMLParser):
    """Addresses on other hosts that a page loads by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.elsewhere: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        address = found.get("src") or (found.get("href") if tag == "link" else None) or ""
        if "//" in address and found.get("rel") != "canonical":
            self.elsewhere.append(address)


def _pages(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    else:
        for entry in nav.values() if isinstance(nav, dict) else nav:
            yield from _pages(entry)


def _linked(names: list[str]) -> list[str]:
    """Files named, and those reached from them by links, relative to the repository."""
    found = dict.fromkeys(names)
    waiting = [name for name in found if name.endswith(".md")]
    for name in waiting:
        page = ROOT / name
        for target in re.findall(r"\]\(([^)\s#]+)", page.read_text(encoding="utf-8")):
            path = (page.parent / target).resolve()
            if "://" not in target and path.is_relative_to(ROOT) and path.is_file():
                linked = path.relative_to(ROOT).as_posix()
                if linked not in found and linked.endswith(".md"):
                    waiting.append(linked)
                found[linked] = None
    return list(found)


def _file(name: str, config: MkDocsConfig) -> File:
    file = File.generated(config, name, abs_src_path=str(ROOT / name))
    if name.startswith(OWN) and name.endswith(".md"):
        file.dest_uri = file.dest_uri.removeprefix(OWN)
    return file
