"""The layering of docs/DESIGN.md, light imports, a quick ``--help``, and the sizes the style promises."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
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
SOURCES = sorted(p for top in ("vflow", "apps", "scripts", "examples") for p in (ROOT / top).rglob("*.py"))
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


def run(*command: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, env=env, timeout=120)


def test_layers_and_style_hold() -> None:
    """Contracts of import-linter and rules of ruff, in pyproject.toml."""
    tools = Path(sys.executable).parent
    for command in (["lint-imports", "--no-cache"], ["ruff", "check", "--no-cache"]):
        done = subprocess.run([tools / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_each_outside_library_has_one_home() -> None:
    homes = {
        "accelerate": ("vflow/training",),
        "gradio": ("apps",),
        **dict.fromkeys(
            CONTAINERS, ("vflow/data", "scripts/acceptance", "scripts/pins", "scripts/fit_selection")
        ),
        "PIL": (
            "vflow/data",
            "scripts/acceptance",
            "scripts/pins",
            "scripts/fit_handwriting",
            "vflow/benchmarks/enlarging.py",
        ),
    }  # enlarging compares with Pillow's bicubic interpolation, as its protocol says
    for path in SOURCES:
        text = path.read_text()
        used = {name.split(".")[0] for name in imports(path)}
        for library in used & set(homes):
            assert path.relative_to(ROOT).as_posix().startswith(homes[library]), f"{path} imports {library}"
        if "cv2" in used and not path.is_relative_to(ROOT / "vflow" / "data"):
            assert not re.search(rf"cv2\.({'|'.join(OPENCV_FILES)})\b", text), f"{path}: media"


def test_docstrings_name_their_subject() -> None:
    clauses = ("What", "How", "Where", "Which", "Whether", "When", "That", "Who", "Why")
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                first = (ast.get_docstring(node) or "-").split()[0]
                assert first not in clauses, (
                    f"{path}: {getattr(node, 'name', 'module')}: name the thing, not '{first} …'"
                )


def test_vflow_imports_without_gradio_and_accelerate() -> None:
    code = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(['gradio', 'accelerate', 'tensorboard', 'torchmetrics']))\n"
        "import vflow\n"
        "print(vflow.load, vflow.predict, vflow.score, vflow.DensityEstimator)\n"
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


REFUSED = [
    ("colorize --input x.png --output o --checkpoint push", "push: does not colour photos; choose a"),
    ("upscale --input x.png --output o --checkpoint nope", "nope: no such checkpoint"),
    ("predict --input x.mp4 --output o --checkpoint digits", "digits: does not predict video"),
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
]


def test_flags_are_refused_before_torch_is_imported() -> None:
    code = (
        "import contextlib, io, json, sys\n"
        "from vflow.cli import main\n"
        "for arguments in sys.argv[1:]:\n"
        "    sys.argv, told = ['vflow', *arguments.split()], io.StringIO()\n"
        "    with contextlib.redirect_stderr(told):\n"
        "        code = main()\n"
        "    assert 'torch' not in sys.modules, 'the refusal took an import of torch'\n"
        "    print(json.dumps([code, told.getvalue()]))\n"
    )
    done = run("-c", code, *(arguments for arguments, _ in REFUSED))
    assert done.returncode == 0, done.stderr
    for line, (arguments, message) in zip(done.stdout.splitlines(), REFUSED, strict=True):
        status, told = json.loads(line)
        assert status in (2, 3) and told.startswith(f"error: {message}"), (arguments, told)


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


@pytest.mark.parametrize(
    "package", ["bijections", "config", "data.media", "densities", "models", "nn", "priors"]
)
def test_packages_export_for_type_checkers_what_their_modules_hold(package: str) -> None:
    """Strict ones take an import in a package for its own use, unless it says ``as`` with the same name."""
    name = f"vflow.{package}"
    tree = ast.parse((ROOT / name.replace(".", "/") / "__init__.py").read_text())
    taken = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    names = [alias for node in taken if (node.module or "").startswith(f"{name}.") for alias in node.names]
    assert names and all(alias.asname == alias.name for alias in names)


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
    assert typed == {*module._HOMES, *getattr(module, "__all__", ())}
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
        assert getattr(bijections, type(layer).__name__) is type(layer)


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
