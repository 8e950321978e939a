"""One definition: what editors are told (JSON Schema), what people read (docs/), and what the parser takes."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import FULL, ROOT
from pratique.config import ConfigError, parse_list, parse_service

from harness.schemas import FILES, REFERENCE, reference, schema, schema_text

ENTRY = {"domain": "example.org", "addresses": ["a@example.org"]}


def as_json(value: Any) -> Any:
    """What an editor makes of YAML: it knows no dates, and its keys are text."""
    match value:
        case dict():
            return {str(key): as_json(item) for key, item in value.items()}
        case list():
            return [as_json(item) for item in value]
        case date():
            return value.isoformat()
    return value


def schema_takes(name: str, value: Any) -> bool:
    return jsonschema.Draft7Validator(schema(name)).is_valid(as_json(value))


def parser_takes(name: str, text: str) -> bool:
    if name == "trusted-senders":
        return not parse_list(text, "f").errors
    try:
        parse_service(text, "f")
    except ConfigError:
        return False
    return True


@pytest.mark.parametrize("name", FILES)
def test_the_shipped_schema_is_made_of_the_models(name: str) -> None:
    """Where this fails: `python -m harness.schemas` in tests/."""
    text = (ROOT / "config" / f"{name}.schema.json").read_text()
    assert text == schema_text(name)
    jsonschema.Draft7Validator.check_schema(json.loads(text))


def test_the_reference_is_made_of_the_models() -> None:
    assert REFERENCE.read_text() == reference()


@pytest.mark.parametrize("name", FILES)
def test_the_shipped_file_names_its_schema_and_is_valid(name: str) -> None:
    text = (ROOT / "config" / f"{name}.yaml").read_text()
    assert text.startswith(f"# yaml-language-server: $schema={name}.schema.json\n")
    assert schema_takes(name, yaml.safe_load(text) or {})


def described(made: dict[str, Any], place: str = "") -> list[str]:
    """The keys that have no title or description."""
    poor = []
    for key, part in made.get("properties", {}).items():
        if not {"title", "description"} <= part.keys() and "actions" not in place:
            poor.append(f"{place}{key}")
        for inner in (part, *part.get("anyOf", []), part.get("additionalProperties") or {}):
            poor += described(inner, f"{place}{key}.") if isinstance(inner, dict) else []
    return poor


@pytest.mark.parametrize("name", FILES)
def test_every_key_has_a_title_and_a_description(name: str) -> None:
    assert described(schema(name)) == []


@pytest.mark.parametrize("name", FILES)
def test_every_example_is_right(name: str) -> None:
    made = schema(name)
    keys = (
        made["properties"]
        if name == "pratique"
        else made["properties"]["senders"]["additionalProperties"]["properties"]
    )
    for key, part in keys.items():
        for example in part.get("examples", []):
            value = {key: example} if name == "pratique" else {"senders": {"x": {**ENTRY, key: example}}}
            assert schema_takes(name, value), value
            assert parser_takes(name, yaml.safe_dump(value)), value


@pytest.mark.parametrize(
    "change",
    [
        {"zzz": 1},
        {"domain": None},
        {"domain": "opic"},
        {"domain": "https://example.org"},
        {"domain": ["example.org"]},
        {"addresses": "a@example.org"},
        {"addresses": []},
        {"addresses": ["example.org"]},
        {"addresses": ["<a@example.org>"]},
        {"addresses": ["a@example.org, b@example.org"]},
        {"require": "both"},
        {"require": True},
        {"alignment": "loose"},
        {"enabled": "oui"},
        {"expires": "31.12.2026"},
        {"expires": 2027},
        {"name": 12},
        {"networks": "192.0.2.0/28"},
        {"networks": ["mx.example.org"]},
        {"signers": ["opic"]},
        {"actions": {"verified": "reject"}},
        {"actions": {"unverified": "drop"}},
    ],
    ids=str,
)
def test_both_refuse_a_wrong_entry(change: dict[str, Any]) -> None:
    value = {"senders": {"x": {**ENTRY, **change}}}
    assert not schema_takes("trusted-senders", value)
    assert not parser_takes("trusted-senders", yaml.safe_dump(value))


@pytest.mark.parametrize(
    "value", [{}, {"senders": {}}, {"senders": {"X Y": ENTRY}}, {"senders": [ENTRY]}, {"x": ENTRY}], ids=str
)
def test_both_refuse_a_wrong_list(value: dict[str, Any]) -> None:
    assert not schema_takes("trusted-senders", value)
    assert not parser_takes("trusted-senders", yaml.safe_dump(value))


@pytest.mark.parametrize(
    "value",
    [
        {"zzz": 1},
        {"mode": "observed"},
        {"socket": "/run/x"},
        {"defer_for": 4},
        {"header": "Subject"},
        {"relays": "192.0.2.1"},
        {"trusted_hosts": {"networks": ["192.0.2.1"]}},
        {"dns": {"servers": []}},
        {"dns": {"zzz": 1}},
        {"limits": {"signatures": 0}},
        {"limits": {"signatures": "many"}},
        {"log": {"level": "warn"}},
        {"subject_tag": True},
    ],
    ids=str,
)
def test_both_refuse_a_wrong_service(value: dict[str, Any]) -> None:
    assert not schema_takes("pratique", value)
    assert not parser_takes("pratique", yaml.safe_dump(value))


SINGLE = st.sampled_from(
    [
        *(None, True, False, 0, 7, 1.5, "", "yes", "off", "x", "any", "strict", "dkim", "5s", date(2027, 12, 31)),
        *("2027-12-31", "example.org", "a.b", "a@example.org", "*@example.org", "a@b.example.org", "bücher.example"),
        *("192.0.2.1", "192.0.2.0/24", "2001:db8::/48", "unix:/x/y", "inet:8894@127.0.0.1", "[::1]:53", "resolv.conf"),
        *("X-Y", "observe", "tag"),
    ]
)
VALUE = (
    SINGLE | st.lists(SINGLE, max_size=3) | st.dictionaries(st.sampled_from(["unverified", "level", "cache"]), SINGLE)
)
ENTRY_KEYS = st.sampled_from(
    sorted(schema("trusted-senders")["properties"]["senders"]["additionalProperties"]["properties"])
)
SERVICE_KEYS = st.sampled_from(sorted(schema("pratique")["properties"]))
OFTEN = settings(max_examples=5000 if FULL else 500)


@OFTEN
@given(st.dictionaries(ENTRY_KEYS, VALUE, max_size=4))
def test_what_the_parser_takes_of_an_entry_no_editor_marks(change: dict[str, Any]) -> None:
    value = {"senders": {"x": {**ENTRY, **change}}}
    if parser_takes("trusted-senders", yaml.safe_dump(value, allow_unicode=True)):
        assert schema_takes("trusted-senders", value)


@OFTEN
@given(st.dictionaries(SERVICE_KEYS, VALUE, max_size=3))
def test_what_the_parser_takes_of_the_service_no_editor_marks(value: dict[str, Any]) -> None:
    if parser_takes("pratique", yaml.safe_dump(value, allow_unicode=True)):
        assert schema_takes("pratique", value)
