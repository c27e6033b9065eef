"""Gradients through a discrete choice: straight-through, and the rotation trick (arXiv 2410.06424, section 4.2)."""

from __future__ import annotations

from torch import Tensor

MIN_NORM = 1e-6  # guards a division only


def straight_through(latents: Tensor, chosen: Tensor) -> Tensor:
    """`chosen`, whose gradient goes to `latents` (the same shape) unchanged."""
    return latents + (chosen - latents).detach()


def rotate_through(latents: Tensor, chosen: Tensor) -> Tensor:
    """`chosen` as the rotation and scaling that takes each latent to its code; both count as constants.

    With unit vectors `e` of the latent and `q` of the code and `r = (e + q) / |e + q|` the map is
    `|code| / |latent| (I - 2 r r^T + 2 q e^T)`, a product of two reflections: the angle between gradient and code is
    that between latent and gradient afterwards.

    Args:
        latents: `[B, D, T]`; the gradient goes there.
        chosen: `[B, D, T]`, taken without gradient.

    Returns:
        `[B, D, T]`, equal to `chosen`.
    """
    start, end = latents.detach(), chosen.detach()
    start_norm, end_norm = (x.norm(dim=1, keepdim=True).clamp(min=MIN_NORM) for x in (start, end))
    e, q = start / start_norm, end / end_norm
    r = e + q
    r = r / r.norm(dim=1, keepdim=True).clamp(min=MIN_NORM)
    along_r, along_e = ((latents * axis).sum(1, keepdim=True) for axis in (r, e))
    rotated = (latents - 2 * along_r * r + 2 * along_e * q) * (end_norm / start_norm)
    exact: Tensor = rotated + (end - rotated).detach()  # what rounding left
    return exact
