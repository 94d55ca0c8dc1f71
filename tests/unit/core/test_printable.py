"""A module's result is UTF-8, whatever the names on the host are."""

from __future__ import annotations

import json
import os

from ansible_collections.canvas.fleet.plugins.module_utils.core.printable import printable


def test_a_name_in_another_encoding_is_told_and_all_else_stays() -> None:
    odd = os.fsdecode("实验".encode("gbk"))
    told = printable({"foreign": [odd, "实验"], odd: ("a", 1, None, 2.5, True)})
    json.dumps(told, ensure_ascii=False).encode()
    assert told["foreign"][1] == "实验"
    assert "\ufffd" in told["foreign"][0]
    assert ["a", 1, None, 2.5, True] in told.values()


def test_half_a_letter_as_json_may_hold_it_is_told() -> None:
    assert printable(json.loads('"x\\ud800y"')) == "x\ufffdy"
