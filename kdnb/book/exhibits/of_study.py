"""What was trained, how, and what it cost."""

import html

import numpy as np
import pandas as pd

from kdnb.book.exhibits.exhibit import Exhibit, exhibit
from kdnb.evidence.results import Results
from kdnb.evidence.table import select
from kdnb.training import models
from kdnb.training.spec import ModelSpec


@exhibit
def grid(found: Results) -> Exhibit:
    """The students of a seed, by teachers and objective."""
    cells = pd.DataFrame.from_dict(found.cells, orient="index").rename_axis("run").reset_index()
    students = select(cells, role="student")
    kept = ["teachers", "origin", "objective"]
    wide = students.pivot_table(index=kept, columns="student", values="run", aggfunc="first", sort=False).fillna("")
    frame = wide.reset_index().set_index("teachers").rename_axis(columns=None).rename(index={"": "none"})
    frame = frame.rename(columns={"origin": "their origins", "weak": "weak student", "strong": "strong student"})
    teachers = len(select(cells, role="teacher"))
    data = found.about["dataset"]
    caption = (
        f"The {len(students)} students and {teachers} teachers of a seed, trained on {data['train']:,} images of "
        f"{len(data['classes'])} classes ({data['name']}) and judged on {data['validation']:,} others. One row is one "
        "set of teachers and one objective; its students differ in their own augmentation alone."
    )
    return Exhibit("grid", frame, caption, "The grid of students")


@exhibit
def settings(found: Results) -> Exhibit:
    """The paper's settings beside these."""
    asked, kd = found.profile, found.profile.objectives["kd"]
    train, explorer = asked.student.train, found.explorer
    side = asked.side or explorer.images.shape[-1]
    shape = {"one-cycle": "linear warm-up, cosine decay", "cosine": "cosine", "step": "in steps"}
    mode = {"eval": "fixed", "train": "in training mode"}
    origin = (
        "our own network, pretrained on images that the study leaves out"
        if asked.origin != "fresh"
        else "random weights"
    )
    kept = {"last": "the last epoch", "best": "the epoch best on the validation images"}[train.keep]
    rise = train.schedule
    warm = f"{rise.rise:.0%} of the training" if rise.kind == "one-cycle" else f"{rise.warmup_epochs} epochs"
    stages = {"weak": "crop, flip, rotation", "strong": "crop, flip, AutoAugment, Cutout"}
    own = {word: asked.augmentations.get(word, word) for word in stages}
    recipe = {word: stages.get(name, name) for word, name in own.items()}
    momentum = f"{train.momentum:g}{', Nesterov' if train.nesterov else ''}"
    rows = {
        "input": ("not mentioned", "224 × 224", f"{side} × {side}"),
        "teacher": ("ResNet-50", "ResNet-50", asked.teacher.model.name),
        "teachers start from": ("ImageNet weights", "one ImageNet file", origin),
        "teachers' epochs": ("60", "61; those loaded 45, 61 or 80", str(asked.teacher.train.epochs)),
        "student": ("ResNet-18", "ResNet-18", asked.student.model.name),
        "students' epochs": ("200", "200", str(train.epochs)),
        "temperature T": ("10", "3", f"{kd.temperature:g}"),
        "weight of the labels α": ("0.2, in no equation", "0.6", f"{kd.alpha:g}"),
        "peak learning rate": ("0.1", "0.1", f"{train.learning_rate:g}"),
        "momentum": ("0.9", "0.9", momentum),
        "weight decay": ("not mentioned", "none", f"{train.weight_decay:g}"),
        "batch": ("128", "128", str(train.batch_size)),
        "schedule": ("in steps", "in steps, one epoch early", shape[train.schedule.kind]),
        "warm-up": ("not mentioned", "8 epochs", warm),
        "weak views": ("crop, flip, colour jitter", "crop, flip, rotation", recipe["weak"]),
        "strong views": ("AutoAugment", "crop, flip, AutoAugment, Cutout", recipe["strong"]),
        "teachers' batch norm, while they teach": ("not mentioned", mode["train"], mode[kd.batch_norm]),
        "weights judged are of": ("not mentioned", "the epoch best on the test set, teachers' too", kept),
    }  # fmt: skip
    frame = pd.DataFrame.from_dict(
        rows, orient="index", columns=["the paper's text", "its released code", "these results"]
    )
    caption = "CIFAR-100 in the paper's text, in its released scripts, and here."
    return Exhibit("settings", frame.map(html.escape), caption, "The paper's settings beside these")


@exhibit
def cost(found: Results) -> Exhibit:
    """What a network of each role costs, in operations and in the log's seconds."""
    asked, data = found.profile, found.about["dataset"]
    classes, side = len(data["classes"]), asked.side or found.explorer.images.shape[-1]
    seconds = found.curves.groupby(["seed", "run"])["seconds"].sum()
    is_student = seconds.index.get_level_values("run").map(lambda run: found.cells[run]["role"] == "student")
    rows = {}
    for role, network in (("teacher", asked.teacher), ("student", asked.student)):
        name = network.model.name
        forward = models.flops(models.build(network.model, classes, side, seed=0), side)
        whole = {"teacher": "resnet50", "student": "resnet18"}[role]
        theirs = models.flops(models.build(ModelSpec(name=whole), 100, 224, seed=0), 224)
        rows[f"{role}, {name}"] = {
            "forward pass": f"{forward / 1e6:.1f} MFLOP",
            "a whole training": f"{3 * forward * data['train'] * network.train.epochs / 1e9:,.0f} GFLOP",
            "by the log": f"{seconds[np.asarray(is_student) == (role == 'student')].mean():.0f} s",
            "the paper's forward pass": f"{theirs / forward:,.0f} times as much",
        }
    minutes = seconds.groupby("seed").sum().mean() / 60
    caption = (
        f"A training step costs about three forward passes: one there, two back. A seed took {minutes:.0f} minutes of "
        "training by its log, whatever else the machine did meanwhile; students of one augmentation learn in lockstep, "
        "and a student's seconds are its share."
    )
    return Exhibit("cost", pd.DataFrame.from_dict(rows, orient="index"), caption, "What a network costs")
