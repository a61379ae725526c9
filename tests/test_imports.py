"""The layering of docs/DESIGN.md, light imports, a quick ``--help``, and the sizes the style promises."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import pkgutil
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import vflow

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted(p for top in ("vflow", "apps", "scripts") for p in (ROOT / top).rglob("*.py"))
BASE = {"errors", "randomness", "config"}
FLOWS = BASE | {"nn", "bijections", "densities", "priors", "models"}
INFERENCE = FLOWS | {
    "",
    "card",
    "catalog",
    "checkpoint",
    "data",
    "devices",
    "disk",
    "locks",
    "metrics",
    "pipelines",
    "checksum",
    "compression",
    "quantization",
}
# part of vflow -> the parts it may import (itself always)
MAY_IMPORT = {
    "errors": set(),
    "disk": set(),
    "devices": {"errors"},
    "locks": {"errors"},
    "flags": set(),
    "randomness": set(),
    "clusters": {"randomness"},
    "config": {"disk", "errors"},
    "nn": BASE,
    "bijections": BASE | {"nn"},
    "densities": BASE | {"clusters"},
    "priors": BASE | {"nn", "bijections"},
    "models": FLOWS,
    "data": BASE | {"densities", "disk"},
    "compression": FLOWS | {"data", "devices"},
    "metrics": BASE | {"clusters", "data"},
    "catalog": BASE | {"disk"},
    "card": {"config", "errors"},
    "checksum": {"errors"},
    "quantization": {"errors"},
    "checkpoint": FLOWS | {"catalog", "devices", "disk", "checksum", "quantization"},
    "hub": INFERENCE,
    "integrations": INFERENCE,
    "pipelines": INFERENCE,
    "training": INFERENCE | {"flags"},
    "": INFERENCE | {"hub"},
    "commands": INFERENCE | {"flags", "hub", "training"},
    "cli": INFERENCE | {"commands", "training"},
}
UNIX = {"fcntl", "grp", "pwd", "resource", "termios"}
CONTAINERS = {"av", "PIL", "imageio"}
OPENCV_FILES = {"imread", "imreadmulti", "imwrite", "imdecode", "imencode", "VideoCapture", "VideoWriter"}


def imports(path: Path) -> Iterator[str]:
    """Dotted names that a file imports anywhere; relative ones made absolute."""
    package = path.relative_to(ROOT).with_suffix("").parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level]) if node.level else []
            module = ".".join([*base, *filter(None, [node.module])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def imported_at_once(tree: ast.AST) -> Iterator[str]:
    """Outside libraries that the import of a file imports, or may: all but those imported in functions."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from imported_at_once(node)


def part(dotted: str) -> str:
    """``vflow.data.media`` -> ``data``; ``vflow`` itself -> the empty name."""
    return [*dotted.split("."), ""][1]


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def run(*command: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, env=env, timeout=120)


@pytest.mark.parametrize("path", [p for p in SOURCES if p.is_relative_to(ROOT / "vflow")], ids=named)
def test_imports_point_one_way(path: Path) -> None:
    own = path.relative_to(ROOT / "vflow").with_suffix("").parts[0]
    own = {"__init__": "", "__main__": "cli"}.get(own, own)
    modules = {p.stem for p in (ROOT / "vflow").iterdir()}
    used = {part(name) for name in imports(path) if name.split(".")[0] == "vflow"} & (modules | {""})
    wrong = {name for name in used if name and name != own} - MAY_IMPORT[own]
    assert not wrong, f"vflow.{own or '__init__'} may not import {sorted(wrong)}"


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_each_outside_library_has_one_home(path: Path) -> None:
    tops = {name.split(".")[0] for name in imports(path)}
    if not path.is_relative_to(ROOT / "vflow" / "training"):
        assert "accelerate" not in tops, "only vflow/training imports accelerate"
    if not path.is_relative_to(ROOT / "apps"):
        assert "gradio" not in tops, "only apps imports gradio"
    homes = ("vflow/data", "scripts/acceptance", "scripts/pins")
    if not any(path.is_relative_to(ROOT / home) for home in homes):
        assert not tops & CONTAINERS, "only vflow/data reads and writes media"
        attributes = {n.attr for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Attribute)}
        assert "cv2" not in tops or not attributes & OPENCV_FILES, "only vflow/data reads and writes media"


@pytest.mark.parametrize("path", [p for p in SOURCES if not p.is_relative_to(ROOT / "scripts")], ids=named)
def test_files_can_be_imported_without_unix(path: Path) -> None:
    found = set(imported_at_once(ast.parse(path.read_text())))
    assert not found & UNIX, "modules that Windows lacks are imported where they are used"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import os, resource as r", ["os", "resource"]),
        ("from resource import getrusage", ["resource"]),
        ("from . import resource\nfrom .resource import x", []),
        ("try:\n    import resource\nexcept ImportError:\n    import pwd", ["resource", "pwd"]),
        ("if x:\n    pass\nelse:\n    import fcntl", ["fcntl"]),
        ("class A:\n    import grp", ["grp"]),
        ("def f():\n    import grp\nasync def g():\n    import pwd", []),
    ],
)
def test_imports_outside_functions_are_found(text: str, found: list[str]) -> None:
    assert list(imported_at_once(ast.parse(text))) == found


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_signatures_stay_short(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if path.name == "api.py" and ast.unparse(node.returns or ast.Constant(None)) == "Job":
                continue  # an endpoint has as many as its clients may name
            arguments = [a.arg for a in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]]
            assert len([a for a in arguments if a not in ("self", "cls")]) <= 8, f"{node.name}: use a config"


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_docstrings_name_their_subject(path: Path) -> None:
    clauses = ("What", "How", "Where", "Which", "Whether", "When", "That", "Who", "Why")
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = (ast.get_docstring(node) or "-").split()[0]
            assert first not in clauses, (
                f"{getattr(node, 'name', path.name)}: name the thing, not '{first} …'"
            )


def test_every_part_of_vflow_has_a_place_in_the_layering() -> None:
    parts = {p.stem for p in (ROOT / "vflow").iterdir() if p.suffix == ".py" or (p / "__init__.py").is_file()}
    assert parts - {"__init__", "__main__"} <= set(MAY_IMPORT)


def test_vflow_imports_without_gradio_and_accelerate() -> None:
    code = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(['gradio', 'accelerate', 'tensorboard', 'torchmetrics']))\n"
        "import vflow\n"
        "print(vflow.load, vflow.predict, vflow.score)\n"
    )
    done = run("-c", code)
    assert done.returncode == 0, done.stderr


def test_help_does_not_import_torch() -> None:
    code = (
        "import sys\n"
        "sys.argv = ['vflow', '--help']\n"
        "from vflow.cli import main\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as stop:\n"
        "    assert not stop.code, stop.code\n"
        "heavy = {'torch', 'torchvision', 'gradio', 'accelerate', 'cv2', 'av'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = run("-c", code)
    assert done.returncode == 0, done.stderr
    assert "predict" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("colorize --input x.png --output o --checkpoint push", "push: does not colour photos; choose a"),
        ("upscale --input x.png --output o --checkpoint nope", "nope: no such checkpoint"),
        (
            "predict --input x.mp4 --output o",
            "--checkpoint: give a folder, a hub id, or a",
        ),
        ("predict --input x.mp4 --checkpoint shapes", "--output: give a folder for what is drawn"),
        (
            "predict --input x.mp4 --output o --checkpoint shapes --fps 0",
            "--fps must be between 0.01 and 1000",
        ),
        ("predict --input x.mp4 --output o --checkpoint rain --num-frames 0", "--num-frames must be between"),
        ("digits --output o --num-samples 0", "--num-samples must be between 1 and 10000, got 0"),
        ("digits --output o --temperature -1", "--temperature -1: give 0 to 2"),
        ("digits --output o --threads 0", "--threads 0: must be between 1 and"),
        ("score --input x.mp4 --checkpoint digits", "digits: does not predict video"),
        ("sample --output x.csv --num-samples 3 --checkpoint push", "push: does not draw points"),
        ("walk --output o", "--checkpoint: give a folder"),
        ("evaluate --data shapes", "--checkpoint: give a folder"),
    ],
)
def test_flags_are_refused_before_torch_is_imported(arguments: str, message: str) -> None:
    code = (
        "import sys\n"
        "from vflow.cli import main\n"
        "code = main()\n"
        "assert 'torch' not in sys.modules, 'the refusal took an import of torch'\n"
        "sys.exit(code)\n"
    )
    done = run("-c", code, *arguments.split())
    assert done.stderr.startswith(f"error: {message}"), done.stderr
    assert done.returncode in (2, 3)


def test_help_is_quick() -> None:
    """Processor time, and the best of five: what other processes on the machine take is not the command's."""
    seconds = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert run("-c", "from vflow.cli import main; main()", "--help").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    assert min(seconds) < 0.4, f"{min(seconds):.2f} s"


def public_classes(package: str) -> Iterator[type]:
    """Networks, bijections and functions of one number that the modules of a package define."""
    from torch import nn

    from vflow.bijections.element import Element

    for found in pkgutil.iter_modules([str(ROOT / package.replace(".", "/"))]):
        module = importlib.import_module(f"{package}.{found.name}")
        for name, value in vars(module).items():
            own = isinstance(value, type) and value.__module__ == module.__name__
            if own and not name.startswith("_") and issubclass(value, nn.Module | Element):
                yield value


@pytest.mark.parametrize("package", ["vflow.bijections", "vflow.nn", "vflow.priors"])
def test_packages_export_their_classes(package: str) -> None:
    exported = importlib.import_module(package)
    classes = list(public_classes(package))
    assert len(classes) > 4
    assert [one.__name__ for one in classes if getattr(exported, one.__name__, None) is not one] == []
    assert {one.__name__ for one in classes} <= set(exported.__all__)
    assert all(hasattr(exported, name) for name in exported.__all__)


@pytest.mark.parametrize(
    "package", ["bijections", "config", "data.media", "densities", "models", "nn", "priors"]
)
def test_packages_export_for_type_checkers_what_their_modules_hold(package: str) -> None:
    """Strict ones take an import in a package for its own use, unless ``__all__`` has the name."""
    name = f"vflow.{package}"
    tree = ast.parse((ROOT / name.replace(".", "/") / "__init__.py").read_text())
    taken = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    names = {
        alias.name for node in taken if (node.module or "").startswith(f"{name}.") for alias in node.names
    }
    assert names and names <= set(importlib.import_module(name).__all__)


@pytest.mark.parametrize("package", ["vflow", "vflow.metrics"])
def test_type_checkers_see_only_names_that_exist(package: str) -> None:
    """``__getattr__`` would give any name to them."""
    tree = ast.parse((ROOT / package.replace(".", "/") / "__init__.py").read_text())
    assert "__getattr__" not in [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    typed = {
        alias.asname
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname
    }
    module = importlib.import_module(package)
    assert typed == set(module._HOMES)
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nonsense'"):
        module.nonsense  # noqa: B018


@pytest.mark.parametrize("name", sorted(name for name in vflow._HOMES if name.islower()))
def test_docstrings_of_the_public_functions_explain_their_arguments(name: str) -> None:
    """With ``help`` alone a function can be called."""
    function = getattr(vflow, name)
    _, _, arguments = (inspect.getdoc(function) or "").partition("\nArgs:\n")
    explained = re.findall(r"^    (\w+(?:, \w+)*):", arguments.partition("\n\n")[0], re.MULTILINE)
    assert ", ".join(explained).split(", ") == list(inspect.signature(function).parameters)


def test_layers_of_density_models_are_bijections_that_can_be_imported() -> None:
    from vflow import bijections
    from vflow.models.density import LAYERS, build_chain

    for config in LAYERS:
        given = {"layers": [{"kind": "actnorm"}]} if "layers" in config.model_fields else {}
        (layer,) = build_chain([config(**given)], 3).layers
        assert type(layer).__name__ in bijections.__all__


def test_metrics_are_imported_by_their_first_use() -> None:
    code = (
        "import sys\n"
        "import vflow.metrics as metrics\n"
        "assert not {'torch', 'cv2', 'numpy'} & set(sys.modules)\n"
        "assert set(metrics._HOMES) <= set(dir(metrics))\n"
        "assert all(callable(getattr(metrics, name)) for name in metrics._HOMES)\n"
        "from vflow.metrics import crps, psnr\n"
    )
    done = run("-c", code)
    assert done.returncode == 0, done.stderr


def test_bijections_and_networks_import_no_configurations() -> None:
    code = (
        "import sys, vflow.bijections, vflow.nn\nassert not {'pydantic', 'vflow.config'} & set(sys.modules)"
    )
    done = run("-c", code)
    assert done.returncode == 0, done.stderr
