"""Endpoints for programs, and what the server does not hand out."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from urllib.error import HTTPError

import numpy as np
import pytest
from gradio_client import Client, handle_file
from PIL import Image

import vflow
from apps.ui.shared.examples import FOLDER
from tests.app.conftest import CALM, Server
from vflow.checkpoint import checkpoint_hash
from vflow.data import media

PUBLIC = (
    "predict_future",
    "score",
    "model_info",
    "generate_digits",
    "colorize",
    "upscale",
    "walk",
    "compress",
    "decompress",
    "learn_density",
)


@pytest.fixture(scope="module")
def client(server: Server) -> Client:
    """A gradio client of the running app."""
    return Client(server.address, verbose=False)


def test_which_endpoints_are_public(client: Client, server: Server) -> None:
    named = client.view_api(return_format="dict")["named_endpoints"]
    assert set(named) == {f"/{name}" for name in PUBLIC}
    with urllib.request.urlopen(f"{server.address}/config") as response:
        config = json.load(response)
    public = [d["api_name"] for d in config["dependencies"] if d["api_visibility"] != "private"]
    assert sorted(public) == sorted(PUBLIC)


def test_predict_future_is_python_predict(
    client: Client, clip: Path, checkpoints: Path, square: np.ndarray
) -> None:
    native, previews, settings = client.predict(
        [handle_file(clip)],
        checkpoint="shapes",
        num_samples=3,
        num_frames=2,
        temperature=0.8,
        seed=5,
        api_name="/predict_future",
    )
    model = vflow.load(checkpoints / "shapes")
    expected = vflow.predict(model, square, num_samples=3, num_frames=2, temperature=0.8, seed=5)
    with np.load(native) as saved:
        assert np.array_equal(saved["frames"], expected)
        assert np.array_equal(saved["context"], square[-2:])
    assert Path(previews).suffix == ".zip"
    assert json.loads(Path(settings).read_text())["seed"] == 5


def test_predict_future_with_defaults(client: Client, stills: list[Path]) -> None:
    native, *_ = client.predict(
        [handle_file(p) for p in stills[:2]], checkpoint="shapes", api_name="/predict_future"
    )
    with np.load(native) as saved:
        assert saved["frames"].shape == (8, 10, 32, 32, 3)


def test_images_are_in_the_order_of_their_names_unless_told_otherwise(
    client: Client, stills: list[Path], square: np.ndarray
) -> None:
    call = {"checkpoint": "shapes", "num_samples": 1, "num_frames": 1, "api_name": "/predict_future"}
    for chosen, expected in (({}, (0, 1)), ({"sort_by_name": False}, (1, 0))):
        native, _, settings = client.predict(
            [handle_file(stills[1]), handle_file(stills[0])], **chosen, **call
        )
        with np.load(native) as saved:
            assert np.array_equal(saved["context"], square[list(expected)])
        remarks = json.loads(Path(settings).read_text()).get("remarks", [])
        assert any("sort_by_name" in remark for remark in remarks) == (not chosen)
    backwards = [handle_file(path) for path in stills[:3][::-1]]
    scores, walks = [], []
    for files, chosen in ((backwards[::-1], {}), (backwards, {}), (backwards, {"sort_by_name": False})):
        report = client.predict(files, checkpoint="shapes", **chosen, api_name="/score")
        scores.append(report["bits_per_dim"])
        *_, walked, _ = client.predict(
            files, checkpoint="shapes", kind="temperature", **chosen, api_name="/walk"
        )
        walks.append(np.load(walked)["frames"])
    assert scores[0] == scores[1] != scores[2]
    assert np.array_equal(walks[0], walks[1]) and not np.array_equal(walks[0], walks[2])


def test_without_a_checkpoint_what_the_frames_show_decides(client: Client) -> None:
    files, names = [handle_file(FOLDER / "push-00056.mp4")], []
    *_, settings = client.predict(files, num_samples=1, num_frames=1, api_name="/predict_future")
    names.append(json.loads(Path(settings).read_text())["checkpoint"])
    report = client.predict(files, api_name="/score")
    names.append(json.loads(Path(report["settings"]).read_text())["checkpoint"])
    assert names == ["push", "any"]


def test_replies_say_how_the_input_fits_and_what_was_done_to_it(
    client: Client, stills: list[Path], tmp_path: Path
) -> None:
    Image.new("RGB", (64, 48), "white").save(tmp_path / "wide.png")
    *_, settings = client.predict(
        [handle_file(tmp_path / "wide.png")],
        checkpoint="shapes",
        num_samples=1,
        num_frames=1,
        api_name="/predict_future",
    )
    assert "Fitted from 64×48 to the model's 32×32" in json.loads(Path(settings).read_text())["remarks"]
    report = client.predict(
        [handle_file(path) for path in stills[:2]], checkpoint="shapes", api_name="/score"
    )
    assert "Fitted" not in str(report.get("remarks")), "nothing was done to it"


def test_without_a_temperature_that_of_the_checkpoint_counts(client: Client, tmp_path: Path) -> None:
    Image.new("L", (40, 30), 128).save(tmp_path / "grey.png")
    for given, expected in (({}, list(CALM)), ({"temperature": 0.7}, 0.7)):
        _, settings = client.predict(
            [handle_file(tmp_path / "grey.png")],
            checkpoint="calm-colorizer",
            num_samples=1,
            **given,
            api_name="/colorize",
        )
        assert json.loads(Path(settings).read_text())["temperature"] == expected


def test_cancelling_a_call_frees_the_queue(client: Client, stills: list[Path]) -> None:
    job = client.submit(
        [handle_file(stills[0])], checkpoint="slow", num_frames=60, api_name="/predict_future"
    )
    while not job.outputs():
        assert not job.done()
    job.cancel()
    client.predict(
        [handle_file(stills[0])],
        checkpoint="shapes",
        num_samples=1,
        num_frames=1,
        api_name="/predict_future",
    )


def test_score_is_python_surprisal_with_its_maps(
    client: Client, clip: Path, checkpoints: Path, square: np.ndarray
) -> None:
    result = client.predict([handle_file(clip)], checkpoint="shapes", seed=1, api_name="/score")
    model = vflow.load(checkpoints / "shapes")
    expected = vflow.surprisal(model, square, seed=1)
    figures = expected.to_json()
    assert {name: result[name] for name in figures} == figures
    assert result["bits_per_dim"] == pytest.approx(vflow.score(model, square, seed=1))
    with np.load(result["maps"]) as saved:
        assert np.array_equal(saved["maps"], expected.maps, equal_nan=True)
    assert media.read_image(result["sheet"]).frames.shape[-1] == 3
    assert len(media.read_clip(result["film"]).frames) == len(square)
    assert json.loads(Path(result["settings"]).read_text())["seed"] == 1


def test_model_info(client: Client, checkpoints: Path) -> None:
    info = client.predict("grey", api_name="/model_info")
    assert info["checkpoint_hash"] == checkpoint_hash(checkpoints / "grey")
    assert info["config"]["glow"]["channels"] == 1
    assert info["card"] == "# grey\nUntrained.\n"
    assert "shapes" in info["checkpoints"]


@pytest.mark.parametrize(
    "path", ["gradio_api/file={config}", "gradio_api/file=/etc/passwd", "gradio_api/runs", "monitoring"]
)
def test_files_and_pages_that_are_not_served(server: Server, checkpoints: Path, path: str) -> None:
    url = f"{server.address}/{path.format(config=checkpoints / 'shapes' / 'config.json')}"
    with pytest.raises(HTTPError) as error:
        urllib.request.urlopen(url)
    assert error.value.code in (403, 404)
