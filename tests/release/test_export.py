"""An exported network answers as PyTorch's does, to what the module promises."""

import json

import pytest
import safetensors.torch
import torch
from click.testing import CliRunner

from kdnb import cli
from kdnb.errors import KdnbError
from kdnb.evidence import results
from kdnb.evidence.results import Results
from kdnb.paths import CHECKOUT as ROOT
from kdnb.release import export
from kdnb.training import models
from kdnb.training.spec import ModelSpec

TOLERANCE = {False: 1e-4, True: 2e-2}
"""half precision → how far logits may be from PyTorch's"""


@pytest.fixture(scope="module")
def found() -> Results:
    return results.read(ROOT / "book" / "results" / "cpu-scratch")


@pytest.fixture(scope="module")
def images(found: Results) -> torch.Tensor:
    mean, std = (torch.tensor(found.about["dataset"][name]).view(3, 1, 1) for name in ("mean", "std"))
    return (found.explorer.images[:40] / 255 - mean) / std


def answered(content: bytes, images: torch.Tensor) -> list[torch.Tensor]:
    runtime = pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install 'kdnb[dev]'")
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return [torch.from_numpy(each) for each in session.run(None, {"images": images.numpy()})]


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("run", ["T1w", "T1w_T2w_Ss"])
def test_onnx_holds_the_logits_and_the_maps(run: str, half: bool, found: Results, images: torch.Tensor) -> None:
    network = found.network(run)
    content = export.onnx(network, 32, half=half)
    logits, maps = answered(content, images)
    with torch.no_grad():
        assert (logits - network(images)).abs().max() < TOLERANCE[half]
    assert torch.allclose(maps.mean(dim=(2, 3)), logits, atol=1e-4)


def test_half_precision_halves_the_file(found: Results) -> None:
    single, half = (len(export.onnx(found.network("T1w"), 32, half=each)) for each in (False, True))
    assert half < 0.6 * single


def test_a_transformer_has_logits_alone() -> None:
    network = models.build(ModelSpec(name="cct-2-3x2"), 10, 32, seed=0).eval()
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    (logits,) = answered(export.onnx(network, 32), images)
    with torch.no_grad():
        assert (logits - network(images)).abs().max() < TOLERANCE[False]


@pytest.mark.parametrize("half", [False, True])
def test_the_pages_form_holds_the_weights(half: bool, found: Results, images: torch.Tensor) -> None:
    network = found.network("T1w")
    content = export.browser({"T1w": network}, half=half)
    assert content == export.browser({"T1w": network}, half=half)
    again = models.build(found.profile.teacher.model, 100, 32, seed=1).eval()
    state = {name.removeprefix("T1w/"): tensor for name, tensor in safetensors.torch.load(content).items()}
    again.load_state_dict(state, strict=False)
    with torch.no_grad():
        assert (again(images) - network(images)).abs().max() < TOLERANCE[half]


@pytest.mark.parametrize(("name", "strides"), [("resnet8-w8", [2, 1, 2, 1]), ("resnet20", [1] * 4 + [2, 1, 1] * 2)])
def test_the_pages_form_says_the_strides(name: str, strides: list[int]) -> None:
    network = models.build(ModelSpec(name=name), 10, 32, seed=0)
    content = export.browser({"one": network})
    length = int.from_bytes(content[:8], "little")
    assert json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["strides"]) == {"one": strides}


def test_the_page_refuses_what_it_cannot_run() -> None:
    with pytest.raises(KdnbError, match=r"own ResNets.*export it as onnx"):
        export.browser({"one": models.build(ModelSpec(name="cct-2-3x2"), 10, 32, seed=0)})


def test_a_run_that_the_study_lacks_is_named(tmp_path) -> None:
    done = CliRunner().invoke(cli.cli, ["export", "T9w", "--store", str(tmp_path)])
    assert isinstance(done.exception, KdnbError)
    assert "T9w" in str(done.exception)
