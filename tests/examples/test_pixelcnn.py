from __future__ import annotations

import math

import pytest
import torch

from examples.pixelcnn import PixelCNN, PixelCNNConfig, _logistics
from examples.row_lstm import row_lstm

NETWORKS = ["gated", "row-lstm"]


def model(network: str, output: str = "softmax", classes: int = 3, layers: int = 2) -> PixelCNN:
    torch.manual_seed(0)
    config = PixelCNNConfig.model_validate(
        {
            "height": 7, "width": 6, "output": output, "hidden": 8, "layers": layers,
            "kernel": 3, "mixtures": 2, "classes": classes,
        }
    )  # fmt: skip
    made = row_lstm(config) if network == "row-lstm" else PixelCNN(config)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return made.eval()


def images(count: int = 2) -> torch.Tensor:
    return torch.randint(0, 256, (count, 1, 7, 6), generator=torch.Generator().manual_seed(1)).to(torch.uint8)


def dependence(made: PixelCNN, row: int, column: int) -> torch.Tensor:
    """Pixels (7, 6) that the distribution of one pixel depends on, by the gradient of its features."""
    x = torch.randn(1, 1, 7, 6, requires_grad=True)
    features = made.network(x, torch.zeros(1, dtype=torch.int64))
    (gradient,) = torch.autograd.grad(features[0, :, row, column].square().sum(), x)
    return gradient[0, 0] != 0


@pytest.mark.parametrize("network", NETWORKS)
def test_a_pixel_depends_on_those_before_it_alone(network: str) -> None:
    made = model(network, layers=3)
    order = torch.arange(42).view(7, 6)
    for row, column in ((0, 0), (0, 3), (3, 0), (3, 2), (6, 5)):
        seen = dependence(made, row, column)
        assert not seen[order >= row * 6 + column].any()


def test_gated_convolutions_have_no_blind_spot() -> None:
    """Three layers of 3×3 see every pixel above within reach, to the right as well, and those to the left."""
    seen = dependence(model("gated", layers=3), 3, 2)
    assert seen[0:3].all()
    assert seen[3, :2].all()


@pytest.mark.parametrize("layers", [1, 2])
def test_row_lstms_see_the_triangle_of_the_paper(layers: int) -> None:
    """A pixel more on each side with every row above; all of it, and nothing else.

    The masked 7×7 convolution reaches three pixels, each 1×3 convolution of inputs one further to the left,
    and each 3×1 convolution of states one to either side.
    """
    made, row, column = model("row-lstm", layers=layers), 4, 9
    x = torch.randn(1, 1, 7, 20, requires_grad=True)
    features = made.network(x, torch.zeros(1, dtype=torch.int64))[0, :, row, column]
    (gradient,) = torch.autograd.grad(features.square().sum(), x)
    expected = torch.zeros(7, 20, dtype=torch.bool)
    for up in range(row + 1):
        expected[row - up, column - 3 - layers - up : column + up + 3 if up else column] = True
    assert torch.equal(gradient[0, 0] != 0, expected)


def test_the_last_column_is_seen_below_it_in_a_row_lstm() -> None:
    made = model("row-lstm", layers=1)
    assert dependence(made, 3, 5)[2, 5] and dependence(made, 3, 2)[2, 3:6].all()


@pytest.mark.parametrize("output", ["softmax", "logistics"])
@pytest.mark.parametrize("network", NETWORKS)
def test_probabilities_of_all_grey_levels_add_up(network: str, output: str) -> None:
    made = model(network, output)
    with torch.no_grad():
        table = made.log_probabilities(images(), torch.tensor([0, 2]))
        assert table.shape == (2, 256, 7, 6)
        assert torch.allclose(table.exp().sum(1), torch.ones(2, 7, 6), atol=1e-4)
        chosen = table.gather(1, images().long()).sum((1, 2, 3))
        assert torch.allclose(made.log_probability(images(), torch.tensor([0, 2])), chosen)


def test_logistics_are_integrated_from_half_below_a_grey_level_to_half_above() -> None:
    h = torch.tensor([0.0, 100 / 32, 0.3]).view(1, 3, 1, 1)
    p, scale = _logistics(h).exp().flatten(), math.exp(2.3)
    levels = torch.arange(1.0, 255)
    below, above = (torch.sigmoid((levels + side - 100) / scale) for side in (-0.5, 0.5))
    torch.testing.assert_close(p[1:255], above - below, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(p[1:100].flip(0), p[101:200], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("network", NETWORKS)
def test_rows_one_by_one_have_the_same_features(network: str) -> None:
    made = model(network, layers=3)
    x, rows = torch.randn(2, 1, 7, 6), torch.tensor([0, 2])
    with torch.no_grad():
        whole, memory = made.network(x, rows), made.network.memory(x[:, :, :1])
        for index, row in enumerate(x.split(1, 2)):
            assert torch.allclose(made.network.row(row, memory, rows)[:, :, 0], whole[:, :, index], atol=1e-5)
            memory = made.network.advance(row, memory, rows)


@pytest.mark.parametrize("network", NETWORKS)
def test_labels_matter(network: str) -> None:
    made = model(network)
    with torch.no_grad():
        assert not torch.allclose(
            made.log_probability(images(), torch.tensor([0, 0])),
            made.log_probability(images(), torch.tensor([1, 1])),
            atol=1e-3,
        )


@pytest.mark.parametrize("network", NETWORKS)
def test_samples_invert_their_noise(network: str) -> None:
    """Noise below the first grey level's share draws 0, and a pixel's noise changes no pixel before it."""
    made = model(network)
    noise = torch.rand(1, 7, 6, generator=torch.Generator().manual_seed(0))
    other = noise.clone()
    other[0, 3, 2] = 1 - other[0, 3, 2]
    with torch.no_grad():
        first, second = made.sample(noise), made.sample(other)
        assert int(made.sample(torch.zeros(1, 7, 6) + 1e-9).max()) == 0
    assert torch.equal(first.flatten()[: 3 * 6 + 2], second.flatten()[: 3 * 6 + 2])
    assert not torch.equal(first, second)


@pytest.mark.parametrize("network", NETWORKS)
def test_learning_lowers_the_cost(network: str) -> None:
    made = model(network, classes=0)
    constant = torch.full((4, 1, 7, 6), 77, dtype=torch.uint8)
    optimizer = torch.optim.Adam(made.parameters(), 1e-2)
    costs = []
    for _ in range(40):
        loss = -made.log_probability(constant).mean()
        costs.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert costs[-1] < 0.5 * costs[0]


@pytest.mark.parametrize("network", NETWORKS)
def test_samples_are_drawn_where_the_weights_are(network: str) -> None:
    """On a device without numbers, as any tensor left on the CPU would be refused there."""
    labels = torch.zeros(2, dtype=torch.int64, device="meta")
    made = model(network).to("meta").generate(2, labels, torch.Generator())
    assert made.device.type == "meta" and made.shape == (2, 1, 7, 6)
