"""Where a transformer looks, by its attention: maps (N, h, w) of the places of its tokens.

==================  ================================================================================
rollout             attention, multiplied through the blocks
attention-last      attention nearest the answer
attention-gradient  attention, weighed with the gradient of the predicted class
==================  ================================================================================

The head pools all tokens, so there is no class token whose row could be read. Its pooling takes that row's place, as one more
attention: of one query that takes from every token, evenly where the head is a mean, by learned weights in a CCT.
"""

import torch
from torch import Tensor

from kdnb.zoo.transformers import SequencePooling, Transformer


def rollout(network: Transformer, images: Tensor) -> Tensor:
    """Attention rollout (Abnar & Zuidema 2020): each block's attention, the mean over heads, with the identity added
    for the residual and rows made to sum to one again, multiplied through the blocks; read by the head's pooling.

    Returns:
        (N, h, w), above zero, each summing to one.
    """
    maps, attentions = network.features.explained(images)
    row = network.pooling(maps).unsqueeze(1)
    for attention in reversed(attentions):
        row = 0.5 * (row @ attention.mean(dim=1) + row)  # rows of attention and identity sum to two
    return _as_map(row.squeeze(1), maps)


def last_attention(network: Transformer, images: Tensor) -> Tensor:
    """The attention nearest the answer. Where the head weighs tokens (CCT), those weights; where it takes their mean
    (vit-tiny), what each token receives in the last block, the mean over heads and over the tokens that take.

    Returns:
        (N, h, w), above zero, each summing to one.
    """
    maps, attentions = network.features.explained(images)
    weighs = isinstance(network.classifier, SequencePooling)
    return _as_map(network.pooling(maps) if weighs else attentions[-1].mean(dim=(1, 2)), maps)


def gradient_attention(network: Transformer, images: Tensor, target: Tensor) -> Tensor:
    """Attention weighed with its gradient (Chefer, Gur & Wolf 2021, "Generic Attention-model Explainability", eqs 5 and
    6): of each block the positive part of the logit's gradient times the attention, the mean over heads, with the
    identity added, multiplied through the blocks; read by the same of the head's pooling.

    It differs from the paper in what it is read by, since there is no class token. For a network without blocks and
    with a mean for its pooling it is Grad-CAM.

    Args:
        images: normalised, (N, 3, S, S).
        target: the class to explain for each image, (N,).

    Returns:
        (N, h, w), not negative.
    """
    with torch.enable_grad():
        # Frozen weights would leave a graph without an end that needs a gradient.
        maps, attentions = network.features.explained(images.detach().requires_grad_())
        pooling = network.pooling(maps).requires_grad_()
        logits = network.pooled(maps, pooling).gather(1, target.view(-1, 1))
        slopes = torch.autograd.grad(logits.sum(), [*attentions, pooling])
    row = (slopes[-1] * pooling.detach()).clamp(min=0).unsqueeze(1)
    for attention, slope in zip(reversed(attentions), reversed(slopes[:-1]), strict=True):
        row = row + row @ (slope * attention.detach()).clamp(min=0).mean(dim=1)
    return _as_map(row.squeeze(1), maps)


def _as_map(tokens: Tensor, like: Tensor) -> Tensor:
    return tokens.detach().unflatten(1, like.shape[-2:])
