"""What the guard orders, step by step."""

from __future__ import annotations

import pytest

from audiocodec.errors import TrainingError
from audiocodec.training.guard import Action, Guard


def _orders(guard: Guard, steps: str) -> str:
    """Observe `.` (finite) and `x` (not); the first letters of the orders."""
    return "".join(guard.observe(step == ".").value[1] for step in steps)


def test_orders() -> None:
    guard = Guard(cut_after=2, rollback_after=4)
    # second letters: s_t_ep, s_k_ip, c_u_t, r_o_llback
    assert _orders(guard, "..x.xx.xxxx.xx") == "ttktkutkukotku"
    assert (guard.rollbacks, guard.skipped) == (1, 9)
    assert guard.rate_scale == 0.5**4  # cut, cut, rollback, cut


def test_good_steps_between_bad_ones_never_cut() -> None:
    guard = Guard(cut_after=2, rollback_after=4)
    assert set(_orders(guard, "x." * 50)) == {"k", "t"}
    assert guard.rate_scale == 1 and guard.bad_in_a_row == 0 and guard.skipped == 50


def test_a_finite_step_orders_a_step() -> None:
    assert Guard(1, 2).observe(True) is Action.STEP


def test_gives_up_after_three_rollbacks() -> None:
    guard = Guard(cut_after=1, rollback_after=2)
    assert _orders(guard, "xx.xxxx") == "uotuouo"
    assert guard.observe(False) is Action.CUT
    with pytest.raises(TrainingError, match="3 rollbacks"):
        guard.observe(False)
