"""How a GPU takes the steps of many networks: one by one, recorded, side by side, compiled, stacked.

    python benchmarks/gpu.py [--profile cpu] [--students 16] [--rounds 5] [--without compiled,stacked]

A group of students with two teachers, all on the same batches of noise, which lie in the GPU's memory. The ways:

- one by one: each teacher and each student in turn, as on a CPU;
- graphs: recorded CUDA graphs, replayed in turn (1 stream) or several at a time;
- compiled: one by one, the students' forward and backward passes by `torch.compile`;
- stacked: all students as one, by `torch.func` (their convolutions become grouped ones).

Each round times every way once, in turn, over the same number of steps. A line has the median of a step's milliseconds, how
many times as fast as one by one that is (the median of the rounds' ratios), the GPU's memory at its peak, and how far the first
student's weights are from those of one by one after the same steps: 0 means the same bits.

Figures (NVIDIA H200, torch 2.11, three rounds; 16 students of `cpu`, 6 of `gpu`), times as fast as one by one:

    way                  cpu     gpu
    streams, no graphs   0.87    1.02   (no way of this script any more)
    graphs, 1 at a time  2.86    3.90
    graphs, 4 at a time  4.18    5.20
    graphs, 8 at a time  4.40
    graphs, 16 at a time 4.30
    compiled             0.87

One by one, a step took 119 and 94 ms. All but compiled gave the same bits; that was 1.6e-6 off. Stacked failed then, for the
channels-last layout, and was not measured. Since then, what recorded networks answer lies in memory of its own
(`kdnb.scale.graphs`), which has not been timed.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from training import random_images

from kdnb import devices
from kdnb.images.datasets import CIFAR_MEAN, CIFAR_STD, Dataset
from kdnb.scale import graphs
from kdnb.study import grid
from kdnb.study.profile import load
from kdnb.training import models, objectives, train
from kdnb.training.inference import Normaliser
from kdnb.training.schedule import learning_rate
from kdnb.training.spec import FreshOrigin, RunSpec

Batches = Sequence[tuple[Tensor, Tensor]]
CLASSES = 100


@dataclass
class Way:
    """A way to take steps."""

    name: str
    take: Callable[[Batches], object]
    weights: Callable[[], Tensor]
    """of the first student, in one row"""


def noise(images: int) -> Dataset:
    names = tuple(str(number) for number in range(CLASSES))
    return Dataset(
        "noise", names, random_images(images, CLASSES, 0), random_images(128, CLASSES, 1), CIFAR_MEAN, CIFAR_STD
    )


def group_of(profile: str, students: int) -> tuple[list[RunSpec], list[RunSpec]]:
    """Teachers and students of plain distillation, the students from other random weights."""
    loaded = load(profile)
    runs = grid.build(loaded, "0" * 16, [0], dict.fromkeys(loaded.origins, "0" * 16)).runs
    fresh = {run.name: run.spec.model_copy(update={"origin": FreshOrigin()}) for run in runs}
    teachers = [fresh["T1w"], fresh["T2w"]]
    student = fresh["T1w_T2w_Sw"].model_copy(update={"teachers": tuple(each.id for each in teachers)})
    return teachers, [student.model_copy(update={"seed": number}) for number in range(students)]


def flat(network: torch.nn.Module) -> Tensor:
    return torch.cat([each.detach().reshape(-1) for each in network.parameters()])


def lockstep(
    name: str,
    specs: Sequence[RunSpec],
    teachers: dict[str, models.Network],
    dataset: Dataset,
    device: torch.device,
    recorder: graphs.Recorder | None,
    compiled: bool = False,
) -> Way:
    """The package's own steps, with a recorder or without."""
    learners = [train._start(spec, dataset, device, None, None) for spec in specs]
    for learner in learners:
        learner.network.train()
    if compiled:
        for learner in learners:
            setattr(learner.network, "forward", torch.compile(learner.network.forward))  # noqa: B010
    bank = train._TeacherBank({"": teachers}, {source for each in learners for source in each.sources})
    steps = train._Steps(learners, bank)
    steps._recorder = recorder
    done = 0

    def take(batches: Batches) -> None:
        nonlocal done
        coins = (torch.zeros_like(labels, dtype=torch.bool) for _, labels in batches)  # no objective here tosses one
        tossed = ((images, labels, coin) for (images, labels), coin in zip(batches, coins, strict=True))
        steps.over(learners, tossed, done, len(batches))
        done += len(batches)

    return Way(name, take, lambda: flat(learners[0].network))


def stacked(
    specs: Sequence[RunSpec], teachers: dict[str, models.Network], dataset: Dataset, device: torch.device
) -> Way:
    """The students as one network of stacked weights, with a step of SGD of its own."""
    from torch.func import functional_call, grad, stack_module_state, vmap

    # vmap knows no channels-last layout
    plain = torch.contiguous_format
    networks = [train.initial(spec, CLASSES, dataset.side, device).to(memory_format=plain).train() for spec in specs]
    weights, buffers = stack_module_state(networks)
    spec, shape = specs[0], networks[0]
    settings, objective = spec.train, spec.objective
    assert objective is not None
    weights = {name: each.detach() for name, each in weights.items()}
    momentum = {name: torch.zeros_like(each) for name, each in weights.items()}
    done = 0

    def loss(
        own: dict[str, Tensor], state: dict[str, Tensor], images: Tensor, labels: Tensor, heard: list[Tensor]
    ) -> Tensor:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=settings.precision == "bfloat16"):
            student = functional_call(shape, (own, state), (images,))
        return objectives.loss(student.float(), labels, heard, objective)

    slopes = vmap(grad(loss), in_dims=(0, 0, None, None, None))

    def take(batches: Batches) -> None:
        nonlocal done
        for images, labels in batches:
            with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bfloat16"):
                heard = [teachers[teacher](images).float() for teacher in spec.teachers]
            found = slopes(weights, buffers, images.contiguous(), labels, heard)
            rate = learning_rate(settings, done, len(batches))
            done += 1
            with torch.no_grad():
                for name, slope in found.items():
                    slope = slope + settings.weight_decay * weights[name]
                    momentum[name].mul_(settings.momentum).add_(slope)
                    forward = slope + settings.momentum * momentum[name] if settings.nesterov else momentum[name]
                    weights[name].sub_(rate * forward)

    return Way(
        "stacked", take, lambda: torch.cat([weights[name][0].reshape(-1) for name, _ in shape.named_parameters()])
    )


def timed(way: Way, batches: Batches, device: torch.device) -> float:
    """Milliseconds a step."""
    torch.cuda.synchronize(device)
    began = time.perf_counter()
    way.take(batches)
    torch.cuda.synchronize(device)
    return 1000 * (time.perf_counter() - began) / len(batches)


def main() -> None:
    parser = argparse.ArgumentParser(description="Ways to take the steps of many networks on a GPU.")
    parser.add_argument("--profile", default="cpu")
    parser.add_argument("--students", type=int, default=16)
    parser.add_argument("--steps", type=int, default=20, help="in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--streams", default="1,4,8,16")
    parser.add_argument("--without", default="", help="ways to leave out: compiled, stacked")
    arguments = parser.parse_args()
    device = devices.choose("cuda")
    specs_of_teachers, specs = group_of(arguments.profile, arguments.students)
    size = specs[0].train.batch_size
    dataset = noise(size * arguments.steps)
    prepare = Normaliser(dataset, device, specs[0])
    images, labels = dataset.train.pixels().to(device), dataset.train.labels.to(device)
    batches = [(prepare(a), b) for a, b in zip(images.split(size), labels.split(size), strict=True)]
    teachers = {spec.id: train.initial(spec, CLASSES, dataset.side, device).eval() for spec in specs_of_teachers}
    common = (specs, teachers, dataset, device)
    makers: list[tuple[str, Callable[[], Way]]] = [
        ("one by one", lambda: lockstep("one by one", *common, None)),
    ]
    for count in map(int, arguments.streams.split(",")):
        name = f"graphs, {count} at a time"
        makers.append((name, lambda n=name, c=count: lockstep(n, *common, graphs.Recorder(device, streams=c))))  # type: ignore[misc]
    if "stacked" not in arguments.without:
        makers.append(("stacked", lambda: stacked(*common)))
    if "compiled" not in arguments.without:
        makers.append(("compiled", lambda: lockstep("compiled", *common, None, compiled=True)))
    print(
        f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}, {arguments.profile}: {len(specs)} students, "
        f"{specs[0].model.name} in {specs[0].train.precision}, batches of {size}",
        flush=True,
    )
    ways: list[Way] = []
    peaks, apart = {}, {}
    with devices.repeatable():
        for name, make in makers:
            torch.cuda.empty_cache()
            before = torch.cuda.memory_allocated(device)
            torch.cuda.reset_peak_memory_stats(device)
            began = time.perf_counter()
            try:
                way = make()
                timed(way, batches, device)
            except (RuntimeError, NotImplementedError) as error:
                print(f"  {name}: fails, {type(error).__name__}: {str(error).splitlines()[0][:200]}", flush=True)
                continue
            peaks[name] = (torch.cuda.max_memory_allocated(device) - before) / 1e9
            first = ways[0].weights() if ways else way.weights()
            apart[name] = float((way.weights() - first).norm() / first.norm()) if ways else 0.0
            ways.append(way)
            print(f"  {name}: set up in {time.perf_counter() - began:.1f} s", flush=True)
        times = [[timed(way, batches, device) for way in ways] for _ in range(arguments.rounds)]
    for place, way in enumerate(ways):
        own = [row[place] for row in times]
        ratio = statistics.median(row[0] / row[place] for row in times)
        memory, distance = peaks[way.name], apart[way.name]
        print(f"{way.name:<24} {statistics.median(own):8.2f} ms   × {ratio:5.2f}   {memory:6.2f} GB   {distance:.1e}")


if __name__ == "__main__":
    main()
