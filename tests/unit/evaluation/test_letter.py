"""The answer's letter in texts as models write them."""

from __future__ import annotations

import time

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation.letter import letter_of

SAYS = [
    ("The answer is B.", "B"),
    ("The answer is B", "B"),
    ("So the correct answer is (C).", "C"),
    ("**Answer: (C)**", "C"),
    ("**Answer:** C", "C"),
    ("**Answer**: **D**", "D"),
    ("Answer: A", "A"),
    ("answer: b", "B"),
    ("Answer: (b)", "B"),
    ("The answer is (d)", "D"),
    ("Final Answer: D. 3 moves", "D"),
    ("The final answer is \\boxed{C}.", "C"),
    ("\\boxed{\\text{B}}", "B"),
    ("\\boxed{\\mathrm{A}}", "A"),
    ("$\\boxed{d}$", "D"),
    ("the right choice is option D", "D"),
    ("Therefore, option D", "D"),
    ("Thus the answer must be option **A**.", "A"),
    ("We choose B.", "B"),
    ("I would select option C here.", "C"),
    ("B is the correct answer.", "B"),
    ("(A) is the answer", "A"),
    ("Option C is correct.", "C"),
    ("This is the right picture, so the moves are those of option B. Answer: B", "B"),
    ("B", "B"),
    ("(C)", "C"),
    ("**D**", "D"),
    ("Let us see.\n\nC.", "C"),
    ("c", "C"),
    ("答案是B", "B"),
    ("答案：C", "C"),
    ("因此答案为 (D)。", "D"),
    ("故选A", "A"),
    ("所以应该选择 B 选项", "B"),
    ("正确选项是：Ｄ", "D"),
    ("正确答案是 A。", "A"),
    ("Ａｎｓｗｅｒ: Ｂ", "B"),
    ("Answer: A. No, that is wrong. Answer: B", "B"),
    ("At first the answer is A, but checking again the answer is C", "C"),
    ("Option A ends elsewhere. Option B too. The answer is C, not option D.", "C"),
    ("答案是A。检查之后，答案是D。", "D"),
    ("The answer is\n\nB", "B"),
    ("Answer → C", "C"),
]
SILENT = [
    "",
    "a",
    "the answer is a cube",
    "The answer is a red block",
    "Answer: a cube moves left",
    "A cube moves to the left.",
    "A",
    "The blocks A, B, C and D are red.",
    "We cannot answer this.",
    "The answer is 42.",
    "The answer is Apple.",
    "The answer is B or C.",
    "Answer: A and D",
    "答案是A或B",
    "either option A or option B",
    "Answer:",
    "The answer is E.",
    "Step 1: the red cube at (0,1,0) moves left. Now:",
    "Answer: Dog",
    "DDDDDD",
    "the answer is A's opposite",
]


@pytest.mark.parametrize(("text", "letter"), SAYS, ids=[text[:40] or "nothing" for text, _letter in SAYS])
def test_a_stated_answer_is_read(text: str, letter: str) -> None:
    assert letter_of(text) == letter


@pytest.mark.parametrize("text", [text for text in SILENT if text not in ("a", "A")])
def test_what_states_no_answer_is_unparsed(text: str) -> None:
    assert letter_of(text) is None


@pytest.mark.parametrize("letter", "ABCD")
def test_all_four_are_letters(letter: str) -> None:
    assert letter_of(f"The answer is {letter}.") == letter


def test_a_long_text_is_read_from_its_end() -> None:
    assert letter_of("x " * 500_000 + "Answer: B") == "B"
    assert letter_of("(" * 300_000) is None
    assert letter_of("answer is " * 30_000) is None


@pytest.mark.parametrize(
    "text",
    ["answer is" + " " * 19_900, "choose" + " *" * 9_900, "final " * 3_300, "option " * 2_800, "选" + "\n" * 19_900],
)
def test_the_time_is_in_proportion_to_the_text(text: str) -> None:
    """A model that repeats itself writes such texts; blanks behind an announcement cost the square of their number."""
    begun = time.process_time()
    assert letter_of(text) is None
    assert time.process_time() - begun < 1
