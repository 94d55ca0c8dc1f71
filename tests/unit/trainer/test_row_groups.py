import itertools

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.roles.dataset.inspection import Inspection
from ansible_collections.canvas.fleet.plugins.module_utils.roles.dataset.judge import of_data
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.row_groups import (
    most_workers,
    needed,
    row_groups,
    starving,
    unseen,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.support.dataset_files import loaded, topology

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
        pytest.param(10, 0, 4, "run_config_processes", id="a run without ranks"),
    ],
)
def test_refuses(rows, ranks, workers, variable):
    with pytest.raises(FleetError) as told:
        row_groups(rows, ranks, workers)
    assert told.value.variable == variable


def test_as_many_rows_as_workers_is_enough():
    assert row_groups(16, 4, 4) == (1,) * 16


def test_no_row_count_up_to_700_on_16_ranks_of_8_workers_loses_a_row_or_starves_a_worker():
    told = 0
    for ranks, workers in itertools.product(range(1, 17), range(1, 9)):
        groups = ranks * workers
        assert [len(share) for share in loaded(groups, ranks, workers)] == [1] * groups
        assert not starving(groups, ranks, workers)
        assert unseen(groups, ranks, workers) == 0
        for rows in range(groups, 701):
            sizes = row_groups(rows, ranks, workers)
            assert (len(sizes), sum(sizes)) == (groups, rows)
            assert 1 <= sizes[-1] == min(sizes) >= max(sizes) - 1
            told += 1
    assert told == sum(701 - ranks * workers for ranks in range(1, 17) for workers in range(1, 9))


def test_where_rows_are_too_few_the_largest_worker_count_works_and_one_more_does_not():
    for rows, ranks in itertools.product(range(1, 701), range(1, 17)):
        most = most_workers(rows, ranks)
        if most:
            assert len(row_groups(rows, ranks, most)) == ranks * most
        with pytest.raises(FleetError):
            row_groups(rows, ranks, most + 1)


def test_a_finding_names_the_largest_worker_count_exactly_where_rows_are_too_few():
    for rows, ranks, workers in itertools.product(range(1, 131), (1, 2, 3, 5, 8, 16), range(1, 9)):
        seen = Inspection("/c/a.parquet", rows=rows, row_groups=(rows,))
        codes = {one.code: one.remedy for one in of_data(seen, {}, topology(ranks, workers))}
        assert ("ROWS_TOO_FEW" in codes) == (rows < ranks * workers)
        if 0 < rows // ranks < workers:
            assert f"run_config_num_workers: {rows // ranks} (the most" in codes["ROWS_TOO_FEW"]
