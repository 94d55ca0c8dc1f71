import io

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.roles.dataset.inspect import inspect
from ansible_collections.canvas.fleet.plugins.module_utils.roles.dataset.inspection import Longest
from PIL import Image

from tests.unit.support.dataset_files import image, picture, row, text, write, write_grouped


def encoded(number: int, form: str) -> bytes:
    """The picture of this number in another format."""
    out = io.BytesIO()
    Image.open(io.BytesIO(picture(number))).save(out, form)
    return out.getvalue()


GOOD = picture()
HALF = picture(5, (200, 200))[:150]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        pytest.param({"answer": ""}, "answer is empty", id="an empty answer"),
        pytest.param({"answer": None}, "answer is empty", id="no answer"),
        pytest.param({"question_interleave": []}, "question_interleave is empty", id="an empty question"),
        pytest.param({"solution_interleave": None}, "solution_interleave is empty", id="no solution"),
        pytest.param({"solution_interleave": [text("only text")]}, "no image", id="a solution without image"),
        pytest.param({"question_interleave": [image(1)]}, "index 1, there are 1", id="an index out of range"),
        pytest.param({"question_interleave": [image(-1)]}, "index -1, there are 1", id="a negative index"),
        pytest.param({"question_interleave": [image(None)]}, "image without index", id="an image item without index"),
        pytest.param({"question_interleave": [image(0.5)]}, "not a whole number", id="half an index"),
        pytest.param({"question_interleave": [{"type": "video"}]}, "type 'video'", id="an unknown type"),
        pytest.param({"question_images": []}, "there are 0 images", id="no images"),
        pytest.param({"question_images": [{"bytes": b"no picture"}]}, "cannot be decoded", id="no picture"),
        pytest.param({"question_images": [{"bytes": HALF}]}, "cut short", id="half a picture"),
        pytest.param({"question_images": [{"bytes": None}]}, "has no bytes", id="an image without bytes"),
    ],
)
def test_a_bad_row_is_named_with_its_reason(tmp_path, change, why):
    found = inspect(str(write(tmp_path / "a.parquet", [row(0), row(1, **change), row(2)])))
    assert [number for number, _ in found.bad] == [1]
    assert why in found.bad[0][1]
    assert sum(rows for _, rows in found.lengths) == 2


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({}, id="the user's own form"),
        pytest.param({"question_images": [{"bytes": GOOD}, {"bytes": b"never used"}]}, id="a bad image without use"),
        pytest.param({"question_interleave": [image(0)]}, id="a question without text"),
        pytest.param({"question_interleave": [image(0.0)]}, id="a whole index written as a float"),
        pytest.param({"solution_interleave": [text(" "), image(0)]}, id="a blank text part"),
    ],
)
def test_a_good_row_is_left_alone(tmp_path, change):
    assert inspect(str(write(tmp_path / "a.parquet", [row(0), row(1, **change)]))).bad == ()


@pytest.mark.parametrize(
    ("answers", "dropped"),
    [
        pytest.param([7, 0, 3], [1], id="integers: the trainer drops a zero"),
        pytest.param([7, None, 3], [], id="integers with a null, which pandas makes nan"),
        pytest.param([0.5, 0.0, 1.5], [1], id="fractions"),
        pytest.param([True, False, True], [1], id="truth values"),
    ],
)
def test_an_answer_of_numbers_is_taken_as_the_trainer_takes_it(tmp_path, answers, dropped):
    path = write(tmp_path / "a.parquet", [row(number, answer=answer) for number, answer in enumerate(answers)])
    found = inspect(str(path))
    assert found.missing == ()
    assert [number for number, _ in found.bad] == dropped
    read = pd.read_parquet(path)["answer"]
    assert [number for number, answer in enumerate(read) if not answer] == dropped


def test_images_may_be_plain_bytes_as_the_trainer_accepts_them(tmp_path):
    plain = [{**row(n), "question_images": [GOOD], "solution_images": [GOOD, GOOD]} for n in range(3)]
    found = inspect(str(write(tmp_path / "a.parquet", plain)))
    assert (found.missing, found.bad) == ((), ())


def test_counts_what_the_users_converter_leaves_out(tmp_path):
    found = inspect(str(write(tmp_path / "a.parquet", [row(n) for n in range(5)])))
    assert found.rows == 5
    assert found.row_groups == (5,)
    assert found.index_nulls == 5 * 4  # text items of question and solution


def test_measures_the_longest_sample(tmp_path):
    long = row(1, solution_interleave=[text("x" * 300), image(0), image(1), image(1)])
    found = inspect(str(write(tmp_path / "a.parquet", [row(0), long])))
    images = (1024 + 1369 + 4) + 3 * (2048 + 1369 + 6)
    assert found.longest == Longest(1, images + 5 + 2 + 1 + 100 + 2, images)


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        pytest.param({"answer": None}, "no column answer", id="an absent column"),
        pytest.param({"answer": [["A"], ["B"]]}, "instead of a string or a number", id="an answer that is a list"),
        pytest.param(
            {"question_interleave": ["[]", "[]"]},
            "question_interleave is large_string instead of a list",
            id="the interleave as JSON text",
        ),
        pytest.param(
            {"solution_images": [["a.png"], ["b.png"]]}, "instead of a list of structs with bytes", id="paths"
        ),
        pytest.param(
            {"question_interleave": [[{"type": "text"}], [{"type": "text"}]]},
            "instead of a list of structs with type, content and index",
            id="no index anywhere",
        ),
    ],
)
def test_a_missing_column_is_named(tmp_path, columns, told):
    frame = pd.DataFrame([row(0), row(1)])
    for name, values in columns.items():
        frame = frame.drop(columns=name) if values is None else frame.assign(**{name: values})
    frame.to_parquet(tmp_path / "a.parquet")
    found = inspect(str(tmp_path / "a.parquet"))
    assert len(found.missing) == 1
    assert told in found.missing[0]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="an empty file"),
        pytest.param(b"PAR1 and then nothing of the kind", id="no parquet"),
        pytest.param(None, id="no file"),
    ],
)
def test_an_unreadable_file_is_told_not_raised(tmp_path, content):
    if content is not None:
        (tmp_path / "a.parquet").write_bytes(content)
    assert inspect(str(tmp_path / "a.parquet")).problem


def test_a_file_cut_in_the_middle_is_unreadable(tmp_path):
    path = write(tmp_path / "a.parquet", [row(n) for n in range(20)])
    path.write_bytes(path.read_bytes()[:-200])
    assert inspect(str(path)).problem


def test_a_page_that_was_overwritten_is_unreadable(tmp_path):
    table = pa.Table.from_pylist([row(n) for n in range(20)])
    pq.write_table(table, tmp_path / "a.parquet", write_page_checksum=True, compression="zstd")
    content = bytearray((tmp_path / "a.parquet").read_bytes())
    content[4:200] = bytes(196)
    (tmp_path / "a.parquet").write_bytes(content)
    assert inspect(str(tmp_path / "a.parquet")).problem


def test_test_rows_in_train_are_found_by_content(tmp_path):
    train = write(tmp_path / "a.parquet", [row(n) for n in range(6)])
    again = row(3, task_id=99, solution_interleave=[image(0)])  # the same puzzle in other words
    test = write(tmp_path / "b" / "t.parquet", [row(100), again, row(101)])
    assert inspect(str(train), str(test)).test.rows_in_train == ((1, 3, 1),)


@pytest.mark.parametrize(
    ("change", "pairs"),
    [
        pytest.param({"answer": "A"}, [[0, 0, 0]], id="another answer is reported as such"),
        pytest.param({"answer": " d\n"}, [[0, 0, 1]], id="an answer in another case and with blanks is the same"),
        pytest.param({"question_images": [{"bytes": encoded(3, "bmp")}]}, [[0, 0, 1]], id="an image in another format"),
        pytest.param({"question_interleave": [text("Which  moves? 3\n"), image(0)]}, [[0, 0, 1]], id="other blanks"),
        pytest.param({"question_images": [{"bytes": picture(4)}]}, [], id="another image is another question"),
        pytest.param({"question_interleave": [text("Which moves? 4"), image(0)]}, [], id="another text is, too"),
    ],
)
def test_a_question_is_known_again(tmp_path, change, pairs):
    train = write(tmp_path / "a.parquet", [row(3)])
    test = write(tmp_path / "t.parquet", [row(3, **change)])
    assert inspect(str(train), str(test)).test.rows_in_train == tuple(map(tuple, pairs))


def test_rows_that_are_there_twice_are_found(tmp_path):
    rows = [row(0), row(1), row(0, task_id=7), row(1, answer="another"), row(0)]
    assert inspect(str(write(tmp_path / "a.parquet", rows))).duplicates == ((2, 0), (4, 0))


def test_texts_are_bounded_without_a_tokenizer(tmp_path):
    found = inspect(str(write(tmp_path / "a.parquet", [row(0)])))
    assert found.text == "estimated"
    assert found.at_least[0][0] < found.lengths[0][0]


def test_rows_are_counted_on_over_row_groups(tmp_path):
    rows = [row(n) for n in range(10)]
    rows[7]["answer"] = ""
    found = inspect(str(write_grouped(tmp_path / "a.parquet", rows, 3)))
    assert found.row_groups == (3, 3, 3, 1)
    assert [number for number, _ in found.bad] == [7]
