"""The processor, a CUDA device or Apple's GPU: which one is meant, who shares it, and what each of them cannot do."""

from contextlib import AbstractContextManager

import torch

from kdnb.errors import ProfileError


def choose(name: str = "auto") -> torch.device:
    """``auto`` is the CUDA device that `take_gpu` took, or the first, where there is one; Apple's GPU has to be named.

    Raises:
        ProfileError: no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        if device.type == "cuda" and device.index is None and torch.cuda.is_available():
            device = torch.device("cuda", torch.cuda.current_device())
        else:
            torch.zeros(1, device=device).item()  # a device such as meta holds no numbers
    except (RuntimeError, AssertionError, ImportError) as error:
        raise ProfileError(
            f"no device {name!r} here ({str(error).splitlines()[0]}); try auto, cpu, cuda or mps"
        ) from None
    return device


def take_gpu(number: int) -> None:
    """Makes one of this machine's CUDA devices what ``auto`` and ``cuda`` mean in this thread; any number counts round them."""
    if count := torch.cuda.device_count():
        torch.cuda.set_device(number % count)


def sharing(name: str, workers: int) -> int:
    """How many of so many workers of this machine share a device that is asked for by that name."""
    device = choose(name)
    if device.type == "cuda" and name in ("auto", "cuda"):
        return -(-workers // max(1, torch.cuda.device_count()))
    return workers


def doubled(tensor: torch.Tensor) -> torch.Tensor:
    """In double precision, on the processor where the tensor's device is Apple's GPU, which has none."""
    return (tensor.cpu() if tensor.device.type == "mps" else tensor).double()


def finest(device: torch.device) -> torch.dtype:
    """The most precise numbers that a device has."""
    return torch.float32 if device.type == "mps" else torch.float64


def repeatable() -> AbstractContextManager[None]:
    """In it, a CUDA device computes convolutions the same way each time, and of float32 numbers in float32: by itself it
    takes TF32, with 10 bits of each number."""
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)


def cannot(device: torch.device, error: Exception) -> str:
    """What to tell a user of an error that says that Apple's GPU lacks an operation or a type; empty of any other."""
    said = str(error)
    if device.type != "mps" or not (isinstance(error, NotImplementedError) or "MPS framework doesn't support" in said):
        return ""
    return (
        f"Apple's GPU cannot do all of this ({said.partition('. ')[0].splitlines()[0]}); use --device cpu, or set "
        "PYTORCH_ENABLE_MPS_FALLBACK=1, with which torch does on the processor what operations it lacks"
    )
