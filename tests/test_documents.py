"""Documents: their links lead somewhere, their commands parse, and their length has bounds."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vflow import cli

ROOT = Path(__file__).resolve().parents[1]
CARDS = sorted(ROOT.glob("checkpoints/*/README.md"))
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md")), *CARDS]
RENDERED = [ROOT / "docs" / "RESULTS.md", ROOT / "docs" / "BENCHMARKS.md"]


def names(pages: list[Path]) -> list[str]:
    return [page.relative_to(ROOT).as_posix() for page in pages]


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_links_and_pictures_lead_to_files(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = [t.partition("#")[0] for t in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in t]
    assert not [target for target in targets if target and not (page.parent / target).exists()]
    named = re.findall(
        r"(?<![\w/.])(?:docs|scripts|vflow|examples|tests)/[\w/-]+\.(?:md|py|yaml|json)\b", text
    )
    written = {f"docs/results/{name}.json" for name in re.findall(r"> docs/results/([\w-]+)\.json", text)}
    assert not [
        name for name in named if name not in written and "NAME" not in name and not (ROOT / name).exists()
    ]


def commands(page: Path) -> list[str]:
    """Lines of code blocks and first cells of tables that call vflow."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines()]
    lines += re.findall(r"^\| `(vflow [^`]+)`", text, re.MULTILINE)
    found = (re.match(r"(?:\S+=\S+ )?(vflow [a-z].*)", line) for line in lines)
    return [match[1] for match in found if match]


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_commands_parse(
    page: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def parse(name: str, rest: list[str], real: Any = cli._parse) -> SimpleNamespace:
        real(name, rest)
        return SimpleNamespace(run=lambda: 0)

    monkeypatch.setattr(cli, "_parse", parse)
    for command in commands(page):
        _, *words = shlex.split(re.split(r" (?:>|\|) ", command)[0], comments=True)
        if "…" not in command and words[-1:] != ["-h"] and len(words) > 1:
            assert cli.main(words) == 0, f"{command}: {capsys.readouterr().err}"


def test_length() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 130
    assert (ROOT / "docs" / "DESIGN.md").stat().st_size <= 15_000
    own = [page.read_text(encoding="utf-8") for page in PAGES if page not in (*CARDS, *RENDERED)]
    by_hand = [re.sub(r"<!-- (\w+) -->.*?<!-- /\1 -->", "", text, flags=re.DOTALL) for text in own]
    assert sum(len(text.encode()) for text in by_hand) <= 150_000
