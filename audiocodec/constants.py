"""Numbers that the networks on torch, their ONNX graphs and the numpy programs share; needs no library."""

from __future__ import annotations

# Audio
MIN_RATE, MAX_RATE = 1_000, 1_000_000  # Hz, sample rates that files and models may have

# Layers
LEAKY_SLOPE = 0.1  # of the leaky activation, below zero
LAYER_NORM_EPSILON = 1e-6
MIN_SNAKE = 1e-9  # guards a division only
MAX_LOG_MAGNITUDE = 5.0  # exp(5) is far above any frame of audio within [-1, 1]; keeps a bad step finite
MIN_ENVELOPE = 1e-8  # of the summed squared windows; guards a division only

# Quantizers
FSQ_MARGIN = 1e-3  # FSQ's bound lies so far (relative) outside the last level, as in the paper's listing
MIN_NORM = 1e-12  # guards a division only, as torch.nn.functional.normalize does
FRAME_TILE = CODE_TILE = 1024  # 1024 x 1024 float32 scores: 4 MB, and as fast as larger tiles

# Error of float32, see docs/guide/determinism.md
LATENT_ERROR = 1e-3  # Euclidean distance of a latent of unit RMS per dimension, for models that state none
SCORE_ERROR = 2.0**-18  # of a search's score, relative to |x| |c| + |c|^2 / 2
MIN_DISTANCE = 1e-30  # guards a division only
