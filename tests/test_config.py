"""Configurations: exact messages, overrides, and YAML that comes back as it went."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from vflow.checkpoint import checkpoint_folder, find_checkpoints, read_config
from vflow.config import (
    ColorizerConfig,
    DigitsConfig,
    GlowConfig,
    ModelConfig,
    Preset,
    VideoFlowConfig,
    load_preset,
    load_recipe,
    parse,
    preset_names,
    to_yaml,
)
from vflow.config.presets import RENAMED
from vflow.errors import ConfigError
from vflow.registry import families, kinds, resolve

ROOT = Path(__file__).parents[1]
SMALL = """
model:
  glow: {depth: [1, 1, 1, 1], hidden: [8, 8, 8, 8]}
  kind: frame_conditioned_videoflow
  encoder: {hidden: [4, 4, 4, 4]}
  context: 2
"""


@pytest.fixture
def small(tmp_path: Path) -> str:
    """A file of the test's own: presets that ship may change."""
    file = tmp_path / "small.yaml"
    file.write_text(SMALL, encoding="utf-8")
    return str(file)


def message(name: str, overrides: dict[str, Any] | None = None) -> str:
    """The one line that ``load_preset`` fails with."""
    with pytest.raises(ConfigError) as caught:
        load_preset(name, overrides)
    assert "\n" not in str(caught.value) and caught.value.exit_code == 2
    return str(caught.value)


def test_presets_round_trip_as_yaml(tmp_path: Path) -> None:
    for name in preset_names():
        preset, file = load_preset(name), tmp_path / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(to_yaml(preset), encoding="utf-8")
        assert load_preset(str(file)) == preset
        assert Preset.model_validate_json(preset.model_dump_json()) == preset


def test_the_presets_that_ship() -> None:
    assert {"bair", "bair-samples", "shapes-glow", "moving-digits-small"} <= set(preset_names())
    assert all(load_preset(name).note for name in preset_names())


@pytest.mark.parametrize("name", find_checkpoints())
def test_the_preset_of_a_checkpoint_is_its_model(name: str) -> None:
    shipped, preset = read_config(checkpoint_folder(name)), load_preset(name).model
    measured = {key: getattr(shipped, key) for key in {"validation_bits"} & type(shipped).model_fields.keys()}
    exported = preset.model_dump() | load_recipe(name).export.set | measured
    assert type(preset).model_validate(exported) == shipped


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_old_names_of_presets_answer_with_a_hint(
    old: str, new: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert load_preset(old) == load_preset(new)
    assert old in caplog.text and new in caplog.text and old not in preset_names()


@pytest.mark.parametrize(
    ("height", "width", "levels", "advice"),
    [
        (60, 64, 3, "60×64 is not divisible by 2^levels = 8; use height 64 and width 64, or fewer levels"),
        (64, 90, 4, "64×90 is not divisible by 2^levels = 16; use height 64 and width 96, or fewer levels"),
        (3, 5, 3, "3×5 is not divisible by 2^levels = 8; use height 8 and width 8, or fewer levels"),
    ],
)
def test_a_size_that_does_not_divide(height: int, width: int, levels: int, advice: str) -> None:
    changes = {
        "model.glow.height": height,
        "model.glow.width": width,
        "model.glow.depth": [1] * levels,
        "model.glow.hidden": [8] * levels,
    }
    assert message("shapes-glow", changes) == f"shapes-glow: model.glow: {advice}"


@pytest.mark.parametrize("size", [(8, 8), (8, 24), (1024, 16)])
def test_any_size_that_divides(size: tuple[int, int]) -> None:
    config = GlowConfig(height=size[0], width=size[1])
    assert config.levels == 3


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        (
            "model.glow.depht",
            3,
            "unknown key 'model.glow.depht'; did you mean 'model.glow.depth'?",
        ),
        ("model.density", 3, "unknown key 'model.density' (see 'vflow config NAME' for the known ones)"),
        ("modle.context", 3, "unknown key 'modle'; did you mean 'model'?"),
        ("model.temperature", [0.5, 1], "model: temperature needs one number, or one per level: 4"),
        ("model.temperature", [3], "model.temperature.0: Input should be less than or equal to 2"),
        ("model.glow.depth.0.x", 3, "model.glow.depth.0: Input should be a valid integer"),
        ("speed", 3, "unknown key 'speed' (see 'vflow config NAME' for the known ones)"),
        ("model.context", 0, "model.context: Input should be greater than or equal to 1"),
        (
            "model.context",
            "two",
            "model.context: Input should be a valid integer, unable to parse string as an integer",
        ),
        ("model.min_context", 5, "model: min_context 5 exceeds context 2"),
        ("model.encoder.hidden", [8, 8], "model: encoder.hidden needs one entry per level"),
        ("model.prior.hidden", [8, 8], "model: prior.hidden needs one number, or one per level: 4"),
        ("model.glow.hidden", [8], "model.glow: depth and hidden need one entry per level (1 to 8 levels)"),
        ("model.glow.depth", [65, 1, 1, 1], "model.glow.depth.0: Input should be less than or equal to 64"),
        (
            "model.glow.depth",
            [-1, 1, 1, 1],
            "model.glow.depth.0: Input should be greater than or equal to 0",
        ),
        (
            "model.encoder.hidden",
            [-4, 4, 4, 4],
            "model.encoder.hidden.0: Input should be greater than or equal to 1",
        ),
        (
            "model.glow.coupling",
            "cubic",
            "model.glow.coupling: Input should be 'affine', 'additive' or 'mixture'",
        ),
        ("model.glow.channels", 4, "model.glow.channels: Input should be less than or equal to 3"),
        ("training.learning_rate", 0, "training.learning_rate: Input should be greater than 0"),
        ("training.learning_rate", float("inf"), "training.learning_rate: Input should be a finite number"),
        ("training.betas", [0.9, 1.0], "training.betas.1: Input should be less than 1"),
        ("training.seed", -1, "training.seed: Input should be greater than or equal to 0"),
        ("training.seed", 2**63, f"training.seed: Input should be less than or equal to {2**63 - 1}"),
        ("training.ema", 1.0, "training.ema: Input should be less than 1"),
        ("training.weight_decay", -1, "training.weight_decay: Input should be greater than or equal to 0"),
        ("data.shift", -1, "data.shift: Input should be greater than or equal to 0"),
        (
            "model.kind",
            "vae",
            (
                "model.kind: 'vae' is unknown; use videoflow, lattice_videoflow, "
                "frame_conditioned_videoflow, reference_videoflow, augmented_videoflow, digits, tarflow, "
                "colorizer, super_resolution, nowcast, density, photo_codec, clip_codec"
            ),
        ),
        ("data.frames", 1, "data.frames: Input should be greater than or equal to 2"),
        ("training", 3, "training: Input should be a valid dictionary or instance of TrainingConfig"),
    ],
)
def test_messages_name_the_key(small: str, key: str, value: Any, problem: str) -> None:
    assert message(small, {key: value}) == f"{small}: {problem}"


@pytest.mark.parametrize(
    ("preset", "values"),
    [
        ("shapes-guided", (0.5, 0.5, 0.5, 0.5)),
        ("grasp", (0.5, 0.5, 0.5, 0.5)),
        ("shapes-glow", (0.5, 0.5, 0.5, 0.5)),
        ("colorizer", (0.5,)),
        ("rain", (0.5,)),
        ("enlarge", (0.5, 0.5)),
    ],
)
def test_a_list_of_temperatures_has_one_per_level(preset: str, values: tuple[float, ...]) -> None:
    assert message(preset, {"model.temperature": values}).startswith(
        f"{preset}: model: temperature needs one"
    )


def test_settings_of_the_user_are_named_where_they_are_wrong(small: str) -> None:
    values = {"model.contxt": 1, "training.ema": 0.5, "model.encoder.hidden": [8], "training.seed": -1}
    typed = {key: f"--set {key}=…" for key in values} | {"training.seed": "--seed -1"}

    def problem(*keys: str) -> str:
        with pytest.raises(ConfigError) as caught:
            load_preset(small, {key: values[key] for key in keys}, {key: typed[key] for key in keys})
        return str(caught.value)

    assert problem("model.contxt", "training.ema") == (
        f"{small} with --set model.contxt=…: unknown key 'model.contxt'; did you mean 'model.context'?"
    )
    assert problem("model.encoder.hidden").startswith(f"{small} with --set model.encoder.hidden=…: model: ")
    assert problem("training.seed").startswith(f"{small} with --seed -1: training.seed: Input should be")


def test_values_that_contradict_each_other() -> None:
    assert message("shapes-glow", {"model.pixel_map": "conditional"}) == (
        "shapes-glow: model.pixel_map: Input should be 'scaled' or 'marginal'"
    )
    assert message("digits-realnvp", {"model.glow.coupling": "mixture"}) == (
        "digits-realnvp: model: steps realnvp needs glow.coupling: affine and glow.memory: plain"
    )


@pytest.mark.parametrize("name", ["digits-realnvp", "maf-batchnorm"])
def test_batch_norm_sees_whole_batches(name: str) -> None:
    assert message(name, {"training.accumulate": 2}) == (
        f"{name}: training.accumulate: batch norm needs the whole batch at once; set it to 1"
    )


def test_features_are_kept_of_a_frozen_backbone_alone() -> None:
    trainable = ["encoder", "backbone.stages.4"]
    assert message("colorizer-regions", {"training.trainable": trainable}) == (
        "colorizer-regions: training.cache_features is for a frozen backbone; "
        "take backbone.stages.4 out of training.trainable"
    )
    overrides = {"training.trainable": trainable, "training.cache_features": False}
    assert load_preset("colorizer-regions", overrides).training.trainable == tuple(trainable)


def test_features_are_not_kept_of_mirror_images() -> None:
    assert message("colorizer-regions", {"model.flip_tta": True}) == (
        "colorizer-regions: training.cache_features keeps no mirror images; train without model.flip_tta, "
        "which a recipe's export.set adds"
    )
    assert load_preset("colorizer-regions", {"model.scale_tta": True}).training.cache_features


@pytest.mark.parametrize(("name", "kind"), [("bair", "videoflow"), ("digits", "digits"), ("maf", "density")])
def test_stray_pixels_are_for_models_that_see_past_frames(name: str, kind: str) -> None:
    assert message(name, {"data.corruption": 0.5}) == (
        f"{name}: data.corruption is of past frames, and {kind} sees none; set it to 0"
    )


@pytest.mark.parametrize("scales", [[], [0], [1, -3]])
def test_scales_of_the_crps_are_sides_of_squares(scales: list[int]) -> None:
    said = message("rain", {"training.losses": [{"kind": "crps", "scales": scales}]})
    assert said.startswith("rain: training.losses.0.scales")


def test_scales_of_the_crps_fit_the_window() -> None:
    small = {"model.glow.height": 32, "model.glow.width": 64}
    assert message("rain", small | {"training.losses": [{"kind": "crps"}]}) == (
        "rain: training.losses: scales of crps exceed the window's side 32; lower them"
    )
    load_preset("rain", small | {"training.losses": [{"kind": "crps", "scales": [1, 32]}]})


def test_a_nowcast_has_frames_ahead_to_couple() -> None:
    said = "rain: model.glow.channels: Input should be greater than or equal to 2"
    assert message("rain", {"model.glow.channels": 1}) == said


def test_the_kind_of_a_model_decides_its_keys(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("model: {kind: digits}\n")
    assert load_preset(str(file)).model == DigitsConfig()
    assert message(str(file), {"model.context": 3}).startswith(f"{file}: unknown key 'model.context'")
    assert message(str(file), {"model.condition": [4]}) == (
        f"{file}: model: condition needs one positive entry per level"
    )
    file.write_text("model: {kind: colorizer}\n")
    assert load_preset(str(file)).model == ColorizerConfig()


def test_all_problems_in_one_line() -> None:
    line = message("shapes", {"model.typo": 1, "training.max_steps": 0})
    assert line == (
        "shapes: unknown key 'model.typo' (see 'vflow config NAME' for the known ones); "
        "training.max_steps: Input should be greater than or equal to 1"
    )


@pytest.mark.parametrize("kind", kinds())
def test_keys_are_named_without_the_kind(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(f"model: {{kind: {kind}, unknown: 1}}")
    assert message(str(file)).startswith(f"{file}: unknown key 'model.unknown'")


@pytest.mark.parametrize(
    ("preset", "values", "problem"),
    [
        ("push-wavelet", {"model.prior.radius": 99}, "model.prior.radius: Input should be less"),
        ("push-wavelet", {"model.prior.wavelet": 9}, "unknown key 'model.prior.wavelet'"),
        ("maf", {"model.layers.1.layers.0.hidden": [0]}, "model.layers.1.layers.0.hidden.0: Input"),
        ("maf", {"model.layers.1.layers.0.kind": "odd"}, "model.layers.1.layers.0.kind: 'odd' is unknown"),
        ("maf", {"model.layers.1": {"kind": "repeat"}}, "model.layers.1.times: Field required"),
        ("colorizer", {"training.losses.0.weight": -1}, "training.losses.0.weight: Input should be greater"),
    ],
)
def test_keys_of_parts_are_named_without_their_kind(
    preset: str, values: dict[str, Any], problem: str
) -> None:
    assert message(preset, values).startswith(f"{preset}: {problem}")


def test_an_unknown_preset_lists_the_known_ones(tmp_path: Path) -> None:
    assert message("shape") == f"shape: no such preset or file; presets: {', '.join(preset_names())}"
    assert message(str(tmp_path)).startswith(f"{tmp_path}: no such preset or file; presets: any, bair,")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"model: [unclosed", "not valid YAML: "),
        (b"\xff\x00\x00\x01", "not valid YAML: "),
        (b"\x00", "not valid YAML: "),
        (b"- a\n- b\n", "expected sections model, data and training"),
        (b"", "expected sections model, data and training"),
        (b"!!python/object/apply:os.getcwd []", "not valid YAML: could not determine a constructor"),
    ],
)
def test_files_that_are_no_preset(content: bytes, problem: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_bytes(content)
    assert message(str(file)).startswith(f"{file}: {problem}")


def test_a_file_names_itself_in_errors(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("model: {glow: {depth: [1], hidden: [8], wdith: 3}}")
    assert message(str(file)).startswith(f"{file}: unknown key 'model.glow.wdith'")


def test_overrides_reach_any_depth_and_leave_the_rest(small: str) -> None:
    plain = load_preset(small)
    changed = load_preset(
        small,
        {
            "training.learning_rate": 0.5,
            "model.glow.coupling": "additive",
            "model.validation_bits": [0.1, 0.4],
        },
    )
    assert changed.training.learning_rate == 0.5 and changed.model.glow.coupling == "additive"
    assert changed.model.validation_bits == (0.1, 0.4)
    assert changed.model.glow.depth == plain.model.glow.depth and changed.data == plain.data
    assert load_preset(small) == plain


def test_overrides_make_and_remove_sections(small: str) -> None:
    changed = load_preset("shapes-guided", {"model.reference": {"kind": "motion", "max_displacement": 3}})
    assert changed.model.reference.max_displacement == 3
    assert load_preset("digits", {"training.losses": []}).training.losses == ()


def test_a_file_may_say_little(tmp_path: Path) -> None:
    file = tmp_path / "small.yaml"
    file.write_text("data: {frames: 4}\n")
    assert load_preset(str(file)).data.frames == 4
    assert load_preset(str(file)).model == VideoFlowConfig()


def test_configurations_are_frozen() -> None:
    config = VideoFlowConfig()
    with pytest.raises(ValidationError, match="frozen"):
        config.context = 3  # type: ignore[misc]
    assert hash(config) == hash(VideoFlowConfig())


def test_parse_without_a_key() -> None:
    with pytest.raises(ConfigError, match=r"^here: Input should be a valid dictionary"):
        parse(Preset, 3, "here")


def test_entries_of_lists_are_set_by_number() -> None:
    preset = load_preset("colorizer", {"training.losses.1.weight": 2.5})
    assert [loss.weight for loss in preset.training.losses] == [2.0, 2.5]
    with pytest.raises(ConfigError, match="'7' names none of the list's 2 entries"):
        load_preset("colorizer", {"training.losses.7.weight": 1})


@pytest.mark.parametrize(
    "text", ["[" * 50_000, "model: " + "9" * 5_000, "a: \udcff", "- 1", "model: &m\n  glow: *m"]
)
def test_a_file_of_nonsense_is_one_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "odd.yaml"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError, match=f"^{file}: ") as error:
        load_preset(str(file))
    assert "\n" not in str(error.value)


def test_the_registry_has_every_configuration_of_models_under_its_kind_and_family() -> None:
    union, _ = get_args(ModelConfig)
    known = {resolve(kind.config): name for name, kind in kinds().items()}
    assert set(known) == {get_args(each)[0] for each in get_args(union)}
    assert all(config.model_fields["kind"].default == kind for config, kind in known.items())
    named = {kind: family.name for family in families().values() for kind in family.kinds}
    assert {kind: config.family for config, kind in known.items()} == named


@pytest.mark.parametrize("path", sorted((ROOT / "vflow/config").glob("*.py")), ids=lambda path: path.stem)
def test_defaults_of_fields_are_named(path: Path) -> None:
    """Type checkers without Pydantic's plugin take a field for one that must be given otherwise."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    fields = [node for node in calls if isinstance(node.func, ast.Name) and node.func.id == "Field"]
    assert [ast.unparse(node) for node in fields if node.args] == []
