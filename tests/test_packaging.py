"""Files around the package: container, Space, citation, templates, workflow."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import vflow
from vflow.cli import all_commands
from vflow.errors import CheckpointError

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def instructions(path: Path) -> list[tuple[str, str]]:
    """Name and arguments of each instruction of a Dockerfile, continued lines joined."""
    text = re.sub(r"\\\n\s*", " ", path.read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines)]


def copy(path: Path, source: Path, target: Path) -> None:
    """Carry out the COPY lines of a Dockerfile."""
    for name, rest in instructions(path):
        if name == "COPY":
            *parts, place = shlex.split(rest)
            for part in parts:
                where = target / place if len(parts) == 1 and (source / part).is_dir() else target / part
                if (source / part).is_dir():
                    shutil.copytree(source / part, where, ignore=shutil.ignore_patterns("*.safetensors"))
                else:
                    shutil.copy(source / part, where)


def requirements(extra: str) -> Iterator[Requirement]:
    """What an extra requires, itself or by the project's other extras."""
    for one in map(Requirement, PROJECT["project"]["optional-dependencies"][extra]):
        if one.name == PROJECT["project"]["name"]:
            for other in one.extras:
                yield from requirements(other)
        else:
            yield one


def test_the_container_copies_all_that_its_wheel_is_made_of(tmp_path: Path) -> None:
    copy(ROOT / "Dockerfile", ROOT, tmp_path)
    project, wheel = PROJECT["project"], PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    for name in (project["readme"], *project["license-files"], *wheel["only-include"], "pyproject.toml"):
        assert (tmp_path / name).exists(), name
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert {path.name for path in tmp_path.iterdir()} == kept


@pytest.mark.parametrize("extra", ["app", "compress", "test"])
def test_extras_can_be_installed_where_the_coder_has_no_build(extra: str) -> None:
    markers = [one.marker for one in requirements(extra) if one.name == "constriction"]
    assert markers
    for system, machine, compresses in (
        ("linux", "x86_64", True),
        ("linux", "aarch64", False),
        ("darwin", "arm64", True),
        ("win32", "AMD64", True),
        ("win32", "ARM64", False),
    ):
        platform = {"sys_platform": system, "platform_machine": machine}
        assert all(marker and marker.evaluate(platform) == compresses for marker in markers)


def test_training_on_windows_brings_what_its_dry_run_imports() -> None:
    psutil = next(one for one in requirements("train") if one.name == "psutil")
    assert not psutil.marker or psutil.marker.evaluate({"sys_platform": "win32"})


def test_the_container_runs_the_app_as_an_ordinary_user() -> None:
    found = dict(instructions(ROOT / "Dockerfile"))
    extra = re.search(r'"\.\[(\w+)\]"', (ROOT / "Dockerfile").read_text())
    assert extra and extra[1] in PROJECT["project"]["optional-dependencies"]
    assert found["USER"] == "vflow" and "HF_HUB_OFFLINE=1" in found["ENV"]
    assert yaml.safe_load(found["ENTRYPOINT"]) == ["vflow"] and "vflow" in PROJECT["project"]["scripts"]
    command, *flags = yaml.safe_load(found["CMD"])
    assert command in all_commands() and flags == ["--host", "0.0.0.0"]
    health = yaml.safe_load(found["HEALTHCHECK"].partition("CMD ")[2])
    assert f"127.0.0.1:{found['EXPOSE']}/" in health[-1]
    service = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["vflow"]
    assert service["ports"] == [f"127.0.0.1:{found['EXPOSE']}:{found['EXPOSE']}"] and service["read_only"]
    assert "docker compose up" in (ROOT / "docs" / "USING.md").read_text()


def test_the_container_is_built_from_what_cannot_change_and_one_index_a_command() -> None:
    found = instructions(ROOT / "Dockerfile")
    assert re.fullmatch(r"python:[\w.-]+@sha256:[0-9a-f]{64}", dict(found)["FROM"])
    installs = [rest for name, rest in found if "pip install" in rest]
    assert installs and not any("--extra-index-url" in rest for rest in installs)
    assert len(re.findall("https?://", "".join(installs))) == 1


def test_the_container_cannot_use_up_the_machine() -> None:
    service = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["vflow"]
    unit = {"m": 2**20, "g": 2**30}
    places = [re.search(r"\bsize=(\d+)([mg])\b", place) for place in service["tmpfs"]]
    assert all(places)
    in_memory = sum(int(place[1]) * unit[place[2]] for place in places if place)
    limit = service["mem_limit"]
    assert int(limit[:-1]) * unit[limit[-1]] >= in_memory + 3 * 2**30 and service["pids_limit"] > 0


def test_actions_are_named_by_commit() -> None:
    used = [
        step["uses"]
        for path in (ROOT / ".github/workflows").iterdir()
        for job in yaml.safe_load(path.read_text())["jobs"].values()
        for step in job["steps"]
        if "uses" in step
    ]
    assert used and all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", name) for name in used), used


def test_a_space_is_the_container_under_its_own_name(tmp_path: Path) -> None:
    script = ROOT / "scripts/space/make_space.sh"
    done = subprocess.run(["sh", script, tmp_path / "space"], capture_output=True, text=True, check=True)
    space = Path(done.stdout.strip())
    _, front, text = (space / "README.md").read_text().split("---\n")
    header = yaml.safe_load(front)
    found = dict(instructions(space / "Dockerfile"))
    assert (header["sdk"], str(header["app_port"])) == ("docker", found["EXPOSE"])
    assert len(header["short_description"]) <= 60 and text.strip()
    assert "ENTRYPOINT" not in found
    names = '--allow-host "$SPACE_HOST" --allow-host 10.0.0.0/8 --embed-in https://huggingface.co'
    assert yaml.safe_load(found["CMD"])[2] == f"exec vflow app --host 0.0.0.0 {names}"
    shutil.rmtree(tmp_path / "again", ignore_errors=True)
    (tmp_path / "again").mkdir()
    copy(space / "Dockerfile", space, tmp_path / "again")


def test_citation_names_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == vflow.__version__ == PROJECT["project"]["version"]
    assert citation["license"] == PROJECT["project"]["license"] and citation["cff-version"] == "1.2.0"


def test_the_workflow_calls_targets_that_exist() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    runs = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    called = {target for run in runs for target in re.findall(r"^make (\S+)", run)}
    assert called == {"docs", "lint", "test", "wheel"}
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert called <= set(targets)


@pytest.mark.parametrize("name", ["bug", "idea"])
def test_issue_templates_are_forms(name: str) -> None:
    form = yaml.safe_load((ROOT / f".github/ISSUE_TEMPLATE/{name}.yml").read_text())
    assert form["name"] and form["description"]
    assert all(part["attributes"]["label"] for part in form["body"])


def test_names_of_the_hubs_libraries(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no such checkpoint|neither a folder nor a model"):
        vflow.from_pretrained(str(tmp_path / "none"))
    with pytest.raises(CheckpointError):
        vflow.push_to_hub(tmp_path / "none", "ada/shapes")
