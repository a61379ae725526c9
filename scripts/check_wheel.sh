#!/bin/sh
# Builds the wheel and uses it, with core dependencies only, in a clean environment outside the source tree.
set -eu
cd "$(dirname "$0")/.."
python=$(pwd -P)/.venv/bin/python
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP

"$python" -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$work" .
"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check "$work"/*.whl
cd "$work"
PATH="$work/venv/bin:$PATH"
vflow --help > help.txt
grep -q predict help.txt
python -I - << 'CHECK'
from importlib.util import find_spec
from pathlib import Path

import vflow
from vflow.commands.config import launcher_config
from vflow.config import load_preset, preset_names

extras = [name for name in ("gradio", "accelerate", "torchmetrics", "pytest") if find_spec(name)]
assert not extras, f"core alone must not bring {extras}"
package = Path(vflow.__file__).parent
assert (package / "_app" / "app.py").is_file(), "the wheel lacks the app"
assert preset_names() and all(load_preset(name) for name in preset_names()), "the wheel lacks presets"
assert "MULTI_GPU" in launcher_config("ddp"), "the wheel lacks the files for accelerate launch"
shipped = sorted(folder.parent.name for folder in (package / "_checkpoints").glob("*/config.json"))
for name in shipped:
    vflow.load(name, allow_hub=False)
print(f"wheel: imports and loads {', '.join(shipped) or 'no checkpoints'} with core dependencies only")
CHECK
