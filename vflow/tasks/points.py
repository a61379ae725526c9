"""Densities of vectors."""

from vflow.registry import Card, Family, Kind

FAMILY = Family(
    name="density",
    does="draw points",
    kinds={
        "density": Kind("vflow.config.density:DensityConfig", "vflow.models.density:DensityModel"),
    },
    card=Card(
        "density-estimation",
        "A normalizing flow on vectors: gives the density of points, and draws more",
        "points = vflow.sample(model, num_samples=1000)",
    ),
    datasets=("points",),
    data="vflow.training.points:open_point_data",
    evaluate="vflow.pipelines.evaluate.density:evaluate_density",
    reads=("limit", "temperature"),
)
