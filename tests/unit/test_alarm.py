"""The collapse alarm: when it sounds and when it does not."""

from __future__ import annotations

import dataclasses

import pytest

from audiocodec.config.checks import check
from audiocodec.config.schema import Config, DataConfig, QuantizerConfig, TrainConfig
from audiocodec.training.monitor.alarm import CollapseAlarm

USAGE, DIMENSION = "codebook/1/different_per_frame", "codebook/0/effective_dimension_codes"


def alarm(size: int = 4096, **keys: float) -> CollapseAlarm:
    """Batches of 2 x 100 frames, latents of 50 dimensions, 100 steps unless `keys` say otherwise."""
    config = Config(
        quantizer=QuantizerConfig(codebook_size=size, codebook_dim=50),
        data=DataConfig(segment_seconds=100 * 320 / 24_000),
        train=TrainConfig(**{"batch_size": 2, "alarm_usage": 0.1, "alarm_dimension": 0.04, "alarm_steps": 100, **keys}),
    )
    return CollapseAlarm(config)


def test_it_sounds_after_so_many_steps_and_goes_on() -> None:
    bell = alarm()
    assert bell.observe({USAGE: 0.09}, 50) == []
    (line,) = bell.observe({USAGE: 0.08}, 50)
    assert line == f"COLLAPSE: {USAGE} is 0.0800, below 0.1000 for 100 steps"
    assert "150 steps" in bell.observe({USAGE: 0.08}, 50)[0]


def test_a_line_that_is_not_low_begins_the_count_anew() -> None:
    bell = alarm()
    for value, quiet in ((0.05, True), (0.1, True), (0.05, True), (0.05, False)):
        assert (bell.observe({USAGE: value}, 50) == []) == quiet
    assert bell.observe({}, 50) == []  # nothing was quantized
    assert bell.observe({USAGE: 0.05}, 50) == []


@pytest.mark.parametrize(("value", "sounds"), [(1.9, True), (2.1, False)])  # 0.04 of 50 dimensions is 2
def test_the_effective_dimension_counts_as_well(value: float, sounds: bool) -> None:
    found = alarm(alarm_steps=1).observe({DIMENSION: value, USAGE: 0.5}, 1)
    assert [DIMENSION in line for line in found] == [True] * sounds


def test_a_small_codebook_cannot_be_more_different_than_it_is() -> None:
    """20 codes over 200 frames: at most 0.1 different codes per frame, a tenth of which is 0.01."""
    assert alarm(20, alarm_steps=1).observe({USAGE: 0.011}, 1) == []
    assert len(alarm(20, alarm_steps=1).observe({USAGE: 0.009}, 1)) == 1


def test_zero_means_never_and_other_values_are_left_alone() -> None:
    bell = alarm(alarm_usage=0.0, alarm_dimension=0.0, alarm_steps=1)
    assert bell.observe({USAGE: 0.0, DIMENSION: 0.0}, 10) == []
    assert alarm(alarm_steps=1).observe({"different_per_frame": 0.0, "codebook/0/usage": 0.0, "loss/mel": 0.0}, 1) == []


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("alarm_usage", 1.5, "need 0 to 1"),
        ("alarm_dimension", -0.1, "need 0 to 1"),
        ("alarm_steps", 0, "need at least 1"),
    ],
)
def test_thresholds_that_make_no_sense_are_refused(key: str, value: float, message: str) -> None:
    train = dataclasses.replace(TrainConfig(), **{key: value})
    problems = check(Config(train=train))
    assert [where for where, _ in problems] == [f"train.{key}"] and message in problems[0][1]
