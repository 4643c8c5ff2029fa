"""Lockstep training: company changes nothing, teachers answer once, a failure stays one's own."""

import copy
from dataclasses import replace

import pytest
import torch

from kdnb.environment import Provenance
from kdnb.errors import DataError, DivergedError, ProfileError
from kdnb.study import grid
from kdnb.training import models, optimiser, train
from kdnb.training.checkpoint import Checkpoints
from kdnb.training.inference import teaching_copy
from kdnb.training.models import ResNet
from kdnb.training.objectives import Objective
from kdnb.training.spec import ImageNetOrigin, ModelSpec, RunOrigin
from tests.conftest import small_profile

CPU = torch.device("cpu")
ALL = ("", "w", "s", "ww", "ws", "sw", "ss", "www", "wws", "wsw", "wss", "sww", "sws", "ssw", "sss")


class Counting(ResNet):
    """A network that counts its forward passes, copies included."""

    passes: dict[int, int] = {}  # noqa: RUF012

    def forward(self, images):
        Counting.passes[self.number] = Counting.passes.get(self.number, 0) + 1
        return super().forward(images)


@pytest.fixture(scope="module")
def teachers(small_study, few_digits):
    """Untrained networks, no two the same: what they teach does not matter here."""
    specs = [run.spec for run in small_study.runs if run.spec.role == "teacher"]
    return {
        spec.id: train.initial(spec.model_copy(update={"seed": number}), 10, 32, CPU)
        for number, spec in enumerate(specs, start=1)
    }


@pytest.fixture(scope="module")
def students(small_study):
    return [run.spec for run in small_study.runs if run.spec.role == "student" and run.columns["student"] == "strong"]


@pytest.fixture(scope="module")
def together(students, teachers, few_digits):
    return train.train(students, few_digits, teachers, CPU)


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    theirs = b.state_dict()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in a.state_dict().items())


def without_times(log):
    return [{key: value for key, value in epoch.items() if key != "seconds"} for epoch in log]


def test_a_student_in_company_equals_itself_trained_alone(students, teachers, few_digits, together):
    assert len(students) == 3
    for spec in students:
        alone = train.train([spec], few_digits, teachers, CPU)[spec.id]
        assert same(alone.network, together[spec.id].network)
        assert without_times(alone.log) == without_times(together[spec.id].log)


def test_steps_are_recorded_on_a_cuda_device_alone(students, teachers, few_digits, together):
    """There, `make gpu` says that they stay the same; here nothing is recorded."""
    result = train.train(students[:1], few_digits, teachers, CPU, record=True)[students[0].id]
    assert same(result.network, together[students[0].id].network)


def test_students_of_different_teachers_become_different_networks(students, together):
    first, second, third = (together[spec.id].network for spec in students)
    assert not same(first, second)
    assert not same(second, third)


def test_thirty_students_of_six_teachers_cost_six_teacher_passes_a_batch(few_digits):
    one_epoch = small_profile().student.model_copy(
        update={"train": small_profile().student.train.model_copy(update={"epochs": 1})}
    )
    profile = small_profile(
        ensembles=ALL,
        student=one_epoch,
        students=("w",),
    )
    runs = grid.build(profile, few_digits.hash).runs
    numbers = {run.spec.id: number for number, run in enumerate(r for r in runs if r.spec.role == "teacher")}
    teachers = {}
    for run, number in numbers.items():
        teachers[run] = Counting(8, 2, [(8, 1, 1), (16, 1, 2), (32, 1, 1)], 10)
        teachers[run].number = number
    fifteen = [run.spec for run in runs if run.spec.role == "student"]
    more = [s.model_copy(update={"objective": s.objective and Objective(alpha=0.3)}) for s in fifteen[1:]]
    again = fifteen[0].model_copy(update={"train": fifteen[0].train.model_copy(update={"learning_rate": 0.01})})
    Counting.passes = {}
    result = train.train([*fifteen, *more, again], few_digits, teachers, CPU)
    batches = train.steps_per_epoch(70, 32)
    assert len(result) == 30
    assert Counting.passes == dict.fromkeys(range(6), batches)


def test_a_run_goes_on_from_its_checkpoint_as_if_never_interrupted(students, teachers, few_digits, together, tmp_path):
    checkpoints, before, after = Checkpoints(tmp_path), Provenance("one", "here"), Provenance("one", "there")

    def stop(epoch, members):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train.train(students[:2], few_digits, teachers, CPU, checkpoints=checkpoints, on_epoch=stop, provenance=before)
    assert checkpoints.load(students[0].id)[1]["epoch"] == 1
    # the third joins, from its beginning
    resumed = train.train(students, few_digits, teachers, CPU, checkpoints=checkpoints, provenance=after)
    assert [resumed[spec.id].made_by for spec in students] == [(before, after), (before, after), (after,)]
    for spec in students:
        assert same(resumed[spec.id].network, together[spec.id].network)
        assert without_times(resumed[spec.id].log) == without_times(together[spec.id].log)


def by_adamw(spec):
    settings = {"optimiser": "adamw", "nesterov": False, "learning_rate": 0.003, "weight_decay": 0.01}
    return spec.model_copy(update={"train": spec.train.model_copy(update=settings)})


def test_adamw_trains_in_company_as_alone_and_goes_on_from_a_checkpoint(students, teachers, few_digits, tmp_path):
    first, second = by_adamw(students[0]), by_adamw(students[2])
    company = train.train([first, second, students[2]], few_digits, teachers, CPU)
    alone = train.train([second], few_digits, teachers, CPU)[second.id]
    assert same(company[second.id].network, alone.network)
    assert not same(company[second.id].network, company[students[2].id].network)

    def stop(epoch, members):
        raise KeyboardInterrupt

    checkpoints = Checkpoints(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train.train([second], few_digits, teachers, CPU, checkpoints=checkpoints, on_epoch=stop)
    resumed = train.train([second], few_digits, teachers, CPU, checkpoints=checkpoints)[second.id]
    assert len(resumed.log) > 1
    assert same(resumed.network, alone.network)


def test_adamw_first_moves_each_weight_by_the_learning_rate_and_pulls_it_to_zero(students):
    """Kingma & Ba 2015: of the first gradient, corrected means make a step of one learning rate against its sign;
    Loshchilov & Hutter 2019: before it, each weight loses its share, whatever its gradient."""
    network = torch.nn.Linear(3, 2, bias=False)
    settings = by_adamw(students[0]).train
    before = network.weight.detach().clone()
    inputs, targets = torch.randn(8, 3), torch.randn(8, 2)
    ((network(inputs) - targets) ** 2).sum().backward()
    optimiser.build(network, settings).step()
    pulled = before * (1 - settings.learning_rate * settings.weight_decay)
    moved = pulled - settings.learning_rate * network.weight.grad.sign()
    torch.testing.assert_close(network.weight.detach(), moved, rtol=0, atol=1e-6)


@pytest.fixture
def falling(monkeypatch):
    """The look after each epoch finds half as many right as the one before it: the first epoch is the best."""
    look, finish, seen = train._validate, train._finish_epoch, {}

    def worse(learners, shown, prepare):
        labels = shown.labels.clone()
        labels[: len(labels) * (learners[0].epoch + 1) // 3] = -1  # nobody has these right
        return look(learners, replace(shown, labels=labels), prepare)

    def note(learner, *rest):
        finish(learner, *rest)
        seen[learner.spec.id, learner.epoch] = copy.deepcopy(learner.network)

    monkeypatch.setattr(train, "_validate", worse)
    monkeypatch.setattr(train, "_finish_epoch", note)
    return seen


def keeping(spec, keep):
    return spec.model_copy(update={"train": spec.train.model_copy(update={"keep": keep})})


def test_the_best_epoch_is_kept_where_that_is_asked_for_also_after_a_stop(
    students, teachers, few_digits, falling, tmp_path
):
    best, last = keeping(students[2], "best"), students[2]
    result = train.train([best, last], few_digits, teachers, CPU)
    looks = [epoch["validation_accuracy"] for epoch in result[best.id].log]
    assert looks[0] > looks[1]
    assert same(result[best.id].network, falling[best.id, 1])
    assert same(result[last.id].network, falling[last.id, 2])
    assert same(falling[best.id, 2], falling[last.id, 2])  # keeping changes nothing in training

    def stop(epoch, members):
        raise KeyboardInterrupt

    checkpoints = Checkpoints(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train.train([best], few_digits, teachers, CPU, checkpoints=checkpoints, on_epoch=stop)
    resumed = train.train([best], few_digits, teachers, CPU, checkpoints=checkpoints)
    assert same(resumed[best.id].network, result[best.id].network)


@pytest.mark.parametrize(
    ("looks", "best"), [([0.5, 0.7, 0.6], 1), ([0.5, 0.7, 0.7], 1), ([None, 0.1, None, 0.2], 3), ([None, 0.0], 1)]
)
def test_the_best_epoch_is_the_first_of_the_highest_accuracy(looks, best):
    assert train.best_epoch([{"validation_accuracy": look} for look in looks]) == best


def test_a_damaged_checkpoint_is_reported_set_aside_and_trained_again(
    students, teachers, few_digits, together, tmp_path
):
    checkpoints = Checkpoints(tmp_path)
    train.train(students[:1], few_digits, teachers, CPU, checkpoints=checkpoints)
    path = checkpoints.path(students[0].id)
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.warns(UserWarning, match="is damaged .*training again"):
        result = train.train(students[:1], few_digits, teachers, CPU, checkpoints=checkpoints)
    assert same(result[students[0].id].network, together[students[0].id].network)
    assert path.with_suffix(".damaged").exists()


def test_a_diverging_run_stops_with_its_name_epoch_and_rate_and_the_others_go_on(
    students, teachers, few_digits, together
):
    wild = students[0].model_copy(update={"train": students[0].train.model_copy(update={"learning_rate": 1e30})})
    result = train.train([wild, students[1]], few_digits, teachers, CPU)
    assert same(result[students[1].id].network, together[students[1].id].network)
    assert isinstance(result[wild.id], DivergedError)
    assert wild.id in str(result[wild.id])
    assert "epoch 1" in str(result[wild.id])
    assert "learning rate" in str(result[wild.id])


def test_teachers_are_left_as_they_were_in_either_mode(students, teachers, few_digits):
    before = {run: copy.deepcopy(network) for run, network in teachers.items()}
    as_released = students[1].model_copy(update={"objective": Objective(batch_norm="train")})
    result = train.train([students[1], as_released], few_digits, teachers, CPU)
    assert all(same(teachers[run], network) for run, network in before.items())
    assert not same(result[students[1].id].network, result[as_released.id].network)


def test_teaching_in_train_mode_uses_the_statistics_of_the_batch(teachers, images):
    teacher = next(iter(teachers.values()))
    batch = images[:32].float() / 255
    copied = teaching_copy(teacher, "train")
    alone, among = copied(batch[:8])[:4], copied(batch)[:4]
    assert not torch.allclose(alone, among)
    still = teaching_copy(teacher, "eval")
    torch.testing.assert_close(still(batch[:8])[:4], still(batch)[:4])


def test_runs_of_different_streams_do_not_form_a_group(small_study, teachers, few_digits):
    weak, strong = (next(r.spec for r in small_study.runs if r.name == name) for name in ("Sw", "Ss"))
    with pytest.raises(ValueError, match="share data, augmentation"):
        train.train([weak, strong], few_digits, teachers, CPU)


def test_runs_whose_teachers_would_answer_in_another_precision_do_not_form_a_group(students, teachers, few_digits):
    half = students[2].model_copy(update={"train": students[2].train.model_copy(update={"precision": "bfloat16"})})
    with pytest.raises(ValueError, match="precision"):
        train.train([students[1], half], few_digits, teachers, CPU)


def test_bfloat16_trains_to_another_finite_network(students, teachers, few_digits, together):
    half = students[1].model_copy(update={"train": students[1].train.model_copy(update={"precision": "bfloat16"})})
    result = train.train([half], few_digits, teachers, CPU)[half.id]
    assert not same(result.network, together[students[1].id].network)
    assert result.network.classifier.weight.isfinite().all()
    assert result.network.classifier.weight.dtype == torch.float32


def test_a_missing_teacher_is_named(students, few_digits):
    with pytest.raises(ValueError, match="no network is given for the teacher"):
        train.train([students[1]], few_digits, {}, CPU)


def test_a_last_batch_of_one_image_is_left_out():
    assert [train.steps_per_epoch(n, 32) for n in (31, 32, 33, 34, 64, 65)] == [1, 1, 1, 2, 2, 2]


def test_training_fits_real_digits(digits):
    """Not a bound on quality: that labels, views and steps belong together, which chance would meet with 10 %."""
    clean = small_profile(reference=True, ensembles=("",))
    clean = clean.model_copy(
        update={
            "teacher": clean.teacher.model_copy(update={"train": clean.teacher.train.model_copy(update={"epochs": 5})})
        }
    )
    spec = next(r.spec for r in grid.build(clean, digits.hash).runs if r.spec.role == "reference")
    log = train.train([spec], digits, {}, CPU)[spec.id].log
    assert log[-1]["validation_accuracy"] > 0.8
    assert log[-1]["loss"] < log[0]["loss"]


# -- origins and objectives ------------------------------------------------------------------------------------------

KINDS = {
    "kd": Objective(),
    "zscore": Objective(kind="zscore"),
    "half-LR": Objective(kind="half", sides=("left", "right")),
    "half-LL": Objective(kind="half", sides=("left", "left")),
    "halves-different": Objective(kind="halves-different"),
    "halves-both": Objective(kind="halves-both"),
    "halves-same": Objective(kind="halves-same"),
    "zscore-equal": Objective(kind="zscore-equal"),
    "class-mean": Objective(kind="class-mean"),
    "shuffled": Objective(kind="shuffled"),
    "untrained": Objective(kind="untrained"),
    "label-smoothing": Objective(kind="label-smoothing"),
}


@pytest.fixture(scope="module")
def objectives(students):
    """A student of two teachers with each objective."""
    two = next(spec for spec in students if len(spec.teachers) == 2)
    return {name: two.model_copy(update={"objective": objective}) for name, objective in KINDS.items()}


@pytest.fixture(scope="module")
def untrained(teachers):
    return {run: copy.deepcopy(network) for run, network in teachers.items()}


@pytest.fixture(scope="module")
def all_together(objectives, teachers, untrained, few_digits):
    return train.train(list(objectives.values()), few_digits, teachers, CPU, stand_ins={"untrained": untrained})


def test_every_objective_in_company_equals_itself_alone(objectives, teachers, untrained, few_digits, all_together):
    for spec in objectives.values():
        alone = train.train([spec], few_digits, teachers, CPU, stand_ins={"untrained": untrained})[spec.id]
        assert same(alone.network, all_together[spec.id].network)
        assert without_times(alone.log) == without_times(all_together[spec.id].log)


def test_every_objective_trains_another_network(objectives, all_together):
    networks = [all_together[spec.id].network for spec in objectives.values()]
    for place, one in enumerate(networks):
        assert not any(same(one, other) for other in networks[place + 1 :])


def test_compared_objectives_have_targets_of_one_softness(objectives, all_together):
    vanilla = all_together[objectives["kd"].id].log[-1]["target_entropy"]
    for name in ("zscore", "class-mean", "shuffled", "untrained", "label-smoothing"):
        log = all_together[objectives[name].id].log[-1]
        assert log["target_entropy"] == pytest.approx(vanilla, rel=0.05), name
    assert all_together[objectives["zscore"].id].log[0]["target_temperature"] != 3.0


def test_a_matched_objective_goes_on_from_its_checkpoint_with_the_same_softness(
    objectives, teachers, untrained, few_digits, all_together, tmp_path
):
    checkpoints = Checkpoints(tmp_path)

    def stop(epoch, runs):
        raise KeyboardInterrupt

    specs = [objectives[name] for name in ("zscore", "class-mean", "halves-different", "halves-same", "zscore-equal")]
    with pytest.raises(KeyboardInterrupt):
        train.train(
            specs, few_digits, teachers, CPU, stand_ins={"untrained": untrained}, checkpoints=checkpoints, on_epoch=stop
        )
    resumed = train.train(specs, few_digits, teachers, CPU, stand_ins={"untrained": untrained}, checkpoints=checkpoints)
    for spec in specs:
        assert same(resumed[spec.id].network, all_together[spec.id].network)
        assert without_times(resumed[spec.id].log) == without_times(all_together[spec.id].log)


def test_an_epoch_logs_how_hard_labels_and_teachers_pull_and_an_equal_pull_is_about_that_of_kd(
    objectives, all_together
):
    def pull(name):
        log = all_together[objectives[name].id].log[-1]
        return log["soft_gradient"] / log["hard_gradient"]

    log = all_together[objectives["kd"].id].log[0]
    # the label's gradient is α·(q − y), whose norm lies between 0 and α·√2
    assert 0 < log["hard_gradient"] < 0.6 * 2**0.5
    assert pull("zscore-equal") == pytest.approx(pull("kd"), rel=0.5)


def test_the_coin_of_an_image_and_step_is_fair_and_follows_from_seed_epoch_and_image(students, digits):
    def coins(seed, epoch):
        spec = students[0].model_copy(update={"seed": seed})
        parts = [coin for _, _, coin in train._batches(digits.train, spec, epoch, lambda images: images)]
        return torch.cat(parts).float()

    assert torch.equal(coins(1, 0), coins(1, 0))
    assert not torch.equal(coins(1, 0), coins(2, 0))
    heads = torch.stack([coins(1, epoch).mean() for epoch in range(4)])
    assert (heads - 0.5).abs().max() < 4 * 0.5 / len(digits.train) ** 0.5


class CountingByWidth(ResNet):
    """A network that counts its passes by the width of what it sees."""

    def forward(self, images):
        width = images.shape[-1]
        self.passes[width] = self.passes.get(width, 0) + 1
        return super().forward(images)

    def __deepcopy__(self, memo):
        made = CountingByWidth(8, 2, [(8, 1, 1), (16, 1, 2), (32, 1, 1)], 10)
        made.load_state_dict(self.state_dict())
        made.passes = self.passes
        return made


def test_half_views_add_a_pass_for_each_teacher_and_side_and_nothing_else_adds_any(objectives, few_digits):
    def counted(names):
        specs = [objectives[name] for name in names]
        given = [{}, {}]
        for networks in given:
            for run in specs[0].teachers:
                networks[run] = CountingByWidth(8, 2, [(8, 1, 1), (16, 1, 2), (32, 1, 1)], 10)
                networks[run].passes = {}
        train.train(specs, few_digits, given[0], CPU, stand_ins={"untrained": given[1]})
        return [[network.passes for network in networks.values()] for networks in given]

    epochs, batches = 2, train.steps_per_epoch(70, 32)
    once = epochs * batches
    preparing = 3  # 70 images, 32 at once: what decides the softness of targets, once a training
    plain, silent = counted(["kd", "shuffled"])
    assert plain == [{32: once}, {32: once}]
    assert silent == [{}, {}]
    matched, silent = counted(["kd", "shuffled", "zscore", "class-mean", "label-smoothing"])
    assert matched == [{32: once + preparing}] * 2
    assert silent == [{}, {}]
    halves, _ = counted(["kd", "half-LR"])
    assert halves == [{32: once, 16: once}] * 2
    both_sides, _ = counted(["kd", "half-LR", "half-LL"])  # the first teacher: left; the second: right and left
    assert both_sides == [{32: once, 16: once}, {32: once, 16: 2 * once}]
    coins, _ = counted(["kd", "halves-different", "halves-both", "halves-same"])  # by a coin, both sides of both
    assert coins == [{32: once, 16: 2 * once}] * 2
    _, heard = counted(["kd", "untrained"])
    assert heard == [{32: once + preparing}] * 2


def test_a_transformer_cannot_teach_from_half_of_an_image(objectives, few_digits):
    spec = objectives["half-LR"]
    transformers = {run: models.build(ModelSpec(name="vit-tiny"), 10, 32, 0) for run in spec.teachers}
    with pytest.raises(ProfileError, match="cannot see half of an image"):
        train.train([spec], few_digits, transformers, CPU)


def of_an_origin(spec, **changes):
    return spec.model_copy(update={"origin": RunOrigin(run="0" * 16)} | changes)


def test_teachers_of_one_origin_share_its_features_and_have_heads_of_their_own(small_study):
    first, second = (next(r.spec for r in small_study.runs if r.name == name) for name in ("T1w", "T2w"))
    origin = models.build(first.model, 100, 32, seed=7).state_dict()
    started = [train.initial(of_an_origin(spec), 10, 32, CPU, origin) for spec in (first, second)]
    for name, tensor in started[0].features.state_dict().items():
        assert torch.equal(tensor, origin[f"features.{name}"])
        assert torch.equal(tensor, started[1].features.state_dict()[name])
    assert not torch.equal(started[0].classifier.weight, started[1].classifier.weight)


def test_a_pretrained_head_is_taken_over_where_the_origin_says_so(small_study):
    spec = next(run.spec for run in small_study.runs if run.name == "T1w")
    weights = models.build(spec.model, 10, 32, seed=7).state_dict()
    fresh, kept = (
        train.initial(spec.model_copy(update={"origin": ImageNetOrigin(head=head)}), 10, 32, CPU, weights)
        for head in ("fresh", "pretrained")
    )
    assert torch.equal(kept.classifier.weight, weights["classifier.weight"])
    assert not torch.equal(fresh.classifier.weight, weights["classifier.weight"])
    thousand = models.build(spec.model, 1000, 32, seed=7).state_dict()
    with pytest.raises(DataError, match=r"classifier\.bias is \(1000,\), not \(10,\)"):
        train.initial(spec.model_copy(update={"origin": ImageNetOrigin(head="pretrained")}), 10, 32, CPU, thousand)


def test_weights_of_another_architecture_and_broken_ones_are_refused(small_study):
    spec = of_an_origin(next(run.spec for run in small_study.runs if run.name == "T1w"))
    wide = models.build(ModelSpec(name="resnet8-w16"), 10, 32, 0).state_dict()
    with pytest.raises(DataError, match="is of another architecture"):
        train.initial(spec, 10, 32, CPU, wide)
    broken = models.build(spec.model, 10, 32, 0).state_dict()
    next(tensor for name, tensor in broken.items() if name.startswith("features.")).fill_(float("nan"))
    with pytest.raises(DataError, match="not finite"):
        train.initial(spec, 10, 32, CPU, broken)


def test_a_network_whose_last_step_broke_its_weights_is_not_finished(students, teachers, few_digits, monkeypatch):
    finish = train._finish_epoch

    def break_it(learner, *rest):
        finish(learner, *rest)
        if learner.epoch == learner.spec.train.epochs:
            learner.network.classifier.bias.data[0] = float("inf")

    monkeypatch.setattr(train, "_finish_epoch", break_it)
    result = train.train(students[:1], few_digits, teachers, CPU)[students[0].id]
    assert isinstance(result, DivergedError)
    assert "classifier.bias is not finite" in str(result)
