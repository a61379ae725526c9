"""Systems and densities of the Lab: their presets, three lines on each, and what suits what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from vflow.densities import ENERGIES, TARGETS

Space = Literal["plane", "torus", "sphere"]
FILE, DRAWN = "file", "drawn"


class System(NamedTuple):
    """A preset of ``vflow train`` with its source, equation and three lines."""

    preset: str
    title: str
    source: str
    equation: str
    lines: tuple[str, str, str]
    space: Space = "plane"
    fits_energies: bool = False


SYSTEMS: tuple[System, ...] = (
    System(
        "spline",
        "Spline flow",
        "Durkan et al. 2019",
        "zᵢ = spline(xᵢ; knots(x₁ … xᵢ₋₁))",
        (
            "Each coordinate goes through a monotonic rational-quadratic spline.",
            "A masked network gives the knots from the coordinates before it.",
            "Both directions have closed forms; the most exact of these flows on the plane.",
        ),
    ),
    System(
        "maf",
        "MAF",
        "Papamakarios et al. 2017",
        "zᵢ = (xᵢ − μ(x₁ … xᵢ₋₁)) · exp(−α(x₁ … xᵢ₋₁))",
        (
            "A coordinate is shifted and scaled given those before it.",
            "The density takes one pass of a masked network, sampling one pass a coordinate.",
            "Twelve layers, the order reversed between them.",
        ),
    ),
    System(
        "maf-batchnorm",
        "MAF with batch norm",
        "Papamakarios et al. 2017",
        "z = exp(γ) (x − mean) / √(variance + ε) + β between layers",
        (
            "The paper's own arrangement: batch norm between the layers.",
            "Training uses the batch's statistics, everything after it running averages.",
            "Its log-determinant is Σ γ − ½ log(variance + ε).",
        ),
    ),
    System(
        "iaf",
        "IAF",
        "Kingma et al. 2016",
        "xᵢ = σ(z₁ … zᵢ₋₁) zᵢ + (1 − σ(z₁ … zᵢ₋₁)) m(z₁ … zᵢ₋₁)",
        (
            "A masked autoregressive flow the other way round, in its gated form.",
            "Sampling takes one pass, the density of a given point one pass a coordinate.",
            "Made for variational inference, where one only scores one's own samples.",
        ),
        fits_energies=True,
    ),
    System(
        "realnvp",
        "Real NVP",
        "Dinh et al. 2017",
        "z₁ = x₁,  z₂ = (x₂ − μ(x₁)) · exp(s(x₁))",
        (
            "One coordinate stays, the other is shifted and scaled given it; then they change places.",
            "The Jacobian is triangular, so its log-determinant is a sum of log-scales.",
            "Both directions take one pass. Residual networks, weight norm, batch norm.",
        ),
    ),
    System(
        "nice",
        "NICE",
        "Dinh et al. 2015",
        "z₁ = x₁,  z₂ = x₂ + m(x₁);  last z · exp(s)",
        (
            "Additive couplings only shift, so they keep volume.",
            "One diagonal scaling at the end says how much each direction matters.",
            "The base is logistic. With volume kept, it cannot cut a blob in two.",
        ),
        fits_energies=True,
    ),
    System(
        "made",
        "MADE with mixtures",
        "Germain et al. 2015; Bishop 1994",
        "p(xᵢ | x₁ … xᵢ₋₁) = Σₖ πₖ N(xᵢ; μₖ, σₖ²)",
        (
            "One masked network gives every conditional at once: a mixture of 24 normals.",
            "As a flow: the logit of the mixture's distribution function, over a logistic base.",
            "A single layer; samples need the inverse of that function, found by Newton steps.",
        ),
    ),
    System(
        "rnade",
        "RNADE",
        "Uria et al. 2013",
        "aᵢ₊₁ = aᵢ + xᵢ wᵢ,  hᵢ = ReLU(ρᵢ aᵢ)",
        (
            "The conditionals share one hidden layer with tied weights.",
            "Each is a mixture of ten normals.",
            "The ancestor of MADE: as exact on the plane, but one step a coordinate.",
        ),
    ),
    System(
        "planar",
        "Planar flow",
        "Rezende & Mohamed 2015",
        "z = x + u tanh(wᵀx + b),  wᵀu > −1",
        (
            "Each of 32 layers pushes points away from or towards a line.",
            "The condition on u keeps every layer invertible.",
            "Here from data to base, so sampling solves for one number, wᵀx, a layer.",
        ),
    ),
    System(
        "radial",
        "Radial flow",
        "Rezende & Mohamed 2015",
        "z = x + β (x − x₀) / (α + |x − x₀|),  β > −α",
        (
            "Each of 32 layers pulls points towards a centre, or pushes them away.",
            "Its inverse is the root of a quadratic.",
            "Good at bumps and holes, poor at edges.",
        ),
    ),
    System(
        "planar-energy",
        "Planar flow, base to data",
        "Rezende & Mohamed 2015",
        "minimise E_q [log q(x) + β U(x)],  β from 0.01 to 1",
        (
            "Variational inference: there are no data, only an energy U.",
            "Samples of the flow are scored by U; the loss is KL(q | p) − log Z.",
            "β rises over the first half, so that q finds all modes before it settles.",
        ),
        fits_energies=True,
    ),
    System(
        "residual",
        "Residual flow",
        "Behrmann et al. 2019; Chen et al. 2019",
        "z = x + g(x),  |g(x) − g(y)| ≤ 0.97 |x − y|",
        (
            "Each of eight blocks adds a network's output, which changes more slowly than x.",
            "The log-determinant is that of the whole Jacobian, which two coordinates can afford.",
            "Any network will do, but a block can stretch by less than 2; sampling inverts it numerically.",
        ),
    ),
    System(
        "continuous",
        "Continuous flow",
        "Chen et al. 2018; Grathwohl et al. 2019",
        "dx/dt = v(x, t),  x′ = x + h v((x + x′) / 2, t)",
        (
            "One network is a field of velocities; points drift along it from data to base.",
            "Eight implicit midpoint steps, each with an exact inverse and log-determinant.",
            "The picture shows the drift back, step by step.",
        ),
    ),
    System(
        "rad",
        "RAD",
        "Dinh et al. 2019",
        "p(x) = p(z) · p(k | z) · |∂z/∂x|,  k: which side",
        (
            "Two folds lay both sides of a line on one latent: two to one, not one to one.",
            "A gate says which side a latent came from, and is ½ on the line: no jump in the density.",
            "Separate pieces need no thin bridges between them.",
        ),
    ),
    System(
        "cdf-network",
        "CDF networks",
        "Magdon-Ismail & Atiya 2002",
        "zᵢ = logit F(xᵢ),  F a network with positive weights",
        (
            "A monotone network from 0 to 1 is a distribution function.",
            "Its derivative is a density, by the chain rule.",
            "The plane is rotated between six such layers to mix the coordinates.",
        ),
    ),
    System(
        "deep-density",
        "Deep density model",
        "Rippel & Adams 2013",
        "z = σ(W x + b) with a leak,  W = U exp(S) V",
        (
            "A stack of sigmoid layers from data onto the unit square.",
            "The singular values exp(S) of W are bounded, so no layer collapses.",
            "A leak lets every layer but the last cover the whole plane.",
        ),
    ),
    System(
        "tabak-turner",
        "Tabak–Turner",
        "Tabak & Turner 2013",
        "z = x + β (x − x₀) erf(r / α) / r,  r = |x − x₀|",
        (
            "A hundred radial bumps are placed one after the other, each where it helps most.",
            "That alone is a density estimate, without any gradient.",
            "Here the gradient then polishes them all together.",
        ),
    ),
    System(
        "copula",
        "Copula flow",
        "Wiese et al. 2019",
        "u = F(x) by coordinate, then a flow on [0, 1]²",
        (
            "Each coordinate first passes through its own CDF, with generalised-Pareto tails.",
            "Then a spline flow on the unit square learns how the coordinates are related.",
            "The flow's slopes are bounded, so the tails stay as the marginals have them.",
        ),
    ),
    System(
        "marginal-tails",
        "Marginals alone",
        "Wiese et al. 2019",
        "1 − F(x) = m (1 + ξ (x − t) / β)^(−1/ξ) beyond t",
        (
            "Only the marginals, each with tails of its own.",
            "Coordinates are independent: what is missing is the copula.",
            "A baseline for the flow above.",
        ),
    ),
    System(
        "circular-spline",
        "Circular splines on the torus",
        "Rezende et al. 2020",
        "zᵢ = spline(xᵢ; knots(cos xⱼ, sin xⱼ : j < i)) on the circle",
        (
            "Splines whose ends meet, with equal slopes: maps of the circle onto itself.",
            "Two angles make a torus, the second given the cosine and sine of the first.",
            "The base is uniform. Densities are per unit of area.",
        ),
        "torus",
    ),
    System(
        "mobius",
        "Möbius flow on the torus",
        "Rezende et al. 2020",
        "θ ↦ Σₖ πₖ [θ + 2 arg(1 − ωₖ e^(−iθ)) − 2 arg(1 − ωₖ)]",
        (
            "A Möbius map moves the circle's points towards one of them; ω inside the disc says how much.",
            "Convex sums of twelve such maps bend an angle at will.",
            "Two angles in turn make a torus.",
        ),
        "torus",
    ),
    System(
        "sphere",
        "Recursive flow on the sphere",
        "Rezende et al. 2020",
        "x ∈ S² ↦ (angle, height), which keeps area",
        (
            "A sphere is a cylinder: an angle by Möbius maps, a height by splines given the angle.",
            "Turning the sphere between layers moves the poles away.",
            "The base is uniform on the sphere.",
        ),
        "sphere",
    ),
    System(
        "earth",
        "Mixture on the sphere under a flow",
        "vflow",
        "p(z) = Σₖ πₖ t(gₖ(z); Σₖ) / (μₖᵀz)³ + π₀ / 4π",
        (
            "Each component is a t density on a tangent plane, long and thin where the data are.",
            "A recursive flow bends them together.",
            "The base is placed on the points first.",
        ),
        "sphere",
    ),
)
BY_PRESET = {system.preset: system for system in SYSTEMS}
LEADING = ("spline", "maf", "realnvp", "residual", "continuous", "made")
"""Where more suit, the others are history."""
LABELS = {
    "two-moons": "Two moons",
    "rings": "Rings",
    "checkerboard": "Checkerboard",
    "eight-gaussians": "Eight Gaussians",
    "pinwheel": "Pinwheel",
    "spirals": "Spirals",
    "torus": "Three bumps on a torus",
    "sphere": "Four bumps on a sphere",
    "u1": "Energy 1: two half rings",
    "u2": "Energy 2: a wave",
    "u3": "Energy 3: a wave that parts",
    "u4": "Energy 4: a wave with a step",
}
CHOICES: list[tuple[str, str]] = [
    *((LABELS[name], name) for name in (*TARGETS, *ENERGIES)),
    ("Draw one", DRAWN),
    ("A file of points (CSV, npz)", FILE),
]
EXAMPLES = ("two-moons", "pinwheel", "rings", "checkerboard", "spirals", "torus", "sphere", "u1")


def space_of(source: str) -> Space:
    """Space that the points of ``source`` lie in."""
    match source:
        case "torus" | "sphere":
            return source
        case _:
            return "plane"


def suited(source: str) -> list[System]:
    """Systems that can learn ``source``, those that lead first, then the most exact."""
    if source in ENERGIES:
        return sorted(
            (s for s in SYSTEMS if s.fits_energies), key=lambda system: system.preset != "planar-energy"
        )
    fitting = [s for s in SYSTEMS if s.space == space_of(source) and s.preset != "planar-energy"]
    return sorted(fitting, key=lambda system: (*LEADING, system.preset).index(system.preset))


def choices(source: str) -> list[tuple[str, str]]:
    """(title, preset) of the systems that suit ``source``, in their order."""
    fitting = suited(source)
    history = "" if len(fitting) <= len(LEADING) else "History: "
    return [(s.title if s.preset in LEADING else history + s.title, s.preset) for s in fitting]


def asked_for(query: Mapping[str, str], density: str) -> tuple[str, str]:
    """Density and system that an address names (``density=rings&system=maf``); what it leaves open is usual.

    Args:
        density: that of an address which names none, where the system suits it.
    """
    system = query.get("system", "")
    named = [name for name in (query.get("density", ""), density, *LABELS) if name in LABELS]
    fitting = [name for name in named if system in [each.preset for each in suited(name)]]
    found = next(iter(fitting or named))
    return found, system if fitting else suited(found)[0].preset
