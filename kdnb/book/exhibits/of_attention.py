"""What augmentation does to images, and to where teachers look."""

import numpy as np

from kdnb.book import explorers, figures, look
from kdnb.book.exhibits.exhibit import Exhibit, exhibit, of_two_teachers
from kdnb.evidence import overlap, paper
from kdnb.evidence.estimands import PAIRS, STUDENTS
from kdnb.evidence.results import Results
from kdnb.images import augment
from kdnb.images.counter import Purpose, Stream


@exhibit
def views(found: Results) -> Exhibit:
    """Six validation images, and what weak and strong augmentation make of them."""
    explorer = found.explorer
    images, index = explorer.images[:6], explorer.index[:6].numpy().astype(np.int64)
    rows = {
        name: augment.views(images, index, augment.recipe(name), Stream(explorer.seed), 0, purpose=Purpose.VIEW)
        for name in ("weak", "strong")
    }
    caption = (
        "Six validation images, and the weak and the strong view by which networks of this seed are judged. The two "
        "views of a column share crop and flip; the rest is what the recipes add."
    )
    return Exhibit(
        "views", figures.gallery(images, rows), caption, "Six images, and below each its weak and strong view."
    )


@exhibit
def dial(found: Results) -> Exhibit:
    """A slider from clean to strong: images under it, and how well a network that knows only clean images recognises them."""
    caption = (
        "Turn the dial from the clean image to the strong recipe. The curve is the accuracy on such views of a network that "
        "was trained on clean images, minus its accuracy on clean images: affinity as first defined, a difference. (The "
        "paper's is a ratio, and the student's own.)"
    )
    return Exhibit("dial", explorers.dial(found), caption, "A slider of augmentation strength with images and a curve.")


@exhibit
def affinity(found: Results) -> Exhibit:
    """The paper's affinity of each of the eight trials, ours and its own."""
    table = of_two_teachers(found)
    theirs = paper.trials("cifar100")["affinity"]
    marks = {(pair, student): float(theirs[pair, student]) for pair in PAIRS for student in STUDENTS}
    drawn = figures.by_cell(table, "affinity", view="own", form="paper", papers=marks)
    caption = (
        "Affinity as the paper defines it: the student's accuracy on its own views of the validation images, divided "
        "by that on clean ones. Lower is stronger. Crosses are the paper's trials on CIFAR-100. If the number of "
        "strong networks were what counts, each colour would fall from left to right."
    )
    return Exhibit(
        "affinity", drawn, caption, "Affinity of the eight trials, a point for each seed, the paper's as crosses."
    )


@exhibit
def attention(found: Results) -> Exhibit:
    """An image, two teachers and a threshold: heat, masks, and how much these overlap."""
    caption = (
        "Choose an image, two teachers and a threshold. The last picture shows where only one of them looks and where "
        "both do: the part that both share of all that either marks is the IoU."
    )
    return Exhibit("attention", explorers.attention_explorer(found), caption, "Where two teachers look in an image.")


@exhibit
def look_for_yourself(found: Results) -> Exhibit:
    """Published networks to run in the browser, on forty validation images or a picture of one's own."""
    shown = look.published()
    explorer = look.explorer(shown)
    size = explorer.data["bytes"] / 1e6
    caption = (
        f"{len(shown.teachers)} teachers and {len(shown.students)} students of seed {shown.seed} of the study "
        f"<code>{shown.name}</code>. Their weights, {size:.1f} MB in half precision, are loaded when you ask for them; all "
        "that follows is computed in your browser."
    )
    return Exhibit(
        "look-for-yourself", explorer, caption, "Teachers and students that answer for a picture of your choice."
    )


@exhibit
def deletion(found: Results) -> Exhibit:
    """How each teacher's answer goes as its map's most important pixels are erased, mean of forty images."""
    shown = look.published()
    drawn = figures.deletion_curves(shown.deletion, look.ORDERS)
    caption = (
        f"Mean of the {len(shown.images)} images: the probability of the class that a teacher names for the whole image, as "
        f"pixels are replaced by the mean colour. {look.uses(shown)}"
    )
    return Exhibit("deletion", drawn, caption, "Four falling curves for each teacher, one for each order of erasing.")


@exhibit
def directions(found: Results) -> Exhibit:
    """One network read along two random directions, as maps summed over all classes read each teacher along its own."""
    explorer = explorers.directions(found)
    mean, chance = (float(explorer.table[column].mean()) for column in ("IoU", "chance IoU"))
    caption = (
        "The network that the teachers start from, read along two random directions of your choice. It is one network: only "
        f"the direction differs. Over all pairs of directions and these images IoU is {mean:.2f} on average, with "
        f"{chance:.2f} by chance."
    )
    return Exhibit("directions", explorer, caption, "One network read along two random directions.")


@exhibit
def typical_maps(found: Results, augmentation: str) -> Exhibit:
    """Where two teachers of one augmentation look in an image whose overlap is nearest to the mean."""
    explorer = found.explorer
    pair = figures.alike(explorer, augmentation)[:2]
    side = explorer.images.shape[-1]
    masks = [overlap.masks(explorer.maps[run]["cam-predicted/clean"], side) for run in pair]
    each = np.array([overlap.iou([m[place : place + 1] for m in masks]) for place in range(len(explorer.images))])
    place = int(abs(each - each.mean()).argmin())
    caption = (
        f"Two {augmentation} teachers on the image whose overlap is nearest to their mean over {len(each)} validation "
        "images: bright is hot, the outline is the mask, and yellow is where both look."
    )
    drawn = figures.attention_maps(explorer, place, pair)
    return Exhibit(
        f"maps-{augmentation}", drawn, caption, f"An image, and the heat and masks of two {augmentation} teachers."
    )


@exhibit
def overlaps(found: Results, method: str = "cam-predicted") -> Exhibit:
    """Attention IoU of each pair of teachers on clean training images, beside what masks of these areas would have by
    chance."""
    table = of_two_teachers(found)
    drawn = figures.overlap(table, split="train", method=method)
    caption = (
        "Attention IoU of each pair of teachers on clean training images. The grey bar is what masks of the same areas "
        "would have if each lay anywhere. Violet pairs are mixed: one weak, one strong."
    )
    return Exhibit(
        "overlaps", drawn, caption, "Attention IoU of each pair of teachers, a point for each seed, with chance levels."
    )
