"""The models in the package: of the configurations of their names, and with discriminators for whoever goes on with them."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load_file

from audiocodec import model_file, model_places
from audiocodec.build import build_discriminators
from audiocodec.config.load import load_config
from audiocodec.training.checkpoints.initial import take_discriminators
from audiocodec.training.checkpoints.lean import discriminators_beside
from audiocodec.training.losses import DiscriminatorBundle

LARGEST = 40e6  # bytes of a model


@pytest.mark.parametrize("name", model_places.available())
def test_it_is_a_model_of_its_configuration(name: str) -> None:
    found, wanted = model_file.describe(name), load_config(name)
    assert (found.config.name, found.config.model, found.config.quantizer) == (name, wanted.model, wanted.quantizer)
    assert found.bytes < LARGEST
    assert found.latent_error  # measured, so that few frames are decided in float64


@pytest.mark.parametrize("name", model_places.available())
def test_a_run_goes_on_with_its_discriminators(name: str) -> None:
    path = model_places.resolve(name)
    beside, ours = discriminators_beside(path), DiscriminatorBundle(build_discriminators(load_config(name)))
    assert beside is not None and all(np.isfinite(array).all() for array in load_file(beside).values())
    taken = take_discriminators(ours, path)
    assert taken is not None and not (taken.fresh or taken.resized or taken.unused)
