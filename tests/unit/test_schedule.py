"""Places, rates and phases of a run by steps and by minutes, and the time that a final save is left: numbers by hand."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest

from audiocodec.config.checks import check
from audiocodec.config.schema import Config, DiscriminatorConfig, TrainConfig
from audiocodec.training import schedule
from audiocodec.training.schedule import Allowance, Deadline, Schedule, due, learning_rate


class Clock:
    """In place of the monotonic clock."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(schedule, "monotonic", made)
    return made


def config(minutes: float) -> Config:
    """1,000 steps: unquantized for 100, discriminators from 500 on; rates warm up for 100 and end at a tenth."""
    train = TrainConfig(
        steps=1000,
        minutes=minutes,
        warmup_autoencoder_steps=100,
        lr_warmup_steps=100,
        lr_final_ratio=0.1,
        learning_rate=2.0,
        discriminator_learning_rate=1.0,
    )
    return Config(train=train, discriminator=DiscriminatorConfig(start_step=500, alone_steps=40))


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 0.5),  # 2 * 1 / 4
        (3, 2.0),  # the end of the warm-up
        (4, 2.0),
        (9, 0.2 + 1.8 * (1 + math.sqrt(0.5)) / 2),  # a quarter of the way: cos(pi / 4)
        (14, 1.1),  # half-way between 2 and 0.1 * 2
        (24, 0.2),
        (1000, 0.2),
    ],
)
def test_the_learning_rate_warms_up_and_falls_like_a_cosine(step: int, expected: float) -> None:
    train = TrainConfig(steps=24, lr_warmup_steps=4, lr_final_ratio=0.1)
    assert learning_rate(Config(train=train), 2.0, step) == pytest.approx(expected, rel=1e-6)


def test_without_warm_up_the_first_rate_is_the_highest() -> None:
    train = TrainConfig(steps=10, lr_warmup_steps=0, lr_final_ratio=0.0)
    assert learning_rate(Config(train=train), 3.0, 0) == pytest.approx(3.0)
    assert learning_rate(replace(Config(), train=train), 3.0, 5) == pytest.approx(1.5)


@pytest.mark.parametrize(("step", "expected"), [(0, 0.0), (99, 0.0), (100, 0.5), (103, 2.0), (114, 1.1), (124, 0.2)])
def test_a_schedule_may_begin_later(step: int, expected: float) -> None:
    train = TrainConfig(steps=124, lr_warmup_steps=4, lr_final_ratio=0.1)
    assert learning_rate(Config(train=train), 2.0, step, first=100) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("place", [99.01, 99.5, 99.99])
def test_between_two_places_no_warm_up_overshoots(place: float) -> None:
    assert learning_rate(config(1), 2.0, place) == 2.0


def test_by_steps_time_does_not_matter(clock: Clock) -> None:
    run = Schedule(config(0))
    run.start()
    clock.now += 1e9
    assert run.clock() == 0 and [run.place(step) for step in (0, 7, 1000)] == [0, 7, 1000]
    assert not run.over(999) and run.over(1000)
    assert run.seconds_left(step=400, rate=3.0) == pytest.approx(200)


@pytest.mark.parametrize(
    ("seconds", "place", "quantizes", "discriminators", "adversarial", "codec", "discriminator_rate"),
    [
        (0, 0, False, False, False, 0.02, 0),
        (6, 50, False, False, False, 1.02, 0),
        (12, 100, True, False, False, 2.0, 0),
        (60, 500, True, True, False, 0.2 + 1.8 * (1 + math.cos(math.pi * 4 / 9)) / 2, 0.01),
        (66, 550, True, True, True, 0.2 + 1.8 * (1 + math.cos(math.pi / 2)) / 2, 0.51),
        (120, 1000, True, True, True, 0.2, 0.1),
        (500, 1000, True, True, True, 0.2, 0.1),
    ],
)
def test_by_minutes_steps_are_shares(
    clock: Clock,
    seconds: float,
    place: float,
    quantizes: bool,
    discriminators: bool,
    adversarial: bool,
    codec: float,
    discriminator_rate: float,
) -> None:
    run = Schedule(config(2))
    run.start()
    clock.now += seconds
    run.seconds = run.clock()
    for step in (0, 10**9):  # however many updates there were
        assert run.place(step) == pytest.approx(place)
        assert run.over(step) == (seconds >= 120)
    assert (run.quantizes(place), run.trains_discriminators(place), run.is_adversarial(place)) == (
        quantizes,
        discriminators,
        adversarial,
    )
    assert run.rates(place) == pytest.approx({"codec": codec, "discriminators": discriminator_rate})
    assert run.seconds_left(5, 1.0) == 120 - seconds


def test_minutes_of_cpu_time_stand_still_while_others_compute(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    used = Clock()
    monkeypatch.setattr(schedule, "process_time", used)
    run = Schedule(replace(config(2), train=replace(config(2).train, clock="cpu")))
    run.start()
    clock.now += 1e6
    assert run.clock() == 0
    used.now += 60
    run.seconds = run.clock()
    assert run.place(1) == 500


def test_a_run_goes_on_at_the_minute_where_it_was(clock: Clock) -> None:
    run = Schedule(config(2))
    run.restore(step=77, seconds=30.0)
    clock.now += 1000  # read audio, compile
    run.start()
    assert run.place(77) == 250
    clock.now += 30
    run.seconds = run.clock()
    assert run.place(99) == 500


def test_a_run_by_steps_may_go_on_by_minutes_and_back() -> None:
    by_minutes, by_steps = Schedule(config(2)), Schedule(config(0))
    by_minutes.restore(step=250, seconds=0.0)
    assert by_minutes.seconds == 30 and by_minutes.place(250) == 250
    by_minutes.restore(step=5000, seconds=0.0)
    assert by_minutes.over(5000)
    by_steps.restore(step=250, seconds=110.0)
    assert by_steps.seconds == 0 and by_steps.place(250) == 250


def test_intervals_of_steps_are_their_multiples() -> None:
    assert [step for step in range(1, 13) if due(4, step - 1, step)] == [4, 8, 12]


def test_intervals_are_not_missed_between_places() -> None:
    places = [0, 3.9, 4.1, 7.9, 7.99, 13.0, 15.9]
    assert [now for before, now in itertools.pairwise(places) if due(4, before, now)] == [4.1, 13.0]
    assert not due(4, 9, 3)  # rolled back


def test_the_deadline_leaves_time_for_a_step_and_a_save(clock: Clock) -> None:
    deadline = Deadline(clock.now + 100)
    assert deadline.left() == 100 and not deadline.near()
    deadline.saves, deadline.step_seconds = {"a": 15.0, "b": 5.0}, 2.0  # they may take half as long again: 30 s
    clock.now += 68
    assert not deadline.near()
    clock.now += 0.1
    assert deadline.near()
    assert not Deadline().near()


def test_minutes_below_zero_are_refused() -> None:
    assert check(config(-1)) == [("train.minutes", "got -1, need at least 0")]


def test_what_is_done_now_and_then_takes_no_more_than_its_share(clock: Clock) -> None:
    allowance = Allowance(0.02)
    assert allowance.allows()
    with allowance.spending():
        clock.now += 3
    assert allowance.seconds == 3
    clock.now += 146.9
    assert not allowance.allows()
    clock.now += 0.2
    assert allowance.allows()  # 3 of 150 seconds
    whole = Allowance(1)
    with whole.spending():
        clock.now += 3
    assert whole.allows()


@pytest.mark.parametrize("share", [0, -0.1, 1.1])
def test_a_share_of_validation_that_is_none_is_refused(share: float) -> None:
    assert {key for key, _ in check(Config(train=TrainConfig(valid_share=share)))} == {"train.valid_share"}
