"""Small vision transformers: images become tokens, one for each place of a grid, that attend to each other.

There is neither dropout nor stochastic depth. They would draw from torch's global stream, so that a network would
depend on what else is trained beside it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdnb.errors import ProfileError
from kdnb.training.models import Network


class SelfAttention(nn.Module):
    """Every token takes from every token, in several heads."""

    def __init__(self, width: int, heads: int, bias: bool = True) -> None:
        super().__init__()
        self.heads = heads
        self.queries_keys_values = nn.Linear(width, 3 * width, bias)
        self.out = nn.Linear(width, width)

    def _split(self, tokens: Tensor) -> Tensor:
        n, t, _ = tokens.shape
        return self.queries_keys_values(tokens).view(n, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)

    def weights(self, tokens: Tensor) -> Tensor:
        """(N, heads, T, T): how much each token takes from each; rows sum to one."""
        q, k, _ = self._split(tokens)
        return (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).softmax(dim=-1)

    def forward(self, tokens: Tensor, weights: Tensor | None = None) -> Tensor:
        """Tokens (N, T, D) to what each took, (N, T, D); by these weights (N, heads, T, T) where they are given."""
        q, k, v = self._split(tokens)
        taken = F.scaled_dot_product_attention(q, k, v) if weights is None else weights @ v
        return self.out(taken.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention and a perceptron with `hidden` units, each on normalised tokens, each added to its input."""

    def __init__(self, width: int, heads: int, hidden: int, bias: bool = True) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), SelfAttention(width, heads, bias)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def weights(self, tokens: Tensor) -> Tensor:
        """The attention weights (N, heads, T, T) of tokens (N, T, D)."""
        return self.attention.weights(self.norm1(tokens))

    def forward(self, tokens: Tensor, weights: Tensor | None = None) -> Tensor:
        """Tokens (N, T, D) to such; by these attention weights where they are given."""
        tokens = tokens + self.attention(self.norm1(tokens), weights)
        return tokens + self.mlp(self.norm2(tokens))


class CompactBlock(Block):
    """As the code of Hassani et al. 2021 has it: no bias in queries, keys and values, a perceptron no wider than the
    tokens, and the second norm on the sum itself, so that it lies on the way of both the perceptron and its shortcut.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(width, heads, hidden=width, bias=False)

    def forward(self, tokens: Tensor, weights: Tensor | None = None) -> Tensor:
        tokens = self.norm2(tokens + self.attention(self.norm1(tokens), weights))
        return tokens + self.mlp(tokens)


class Encoder(nn.Module):
    """Images to a map of normalised tokens, (N, width, grid, grid)."""

    grid: int
    """tokens in a row, and in a column"""
    position: nn.Parameter
    blocks: nn.ModuleList
    norm: nn.LayerNorm

    def places(self, images: Tensor) -> Tensor:
        """What becomes of each place of images (N, 3, S, S) before any knows of others, (N, width, grid, grid)."""
        raise NotImplementedError

    def tokens(self, images: Tensor) -> Tensor:
        """Tokens (N, T, width) with their positions, T = grid²; places go row by row."""
        return self.places(images).flatten(2).transpose(1, 2) + self.position

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.tokens(images)
        for block in self.blocks:
            tokens = block(tokens)
        return self._map(tokens)

    def explained(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The same map, and the attention weights (N, heads, T, T) of each block that it was computed by: a gradient of
        what follows reaches them."""
        tokens, attentions = self.tokens(images), []
        for block in self.blocks:
            assert isinstance(block, Block)
            attentions.append(block.weights(tokens))
            tokens = block(tokens, attentions[-1])
        return self._map(tokens), attentions

    def _map(self, tokens: Tensor) -> Tensor:
        return self.norm(tokens).transpose(1, 2).unflatten(2, (self.grid, self.grid))


class PatchEncoder(Encoder):
    """Tokens are patches, one for each place of an 8×8 grid, each by one linear layer (Dosovitskiy et al. 2021).

    Raises:
        ProfileError: the side does not divide by the grid.
    """

    def __init__(self, name: str, side: int, width: int, depth: int, heads: int, grid: int = 8) -> None:
        super().__init__()
        if side % grid:
            raise ProfileError(
                f"{name} cuts an image into {grid}×{grid} patches; a side of {side} pixels does not divide"
            )
        self.grid = grid
        self.patches = nn.Conv2d(3, width, side // grid, side // grid)
        self.position = nn.Parameter(torch.empty(1, grid * grid, width))
        nn.init.trunc_normal_(self.position, std=0.02)
        self.blocks = nn.ModuleList(Block(width, heads, 4 * width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def places(self, images: Tensor) -> Tensor:
        return self.patches(images)


class CompactEncoder(Encoder):
    """That of a compact convolutional transformer, CCT-L/3×2 (Hassani et al. 2021, arXiv 2104.05704, section 3; released
    in SHI-Labs/Compact-Transformers, ``src/cct.py``), L = `depth`.

    Tokens come from two 3×3 convolutions of stride 1 without bias, of 64 and `width` channels, each with ReLU and a 3×3
    maximum of stride 2: one for each 4×4 pixels. Positions are learned. All start as released: convolutions by He et
    al. 2015, linear layers from a normal distribution of standard deviation 0.02, cut off, and positions of 0.2.
    """

    def __init__(self, side: int, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.grid = (side + 3) // 4  # each maximum halves it, rounded up
        self.tokenizer = nn.Sequential(*_halving(3, 64), *_halving(64, width))
        self.position = nn.Parameter(torch.empty(1, self.grid**2, width))
        self.blocks = nn.ModuleList(CompactBlock(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        nn.init.trunc_normal_(self.position, std=0.2)
        _start(self)

    def places(self, images: Tensor) -> Tensor:
        return self.tokenizer(images)


class SequencePooling(nn.Module):
    """A head that weighs tokens by what they are, (N, D, h, w) to logits (N, K): Hassani et al. 2021, section 3.1."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.pool, self.linear = nn.Linear(width, 1), nn.Linear(width, classes)
        _start(self)

    def weights(self, maps: Tensor) -> Tensor:
        """What each place of maps (N, D, h, w) counts, (N, h·w); rows sum to one."""
        return self.pool(maps.flatten(2).transpose(1, 2)).squeeze(2).softmax(dim=1)

    def forward(self, maps: Tensor) -> Tensor:
        return self.linear(torch.einsum("ndt,nt->nd", maps.flatten(2), self.weights(maps)))


def _halving(inputs: int, outputs: int) -> tuple[nn.Module, nn.Module, nn.Module]:
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)


def _start(part: nn.Module) -> None:
    for module in part.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


# -- networks -----------------------------------------------------------------------------------------------------------


class Transformer(Network):
    """Tokens that attend to each other in blocks, in a grid of places, and a head that pools them into one.

    Args:
        features: images to a map of tokens.
        classifier: the head, an `nn.Linear` on the mean over places or a `SequencePooling`.
    """

    features: Encoder
    any_width = False  # a token's position is learned for a whole image

    def __init__(self, features: Encoder, classifier: nn.Module) -> None:
        super().__init__()
        self.features, self.classifier = features, classifier

    @property
    def map_methods(self) -> tuple[str, ...]:
        return (*super().map_methods, "rollout", "attention-last", "attention-gradient")

    def own_maps(self, images: Tensor, predicted: Tensor) -> dict[str, Tensor]:
        from kdnb.zoo import attention

        return {
            "rollout": attention.rollout(self, images),
            "attention-last": attention.last_attention(self, images),
            "attention-gradient": attention.gradient_attention(self, images, predicted),
        }

    def head(self, maps: Tensor) -> Tensor:
        return super().head(maps) if isinstance(self.classifier, nn.Linear) else self.classifier(maps)

    def pooling(self, maps: Tensor) -> Tensor:
        """How much the head takes from each place of maps (N, D, h, w): (N, h·w), rows sum to one."""
        if isinstance(self.classifier, SequencePooling):
            return self.classifier.weights(maps)
        places = maps.shape[-2] * maps.shape[-1]
        return maps.new_full((len(maps), places), 1.0 / places)

    def pooled(self, maps: Tensor, weights: Tensor) -> Tensor:
        """Logits (N, K) of maps (N, D, h, w) where the head takes `weights` (N, h·w) from the places."""
        linear = self.classifier.linear if isinstance(self.classifier, SequencePooling) else self.classifier
        return linear(torch.einsum("ndt,nt->nd", maps.flatten(2), weights))

    def attentions(self, images: Tensor) -> Tensor:
        """The attention weights of every block, shape (N, blocks, heads, T, T) of T tokens; rows sum to one."""
        return torch.stack(self.features.explained(images)[1], dim=1)


def build(name: str, side: int, classes: int) -> Transformer:
    """The network of that name, its weights drawn by torch's global generator.

    Raises:
        ProfileError: it takes no images of that side.
    """
    if name == "vit-tiny":
        encoder: Encoder = PatchEncoder(name, side, width=96, depth=6, heads=3)
        return Transformer(encoder, nn.Linear(96, classes))
    depth = int(name.split("-")[1])
    encoder = CompactEncoder(side, width=128, depth=depth, heads=2)
    return Transformer(encoder, SequencePooling(128, classes))
