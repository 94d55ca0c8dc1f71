"""The supervisor around a stand-in for the trainer: real processes, real signals, systemd's protocol, no systemd."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.unit.support.supervised import Supervised, wait_for

FINISHED, AGAIN, FINAL, STOPPED = 0, 75, 78, 79


@pytest.fixture
def run(tmp_path: Path) -> Supervised:
    return Supervised(tmp_path)


def test_a_run_to_its_end_is_ready_at_the_first_step_and_gives_a_sign_of_life_for_each(run: Supervised) -> None:
    assert run.standin("--total 60 --step-seconds 0.02").start().end() == FINISHED, run.output
    (ready,) = run.said("READY=1")
    assert ready < run.said("WATCHDOG=1")[0]
    assert len(run.said("WATCHDOG=1")) >= 12, "one for each step line at least"
    assert run.said("EXTEND_TIMEOUT_USEC=")[0] < ready, "the limit of the load is announced"
    assert any(line.startswith("step 30/60 ce 0.27 mse 0.03") for line in run.statuses())
    assert run.statuses()[-1] == "finished"
    state = run.record("state.json")
    assert (state["step"], state["saved"], state["weights"], state["stage"]) == (60, 60, "loaded", "end")
    assert run.record("failure.json") == {}
    assert (run.results / "kept" / "0000060.json").exists(), "the last save is sealed, too"
    # A finished run that is started again says that it is at its end, and makes no step.
    assert run.start().end() == FINISHED
    assert any("at its end, step 60" in line for line in run.statuses())


def test_a_worker_that_is_stopped_is_found_and_named_and_nothing_is_left(run: Supervised) -> None:
    run.standin("--total 100000 --step-seconds 0.02").start()
    wait_for(lambda: run.step() > 60)
    began = time.monotonic()
    os.kill(run.ranks()[0], signal.SIGSTOP)
    wait_for(lambda: run.record("failure.json"))
    found = time.monotonic() - began
    assert run.record("failure.json")["kind"] == "HANG_WORKER_STOPPED"
    assert 0.9 <= found < 4.0, "the floor is 1 s here, from the last step; a slow machine takes longer to look"
    run.send(signal.SIGABRT)  # what the watchdog does
    assert run.end() == AGAIN
    assert run.said("WATCHDOG=1")[-1] < began + 0.5, "no sign of life without a step"
    assert min(run.seconds("WATCHDOG_USEC=")) > run.spec["step_seconds"], "systemd strikes after the class is named"
    assert min(run.seconds("EXTEND_TIMEOUT_USEC=")) > run.spec["load_seconds"], "and so it does during a start"
    assert run.ranks() == []
    assert run.record("tries.json")["count"] == 1
    assert "is stopped by a signal" in run.record("failure.json")["line"]
    assert sum("HANG_WORKER_STOPPED" in line for line in run.output) == 1, "told once, not when found and at the end"


def test_where_no_watchdog_strikes_the_supervisor_ends_a_hang_itself(run: Supervised) -> None:
    run.standin("--total 100000").start()
    wait_for(lambda: run.step() > 60)
    os.kill(run.ranks()[0], signal.SIGSTOP)
    assert run.end() == AGAIN


def test_a_starved_loader_is_named_and_its_flood_fills_nothing(run: Supervised) -> None:
    run.standin("--total 100000 --starve-at 41").start()
    assert run.end() == AGAIN
    failure = run.record("failure.json")
    assert failure["kind"] == "HANG_STARVED"
    assert "began its data" in failure["line"]
    assert len(run.output) < 400
    assert any("like lines suppressed: interleave_reasoning repeat in rank-0" in line for line in run.output)
    assert sum(path.stat().st_size for path in run.own.iterdir()) < 100_000


def test_random_weights_end_the_run_at_once_and_for_good(run: Supervised) -> None:
    run.standin("--total 100000 --scratch --step-seconds 1").start()
    assert run.end() == FINAL
    failure = run.record("failure.json")
    assert (failure["kind"], failure["retry"]) == ("WEIGHTS_NOT_LOADED", False)
    assert run.said("READY=1") == []
    assert run.ranks() == []


def test_random_weights_are_left_alone_where_none_are_expected(run: Supervised) -> None:
    run.spec["weights_expected"] = False
    assert run.standin("--total 20 --scratch --step-seconds 0.01").start().end() == FINISHED


def test_a_first_loss_as_of_random_weights_ends_the_run(run: Supervised) -> None:
    run.spec["max_first_loss"] = 2.5  # the stand-in begins with 3.0
    run.standin("--total 100000").start()
    assert run.end() == FINAL
    assert run.record("failure.json")["kind"] == "FIRST_LOSS_HIGH"


def test_a_stop_waits_for_the_save_and_loses_no_step(run: Supervised) -> None:
    run.standin("--total 100000 --step-seconds 0.03 --save-seconds 0.5").start()
    wait_for(lambda: run.step() >= 25)
    run.send(signal.SIGTERM)
    assert run.end() == STOPPED
    saved = max(int(path.name) for path in run.checkpoints.iterdir())
    assert saved >= 40
    assert run.step() <= saved, "it was ended with the save, before another step line"
    assert (run.results / "kept" / f"{saved:07d}.json").exists(), "the save is sealed"
    assert any("stops after the next save" in line for line in run.statuses())
    assert any("stops after the save of step" in line for line in run.statuses())
    assert run.ranks() == []
    assert run.record("failure.json") == {}
    # … and goes on from there
    run.spec["total_steps"] = saved + 20
    assert run.standin(f"--total {saved + 20} --step-seconds 0.01").start().end() == FINISHED
    assert f"starting at {saved + 1}..." in (run.results / "log.txt").read_text()


@pytest.mark.parametrize("how", ["SIGINT", "stop: now"])
def test_a_stop_now_does_not_wait(run: Supervised, how: str) -> None:
    if how != "SIGINT":
        run.spec["stop"] = "now"
    run.standin("--total 100000 --step-seconds 0.05").start()
    wait_for(lambda: run.step() >= 5)
    asked = run.send(signal.SIGINT if how == "SIGINT" else signal.SIGTERM)
    assert run.end() == STOPPED
    assert time.monotonic() - asked < 3
    assert list(run.checkpoints.iterdir()) == []


def test_a_stop_does_not_wait_for_a_save_that_cannot_come_in_time(run: Supervised) -> None:
    run.spec.update(save_every=20000, stop_seconds=30)
    run.standin("--total 100000 --save-every 20000 --step-seconds 0.05").start()
    wait_for(lambda: run.step() >= 20)
    asked = run.send(signal.SIGTERM)
    assert run.end() == STOPPED
    assert time.monotonic() - asked < 15
    assert any("training_stop_seconds" in line for line in run.output)


def test_a_stop_before_the_first_step_is_a_stop_at_once(run: Supervised) -> None:
    run.standin("--total 100000 --step-seconds 5").start()
    wait_for(lambda: run.ranks())
    run.send(signal.SIGTERM)
    assert run.end() == STOPPED


@pytest.mark.parametrize(
    ("flags", "code", "kind"),
    [
        ("--fail 'torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB'", FINAL, "GPU_OUT_OF_MEMORY"),
        ("--fail \"KeyError: 'data_dir'\"", FINAL, "REGISTRATION_DIALECT"),
        ("--fail 'OSError: [Errno 28] No space left on device'", FINAL, "DISK_FULL"),
        ("--fail 'RuntimeError: CUDA error: GPU is lost'", FINAL, "GPU_LOST"),
        ("--fail 'torch.distributed.DistBackendError: NCCL error in: remote process exited'", AGAIN, "PEER_LOST"),
        ("--fail 'ValueError: boom'", AGAIN, "UNKNOWN"),
    ],
)
def test_the_exit_code_tells_whether_another_start_makes_sense(
    run: Supervised, flags: str, code: int, kind: str
) -> None:
    assert run.standin(f"--total 100 {flags}").start().end() == code
    failure = run.record("failure.json")
    assert (failure["kind"], failure["retry"], failure["invocation"]) == (kind, code == AGAIN, "ab")


def test_a_killed_rank_is_tried_again_after_a_pause_that_grows_until_it_is_given_up(run: Supervised) -> None:
    run.spec["restarts"] = 1
    run.standin("--total 100000 --save-every 100000").start()
    wait_for(lambda: run.step() >= 5)
    os.kill(run.ranks()[0], signal.SIGKILL)
    assert run.end() == AGAIN
    assert run.record("failure.json")["kind"] == "RANK_KILLED"
    run.start()
    wait_for(lambda: any("before start 2 in a row" in line for line in run.statuses()))
    wait_for(lambda: run.record("state.json")["stage"] == "pause")
    run.send(signal.SIGTERM)
    assert run.end() == STOPPED
    assert run.record("tries.json") == {}, "a stop is no failure"
    (run.own / "tries.json").write_text('{"count": 1}')
    run.spec["restarts"] = 0
    run.script.write_text("exit 3\n")
    run.start()
    assert run.end(20) == FINAL, "the pause is 10 s"
    assert any("is not started again" in line for line in run.output)


def test_a_save_makes_the_count_begin_anew(run: Supervised) -> None:
    run.spec["restarts"] = 1
    run.standin("--total 100000").start()
    wait_for(lambda: run.step() > 25)
    os.kill(run.ranks()[0], signal.SIGKILL)
    assert run.end() == AGAIN
    assert run.record("tries.json")["count"] == 1


def test_a_script_that_is_not_there_is_told_as_bash_tells_it(run: Supervised) -> None:
    assert run.start().end() == FINAL
    failure = run.record("failure.json")
    assert failure["kind"] == "SCRIPT_MISSING"
    assert "No such file or directory" in failure["line"]


def test_a_script_that_does_nothing_did_not_finish_the_run(tmp_path: Path) -> None:
    run = Supervised(tmp_path, "exit 0\n")
    assert run.start().end() == FINAL
    assert run.record("failure.json")["kind"] == "ENDED_EARLY"


def test_processes_that_outlive_the_script_are_ended(tmp_path: Path) -> None:
    run = Supervised(tmp_path, f"setsid sleep 4242{tmp_path.name[-1]} &\nexit 3\n")
    assert run.start().end() == AGAIN
    assert f"4242{tmp_path.name[-1]}" not in " ".join(
        path.read_text() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()
    )


def test_a_gpu_that_fell_off_the_bus_stops_the_next_start(run: Supervised) -> None:
    line = "2026-11-24T12:00:00 host kernel: NVRM: Xid (PCI:0000:3b:00): 79, pid=1234, GPU has fallen off the bus."
    (run.own.parent / "kernel").write_text(f"boot-id\n{line}\n")
    assert run.standin().start().end() == FINAL
    assert run.record("failure.json")["kind"] == "GPU_LOST"


def test_a_folder_whose_name_is_not_utf_8_is_moved_out_of_the_trainers_way(run: Supervised) -> None:
    name = os.fsdecode("备份".encode("gbk"))
    (run.checkpoints / name).mkdir()
    (run.checkpoints / name / "model.safetensors").touch()
    run.spec["total_steps"] = 40
    run.standin("--step-seconds 0.01 --total 40").start()
    assert run.end() == 0, run.record("failure.json")
    assert (run.results / f"kept/aside/{name}-1/model.safetensors").exists()


def test_a_log_that_is_rotated_or_cut_under_it_is_no_hang(run: Supervised) -> None:
    run.standin("--total 200 --step-seconds 0.02").start()
    log = run.results / "log.txt"
    wait_for(lambda: run.step() > 20)
    log.rename(run.results / "log.txt.1")
    wait_for(lambda: (run.record("state.json").get("step") or 0) > 60)
    log.write_text("")
    assert run.end() == FINISHED
    assert run.record("state.json")["step"] == 200


def test_a_record_folder_that_cannot_be_written_costs_no_training(run: Supervised) -> None:
    for name in ("state.json.new", "errors.log", "errors.log.1"):
        (run.own / name).mkdir()
        (run.own / name / "in the way").touch()
    assert run.standin("--total 40 --step-seconds 0.01").start().end() == FINISHED
