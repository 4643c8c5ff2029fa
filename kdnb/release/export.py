"""Networks for other programs: ONNX, and the form that the book's page *Look for yourself* runs.

===========  =======================================================================================================
form         what it is
===========  =======================================================================================================
``onnx``     one ONNX file a network, by torch's own exporter. Any network of the package, any number of images at once.
             Input ``images``, float32 (N, 3, S, S), normalised; outputs ``logits`` (N, K) and, where the head is one linear
             layer, ``maps`` (N, K, h, w): the class activation map of every class, whose mean over places is its logit.
``browser``  one safetensors file for several networks, named ``<run>/<name in the network's state>``, with the strides of
             each in its metadata. ResNets of the package alone (``resnet8-w*``, ``resnet20``, ``resnet56``).
===========  =======================================================================================================

Either is in single or half precision. Half precision is of the stored weights: they are brought back to single precision
before anything is computed, so inputs and outputs are the same. Logits of a network in single precision hold to 1e-4, in half
precision to 2e-2.

The page runs networks by some 150 lines of its own (``kdnb/book/static/look-network.js``), because that was measured to do. For
one image of 32 pixels, milliseconds of one core that others used too, for ``resnet8-w32`` and ``resnet8-w16``; and what
the book would have to bring:

=====================  ===========  =======================================
library                ms           size
=====================  ===========  =======================================
our own lines          13 and 3–6   8 kB
ONNX Runtime Web 1.30  10 and 4     14.3 MB, nearly all of it WebAssembly
TensorFlow.js 4.22     50 and 13    0.3 MB, plain JavaScript backend
=====================  ===========  =======================================

TensorFlow.js's WebAssembly backend (0.7 MB) was not timed; its last stable release is of 2024. Our own lines follow nobody's
releases, and a test compares them with PyTorch.
"""

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from kdnb.errors import KdnbError
from kdnb.study.grid import Plan
from kdnb.study.store import Store
from kdnb.training import models

FORMS = ("onnx", "browser")


class _WithMaps(nn.Module):
    """Logits, and every class's activation map where the head is linear."""

    def __init__(self, network: models.Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        features = self.network.features(images)
        logits = self.network.head(features)
        head = self.network.classifier
        if not isinstance(head, nn.Linear):
            return (logits,)
        return logits, torch.einsum("ndhw,kd->nkhw", features, head.weight) + head.bias.view(1, -1, 1, 1)


def onnx(network: models.Network, side: int, *, half: bool = False, about: Mapping[str, str] | None = None) -> bytes:
    """A network as one ONNX file.

    Args:
        side: of the images, in pixels.
        half: store weights in half precision.
        about: what the file's metadata says of the network, such as the mean and deviation that its images are normalised by.

    Raises:
        KdnbError: the packages that write ONNX are not installed.
    """
    try:
        import onnx as format_
        import onnxscript  # noqa: F401  what torch's exporter is built on
    except ImportError as error:
        raise KdnbError(f"{error.name} is not installed, and ONNX needs it; pip install 'kdnb[export]'") from None
    wrapped = _WithMaps(network).eval()
    names = ["logits", "maps"] if isinstance(network.classifier, nn.Linear) else ["logits"]
    batch = {"images": {0: torch.export.Dim("images")}}
    with torch.no_grad():
        program = torch.onnx.export(
            wrapped,
            (torch.zeros(2, 3, side, side),),
            input_names=["images"],
            output_names=names,
            dynamic_shapes=batch,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    if half:
        _halve(model, format_)
    for name, value in (about or {}).items():
        model.metadata_props.add(key=name, value=value)
    format_.checker.check_model(model)
    content = io.BytesIO()
    format_.save_model(model, content)
    return content.getvalue()


def _halve(model: Any, onnx: Any) -> None:
    """Keeps weights as half precision, each cast to single precision before its use."""
    graph = model.graph
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        name = tensor.name
        values = onnx.numpy_helper.to_array(tensor).astype("float16")
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, f"{name}_half"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}_half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def strides(network: models.Network) -> list[int]:
    """The strides of a residual network's stem and of each of its blocks, which its weights do not tell.

    Raises:
        KdnbError: it is not one of the package's own ResNets.
    """
    if not isinstance(network, models.ResNet):
        raise KdnbError(
            f"the page runs the package's own ResNets, and this is a {type(network).__name__}; export it as onnx"
        )
    # The first convolution of the stem and of each block; the block's second has stride 1, and shortcuts follow the first.
    firsts = [
        module
        for name, module in network.features.named_modules()
        if isinstance(module, nn.Conv2d) and (name == "0.0" or name.endswith(".first.0"))
    ]
    return [int(module.stride[0]) for module in firsts]


def browser(networks: Mapping[str, models.Network], *, half: bool = False) -> bytes:
    """Networks as one file for the page, by their names; the same bytes each time.

    Raises:
        KdnbError: one of them is not one of the package's own ResNets.
    """
    steps = {name: strides(network) for name, network in networks.items()}
    dtype = torch.float16 if half else torch.float32
    tensors = {
        f"{name}/{key}": tensor.detach().to(dtype).contiguous()
        for name, network in networks.items()
        for key, tensor in network.state_dict().items()
        if tensor.is_floating_point()
    }
    return safetensors.torch.save(tensors, {"strides": json.dumps(steps)})


def of_runs(plan: Plan, store: Store, names: Sequence[str] = ()) -> dict[str, models.Network]:
    """The networks of runs of one seed, in eval mode, by their names; all of the seed's where none is named.

    Raises:
        KdnbError: the study has several seeds, or no such run.
        StoreError: the store lacks one.
    """
    study = plan.study
    if len(study.seeds) > 1:
        raise KdnbError(f"{study.profile.name} has the seeds {', '.join(map(str, study.seeds))}; name one (--seeds)")
    specs = {run.name: run.spec for run in study.of_seed(study.seeds[0])}
    networks = {}
    for name in names or specs:
        if name not in specs:
            raise KdnbError(f"no run {name!r} in {study.profile.name}; choose from {', '.join(specs)}")
        spec = specs[name]
        images = plan.datasets[spec.dataset.hash]
        network = models.build(spec.model, len(images.classes), spec.side or images.side, seed=0)
        network.load_state_dict(store.entry(spec.id).weights)
        networks[name] = network.eval()
    return networks


def about(run: str, classes: Sequence[str], mean: Sequence[float], std: Sequence[float]) -> dict[str, str]:
    """What a file says of its network: the run, its classes, and how its images are normalised: (pixel / 255 − mean) / std."""
    told = {"classes": list(classes), "mean": list(mean), "std": list(std)}
    return {"run": run} | {name: json.dumps(value) for name, value in told.items()}
