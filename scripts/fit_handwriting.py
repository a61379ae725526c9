"""Measures vflow/pipelines/digits/handwriting.npz, by which a picture is told to be no digit.

Subspaces come from MNIST's training digits with other pens, slants and contrasts, limits from held-out ones
of them; of the rest of these, and of what is no digit, the shares called no digit are printed. The test
digits are not read. Run from the repository: python -m scripts.fit_handwriting DATA (a folder with MNIST).
"""

from __future__ import annotations

import io
import string
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from matplotlib import get_data_path
from PIL import Image, ImageDraw, ImageFont

from vflow.data import media
from vflow.data.datasets.digits import DIGITS, MnistImages
from vflow.errors import InputError
from vflow.pipelines.digits.handwriting import TABLE, Handwriting, deviations, directions
from vflow.pipelines.digits.preprocess import find_ink, place_ink

FITTED, SHOWN = 12_000, 400  # digits
AXES = 30
WITHIN = 0.98, 0.99  # shares of held-out digits, plain and photographed, within each limit
FONTS = "DejaVuSans", "DejaVuSerif-Italic", "DejaVuSansMono-Bold", "STIXGeneral", "cmr10", "cmss10", "cmtt10"
PICTURES = sorted(path for kind in ("photo", "camera") for path in Path("apps/examples").glob(f"{kind}-*"))
SCENE = 180  # pixels along the sides of letters and scribbles
Random = np.random.Generator


def penned(digit: np.ndarray, random: Random, side: int, turn: float) -> np.ndarray:
    """A digit, uint8 (28, 28), written anew: float32 (side, side), 0..1, turned by up to ``turn`` degrees."""
    scale = side / 40 * random.uniform(0.8, 1.15)
    angle, lean = np.deg2rad(random.uniform(-turn, turn)), random.uniform(-0.3, 0.3)
    turned = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = scale * turned @ [[1, lean], [0, 1]] @ np.diag([random.uniform(0.85, 1.15), 1])
    place = side * (0.5 + random.uniform(-0.05, 0.05, 2)) - matrix @ [13.5, 13.5]
    affine = np.column_stack([matrix, place])
    ink = cv2.warpAffine(digit.astype(np.float32) / 255, affine, (side, side), flags=cv2.INTER_CUBIC)
    wider = random.uniform(-1, 1.5) * scale
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (round(abs(wider)) + 1,) * 2)
    other = (cv2.dilate if wider > 0 else cv2.erode)(ink, disc)
    return np.clip(other if other.max() > 0.5 and other.sum() > 0.25 * ink.sum() else ink, 0, 1)


def written(digit: np.ndarray, random: Random) -> np.ndarray:
    """A digit with another pen, slant, contrast and sharpness, uint8 (112, 112)."""
    ink = cv2.GaussianBlur(penned(digit, random, 112, 12), (0, 0), random.uniform(0.3, 2))
    return (255 * random.uniform(0.4, 1) * ink).astype(np.uint8)


def photographed(ink: np.ndarray, random: Random) -> np.ndarray:
    """Ink, 0..1 (side, side), on grainy paper in uneven light, noisy, as JPEG: uint8 (side, side, 3)."""
    side = len(ink)
    sharp = 1 / (1 + np.exp(12 * (0.5 - ink))) if random.random() < 0.7 else ink
    blurred = cv2.GaussianBlur(sharp.astype(np.float32), (0, 0), random.uniform(0.4, 2))
    y, x = np.mgrid[:side, :side] / side - 0.5
    way = random.uniform(0, 2 * np.pi)
    light = 1 - random.uniform(0, 0.45) * (x * np.cos(way) + y * np.sin(way))
    light -= random.uniform(0, 0.25) * (x * x + y * y)
    grain = cv2.GaussianBlur(random.normal(size=(side, side)), (0, 0), random.uniform(1, 4))
    paper = random.uniform(140, 235) * light + random.uniform(0, 5) * grain / grain.std()
    colour = random.uniform(0.2, 1, 3) if random.random() < 0.4 else np.ones(3)
    covered = random.uniform(0.35, 0.9) * blurred[..., None] * colour
    seen = paper[..., None] * random.uniform(0.9, 1, 3) * (1 - covered)
    seen += random.normal(0, random.uniform(1, 8), seen.shape)
    coded = io.BytesIO()
    picture = Image.fromarray(np.clip(seen, 0, 255).astype(np.uint8))
    picture.save(coded, "JPEG", quality=int(random.integers(35, 95)))
    return np.asarray(Image.open(coded))


def photographed_digit(digit: np.ndarray, random: Random) -> np.ndarray:
    """A digit, uint8 (28, 28), as ``photographed`` shows it, 100 to 320 pixels large."""
    return photographed(penned(digit, random, int(random.integers(100, 320)), 10), random)


def letter(random: Random) -> np.ndarray:
    """A printed letter, 0..1."""
    name = Path(get_data_path()) / "fonts" / "ttf" / f"{random.choice(FONTS)}.ttf"
    page = Image.new("L", (SCENE, SCENE))
    text, middle = str(random.choice(list(string.ascii_letters))), (SCENE // 2, SCENE // 2)
    ImageDraw.Draw(page).text(middle, text, 255, ImageFont.truetype(name, 100), anchor="mm")
    return np.asarray(page) / 255


def scribble(random: Random) -> np.ndarray:
    """One to four lines at random, of nine to fourteen corners in all, 0..1."""
    page, width = np.zeros((SCENE, SCENE), np.uint8), int(random.integers(5, 14))
    corners = random.integers(30, SCENE - 30, (int(random.integers(9, 15)), 2)).astype(np.int32)
    for line in np.array_split(corners, int(random.integers(1, 5))):
        smooth = cv2.resize(line.astype(np.float32), (2, 24 * len(line)), interpolation=cv2.INTER_CUBIC)
        cv2.polylines(page, [np.rint(smooth).astype(np.int32)], False, 255, width, cv2.LINE_AA)
    return page / 255


def patch(random: Random) -> np.ndarray:
    """A part of a photograph among the examples."""
    frame = media.read_image(PICTURES[random.integers(len(PICTURES))]).frames[0]
    side = int(min(frame.shape[:2]) * random.uniform(0.2, 1))
    top, left = (int(random.integers(length - side + 1)) for length in frame.shape[:2])
    return frame[top : top + side, left : left + side]


NO_DIGITS: dict[str, Callable[[Random], np.ndarray]] = {
    "letters": letter,
    "photographed letters": lambda random: photographed(letter(random), random),
    "scribbles": scribble,
    "blank paper": lambda random: photographed(np.zeros((SCENE, SCENE)), random),
    "parts of photographs": patch,
}


def inks(pictures: list[np.ndarray]) -> list[np.ndarray]:
    """Ink of those pictures that have some."""
    found = []
    for picture in pictures:
        try:
            found.append(find_ink(picture))
        except InputError:
            continue
    return found


def subspaces(digits: MnistImages, random: Random) -> Handwriting:
    """Subspaces of the classes, of a random part of the digits; three in four are written anew."""
    chosen = random.permutation(len(digits))[:FITTED]
    maps: list[list[np.ndarray]] = [[] for _ in range(DIGITS)]
    for index in chosen:
        digit = digits.images[index]
        picture = digit if random.random() < 0.25 else written(digit, random)
        maps[digits.labels[index]] += [directions(place_ink(ink)) for ink in inks([picture])]
    means = np.stack([np.mean(each, 0) for each in maps])
    axes, spreads = [], []
    for each, mean in zip(maps, means, strict=True):
        _, lengths, rows = np.linalg.svd(np.stack(each) - mean, full_matrices=False)
        axes.append(rows[:AXES])
        spreads.append(np.sqrt((lengths[AXES:] ** 2).sum() / len(each)))
    return Handwriting(means, np.stack(axes), np.array(spreads), np.ones(2))


def main(data: Path, table: Path = TABLE) -> None:
    """Measure, print and write."""
    random = np.random.default_rng(0)
    fitted = subspaces(MnistImages(split="train", root=data), random)
    held_out = MnistImages(split="validation", root=data).images
    plain, photos, rest = np.split(held_out[random.permutation(len(held_out))], [SHOWN, 2 * SHOWN])
    far = deviations(fitted, inks(list(rest)))[:, 0]
    grey = deviations(fitted, inks([photographed_digit(digit, random) for digit in rest[:SHOWN]]))[:, 1]
    fitted = fitted._replace(limits=np.array([np.quantile(far, WITHIN[0]), np.quantile(grey, WITHIN[1])]))
    pictures = {
        "held-out digits": list(plain),
        "photographed digits": [photographed_digit(digit, random) for digit in photos],
        **{name: [make(random) for _ in range(SHOWN)] for name, make in NO_DIGITS.items()},
    }
    for name, each in pictures.items():
        told = inks(each)
        none = (deviations(fitted, told) > fitted.limits).any(1).sum() if told else 0
        print(f"{name}: {none / len(each):.1%} no digit, {1 - len(told) / len(each):.1%} no ink", flush=True)
    arrays = fitted._replace(means=fitted.means.astype(np.float16), axes=fitted.axes.astype(np.float16))
    media.write_npz(table, **arrays._asdict())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
