import pytest
import yaml
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.tokens import Transform, Transforms, text_bounds
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.support.run_settings import settings, topology
from tests.unit.support.run_texts import texts

edges = st.integers(1, 4000)


@pytest.mark.parametrize(
    ("learned", "tokens"),
    [
        pytest.param(False, 1024 + 1369 + 2 * 2, id="a question image: latents and vision tokens, each with two marks"),
        pytest.param(True, 2 * 1024 + 1369 + 3 * 2, id="a solution image: noisy latents, clean latents, vision tokens"),
    ],
)
def test_an_image_of_512_pixels_costs(learned, tokens):
    assert Transforms().image_tokens(512, 512, learned=learned) == tokens


@given(width=edges, height=edges, stride=st.sampled_from([14, 16]))
def test_no_image_costs_more_than_the_square_of_the_longest_edge(width, height, stride):
    assert 1 <= Transform(512, 512, stride).tokens(width, height) <= (512 // stride + 1) ** 2


@given(edge=edges)
def test_a_square_of_any_size_costs_the_same_when_both_limits_are_equal(edge):
    assert Transform(512, 512, 16).tokens(edge, edge) == 1024


@pytest.mark.parametrize(
    ("size", "limits", "tokens"),
    [
        pytest.param((1024, 512), (512, 512), 32 * 16, id="a wide image is brought down to the longest edge"),
        pytest.param((256, 128), (1024, 512), 64 * 32, id="a small image is brought up to the shortest edge"),
        pytest.param((300, 200), (1024, 64), 19 * 12, id="an image within the limits is only rounded to the stride"),
        pytest.param((1344, 1344), (4096, 64), 84 * 84, id="as many pixels as the trainer takes are left as they are"),
        pytest.param((9000, 9000), (4096, 64), 28 * 28, id="too many pixels shrink as the trainer does it"),
    ],
)
def test_resize(size, limits, tokens):
    assert Transform(*limits, 16).tokens(*size) == tokens


def test_images_are_counted_by_the_edges_that_the_trainer_is_given():
    (given_edges,) = yaml.safe_load(texts(settings(), topology()).yaml).values()
    for seen, key in ((Transforms().vae, "image_transform_args"), (Transforms().vit, "vit_image_transform_args")):
        told = given_edges[key]
        assert seen == Transform(told["max_image_size"], told["min_image_size"], told["image_stride"])


@pytest.mark.parametrize(
    ("content", "tokens"),
    [
        pytest.param("", 0, id="no text, no part"),
        pytest.param("  \n", 0, id="blank text is left out by the trainer"),
        pytest.param("abc", 1 + 2, id="three bytes, one token, two marks"),
        pytest.param("1234", 4 + 2, id="each digit is a token"),
        pytest.param("块移", 2 + 2, id="a Chinese letter has three bytes"),
    ],
)
def test_text(content, tokens):
    assert text_bounds(content)[1] == tokens


@given(content=st.text())
def test_text_never_costs_more_than_its_bytes(content):
    assert text_bounds(content)[1] <= len(content.encode("utf-8", "replace")) + 2
