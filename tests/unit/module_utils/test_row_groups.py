import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.row_groups import needed, row_groups, starving, unseen
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.module_utils.dataset_files import loaded

runs = st.tuples(st.integers(1, 32), st.integers(0, 8))


@given(run=runs, more=st.integers(0, 5000))
def test_every_worker_gets_exactly_one_group_and_no_row_is_lost(run, more):
    rows = needed(*run) + more
    sizes = row_groups(rows, *run)
    shares = loaded(len(sizes), *run)
    assert [len(share) for share in shares] == [1] * needed(*run)
    assert sum(sizes[group] for share in shares for group in share) == rows


@given(run=runs, more=st.integers(0, 5000))
def test_sizes_differ_by_at_most_one_row(run, more):
    sizes = row_groups(needed(*run) + more, *run)
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) >= 1


@given(run=runs, groups=st.integers(0, 400))
def test_starving_and_unseen_say_what_the_loader_does(run, groups):
    shares = loaded(groups, *run)
    assert starving(groups, *run) == (not any(shares))
    assert unseen(groups, *run) == groups - sum(len(share) for share in shares)


def test_the_guides_613_rows_on_four_ranks_and_workers_make_16_groups_of_38_or_39():
    sizes = row_groups(613, 4, 4)
    assert len(sizes) == 16
    assert set(sizes) == {38, 39}


@pytest.mark.parametrize(
    ("rows", "ranks", "workers", "variable"),
    [
        pytest.param(15, 4, 4, "run_config_num_workers", id="fewer rows than workers"),
        pytest.param(0, 1, 0, "run_config_num_workers", id="no rows at all"),
        pytest.param(10, 0, 4, "dataset_world_size", id="a run without ranks"),
    ],
)
def test_refuses(rows, ranks, workers, variable):
    with pytest.raises(FleetError) as told:
        row_groups(rows, ranks, workers)
    assert told.value.variable == variable


def test_as_many_rows_as_workers_is_enough():
    assert row_groups(16, 4, 4) == (1,) * 16
