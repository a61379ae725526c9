"""TarFlow: affine autoregressive blocks whose networks are causal transformers (Zhai et al. 2024)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vflow.bijections.base import Bijection, Context, accumulation_dtype, zero_density
from vflow.bijections.element import Affine, Element
from vflow.nn.masked import MADE
from vflow.nn.modules import ModuleList

Cache = Tensor  # keys and values of the tokens so far, (2, B, heads, tokens, channels of a head)


@final
class Patches(Bijection):
    """Space to depth: (B, C, H, W) ↔ (B, C · side², H / side, W / side), a patch in each position."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def transform(self, x: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        return F.pixel_unshuffle(x, self.side), zero_density(x)

    def invert(self, z: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        x = F.pixel_shuffle(z, self.side)
        return x, zero_density(x)


@final
class CausalLayer(nn.Module):
    """Self-attention of each token to itself and the tokens before it, then an MLP (Vaswani et al. 2017)."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm, self.mlp_norm = nn.LayerNorm(hidden), nn.LayerNorm(hidden)
        self.qkv, self.attention_out = nn.Linear(hidden, 3 * hidden), nn.Linear(hidden, hidden)
        self.mlp = nn.Sequential(nn.Linear(hidden, 4 * hidden), nn.GELU(), nn.Linear(4 * hidden, hidden))

    def forward(self, h: Tensor, cache: Cache | None) -> tuple[Tensor, Cache]:
        """Tokens (B, n, hidden) that follow those of ``cache``: their features, and the cache with them."""
        qkv = self.qkv(self.attention_norm(h)).unflatten(2, (3, self.heads, -1))
        qkv = qkv.permute(2, 0, 3, 1, 4)
        kept = qkv[1:] if cache is None else torch.cat([cache, qkv[1:]], 3)
        q, k, v = (x.flatten(0, 1) for x in (qkv[0], *kept))
        later = torch.full((q.shape[1], k.shape[1]), -math.inf, dtype=q.dtype, device=q.device)
        later = later.triu(1 + k.shape[1] - q.shape[1])
        scores = torch.baddbmm(later, q, k.transpose(1, 2), alpha=q.shape[2] ** -0.5)
        seen = (scores.softmax(-1) @ v).unflatten(0, (-1, self.heads))
        h = h + self.attention_out(seen.transpose(1, 2).flatten(2))
        return h + self.mlp(self.mlp_norm(h)), kept


class TransformerSize(NamedTuple):
    """Sizes of a block's networks.

    hidden: channels of a token.
    layers: of the transformer.
    heads: of their attention.
    head: units of a masked network for dependence within a token; 0: there is none.
    """

    hidden: int = 64
    layers: int = 2
    heads: int = 4
    head: int = 0


@final
class CausalTransformer(nn.Module):
    """Features for each token from the tokens before it, and from what is given (Vaswani et al. 2017)."""

    def __init__(self, tokens: int, inputs: int, size: TransformerSize, features: int = 0) -> None:
        super().__init__()
        self.token_in = nn.Linear(inputs, size.hidden)
        self.place = nn.Parameter(0.02 * torch.randn(tokens, size.hidden))
        self.context_in = nn.Linear(features, size.hidden, bias=False) if features else None
        self.layers = ModuleList([CausalLayer(size.hidden, size.heads) for _ in range(size.layers)])
        self.norm = nn.LayerNorm(size.hidden)

    def forward(
        self, before: Tensor, given: Tensor | None, caches: Sequence[Cache] | None = None
    ) -> tuple[Tensor, list[Cache]]:
        """Features (B, n, hidden) of tokens after those in ``caches``, and the keys and values of all.

        Args:
            before: of each token those before it that it sees at once, (B, n, inputs).
            given: context, (B, n or 1, features).
            caches: of each layer, from the call for the tokens before; None: there are none.
        """
        first = 0 if caches is None else caches[0].shape[3]
        h = self.token_in(before) + self.place[first : first + before.shape[1]]
        if self.context_in is not None:
            if given is None:
                raise ValueError("this network is conditional: pass its context")
            h = h + self.context_in(given)
        kept = []
        for index, layer in enumerate(self.layers):
            h, cache = layer(h, None if caches is None else caches[index])
            kept.append(cache)
        return self.norm(h), kept


@final
class TransformerBlock(Bijection):
    """z_t = f(x_t; h_t) elementwise, h_t = net(x_1, …, x_{t−1}, context) for tokens x_t; f affine as a rule.

    With ``size.head`` h of a number also depends on those before it in its token. Data to latent takes one
    pass; latent to data goes token by token, and each reads the keys and values of those before it. Tokens
    are the positions of an image (B, C, H, W) in raster order, or parts of the C numbers of each: of a vector
    (B, D, 1, 1) its elements in turn.

    Args:
        shape: C, H and W.
        size: of the transformer.
        token: numbers of a token; None: C.
        offsets: the tokens so many places before one are its input; all others it attends to.
        features: F of the context, (B, F, H, W) or (B, F, 1, 1); 0 for none.
        element: f; affine ones keep their log scales between −5 and 5.
        reverse: tokens come last to first.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        size: TransformerSize,
        *,
        token: int | None = None,
        offsets: Sequence[int] = (1,),
        features: int = 0,
        element: Element | None = None,
        reverse: bool = False,
    ) -> None:
        super().__init__()
        self.width, self.token, self.reverse = shape[0], token or shape[0], reverse
        self.element, self.offsets = element or Affine(), tuple(offsets)
        self.parts, rest = divmod(shape[0], self.token)  # tokens of a position
        if rest:
            raise ValueError(f"{shape[0]} numbers are not divisible into tokens of {self.token}")
        tokens = math.prod(shape) // self.token
        self.net = CausalTransformer(tokens, self.token * len(self.offsets), size, features)
        self.net_out = nn.Linear(size.hidden, self.token * self.element.count)
        nn.init.zeros_(self.net_out.weight)
        nn.init.zeros_(self.net_out.bias)
        self.net_within = None
        if size.head:
            self.net_within = MADE(self.token, self.element.count, [size.head], features=size.hidden)

    def _to_tokens(self, x: Tensor, numbers: int) -> Tensor:
        """(B, C, H, W) → (B, tokens, numbers), C being a multiple of ``numbers``."""
        tokens = x.flatten(2).unflatten(1, (-1, numbers)).permute(0, 3, 1, 2).flatten(1, 2)
        return tokens.flip(1) if self.reverse else tokens

    def _to_image(self, tokens: Tensor, like: Tensor) -> Tensor:
        """Inverse of ``_to_tokens``."""
        tokens = tokens.flip(1) if self.reverse else tokens
        parts = tokens.unflatten(1, (like[0, 0].numel(), -1)).permute(0, 2, 3, 1)
        return parts.flatten(1, 2).unflatten(2, like.shape[2:])

    def _given(self, context: Context) -> Tensor | None:
        """Context of each token, or of all, (B, tokens or 1, F)."""
        if context is None or self.net.context_in is None:
            return None
        given = self._to_tokens(context, context.shape[1])
        return given if given.shape[1] == 1 else given.repeat_interleave(self.parts, 1)

    def _element_parameters(self, features: Tensor) -> Callable[[Tensor], Tensor]:
        """Given features (B, n, hidden): tokens (B, n, token) → (B, n, token, count), float32 or wider."""
        h = self.net_out(features).unflatten(2, (self.token, -1))
        within = None if self.net_within is None else self.net_within.prepare(features.flatten(0, 1))

        def parameters(x: Tensor) -> Tensor:
            found = h if within is None else h + within(x.flatten(0, 1)).unflatten(0, x.shape[:2])
            return found.to(accumulation_dtype(x.dtype))

        return parameters

    def transform(self, x: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        tokens = self._to_tokens(x, self.token)
        before = [F.pad(tokens, (0, 0, offset, 0))[:, : tokens.shape[1]] for offset in self.offsets]
        features, _ = self.net(torch.cat(before, 2), self._given(context))
        z, log_slope = self.element.forward(tokens, self._element_parameters(features)(tokens))
        return self._to_image(z, x), self._to_image(log_slope, x).sum(1)

    def invert(self, z: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        return self._decode(z, self._given(context))

    def invert_guided(self, z: Tensor, context: Tensor, unguided: Tensor, weight: float) -> Tensor:
        """Latent to data with parameters h + w · t / (T − 1) · (h − h₀), h₀ those under ``unguided``.

        Guidance without a classifier (Zhai et al. 2024): the image is no draw from the model.
        """
        return self._decode(z, self._given(torch.cat([context, unguided])), weight)[0]

    def _decode(
        self, z: Tensor, given: Tensor | None, guidance: float | None = None
    ) -> tuple[Tensor, Tensor]:
        """Inverse of ``transform``; with ``guidance`` a second half of ``given`` is what it leads from."""
        tokens, slopes, caches = self._to_tokens(z, self.token), [], None
        found = [torch.zeros_like(tokens[:, :1])] * max(self.offsets)
        for index, latent in enumerate(tokens.split(1, 1)):
            before = torch.cat([found[-offset] for offset in self.offsets], 2)
            seen = given if given is None or given.shape[1] == 1 else given[:, index : index + 1]
            if guidance is not None:
                before = before.repeat(2, 1, 1)
            weight = None if guidance is None else guidance * index / max(tokens.shape[1] - 1, 1)
            value, log_slope, caches = self.decode_token(latent, before, seen, caches, weight)
            found.append(value)
            slopes.append(log_slope)
        x = torch.cat(found[max(self.offsets) :], 1)
        return self._to_image(x, z), self._to_image(torch.cat(slopes, 1), z).sum(1)

    def decode_token(
        self,
        z: Tensor,
        before: Tensor,
        given: Tensor | None,
        caches: Sequence[Cache] | None = None,
        weight: float | None = None,
    ) -> tuple[Tensor, Tensor, list[Cache]]:
        """Inverse of f for the next token: at once, or one number after another.

        Args:
            z: its latents, (B, 1, token). before, given, caches: as ``CausalTransformer`` takes them.
            weight: of guidance; a second half of ``before`` and ``given`` is what it leads from.

        Returns:
            Its numbers (B, 1, token), their log slopes, and the caches with it.
        """
        features, kept = self.net(before, given, caches)
        parameters = self._element_parameters(features)
        parts = 1 if self.net_within is None else self.token
        x, slopes = torch.zeros_like(z), []
        for own in range(0, self.token, self.token // parts):
            h = parameters(x if weight is None else x.repeat(2, 1, 1))
            if weight is not None:
                h, without = h.chunk(2)
                h = h + weight * (h - without)
            part = slice(own, own + self.token // parts)
            value, log_slope = self.element.inverse(z[..., part], h[:, :, part])
            x = torch.cat([x[..., :own], value, x[..., part.stop :]], 2)
            slopes.append(log_slope)
        return x, torch.cat(slopes, 2), kept
