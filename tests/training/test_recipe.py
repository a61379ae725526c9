"""Recipes: all stages of a checkpoint by one command, resumable as a whole."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import vflow
from tests.training.support import lines
from vflow.checkpoint import read_config, read_header, save_checkpoint
from vflow.cli import main
from vflow.config import DensityConfig, Export, Recipe, load_preset, load_recipe
from vflow.config.presets import named_files
from vflow.errors import CheckpointError, ConfigError, InputError
from vflow.models import build_model
from vflow.training.args import TrainOptions
from vflow.training.recipe import export, stage_presets, train_recipe
from vflow.training.step import TrainState

STEPS = {"first": 4, "second": 6}


@pytest.fixture
def recipe(tiny: str, tmp_path: Path) -> str:
    """Two stages of a tiny model; the second trains one part at a rate of its own."""
    path = tmp_path / "recipe.yaml"
    path.write_text(f"""
stages:
  - {{name: first, config: {tiny}, set: {{training.max_steps: {STEPS["first"]}}}}}
  - name: second
    config: {tiny}
    set: {{training.max_steps: {STEPS["second"]}, training.trainable: [priors]}}
export: {{half: true, set: {{temperature: 0.5}}}}
""")
    return str(path)


def train_here(recipe: str, output: Path, **changes: Any) -> int:
    return train_recipe(TrainOptions(recipe=recipe, output=output, **changes))


def test_stages_follow_each_other_and_the_export_is_a_checkpoint(recipe: str, tmp_path: Path) -> None:
    assert train_here(recipe, tmp_path / "out") == 0
    first, second = (
        vflow.load(tmp_path / "out" / name / "last" / "model") for name in ("1-first", "2-second")
    )
    model = vflow.load(tmp_path / "out" / "model")
    assert model.config.temperature == 0.5
    ended = second.state_dict()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, ended[name], rtol=1e-3, atol=1e-5)  # rounded to float16
    frozen = [name for name, value in first.state_dict().items() if torch.equal(value, ended[name])]
    assert any(name.startswith("flow.") for name in frozen), "the second stage starts from the first"
    assert not any(name.startswith("priors.") and name.endswith("weight") for name in frozen)


def test_a_stage_may_start_from_a_checkpoint(tiny: str, tmp_path: Path) -> None:
    config = load_preset(tiny).model
    model: Any = build_model(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(0.01)
    save_checkpoint(tmp_path / "start", model, config=config)
    path = tmp_path / "recipe.yaml"
    path.write_text(
        f"stages: [{{name: only, config: {tiny}, init_from: {tmp_path / 'start'}, "
        "set: {training.max_steps: 1, training.trainable: [priors]}}]"
    )
    assert train_here(str(path), tmp_path / "out") == 0
    state = vflow.load(tmp_path / "out" / "model").state_dict()
    weights = [value for name, value in state.items() if name.startswith("flow.") and "conv" in name]
    assert weights and all(bool((value == 0.01).all()) for value in weights)


def test_an_interrupted_recipe_goes_on_and_ends_as_if_it_had_not_been(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train_here(recipe, tmp_path / "whole") == 0
    original, calls = TrainState.step, iter(range(1, 100))

    def killed(self: TrainState, *args: Any) -> Any:
        if next(calls) == STEPS["first"] + 4:  # in the second stage, after its first commit
            raise KeyboardInterrupt
        return original(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(TrainState, "step", killed)
        with pytest.raises(KeyboardInterrupt):
            train_here(recipe, tmp_path / "parts")
    assert not (tmp_path / "parts" / "model").exists()
    steps: list[int] = []

    def counted(self: TrainState, *args: Any) -> Any:
        steps.append(args[1].step)
        return original(self, *args)

    monkeypatch.setattr(TrainState, "step", counted)
    assert train_here(recipe, tmp_path / "parts", resume=True) == 0
    assert steps == [2, 3, 4, 5], "the first stage is not trained again"
    models = [vflow.load(tmp_path / name / "model").state_dict() for name in ("whole", "parts")]
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])
    assert lines(tmp_path / "parts" / "2-second")[-1]["status"] == "finished"


def test_folders_of_recipes_are_not_overwritten(recipe: str, tiny: str, tmp_path: Path) -> None:
    train_here(recipe, tmp_path / "out")
    with pytest.raises(ConfigError, match=r"out: holds a recipe's run; add --resume"):
        train_here(recipe, tmp_path / "out")
    Path(recipe).write_text("note: as before, but now it has a note\n" + Path(recipe).read_text())
    assert train_here(recipe, tmp_path / "out", resume=True) == 0
    other = tmp_path / "other.yaml"
    other.write_text(f"stages: [{{name: only, config: {tiny}}}]")
    message = r"recipe\.yaml: not the recipe .*other\.yaml in the stages that have begun; choose another"
    with pytest.raises(ConfigError, match=message):
        train_here(str(other), tmp_path / "out", resume=True)


def test_a_recipe_whose_data_could_not_be_used_is_started_again(tiny: str, tmp_path: Path) -> None:
    path, clips = tmp_path / "recipe.yaml", tmp_path / "data" / "train"
    clips.mkdir(parents=True)
    path.write_text(f"""
stages: [{{name: only, config: {tiny}, data: train, set: {{data.name: video-folder, training.max_steps: 1}}}}]
""")
    with pytest.raises(InputError, match="train: no clips"):
        train_here(str(path), tmp_path / "out", data=str(clips.parent))
    np.save(clips / "clip.npy", np.random.default_rng(0).integers(256, size=(9, 16, 16, 3), dtype=np.uint8))
    assert train_here(str(path), tmp_path / "out", data=str(clips.parent)) == 0


def test_dry_runs_report_each_stage_and_write_nothing(
    recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train_here(recipe, tmp_path / "out", dry_run=True) == 0
    report = capsys.readouterr().out
    assert "stage 1: first" in report and "stage 2: second" in report and "6 steps take about" in report
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "name what to train: --config PRESET, or --recipe NAME"),
        (
            ("--config", "shapes", "--recipe", "shapes"),
            "--config and --recipe: give one; a recipe",
        ),
        (("--recipe", "RECIPE", "--max-steps", "3"), "--max-steps does not go with --recipe"),
        (("--recipe", "push"), "--data: missing; give the folder that holds train/ for the recipe push"),
        (("--recipe", "push", "--data", "."), "--data .: holds no train/; give the folder that does for"),
        (
            ("--recipe", "colorizer"),
            "--data: missing; give the folder that holds train/ for the recipe colorizer",
        ),
        (
            ("--recipe", "colorizer", "--data", "FOLDER"),
            "holds no backbone.safetensors; make it by python scripts/convert_backbone.py --output",
        ),
        (("--recipe", "nothing"), "nothing: no such recipe or file; recipes:"),
    ],
)
def test_flags_that_contradict_each_other_are_refused_in_a_line(
    flags: tuple[str, ...], message: str, recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "train").mkdir()
    places = {"RECIPE": recipe, "FOLDER": str(tmp_path)}
    words = [places.get(flag, flag) for flag in flags]
    assert main(["train", "--output", str(tmp_path / "out"), *words]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_faults_of_recipes_name_the_key(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    for text, message in (
        ("stages: []", "stages"),
        ("stages: [{name: ../a, config: shapes}]", "stages.0.name"),
        ("stages: [{name: a, config: shapes}, {name: a, config: shapes}]", "names must differ"),
        ("stages: [{name: a, config: shapes, speed: 2}]", "unknown key 'stages.0.speed'"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=message):
            load_recipe(str(path))


@pytest.mark.parametrize("name", sorted(named_files("recipes")))
def test_shipped_recipes_have_presets_that_load(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    for stage in recipe.stages:
        (tmp_path / (stage.data or "")).mkdir(parents=True, exist_ok=True)
    presets = stage_presets(recipe, str(tmp_path))
    assert all(preset.data.path and preset.data.path.startswith(str(tmp_path)) for preset in presets)


def test_the_documented_recipe_is_one() -> None:
    text = (Path(__file__).parents[2] / "docs" / "TRAINING.md").read_text(encoding="utf-8")
    (found,) = re.findall(r"```yaml\n(stages:.*?)```", text, re.DOTALL)
    recipe = Recipe.model_validate(yaml.safe_load(found))
    assert [preset.training.max_steps for preset in stage_presets(recipe, None)] == [2000, 500]


def test_data_replace_those_that_a_stage_would_generate(tmp_path: Path) -> None:
    recipe = Recipe.model_validate({"stages": [{"name": "only", "config": "shapes"}]})
    assert stage_presets(recipe, None)[0].data.name == "shapes"
    own = stage_presets(recipe, str(tmp_path))[0].data
    assert (own.name, own.path) == ("video-folder", str(tmp_path))
    with pytest.raises(ConfigError, match=r"--data .*nowhere: no such folder"):
        stage_presets(recipe, str(tmp_path / "nowhere"))


def test_vectors_are_as_long_as_the_rows_of_the_file(tmp_path: Path) -> None:
    points = tmp_path / "points.csv"
    points.write_text("1,2,3\n4,5,6\n")
    for settings, dim in (({}, 3), ({"model.dim": 2}, 2)):
        recipe = Recipe.model_validate({"stages": [{"name": "only", "config": "maf", "set": settings}]})
        config = stage_presets(recipe, str(points))[0].model
        assert isinstance(config, DensityConfig) and config.dim == dim


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            "export: {int8: [nothing]}",
            r"recipe\.yaml: export\.int8: the model has no part 'nothing' with kernels; it has ",
        ),
        ("export: {set: {fps: -1}}", r"recipe\.yaml: export\.set\.?.*fps"),
        ("export: {set: {noise: learned}}", r"recipe\.yaml: export\.set does not fit the weights"),
    ],
)
def test_faults_of_the_export_are_found_before_the_first_stage(
    wrong: str, message: str, recipe: str, tmp_path: Path
) -> None:
    text = Path(recipe).read_text()
    Path(recipe).write_text(text.partition("export:")[0] + wrong)
    with pytest.raises(ConfigError, match=message):
        train_here(recipe, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            "training.batch_size: 7, training.accumulate: 2",
            r"^stage second: training\.batch_size = 7 is not ",
        ),
        ("data.name: photos", r"^stage second: data\.name = photos does not suit a model of kind videoflow"),
    ],
)
def test_faults_of_a_later_stage_are_found_before_the_first(
    wrong: str, message: str, dry_run: bool, recipe: str, tmp_path: Path
) -> None:
    text = Path(recipe).read_text()
    Path(recipe).write_text(text.replace("training.trainable: [priors]", wrong))
    with pytest.raises(ConfigError, match=message):
        train_here(recipe, tmp_path / "out", dry_run=dry_run)
    assert not (tmp_path / "out").exists()


def test_dry_runs_take_a_start_that_an_earlier_stage_would_make(
    recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, text = tmp_path / "out", Path(recipe).read_text()
    start = f"- name: second\n    init_from: {output / '1-first'}"
    Path(recipe).write_text(text.replace("- name: second", start))
    assert train_here(recipe, output, dry_run=True) == 0
    assert "stage 2: second" in capsys.readouterr().out


def test_workers_that_are_started_again_go_on(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train_here(recipe, tmp_path / "out") == 0
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert train_here(recipe, tmp_path / "out") == 0


def test_a_start_that_does_not_exist_is_found_before_the_first_stage(recipe: str, tmp_path: Path) -> None:
    text = Path(recipe).read_text()
    Path(recipe).write_text(text.replace("- name: second", "- name: second\n    init_from: nowhere"))
    with pytest.raises(CheckpointError, match="nowhere"):
        train_here(recipe, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_has_not_begun_may_be_changed(recipe: str, tmp_path: Path) -> None:
    output, text = tmp_path / "out", Path(recipe).read_text()
    assert train_here(recipe, output) == 0
    Path(recipe).write_text(text.replace("temperature: 0.5", "temperature: 0.25"))
    assert train_here(recipe, output, resume=True) == 0
    assert read_config(output / "model").temperature == 0.25
    assert load_recipe(str(output / "recipe.yaml")) == load_recipe(recipe)
    Path(recipe).write_text(text.replace("training.max_steps: 4", "training.max_steps: 3"))
    with pytest.raises(ConfigError, match="not the recipe"):
        train_here(recipe, output, resume=True)


def test_exports_change_entries_that_leave_the_weights_their_places(tiny: str, tmp_path: Path) -> None:
    preset, source, target = load_preset(tiny), tmp_path / "source", tmp_path / "target"
    save_checkpoint(source, build_model(preset.model), config=preset.model, card="# mine")
    export(source, target, Export(set={"fps": 5}))
    assert read_config(target) == preset.model.model_copy(update={"fps": 5.0})
    with pytest.raises(ConfigError, match=r"source: export\.set does not fit the weights"):
        export(source, target, Export(set={"noise": "learned"}))
    assert read_config(target).noise == preset.model.noise, "what was there stays"


def test_exports_store_named_parts_in_eight_bits(tiny: str, tmp_path: Path) -> None:
    preset = load_preset(tiny)
    save_checkpoint(tmp_path / "source", build_model(preset.model), config=preset.model)
    export(tmp_path / "source", tmp_path / "target", Export(half=True, int8=("flow",)))
    types = {key: dtype for key, (dtype, _) in read_header(tmp_path / "target" / "model.safetensors").items()}
    kernels = {key.removesuffix(".int8_scale") for key in types if key.endswith(".int8_scale")}
    assert kernels and all(types[key] == "int8" and key.startswith("flow.") for key in kernels)
    with pytest.raises(ConfigError, match="int8: the model has no part 'net' with kernels"):
        export(tmp_path / "source", tmp_path / "target", Export(int8=("net",)))


def test_a_new_run_inside_a_stages_clips_is_refused(tiny: str, tmp_path: Path) -> None:
    clips = tmp_path / "data" / "train"
    clips.mkdir(parents=True)
    path = tmp_path / "recipe.yaml"
    path.write_text(f"stages: [{{name: only, config: {tiny}, data: train}}]")
    with pytest.raises(ConfigError, match=r"choose a folder outside$"):
        train_here(str(path), clips / "run", data=str(clips.parent))
    assert not any(clips.iterdir())
    with pytest.raises(InputError, match="no clips found"):  # beside them is another matter
        train_here(str(path), clips.parent / "run", data=str(clips.parent))
