"""What docs/data-order.md promises, by letter, and the tests that hold it: none may go without the other."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PROMISES: dict[str, tuple[str, ...]] = {
    "a: per phase and source the plan's samples exactly, every prefix within one sample": (
        "order/test_turns.py::test_every_prefix_holds_each_source_share_within_one_sample",
        "order/test_run_order.py::test_each_phase_draws_exactly_what_is_planned",
        "test_elastic.py::test_the_model_is_given_what_the_plan_says",
    ),
    "b: no sample again before its source was through, then a new permutation": (
        "order/test_shuffled.py::test_no_sample_is_drawn_again_before_all_were_drawn",
        "order/test_shuffled.py::test_each_pass_is_another_permutation",
        "order/test_paced.py::test_no_sample_is_drawn_again_before_all_were_drawn",
        "order/test_run_order.py::test_no_sample_again_before_all_across_phases",
        "order/test_run_order.py::test_a_changed_future_replays_nothing",
        "test_elastic.py::test_the_model_is_given_what_the_plan_says",
    ),
    "c: global batches are a function of plan and seed, for any ranks, nodes, workers, microbatch": (
        "order/test_run_order.py::test_global_batches_are_the_same_for_any_ranks_and_workers",
        "test_elastic.py::test_every_global_batch_is_the_same_on_all_machines",
        "test_elastic.py::test_losses_are_equal_to_the_last_bit_where_the_world_size_is_equal",
        "test_elastic.py::test_two_agents_of_torchrun_train_the_same",
    ),
    "d: killed at any batch and resumed on other ranks or workers, the same sequence goes on": (
        "order/test_run_order.py::test_a_resume_goes_on_with_the_same_sequence",
        "test_elastic.py::test_killed_and_resumed_on_other_machines_the_same_sequence_goes_on",
        "test_elastic.py::test_killed_and_resumed_with_as_many_ranks_losses_are_equal_to_the_last_bit",
        "test_elastic.py::test_killed_at_any_batch_by_chance",
        "test_elastic.py::test_a_rank_that_fails_ends_all_ranks",
    ),
    "e: shards are downloaded, cached, evicted, validated and shuffled with Streaming's locality": (
        "order/test_shuffled.py::test_blocks_are_whole_shards",
        "data/test_planned_dataset.py::test_remote_shards_are_fetched_checked_and_named_when_damaged",
        "faults/test_cache.py::test_limit_holds_and_the_order_stays",
        "faults/test_faulty_store.py::test_a_third_of_all_requests_fails",
    ),
    "f: memory and start-up grow with a window, not with the run": (
        "test_long_runs.py::test_ten_trillion_tokens_start_anywhere_in_bounded_memory",
        "test_long_runs.py::test_the_order_needs_no_more_memory_for_a_longer_run",
        "test_long_runs.py::test_the_dataset_opens_a_hundred_million_samples_in_bounded_memory",
    ),
    "g: no slower than a stock StreamingDataset": ("test_stock.py::test_the_loader_keeps_up_with_a_stock_dataset",),
}


@pytest.mark.parametrize("promise", PROMISES)
def test_each_promise_is_held_by_tests_that_exist(promise: str) -> None:
    """A test that is renamed or removed takes a promise with it: that must be noticed."""
    for place in PROMISES[promise]:
        path, name = place.split("::")
        tree = ast.parse((ROOT / "tests" / "runtime" / path).read_text(encoding="utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, place


def test_the_page_has_the_same_promises() -> None:
    """docs/data-order.md has a row for each letter, and no other."""
    page = (ROOT / "docs" / "data-order.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| (\w) \|", page, re.MULTILINE) == [promise[0] for promise in PROMISES]
