"""A classifier of torchvision or timm, taken apart at a map: what leads to it, and the head that answers from it.

The map is the last value of shape (N, D, h, w), h and w above one, in the network's own code, if only a head follows: pooling,
norms, activations, linear layers and 1×1 convolutions. A layer that is named takes its place, whatever follows it. The code is
traced by torch.fx, and only as deep as this takes; all other modules stay as they are and run as they always do.

Dropout and stochastic depth are taken out. They would draw from torch's global stream, so that a network would depend on what
else is trained beside it.
"""

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from kdnb.errors import ProfileError
from kdnb.training.models import Network

REFUSALS = (RuntimeError, ValueError, AssertionError, TypeError, IndexError)
"""what networks raise for images of a size that they do not take"""

POOLINGS = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
"""which make a map of any size from one of any other, so that it says no more than the one before"""


@dataclass(frozen=True)
class Parts:
    features: nn.Module
    """normalised images (N, 3, S, S) to maps (N, D, h, w)"""
    classifier: nn.Module
    """an `nn.Linear` that answers from the mean of a map, or what answers from a map as it is, (N, D, h, w) to (N, K)"""
    any_width: bool
    """whether it takes half of an image too"""


class Backbone(Network):
    """A library's network in two parts. Where its head is more than a linear layer on the mean, `classifier` is that head."""

    recordable = False

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.features, self.classifier, self.any_width = parts.features, parts.classifier, parts.any_width

    def head(self, maps: Tensor) -> Tensor:
        if isinstance(self.classifier, nn.Linear):
            return super().head(maps)
        return self.classifier(maps.clone())  # its first step may write into its input


def take(name: str, layer: str, classes: int, side: int) -> Parts:
    """The parts of a new network, its weights drawn by torch's global generator.

    Args:
        name: ``torchvision:NAME`` or ``timm:NAME``.
        layer: the module whose output is the map, by its dotted name in the network; empty: it is found.
        side: of the images, in pixels.

    Raises:
        ProfileError: there is no such network or layer, it takes no images of that side, or no map was found. In the last case
            the layers that may be named are listed.
    """
    try:
        network = _made(name, classes, side)
    except REFUSALS as error:
        raise ProfileError(f"{name} cannot be built for {side}×{side} pixels ({_first_line(error)})") from None
    _take_out_chance(network)
    network.eval()
    if layer and layer not in dict(network.named_modules()):
        known = [path for path, _ in network.named_children()]
        raise ProfileError(f"{name} has no layer {layer!r} as map_layer; its parts are {', '.join(known)}")
    graph = _traced(name, network, layer, classes)
    shapes = _shapes(name, network, graph, side)
    node = _map(name, network, graph, shapes, layer, side)
    before, after = _before(network, graph, node), _after(network, graph, node)
    linear = _linear_over_mean(after, shapes[node])
    any_width = _answers(before, after, side, side // 2)
    for part in (before, after):
        part.train()
    return Parts(before, linear or after, any_width)


# -- the network -----------------------------------------------------------------------------------------------------


def _made(name: str, classes: int, side: int) -> nn.Module:
    library, _, own = name.partition(":")
    return _of_timm(own, classes) if library == "timm" else _of_torchvision(own, classes, side)


def _of_torchvision(name: str, classes: int, side: int) -> nn.Module:
    import torchvision

    settings: dict[str, Any] = {}
    if name in ("googlenet", "inception_v3"):
        settings = {"aux_logits": False, "init_weights": True}  # one answer, in training too
    elif name.startswith("vit_"):
        settings = {"image_size": side}
    elif name.startswith("maxvit_"):
        settings = {"input_size": (side, side)}
    return torchvision.models.get_model(name, weights=None, num_classes=classes, **settings)


def _of_timm(name: str, classes: int) -> nn.Module:
    try:
        import timm
    except ImportError:
        raise ProfileError(f"timm:{name} needs timm, which is not installed: pip install timm") from None
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=5, cutoff=0.3)
        raise ProfileError(
            f"timm has no model {name!r}; near it are {', '.join(near) or 'none'}, and timm.list_models() has all"
        )
    return timm.create_model(name, pretrained=False, num_classes=classes)


def _take_out_chance(network: nn.Module) -> None:
    for parent in list(network.modules()):
        if isinstance(getattr(parent, "drop_rate", None), float):
            # Dropout by a function, in torchvision's DenseNet and in timm's networks.
            setattr(parent, "drop_rate", 0.0)  # noqa: B010  # to mypy a module holds tensors and modules
        for name, child in parent.named_children():
            dropout = isinstance(child, nn.modules.dropout._DropoutNd)
            if dropout or type(child).__name__ in ("StochasticDepth", "DropPath"):
                setattr(parent, name, nn.Identity())


def _first_line(error: Exception) -> str:
    """Without what torch.fx adds: which of its nodes it was at."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__).strip().removesuffix(".")


# -- its graph -------------------------------------------------------------------------------------------------------


class _Whole(nn.Module):
    """Calls the network with images alone, so that the other arguments of its `forward` keep their defaults."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)


class _Tracer(fx.Tracer):
    """Looks into sequences and into the modules of `opened`, and takes all others for one step."""

    def __init__(self, opened: set[str], whole: str) -> None:
        super().__init__()
        self.opened, self.whole = opened, whole

    def is_leaf_module(self, module: nn.Module, path: str) -> bool:
        return path == self.whole or not (path in self.opened or type(module) is nn.Sequential)


def _traced(name: str, network: nn.Module, layer: str, classes: int) -> fx.Graph:
    answering = [path for path, module in network.named_modules() if getattr(module, "out_features", 0) == classes]
    opened = {"network"}.union(*(_above(f"network.{path}") for path in (layer, *answering[-1:]) if path))
    graphs = []
    for training in (True, False):
        network.train(training)
        try:
            graphs.append(_Tracer(opened, f"network.{layer}").trace(_Whole(network)))
        except (*REFUSALS, AttributeError) as error:  # a traced value is no tensor
            raise ProfileError(
                f"the code of {name} cannot be taken apart ({_first_line(error)}); choose another network"
            ) from None
    trained, graph = graphs
    if str(trained) != str(graph):
        raise ProfileError(f"{name} does other things in training than afterwards; choose another network")
    for node in graph.nodes:
        if node.op in ("call_module", "get_attr"):
            node.target = node.target.removeprefix("network.")
    return graph


def _above(path: str) -> Iterator[str]:
    """``a.b.c`` → ``a``, ``a.b``"""
    parts = path.split(".")
    yield from (".".join(parts[:depth]) for depth in range(1, len(parts)))


class _Shapes(fx.Interpreter):
    """Runs the graph, and notes the shape of every tensor on the way."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module, garbage_collect_values=True)
        self.shapes: dict[str, tuple[int, ...]] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if isinstance(value, Tensor):
            self.shapes[n.name] = tuple(value.shape)
        return value


def _shapes(name: str, network: nn.Module, graph: fx.Graph, side: int) -> dict[fx.Node, tuple[int, ...]]:
    interpreter = _Shapes(fx.GraphModule(network, graph))
    try:
        with torch.no_grad():
            interpreter.run(torch.zeros(1, 3, side, side))
    except REFUSALS as error:
        raise ProfileError(f"{name} takes no images of {side}×{side} pixels ({_first_line(error)})") from None
    return {node: interpreter.shapes[node.name] for node in graph.nodes if node.name in interpreter.shapes}


# -- the map ---------------------------------------------------------------------------------------------------------


def _map(
    name: str, network: nn.Module, graph: fx.Graph, shapes: dict[fx.Node, tuple[int, ...]], layer: str, side: int
) -> fx.Node:
    pooled = {node for node in graph.nodes if any(isinstance(m, POOLINGS) for m in _modules(network, [node]))}
    wide = [node for node in shapes if node.op != "placeholder" and node not in pooled and _is_wide(shapes[node])]
    fit = [node for node in wide if _is_map(network, graph, node, shapes[node])]
    if layer:
        for node in reversed(fit):
            if node.op == "call_module" and node.target == layer:
                return node
        problem = f"the layer {layer!r} of {name} gives no map that all that follows goes through"
    else:
        if fit and wide[-1] is fit[-1] and _is_head(network, _needed(graph, fit[-1]) or []):
            return fit[-1]
        problem = f"{name} has no map of more than one place right before its head"
    choices = {node.target: shapes[node][1:] for node in fit if node.op == "call_module"}
    listed = ", ".join(f"{path} {shape}" for path, shape in [*choices.items()][-8:])
    raise ProfileError(
        f"{problem}, at {side}×{side} pixels; "
        + (f"name one of its layers as map_layer: {listed}; " if listed else "")
        + "take larger images, or another network, as torchvision:resnet18"
    )


def _is_wide(shape: tuple[int, ...]) -> bool:
    return len(shape) == 4 and min(shape[2:]) > 1


def _is_map(network: nn.Module, graph: fx.Graph, node: fx.Node, shape: tuple[int, ...]) -> bool:
    """Whether it is (N, D, h, w), and all that follows is computed from it."""
    after = _needed(graph, node)
    if after is None:
        return False
    inputs = [module.in_features for module in _modules(network, after) if isinstance(module, nn.Linear)]
    return not (inputs and inputs[0] == shape[3] != shape[1])  # (N, h, w, D)


def _needed(graph: fx.Graph, node: fx.Node) -> list[fx.Node] | None:
    """What stands between a node and the answer, in order; None where the answer needs the images besides."""
    (output,) = (each for each in graph.nodes if each.op == "output")
    found: set[fx.Node] = set()
    open_ = [output]
    while open_:
        each = open_.pop()
        if each is node or each in found:
            continue
        if each.op == "placeholder":
            return None
        found.add(each)
        open_ += each.all_input_nodes
    return [each for each in graph.nodes if each in found]


def _modules(network: nn.Module, nodes: Iterable[fx.Node]) -> Iterator[nn.Module]:
    yield from (network.get_submodule(str(node.target)) for node in nodes if node.op == "call_module")


def _is_head(network: nn.Module, nodes: list[fx.Node]) -> bool:
    """Whether these are what heads are made of."""
    for module in _modules(network, nodes):
        if isinstance(module, nn.Conv2d):
            fits = module.kernel_size == (1, 1)
        elif [*module.parameters()]:
            kind = type(module).__name__.lower()
            fits = isinstance(module, nn.Linear) or "norm" in kind or "pool" in kind
        else:
            fits = True  # a pooling, an activation, a change of shape
        if not fits:
            return False
    return all(node.op != "get_attr" for node in nodes)  # no tokens of its own


# -- the parts -------------------------------------------------------------------------------------------------------


def _before(network: nn.Module, graph: fx.Graph, node: fx.Node) -> fx.GraphModule:
    part, copies = fx.Graph(), dict[fx.Node, fx.Node]()
    for each in graph.nodes:
        copies[each] = part.node_copy(each, copies.__getitem__)
        if each is node:
            break
    part.output(copies[node])
    return fx.GraphModule(network, part)


def _after(network: nn.Module, graph: fx.Graph, node: fx.Node) -> fx.GraphModule:
    part = fx.Graph()
    copies = {node: part.placeholder("maps")}
    for each in _needed(graph, node) or []:
        copies[each] = part.node_copy(each, copies.__getitem__)
    return fx.GraphModule(network, part)


def _linear_over_mean(after: fx.GraphModule, shape: tuple[int, ...]) -> nn.Linear | None:
    """The head's linear layer, if the head is nothing but that layer on the mean over places."""
    holders = [module for module in after.modules() if [*module.parameters(recurse=False)]]
    if len(holders) != 1 or not isinstance(holders[0], nn.Linear) or holders[0].in_features != shape[1]:
        return None
    size = 2 * shape[1] * shape[2] * shape[3]
    maps = torch.arange(size, dtype=torch.float32).mul(0.7).sin().view(2, *shape[1:])  # of both signs
    with torch.no_grad():
        same = torch.allclose(after(maps.clone()), holders[0](maps.mean(dim=(2, 3))), rtol=1e-4, atol=1e-5)
    return holders[0] if same else None


def _answers(before: nn.Module, after: nn.Module, height: int, width: int) -> bool:
    try:
        with torch.no_grad():
            after(before(torch.zeros(1, 3, height, width)))
    except REFUSALS:
        return False
    return True
