"""Which folder may lie in which, by name and by where it really lies."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible_collections.canvas.fleet.plugins.module_utils.core import paths
from ansible_collections.canvas.fleet.plugins.module_utils.plan import places, rules, together
from ansible_collections.canvas.fleet.plugins.module_utils.system import places as on_host
from ansible_collections.canvas.fleet.plugins.module_utils.system.places import Spot
from ansible_collections.canvas.fleet.plugins.plugin_utils.role_action import load_specs

from tests.unit.support.places import ROOT

OPTIONS = load_specs().options
NAMES = (*paths.READ, *paths.FILES, *paths.FOLDERS)
READ_ALONE = {"run_config_resume_from", "nvidia_busy_ignore_below"}


def defaults(**given: str) -> dict[str, str]:
    """Every path as the roles have it, for a run named atlas."""
    found: dict[str, str] = {"training_run": "atlas", "inventory_hostname": "atlas", "nvidia_cuda_version": "12.6"}
    found["evaluation_test_file"] = "/srv/blockmoving/data/test.parquet"  # its default is more than a path
    found.update(given)
    texts = {name: str(value) for name, value in load_specs().defaults.items() if isinstance(value, str)}
    for _ in range(5):
        for name, text in texts.items():
            for known, value in found.items():
                text = text.replace(f"{{{{ {known} }}}}", value)
            if "{{" not in text:
                found.setdefault(name, text)
    return {name: found[name] for name in (*NAMES, paths.CHECKPOINTS)}


def wrong(**given: str) -> list[tuple[str, str]]:
    found = list(together.judge(given))
    assert {one.code for one in found} <= {"VARIABLE_INVALID"}
    return [(one.variable, one.found) for one in found]


def test_every_variable_that_names_a_path_of_the_host_is_judged() -> None:
    known = {name for name, option in OPTIONS.items() if option.kind == "path"}
    known |= {name for name, rule in rules.RULES.items() if rules.FULL_PATH.expected in rule.expected}
    assert {*NAMES, paths.CHECKPOINTS} == known - READ_ALONE


def test_the_defaults_are_sound() -> None:
    assert wrong(**defaults()) == []


@pytest.mark.parametrize("name", [*paths.FILES, *paths.FOLDERS, paths.CHECKPOINTS])
@pytest.mark.parametrize(
    "path", ["/etc/passwd", "/usr/lib/x", "/root", "/var/log/x", "/home", "/var/lib", "/boot/", "//etc/x", "/etc/./x"]
)
def test_nothing_of_ours_comes_into_a_folder_of_the_system(name: str, path: str) -> None:
    ((variable, found),) = wrong(**{name: path})
    assert (variable, "a folder of the system" in found) == (name, True)


@pytest.mark.parametrize("path", ["/srv/../etc", "/srv/b/..", "/..", "/srv/./.."])
@pytest.mark.parametrize("name", [*NAMES, paths.CHECKPOINTS])
def test_no_path_climbs(name: str, path: str) -> None:
    assert "without .." in rules.broken(name, OPTIONS[name].kind, path)


@pytest.mark.parametrize(
    ("change", "variable"),
    [
        pytest.param({"run_config_script": "/srv/elsewhere/x.sh"}, "run_config_script", id="a script outside"),
        pytest.param({"run_config_yaml": "/data/x.yaml"}, "run_config_yaml", id="a yaml outside"),
        pytest.param({"run_config_script": "/var/lib/canvas-fleet/x.sh"}, "run_config_script", id="a script of root's"),
        pytest.param({"weights_dir": "/srv/blockmoving/MathCanvas/m"}, "weights_dir", id="the model in the code"),
        pytest.param({"weights_dir": "/srv/blockmoving"}, "training_checkpoint_dir", id="the model's folder is all"),
        pytest.param({"fleet_state_dir": "/srv/blockmoving/state"}, "fleet_state_dir", id="records with the account"),
        pytest.param({"fleet_agent_dir": "/srv/blockmoving/agent"}, "fleet_agent_dir", id="programs with the account"),
        pytest.param({"dataset_output_dir": "/var/lib/canvas-fleet/d"}, "dataset_output_dir", id="data with root"),
        pytest.param({"training_results_dir": "/srv/blockmoving/models"}, "weights_dir", id="the model in the results"),
        pytest.param({"training_kept_dir": "/srv/blockmoving/home/../MathCanvas/k"}, "training_kept_dir", id="climbs"),
    ],
)
def test_a_folder_in_anothers_is_refused_by_name(change: dict[str, str], variable: str) -> None:
    given = {**defaults(), **change}
    assert [name for name, _ in wrong(**given)] == [variable]


@pytest.mark.parametrize(("one", "other"), [("run_config_script", "run_config_yaml"),
                                            ("dataset_info_path", "dataset_train_file")])  # fmt: skip
def test_one_path_for_two_files_is_refused(one: str, other: str) -> None:
    given = defaults()
    given[one] = given[other] = given[one] + "/"
    assert [name for name, found in wrong(**given) if "is also" in found] == sorted([one, other])


CHECKPOINTS = "/srv/b/out/checkpoints"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("place", "fits"),
    [
        pytest.param(CHECKPOINTS, False, id="is it"),
        pytest.param("/srv//b/./out/checkpoints/", False, id="is it, spelled otherwise"),
        pytest.param(f"{CHECKPOINTS}/x", False, id="lies in it"),
        pytest.param("/srv/b/out", None, id="holds it"),
        pytest.param(f"{CHECKPOINTS}-2", True, id="has a longer name"),
        pytest.param("/srv/b/out/check", True, id="has a shorter name"),
    ],
)
def test_no_path_of_another_variable_meets_the_checkpoint_folder(name: str, place: str, fits: bool | None) -> None:
    """The start moves what is no checkpoint out of that folder: a user's data, conda's environment, the code."""
    fits = name in paths.ABOVE_CHECKPOINTS if fits is None else fits
    found = wrong(training_checkpoint_dir=CHECKPOINTS, **{name: place})
    assert [one for one, _ in found] == ([] if fits else ["training_checkpoint_dir"])


@pytest.mark.parametrize("name", sorted(READ_ALONE))
def test_a_path_that_is_only_read_may_lie_among_the_checkpoints(name: str) -> None:
    assert wrong(training_checkpoint_dir=CHECKPOINTS, **{name: f"{CHECKPOINTS}/0000510"}) == []


# --- where a path really lies


def seen(tmp_path: Any, mounts: list[tuple[str, str, str]] | None = None, **given: str) -> list[str]:
    spots = {name: on_host.spot(str(tmp_path / path), mounts or []) for name, path in given.items()}
    return [f"{one.code} {one.variable}" for one in places.judge(spots)]


@pytest.fixture
def tree(tmp_path: Any) -> Any:
    for name in ("data/parquets", "fleet/out/checkpoints", "models"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


WRONG = ["VARIABLE_INVALID training_checkpoint_dir"]


def test_a_link_to_another_variables_folder_is_seen(tree: Any) -> None:
    (tree / "link").symlink_to(tree / "data")
    assert seen(tree, training_checkpoint_dir="link/parquets", dataset_output_dir="data/parquets") == WRONG
    assert seen(tree, training_checkpoint_dir="link/parquets/deep/er", dataset_output_dir="data/parquets") == WRONG
    assert seen(tree, training_checkpoint_dir="data/parquets", dataset_output_dir="link/parquets/new") == WRONG
    assert seen(tree, training_checkpoint_dir="link/other", dataset_output_dir="data/parquets") == []


def test_a_link_into_the_system_is_seen(tree: Any) -> None:
    (tree / "fleet/scripts").symlink_to("/etc")
    found = seen(tree, run_config_script="fleet/scripts/passwd", fleet_root="fleet")
    assert found == ["VARIABLE_INVALID run_config_script"]


def test_the_remedy_names_the_link_where_the_inventory_is_right(tree: Any) -> None:
    (tree / "fleet/scripts").symlink_to("/etc")
    settings = {"fleet_root": str(tree / "fleet"), "run_config_script": str(tree / "fleet/scripts/run.sh")}
    spots = {name: on_host.spot(path) for name, path in settings.items()}
    (found,) = places.judge_real(spots, settings)
    assert found.variable == "run_config_script"
    assert f"readlink -f {settings['run_config_script']}" in found.remedy
    wrong_as_named = {**settings, "run_config_script": "/etc/passwd"}
    (found,) = places.judge_real({**spots, "run_config_script": on_host.spot("/etc/passwd")}, wrong_as_named)
    assert "readlink" not in found.remedy


def test_a_bind_mount_of_the_same_or_of_a_folder_above_is_seen(tree: Any) -> None:
    """mountinfo names the folder of the file system that a mount shows."""
    disk = ("/", "8:1", "/")
    bound = (str(tree / "models"), "8:1", str(tree / "data/parquets"))
    given = {"training_checkpoint_dir": "models/ck", "dataset_output_dir": "data/parquets"}
    assert seen(tree, [disk, bound], **given) == WRONG
    assert seen(tree, [disk, (bound[0], "8:2", bound[2])], **given) == [], "another disk"
    assert seen(tree, [disk], **given) == []
    assert seen(tree, [disk, bound], training_checkpoint_dir="models/ck", dataset_output_dir="data") == WRONG


def test_a_name_in_other_letters_is_seen_where_the_file_system_knows_no_case() -> None:
    folder = Spot("/mnt/Data", folders=((1, 7), (1, 2)), exists=True)
    inside = Spot("/mnt/data/checkpoints", folders=((1, 7), (1, 2)))
    found = places.judge({"training_checkpoint_dir": inside, "dataset_output_dir": folder})
    assert [one.variable for one in found] == ["training_checkpoint_dir"]
    other = Spot("/mnt/data/checkpoints", folders=((1, 8), (1, 2)))
    assert places.judge({"training_checkpoint_dir": other, "dataset_output_dir": folder}) == []


def test_the_hosts_own_mounts_are_read() -> None:
    found = on_host.observe({"a": "/proc/self", "b": "relative", "c": 5, "d": "/a\0b"})  # type: ignore[arg-type, typeddict-item]
    assert list(found) == ["a"]
    assert (found["a"].device != "", found["a"].exists) == (True, True)


def test_the_example_inventory_is_sound() -> None:
    for path in sorted((ROOT / "inventory/example-fleet/host_vars").glob("*.yml")):
        given = {
            name: value
            for name, value in yaml.safe_load(path.read_text()).items()
            if name in NAMES and "{{" not in value
        }
        assert wrong(**defaults(**given)) == [], path.name
