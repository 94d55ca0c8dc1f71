import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.wire import from_dict, to_dict
from ansible_collections.canvas.fleet.plugins.module_utils.findings.finding import CATALOGUE
from ansible_collections.canvas.fleet.plugins.module_utils.roles.dataset import decide as dataset_plan
from ansible_collections.canvas.fleet.plugins.module_utils.roles.dataset import observe as dataset
from ansible_collections.canvas.fleet.plugins.module_utils.roles.dataset.inspection import Inspection
from ansible_collections.canvas.fleet.plugins.module_utils.roles.dataset.judge import judge
from ansible_collections.canvas.fleet.plugins.module_utils.roles.dataset.record import layout
from ansible_collections.canvas.fleet.plugins.module_utils.roles.dataset.rows import CUT_IMAGE, NO_SOLUTION_IMAGE
from ansible_collections.canvas.fleet.plugins.module_utils.system import files

from tests.unit.support.dataset_files import settings, topology

LIMITS = {
    "run_config_max_num_tokens_per_sample": 9869,
    "run_config_max_num_tokens": 32768,
    "run_config_expected_num_tokens": 8192,
    "run_config_prefer_buffer_before": 8192,
    "run_config_use_flex": True,
}


def inspection(**other):
    """A good file of 613 rows; the longest sample has 9868 tokens."""
    found = {
        "path": "/c/train_split.parquet",
        "folder": "/c",
        "problem": "",
        "missing": [],
        "rows": 613,
        "row_groups": [613],
        "bad": [],
        "index_nulls": 0,
        "lengths": [[6000, 600], [9868, 13]],
        "at_least": [[6000, 600], [9868, 13]],
        "text": "counted",
        "duplicates": [],
        "longest": {"row": 41, "tokens": 9868, "image_tokens": 9542},
        **other,
    }
    return from_dict(Inspection, found)


def test_file(**other):
    return to_dict(inspection(**{"path": "/c/test/test_split.parquet", "folder": "/c/test", "rows": 69, **other}))


test_file.__test__ = False
TOO_LONG = ("SAMPLES_TOO_LONG", "error")
OWN_GROUPS = {"dataset_reshard": False}

# code: what raises it, and a near miss that does not
CASES = {
    "DATASET_UNREADABLE": [({"problem": "no magic bytes"}, {}), ({"problem": ""}, {})],
    "DATASET_COLUMN_MISSING": [({"missing": ["no column answer"]}, {}), ({"missing": []}, {})],
    "DATASET_ROWS_BAD": [
        ({"bad": [[3, "answer is empty"]]}, {}),
        ({"bad": [[3, "answer is empty"]]}, {"dataset_drop_bad_rows": True}),
    ],
    "SOLUTION_WITHOUT_IMAGE": [
        ({"bad": [[3, NO_SOLUTION_IMAGE]]}, {}),
        ({"bad": [[3, NO_SOLUTION_IMAGE]]}, {"dataset_drop_bad_rows": True}),
    ],
    "IMAGE_CUT_SHORT": [
        ({"bad": [[3, f"{CUT_IMAGE}: question image"]]}, {}),
        ({"bad": [[3, "an image cannot be decoded: question image"]]}, {}),
    ],
    "DUPLICATE_ROWS": [({"duplicates": [[9, 3]]}, {}), ({"duplicates": []}, {})],
    "DATASET_ROWS_DROPPED": [
        ({"bad": [[3, "answer is empty"]]}, {"dataset_drop_bad_rows": True}),
        ({"bad": []}, {"dataset_drop_bad_rows": True}),
    ],
    "ROWS_TOO_FEW": [({"rows": 15}, {}), ({"rows": 16}, {})],
    "ROW_GROUPS_STARVE": [({"row_groups": [41] * 15}, OWN_GROUPS), ({"row_groups": [39] * 16}, OWN_GROUPS)],
    "ROW_GROUPS_UNSEEN": [({"row_groups": [37] * 17}, OWN_GROUPS), ({"row_groups": [20] * 32}, OWN_GROUPS)],
    "SAMPLES_TOO_LONG": [({}, {"run_config_max_num_tokens_per_sample": 9868}), ({}, LIMITS)],
    "BATCH_OVERFLOWS": [
        ({}, {"run_config_max_num_tokens": 9867}),
        ({}, {"run_config_max_num_tokens": 9867, "run_config_use_flex": False}),
    ],
    "PACKING_DROPS_SAMPLES": [
        ({}, {"run_config_max_num_tokens": 19735}),
        ({}, {"run_config_max_num_tokens": 19736}),
    ],
    "TEST_ROWS_IN_TRAIN": [({"test": test_file(rows_in_train=[[7, 3, 1]])}, {}), ({"test": test_file()}, {})],
    "TRAIN_TEST_TOGETHER": [({"test": test_file(folder="/c")}, {}), ({"test": test_file()}, {})],
    "INDEX_HAS_NULLS": [({"index_nulls": 2782}, {}), ({"index_nulls": 0}, {})],
    "INFO_PATHS_FOREIGN": [
        ({"info": "/c/i.json", "foreign_info": ["/home/ubuntu/t.parquet"]}, {}),
        ({"foreign_info": []}, {}),
    ],
}


def codes(seen, told):
    return [one.code for one in judge(inspection(**seen), {**LIMITS, **told}, topology(4, 4))]


@pytest.mark.parametrize("code", CASES)
def test_a_finding_is_raised(code):
    assert code in codes(*CASES[code][0])


@pytest.mark.parametrize("code", CASES)
def test_a_near_miss_is_not(code):
    assert code not in codes(*CASES[code][1])


def test_a_good_file_has_no_findings():
    assert codes({"test": test_file()}, {}) == []


@pytest.mark.parametrize(
    ("expected_tokens", "enough"),
    [
        pytest.param(8192, 2 * 9868, id="twice the longest sample"),
        pytest.param(12000, 12000 + 9868, id="the expected tokens and the longest sample"),
    ],
)
def test_packing_needs(expected_tokens, enough):
    told = {"run_config_expected_num_tokens": expected_tokens}
    assert codes({}, {**told, "run_config_max_num_tokens": enough}) == []
    assert codes({}, {**told, "run_config_max_num_tokens": enough - 1}) == ["PACKING_DROPS_SAMPLES"]


def test_samples_that_are_skipped_do_not_count_for_packing():
    told = {"run_config_max_num_tokens_per_sample": 8192, "run_config_max_num_tokens": 8192 + 6000}
    assert codes({}, told) == ["SAMPLES_TOO_LONG"]


def test_rows_left_out_count_as_absent():
    bad = [[number, "answer is empty"] for number in range(598)]
    assert "ROWS_TOO_FEW" in codes({"bad": bad}, {"dataset_drop_bad_rows": True})


def test_a_test_file_that_cannot_be_read_is_told_by_its_variable():
    found = judge(inspection(test=test_file(problem="cut")), LIMITS, topology())
    assert [(one.code, one.variable) for one in found] == [("DATASET_UNREADABLE", "dataset_test")]


def test_only_the_first_rows_are_named():
    bad = [[number, "answer is empty"] for number in range(9)]
    (found,) = judge(inspection(bad=bad), LIMITS, topology())
    assert found.found.endswith("9 of 613 rows (counted from 0); 9 × answer is empty (rows 0, 1, 2, …)")


def test_bad_rows_are_counted_by_reason_and_the_first_place_is_named():
    bad = [[4, "answer is empty"], [7, "an image has no bytes: question_interleave[1]"], [9, "answer is empty"]]
    (found,) = judge(inspection(bad=bad), LIMITS, topology())
    assert "2 × answer is empty (rows 4, 9); 1 × an image has no bytes (row 7; question_interleave[1])" in found.found


def test_a_sample_that_may_be_too_long_is_a_warning_and_one_that_must_be_an_error():
    limit = {**LIMITS, "run_config_max_num_tokens_per_sample": 9000}
    least = {"text": "estimated", "at_least": [[5900, 600], [8990, 13]]}
    (maybe,) = judge(inspection(**least), limit, topology())
    (sure,) = judge(inspection(**{**least, "at_least": [[5900, 600], [9001, 13]]}), limit, topology())
    assert (maybe.code, maybe.severity, sure.code, sure.severity) == ("SAMPLES_TOO_LONG", "warning", *TOO_LONG)
    assert "0 to 13 of 613 samples" in maybe.found
    assert "its text is estimated" in maybe.found


def test_leaks_name_the_pairs_and_how_many_have_another_answer():
    test = test_file(rows_in_train=[[7, 3, 1], [8, 30, 0]])
    (found,) = judge(inspection(test=test), LIMITS, topology())
    assert "2 of 69 test rows" in found.found
    assert "test row 7 = training row 3; test row 8 = training row 30" in found.found
    assert found.found.endswith("1 of them with another answer")


@pytest.mark.parametrize(
    ("rows", "ranks", "words"),
    [
        pytest.param(31, 8, "run_config_num_workers: 3 (the most for 8 ranks)", id="fewer workers do"),
        pytest.param(7, 8, "at most 7 processes", id="even one worker each is too many"),
    ],
)
def test_too_few_rows_name_what_would_work(rows, ranks, words):
    (found,) = judge(inspection(rows=rows), LIMITS, topology(ranks, 4))
    assert (found.code, words in found.remedy) == ("ROWS_TOO_FEW", True)


def test_what_packing_loses_is_told_with_the_budget_that_keeps_all():
    told = {**LIMITS, "run_config_max_num_tokens": 9869}
    (found,) = judge(inspection(lengths=[[6000, 613]]), told, topology())
    assert "about 50% of the samples are thrown away" in found.found
    assert found.expected.startswith(f"at least {8192 + 6000}")


def test_rows_that_older_rules_looked_at_are_looked_at_again(host):
    told = settings(host, "/c/train_split.parquet")
    layout(told).record_path.parent.mkdir(parents=True)
    files.save(layout(told).record_path, {"inspection": {"rules": 0, "bad": "of another form"}})
    seen = dataset.observe(told)
    assert "the rows were checked by older rules" in dataset_plan.decide(seen, told, topology()).reasons


def test_every_code_is_in_the_catalogue():
    assert set(CASES) <= set(CATALOGUE)


# --- decide, on what observe sees of folders made by hand


@pytest.fixture
def host(tmp_path):
    return tmp_path / "host"


def plan(told):
    return dataset_plan.decide(dataset.observe(told), told, topology())


def test_a_bare_host_lacks_everything_and_has_no_findings(host):
    found = plan(settings(host, "/c/train_split.parquet", "/c/test_split.parquet"))
    assert [reason.split(" (")[0] for reason in found.reasons] == [
        "the train file is not on the host",
        "the test file is not on the host",
        "there is no training copy",
    ]
    assert found.findings == ()


@pytest.mark.parametrize(
    ("change", "code", "variable"),
    [
        pytest.param({"dataset_train": ""}, "DATASET_MISSING", "dataset_train", id="no training file named"),
        pytest.param({"dataset_source": "git"}, "DATASET_MISSING", "dataset_repo", id="git without a repository"),
        pytest.param(
            {"dataset_test": "/other/train_split.parquet"}, "VARIABLE_INVALID", "dataset_test", id="one name for both"
        ),
        pytest.param(
            {"dataset_train_file": "/elsewhere/a.parquet"}, "VARIABLE_INVALID", "dataset_train_file", id="elsewhere"
        ),
    ],
)
def test_settings_that_cannot_be_meant(host, change, code, variable):
    found = plan(settings(host, "/c/train_split.parquet", **change))
    assert [(one.code, one.variable) for one in found.findings] == [(code, variable)]
    assert found.reasons


def test_the_training_folder_may_not_be_the_originals_folder(host):
    told = settings(host, "/c/a.parquet")
    told.update(dataset_train_dir=told["dataset_output_dir"])
    assert [one.variable for one in plan(told).findings] == ["dataset_train_dir"]


def test_a_file_in_place_of_a_folder_is_found(host):
    (host / "data").mkdir(parents=True)
    (host / "data/output").write_text("a file")
    (one,) = plan(settings(host, "/c/a.parquet")).findings
    assert (one.code, one.variable) == ("PATH_IS_A_FILE", "dataset_output_dir")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        pytest.param("test_split.parquet", ["DATASET_FOLDER_FOREIGN"], id="another parquet in the training folder"),
        pytest.param("test_split.parquet.old", [], id="a file that the trainer does not take"),
    ],
)
def test_what_else_lies_in_the_training_folder(host, name, found):
    (host / "train").mkdir(parents=True)
    (host / "train" / name).write_bytes(b"")
    assert [one.code for one in plan(settings(host, "/c/a.parquet")).findings] == found


@pytest.mark.parametrize(
    ("source", "place", "other", "same"),
    [
        pytest.param("url", "https://h/a?k=1", {"dataset_train": "https://h/a?k=2"}, False, id="a query"),
        pytest.param("git", "a.parquet", {"dataset_commit": "f" * 40}, False, id="another commit"),
        pytest.param("controller", "/a.parquet", {"dataset_train": "/b/a.parquet"}, True, id="another path"),
    ],
)
def test_what_makes_another_origin(host, source, place, other, same):
    told = settings(host, place, dataset_source=source, dataset_repo="https://h/r", dataset_commit="a" * 40)
    assert (dataset_plan.origin(told, "train") == dataset_plan.origin({**told, **other}, "train")) is same


def test_an_origin_holds_no_secrets(host):
    told = settings(host, "https://me:pw@h/a.parquet?sig=s3cret", dataset_source="url")
    assert not {"pw", "s3cret"} & set(dataset_plan.origin(told, "train").replace(":", " ").replace("=", " ").split())
    assert "s3cret" not in " ".join(plan(told).reasons)
