"""What a study may use to train. It changes no result, and no id knows of it."""

from dataclasses import dataclass

from kdnb import devices


@dataclass(frozen=True)
class Resources:
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps, …"""
    memory: float | None = None
    """bytes that a worker may take of its device's memory: groups that need more train in passes. None: what is free when each
    begins"""
    workers: int = 1
    """groups trained at once on this machine, each in a process of its own and on a GPU of its own where there are several"""
    threads: int | None = None
    """of torch within an operation, in each worker; None: torch's own, no more than the cores that this process may use, or,
    with several workers, these shared out"""
    graphs: bool = False
    """record steps as CUDA graphs, where the device has them (`kdnb.scale.graphs`)"""

    @property
    def sharing(self) -> int:
        """workers that share a device, and with it the memory that is free"""
        return devices.sharing(self.device, self.workers) if self.workers > 1 else 1

    @property
    def threads_each(self) -> int | None:
        """threads of a worker, as `threads`"""
        return self.threads or (max(1, devices.cores() // self.workers) if self.workers > 1 else None)
