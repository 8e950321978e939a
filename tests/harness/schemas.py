"""The JSON Schemas in config/ and docs/configuration.md, made of the pydantic models: `python -m harness.schemas`,
from tests/.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from pratique.config import SendersFile, ServiceFile

ROOT = Path(__file__).resolve().parents[2]
FILES: dict[str, type[BaseModel]] = {"trusted-senders": SendersFile, "pratique": ServiceFile}
REFERENCE = ROOT / "docs" / "configuration.md"

_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


class _Generate(GenerateJsonSchema):
    """Defaults as a file writes them."""

    def encode_default(self, dft: Any) -> Any:
        return _written(dft)


def _written(value: Any) -> Any:
    match value:
        case timedelta():
            seconds = int(value.total_seconds())
            unit, size = next((u, s) for u, s in _UNITS if seconds % s == 0)
            return f"{seconds // size}{unit}"
        case Enum():
            return value.value
        case tuple():
            return [_written(item) for item in value]
        case BaseModel():
            return {}
        case bool() | int() | None:
            return value
    return str(value)


def schema(name: str) -> dict[str, Any]:
    """The JSON Schema of a file (draft 07, which every editor knows), without references."""
    made = FILES[name].model_json_schema(schema_generator=_Generate)
    parts = made.pop("$defs", {})
    plain: dict[str, Any] = _inlined(made, parts)
    title = f"{name}.yaml"
    return {"$schema": "http://json-schema.org/draft-07/schema#", **plain, "title": title}


def _inlined(node: Any, parts: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [_inlined(item, parts) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        node = {**parts[node["$ref"].rpartition("/")[2]], **{k: v for k, v in node.items() if k != "$ref"}}
    return {key: _inlined(value, parts) for key, value in node.items()}


def schema_text(name: str) -> str:
    return json.dumps(schema(name), indent=2, ensure_ascii=False) + "\n"


# ---- the reference ---------------------------------------------------------------------------------


def reference() -> str:
    """docs/configuration.md"""
    lines = [
        "# Configuration",
        "",
        "<!-- written by tests/harness/schemas.py from milter/pratique/config/files.py -->",
        "",
        "Every key of the two files. The files themselves say more; `pratique check` says what is wrong with one. An",
        "editor that knows JSON Schema completes keys and marks mistakes while you type: the first line of each file",
        "names its schema.",
        "",
        "Times are a number and a unit, s, m, h or d: `30s`, `4h`. Dates are `2027-12-31`. Networks are",
        "`192.0.2.0/24`, `2001:db8::/32`, or one address.",
    ]
    entry = schema("trusted-senders")["properties"]["senders"]
    about = f"`senders`: {entry['description']} An entry has these keys:"
    lines += ["", "## trusted-senders.yaml", "", textwrap.fill(about, 115), ""]
    lines += _table(entry["additionalProperties"])
    service = schema("pratique")
    lines += ["", "## pratique.yaml", "", service["description"], "", *_table(service)]
    return "\n".join(lines) + "\n"


def _table(made: dict[str, Any]) -> list[str]:
    head = ["| key | value | default | meaning |", "| --- | --- | --- | --- |"]
    return head + [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in _rows(made, "")]


def _rows(made: dict[str, Any], above: str) -> Iterator[tuple[str, ...]]:
    required = made.get("required", [])
    for key, part in made["properties"].items():
        name = f"{above}{key}"
        inner = _object(part)
        default = "needed" if key in required else _shown(part.get("default"))
        meaning = f"{part['title']}. {part.get('description', '')}".strip()
        if examples := part.get("examples"):
            meaning += f" Example: `{_shown(examples[0])}`"
        yield f"`{name}`", _values(part), default, meaning
        if inner and "actions" not in key:
            yield from _rows(inner, f"{name}.")


def _object(part: dict[str, Any]) -> dict[str, Any] | None:
    options = [part, *part.get("anyOf", [])]
    return next((option for option in options if "properties" in option), None)


def _values(part: dict[str, Any]) -> str:
    """What may stand there."""
    if "enum" in part:
        if True in part["enum"] or "yes" in part["enum"]:
            return "yes, no"
        return ", ".join(f"`{value}`" for value in part["enum"] if value not in (None, False))
    if "const" in part:
        return "off" if part["const"] is False else f"`{part['const']}`"
    if "anyOf" in part:
        kinds = [_values(option) for option in part["anyOf"] if option != {"type": "null"}]
        return ", or ".join(dict.fromkeys(kind for kind in kinds if kind and kind != "truth"))
    kind = part.get("type", "")
    if kind == "array":
        return f"list of {_plural(_values(part.get('items', {})))}"
    words = {"integer": "number", "boolean": "truth", "object": "keys and values"}
    return str(part.get("$comment") or words.get(kind, kind))


def _plural(kind: str) -> str:
    return kind + ("es" if kind.endswith("s") else "" if kind == "text" else "s")


def _shown(value: Any) -> str:
    if value is None or value in ([], {}):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return f"[{', '.join(map(str, value))}]"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {item}" for key, item in value.items())
    return str(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def write() -> None:
    for name in FILES:
        (ROOT / "config" / f"{name}.schema.json").write_text(schema_text(name))
    REFERENCE.write_text(reference())


if __name__ == "__main__":
    write()
