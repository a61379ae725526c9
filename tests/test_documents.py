"""Documents: their links lead somewhere, README and the site run, commands parse, and length has bounds."""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import shlex
import subprocess
from operator import attrgetter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import yaml

import vflow
from apps.ui.lab.systems import asked_for
from tests.fake_hub import FakeHub
from vflow import cli

ROOT = Path(__file__).resolve().parents[1]
CARDS = sorted(ROOT.glob("checkpoints/*/README.md"))
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md")), *CARDS]
SITE = sorted(ROOT.glob("docs/site/**/*.md"))
RUN = [ROOT / "README.md", *SITE]
TINY = {"STEPS": "2"}
FUNCTIONS = [
    *(name for name in vflow.__all__ if name != "flows"),
    *(f"flows.{n}" for n in vflow.flows.__all__),
]
RENDERED = [ROOT / "docs" / "RESULTS.md", ROOT / "docs" / "BENCHMARKS.md"]


def names(pages: list[Path]) -> list[str]:
    return [page.relative_to(ROOT).as_posix() for page in pages]


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_links_and_pictures_lead_to_files(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    targets = [t.partition("#")[0] for t in re.findall(r"\]\(([^)\s]+)\)", prose) if "://" not in t]
    assert not [target for target in targets if target and not (page.parent / target).exists()]
    named = re.findall(
        r"(?<![\w/.])(?:docs|scripts|vflow|examples|tests)/[\w/-]+\.(?:md|py|yaml|json)\b", text
    )
    written = {f"docs/results/{name}.json" for name in re.findall(r"> docs/results/([\w-]+)\.json", text)}
    assert not [
        name for name in named if name not in written and "NAME" not in name and not (ROOT / name).exists()
    ]


def expanded(text: str) -> str:
    """Text with its ``${NAME:-default}`` as a shell reads them."""
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: os.environ.get(found[1], found[2]), text)


def commands(page: Path) -> list[str]:
    """Lines of code blocks and first cells of tables that call vflow."""
    text = expanded(page.read_text(encoding="utf-8").replace("\\\n", " "))
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
    own = [page.read_text(encoding="utf-8") for page in PAGES if page not in (*CARDS, *RENDERED, *SITE)]
    by_hand = [re.sub(r"<!-- (\w+) -->.*?<!-- /\1 -->", "", text, flags=re.DOTALL) for text in own]
    assert sum(len(text.encode()) for text in by_hand) <= 150_000
    assert sum(page.stat().st_size for page in SITE) <= 120_000


class Block(NamedTuple):
    """A block of code: its language, its text, and how it is marked (``run`` or ``no-run``, and why)."""

    language: str
    text: str
    mark: str
    reason: str


def blocks_of(page: Path) -> list[Block]:
    marked = r"(?:^<!-- (run|no-run): ([^\n]+) -->\n)?^```(\w*)\n(.*?)^```$"
    found = re.findall(marked, page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [Block(language or "sh", text, mark, reason) for mark, reason, language, text in found]


def run_command(line: str) -> None:
    """A line of a shell; vflow runs in this process, which has torch already."""
    line, _, target = line.partition(" > ")
    words = shlex.split(line, comments=True)
    if words[:1] != ["vflow"]:
        subprocess.run(["sh", "-euc", line], check=True, timeout=60)
        return
    said, told = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(told):
        code = cli.main(words[1:])
    assert code == 0, f"{line}: {told.getvalue()}"
    if target:
        Path(target).write_text(said.getvalue(), encoding="utf-8")


def run_block(block: Block, names: dict[str, Any]) -> None:
    if block.language == "python":
        exec(compile(block.text, "block", "exec"), names)
    for line in expanded(block.text.replace("\\\n", " ")).splitlines() if block.language == "sh" else ():
        if line.strip():
            run_command(line)


@pytest.mark.parametrize("page", RUN, ids=names(RUN))
def test_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a page one after the other, in a folder where the repository's files can be read."""
    for name in ("apps", "docs", "scripts", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    known: dict[str, Any] = {"__name__": "page"}
    for block in blocks_of(page):
        assert block.language in ("sh", "python", "text", "toml", "yaml", "html")
        assert (block.mark, block.reason) in (("", ""), ("run", "tiny")) or block.mark == "no-run"
        with monkeypatch.context() as here:
            for name, value in TINY.items() if block.mark == "run" else ():
                here.setenv(name, value)
            if block.mark != "no-run" and "--8<--" not in block.text:
                run_block(block, known)


def test_few_blocks_are_left_out() -> None:
    assert sum(block.mark == "no-run" for page in RUN for block in blocks_of(page)) <= 6


@pytest.mark.parametrize("page", SITE, ids=names(SITE))
def test_links_to_the_lab_name_what_it_has(page: Path) -> None:
    for query in re.findall(r"\?tab=lab&([\w=&-]+)\)", page.read_text(encoding="utf-8")):
        asked = dict(part.split("=") for part in query.split("&"))
        found = dict(zip(("density", "system"), asked_for(asked, "two-moons"), strict=True))
        assert asked.items() <= found.items()


def listed(nav: Any) -> set[str]:
    if isinstance(nav, str):
        return {nav}
    return set().union(*map(listed, nav.values() if isinstance(nav, dict) else nav))


def test_the_site_has_every_page_and_every_public_function() -> None:
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    own = set(names(SITE))
    assert own == {name for name in listed(config["nav"]) if name.startswith("docs/site/")}
    described = re.findall(r"^::: (\S+)", "\n".join(page.read_text() for page in SITE), re.MULTILINE)
    assert {f"vflow.{name}" for name in FUNCTIONS} <= set(described)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_public_function_has_an_example_that_runs(
    name: str, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the imports that the page of functions names."""
    monkeypatch.chdir(ROOT)
    known: dict[str, Any] = {}
    run_block(blocks_of(ROOT / "docs/site/api/functions.md")[0], known)
    function = attrgetter(name)(vflow)
    example = doctest.DocTestParser().get_doctest(function.__doc__, known, name, None, None)
    assert example.examples and not any(each.options for each in example.examples)
    told: list[str] = []
    doctest.DocTestRunner().run(example, out=told.append)
    assert not told, "".join(told)
