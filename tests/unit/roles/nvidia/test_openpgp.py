import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.roles.nvidia.openpgp import dearmored, fingerprints

from tests.unit.support.places import FIXTURES

KEYS = FIXTURES / "openpgp"
RSA, ED25519 = "54ABC57952B533E19ECD14134ECE32FA1CD54C40", "AD75EED4698133398C9D2FA0C26A239E7B80DFBE"
CASES = {"armored RSA": ("rsa.asc", RSA), "binary RSA": ("rsa.gpg", RSA), "armored Ed25519": ("ed25519.asc", ED25519)}


@pytest.mark.parametrize(("name", "expected"), CASES.values(), ids=CASES)
def test_the_fingerprint_is_the_one_that_gpg_says(name, expected):
    assert fingerprints((KEYS / name).read_bytes()) == [expected]


def test_the_armor_is_taken_off():
    assert dearmored((KEYS / "rsa.asc").read_bytes()) == (KEYS / "rsa.gpg").read_bytes()
    assert dearmored((KEYS / "rsa.asc").read_bytes().replace(b"\n", b"\r\n")) == (KEYS / "rsa.gpg").read_bytes()


def test_all_keys_of_a_file_are_seen():
    both = (KEYS / "rsa.gpg").read_bytes() + dearmored((KEYS / "ed25519.asc").read_bytes())
    assert fingerprints(both) == [RSA, ED25519]


def test_one_changed_bit_is_another_key():
    data = bytearray((KEYS / "rsa.gpg").read_bytes())
    data[40] ^= 1
    assert fingerprints(bytes(data)) != [RSA]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"<html>404</html>", "no OpenPGP"),
        ((KEYS / "rsa.gpg").read_bytes()[:100], "ends early"),
        ((KEYS / "rsa.asc").read_bytes().replace(b"m", b"!"), "armor"),
        (b"\x99\x00\x02\x03\x00", "version 4"),
        (b"\xc6\xe1", "kind"),
        ((KEYS / "rsa.asc").read_bytes() + (KEYS / "ed25519.asc").read_bytes(), "more than one block"),
        ((KEYS / "rsa.gpg").read_bytes() + (KEYS / "ed25519.asc").read_bytes(), "more than one block"),
    ],
    ids=[
        "an error page",
        "half a key",
        "a broken armor",
        "a key of version 3",
        "a partial length",
        "two blocks",
        "binary and a block",
    ],
)
def test_what_is_no_key_is_told(data, words):
    with pytest.raises(ValueError, match=words):
        fingerprints(data)


def test_an_empty_file_has_no_key():
    assert fingerprints(b"") == []
