"""What the rules find, what they leave alone, and that no text makes them slow."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvtrace.capture.privacy_rules import (
    Rule,
    card_size,
    iban_size,
    phone_size,
    read_rules,
    rules_of,
)
from mvtrace.errors import ConfigurationError

ALL = rules_of(is_personal=True)
SECRETS = rules_of(is_personal=False)

FOUND = [
    ("mail anna.muster@example.org now", "email", "mail [email] now"),
    ("call +49 30 901820", "phone-number", "call [phone-number]"),
    ("call (030) 901-8200", "phone-number", "call [phone-number]"),
    ("call 555-010-4477", "phone-number", "call [phone-number]"),
    ("call 030 9018200", "phone-number", "call [phone-number]"),
    ("card 4111 1111 1111 1111.", "card-number", "card [card-number]."),
    ("card 5555-5555-5555-4444", "card-number", "card [card-number]"),
    ("card 4111 1111 1111 1111 123", "card-number", "card [card-number] 123"),
    ("card 4111111111111111 12/27", "card-number", "card [card-number] 12/27"),
    ("No.4111111111111111", "card-number", "No.[card-number]"),
    ("to DE89 3704 0044 0532 0130 00 please", "iban", "to [iban] please"),
    ("to gb82west12345698765432", "iban", "to [iban]"),
    ("Bearer abc.DEF-123456", "bearer-token", "Bearer [bearer-token]"),
    ("Cookie: a=b; c=d\nHost: x", "secret-header", "Cookie: [secret-header]\nHost: x"),
    ("X-Api-Key: abcdef", "secret-value", "X-Api-Key: [secret-value]"),
    ('{"password": "a\\"b", "n": 1}', "secret-value", '{"password": [secret-value], "n": 1}'),
    ("https://me:pw@shop.example/", "url-user", "https://[url-user]shop.example/"),
    ("/a?token=abc&b=1", "url-secret", "/a?token=[url-secret]&b=1"),
    ("use sk-proj-abcdefghijklmnop1234", "api-key", "use [api-key]"),
    ("use AKIAIOSFODNN7EXAMPLE", "api-key", "use [api-key]"),
    ("use ghp_abcdefghijklmnopqrstuvwxyz0123456789", "api-key", "use [api-key]"),
    ("-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----", "private-key", "[private-key]"),
    (
        "-----BEGIN RSA PRIVATE KEY-----\nDEK-Info: AES-256-CBC\nab\n-----END RSA PRIVATE KEY-----",
        "private-key",
        "[private-key]",
    ),
]


@pytest.mark.parametrize(("text", "rule", "left"), FOUND)
def test_rule_finds(text: str, rule: str, left: str) -> None:
    """
    What a rule is for is gone, the words around it stay, and the report has rule and count.
    """
    redacted = ALL.redact(text)

    assert redacted.text == left
    assert redacted.counts == {rule: 1}


@pytest.mark.parametrize(
    "text",
    [
        "order 1234567890123456 of 2026-08-22 11:02:08",
        "card 4111 1111 1111 1112",
        "DE00370400440532013000",
        "version 1.2.3.4 at 10.0.0.17:8080",
        "3.141592653589793",
        "01989f3c-2a4b-7c3d-8e5f-6a7b8c9d0e1f",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "anna at example",
        "what is the password policy",
        "DE12 \u017f\u017f\u017f\u017f \u212a\u212a\u212a\u212a 3456 7890",
    ],
)
def test_rule_leaves_alone(text: str) -> None:
    """
    Numbers that fail their check, dates, versions, ids and ordinary words stay.
    """
    assert ALL.redact(text) == (text, {})


def test_secrets_alone_leave_persons() -> None:
    """
    Without the rules for personal data only what opens doors goes.
    """
    redacted = SECRETS.redact("anna@example.org has password=hunter2")

    assert redacted == ("anna@example.org has password=[secret-value]", {"secret-value": 1})


@given(st.text(max_size=200).filter(lambda text: text.isprintable()))
def test_a_secret_value_is_found_however_it_is_quoted(secret: str) -> None:
    """
    The value of a denied key is gone from JSON, and from JSON within JSON, whatever is in it.
    """
    marked = f"q7{secret}7q"
    once = json.dumps({"api_key": marked, "n": 1})
    twice = json.dumps({"arguments": once})

    for text in (once, twice):
        redacted = ALL.redact(text)
        assert json.dumps(marked)[1:-1] not in redacted.text
        assert redacted.counts["secret-value"] == 1


@given(st.integers(10**12, 10**18))
def test_one_digit_off_is_no_card(number: int) -> None:
    """
    Of the ten numbers that differ in the last digit exactly one is a card's.
    """
    cards = [last for last in range(10) if card_size(f"{number}{last}")]

    assert len(cards) <= 1


def test_sizes() -> None:
    """
    A check tells how much of a candidate is one.
    """
    assert iban_size("DE89 3704 0044 0532 0130 00 ok") == 27
    assert iban_size("DE88370400440532013000") == 0
    assert phone_size("+49 30 901820") == 13
    assert phone_size("12-34") == 0


BASE64 = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC+/ab=="
ARMOUR = f"Version: GnuPG v2\n\n{BASE64}\n{BASE64}\n=abcd"
KINDS = [
    "PRIVATE KEY",
    "RSA PRIVATE KEY",
    "EC PRIVATE KEY",
    "DSA PRIVATE KEY",
    "OPENSSH PRIVATE KEY",
    "ENCRYPTED PRIVATE KEY",
    "PGP PRIVATE KEY BLOCK",
]


@pytest.mark.parametrize("line", ["\n", "\r\n", "\\n", "\\r\\n", "\\\\n"])
@pytest.mark.parametrize("is_whole", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_private_key_is_found_in_every_form(kind: str, line: str, *, is_whole: bool) -> None:
    """
    A private key of any kind is gone, whatever ends its lines, also where its end was cut off; what
    stands around it stays.
    """
    body = ARMOUR if "PGP" in kind else f"DEK-Info: AES-256-CBC,AB12\n\n{BASE64}\n{BASE64}"
    end = f"\n-----END {kind}-----" if is_whole else ""
    text = f"-----BEGIN {kind}-----\n{body}{end}".replace("\n", line)

    redacted = ALL.redact(f"use this: {text}")

    assert redacted.counts == {"private-key": 1}
    assert BASE64 not in redacted.text
    assert redacted.text.startswith("use this: [private-key]")
    if is_whole:
        assert redacted.text == "use this: [private-key]"


@pytest.mark.parametrize(
    "text",
    [
        (
            f"---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nComment: x\n{BASE64}\n"
            "---- END SSH2 ENCRYPTED PRIVATE KEY ----"
        ),
        (
            f"PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nPrivate-Lines: 1\n{BASE64}\n"
            f"Private-MAC: {'ab' * 32}"
        ),
    ],
)
def test_private_keys_that_are_no_pem_are_found(text: str) -> None:
    """
    The forms of SSH2 and PuTTY go too.
    """
    assert ALL.redact(f"a {text} z") == ("a [private-key] z", {"private-key": 1})


def test_public_parts_and_questions_stay() -> None:
    """
    A certificate, a public key and a question about private keys are no secrets.
    """
    text = (
        f"-----BEGIN CERTIFICATE-----\n{BASE64}\n-----END CERTIFICATE-----\n"
        f"-----BEGIN PUBLIC KEY-----\n{BASE64}\n-----END PUBLIC KEY-----\n"
        "what does -----BEGIN PRIVATE KEY----- mean?"
    )

    assert ALL.redact(text) == (text, {})


HEADER = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9"


@pytest.mark.parametrize(
    ("secret", "rule"),
    [
        (f"{HEADER}.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl-_", "api-key"),
        (f"{HEADER}..aXYtaXYtaXY.Y2lwaGVydGV4dA.dGFn", "api-key"),
        ("eyJ" + "h" * 3000 + ".eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2ln", "api-key"),
        ("ya29.a0AfH6SMBx-abcdefghijklmnop", "api-key"),
        ("hvs.CAESIJabcdefghijklmnopqrst", "api-key"),
        ("dop_v1_" + "a1" * 32, "api-key"),
        ("dapi" + "0f" * 16, "api-key"),
        ("whsec_abcdefghijklmnop1234", "api-key"),
        ("AGE-SECRET-KEY-1" + "QPZRY9X8" * 7, "api-key"),
        ("k" * 86 + "==", "api-key"),
    ],
    ids=lambda value: value[:16],
)
def test_tokens_and_cloud_keys_are_found(secret: str, rule: str) -> None:
    """
    Tokens of either form and the keys of the usual clouds go by their shape.
    """
    assert ALL.redact(f"use {secret} now") == (f"use [{rule}] now", {rule: 1})


@pytest.mark.parametrize(
    "name",
    ["aws_secret_access_key", "AWS_SECRET_ACCESS_KEY", "AccountKey", "SharedAccessKey", "db_password",
     "CLIENT-SECRET", "sas_token", "MY_APP_API_KEY"],
)  # fmt: skip
def test_named_secrets_are_found_behind_any_prefix(name: str) -> None:
    """
    What is called a secret goes, whatever its name begins with.
    """
    assert ALL.redact(f"set {name}=wJalrXUtnFEMI/K7MDENG; go") == (
        f"set {name}=[secret-value]; go",
        {"secret-value": 1},
    )


HOSTILE = [
    "a" * 200_000,
    "1 " * 100_000,
    "DE12" + " a" * 100_000,
    'secret: "' * 30_000,
    "secret: \\" * 30_000,
    "+1" * 100_000,
    "@" * 200_000,
    "x." * 100_000 + "@",
    "http://" * 30_000,
    "-----BEGIN PRIVATE KEY-----" * 8_000,
    "a.a@" * 50_000,
    "DE89" * 50_000,
    "proxy-" * 33_000,
    "Proxy_" * 33_000,
    "-eyJ" * 50_000,
    "-eyJaaaaaaaa." * 15_000,
    "-----BEGIN PRIVATE KEY-----\n" + "-a" * 100_000,
    ("-----BEGIN PRIVATE KEY-----" + "A" * 15 + " ") * 4_500,
    "-----BEGIN PRIVATE KEY-----" + "\\" * 200_000,
    "-----BEGIN PGP PRIVATE KEY BLOCK-----" + "a: b\n" * 40_000,
    "PuTTY-User-Key-File-2: " * 9_000,
    ("PuTTY-User-Key-File-2:" + "x" * 1_000) * 200,
    "A_" * 100_000,
    "a-secret" * 25_000,
    "k" * 86 * 2_300,
]


@pytest.mark.parametrize("text", HOSTILE, ids=[text[:12] for text in HOSTILE])
def test_no_text_makes_the_rules_slow(text: str) -> None:
    """
    The time grows with the length and not with its square: 200 kB take seconds at the very most.
    """
    started = time.process_time()

    ALL.redact(text)

    assert time.process_time() - started < 5


def test_own_rules_come_from_a_file(tmp_path: Path) -> None:
    """
    A TOML file adds rules by name.
    """
    path = tmp_path / "rules.toml"
    path.write_text("[rules]\npatient = 'P-\\d{6}'\n")

    redacted = rules_of(is_personal=False, own=read_rules(path)).redact("P-123456 and P-1")

    assert redacted == ("[patient] and P-1", {"patient": 1})
    assert read_rules(path) == (Rule("patient", r"P-\d{6}"),)


@pytest.mark.parametrize(
    "text",
    ["", "rules = 1", "[rules]\nBad = 'x'", "[rules]\na = '('", "[rules]\na = 'x*'", "[more]"],
)
def test_file_that_cannot_be_is_refused(tmp_path: Path, text: str) -> None:
    """
    No table, a bad name, an expression that cannot be read or that matches nothing: an error.
    """
    path = tmp_path / "rules.toml"
    path.write_text(text)

    with pytest.raises(ConfigurationError):
        read_rules(path)
