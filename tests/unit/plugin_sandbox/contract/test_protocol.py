"""Frames from a plugin are believed only as far as they are checked; whatever is wrong is a ProtocolError and nothing else."""

import json
from pathlib import Path

import pytest

from plugin_sandbox.model import Call, Isolation, Manifest, PluginRecord
from plugin_sandbox.protocol import ProtocolError, encode_request, escape, parse_logs, parse_result

GOOD = {"result": "success", "per_file": [], "input_required": None, "error_message": None, "error_kind": None}
ASK = {**GOOD, "result": "input_required", "input_required": {"fields": [{"id": "unit"}], "reason": "why"}}
BAD = {
    "nothing": b"",
    "no JSON": b"{",
    "two documents": b"{}{}",
    "trailing": json.dumps(GOOD).encode() + b" x",
    "array": b"[]",
    "NaN": b'{"result":"success","per_file":[],"x":NaN}',
    "infinity": b'{"result":Infinity}',
    "twice": b'{"result":"success","result":"failed"}',
    "surrogate": b'{"result":"success","error_message":"\\ud800"}',
    "encoding": b'{"result":"\xff"}',
    "deep": b"[" * 200_000,
    "nested": ('{"result":' + "[" * 60 + "]" * 60 + "}").encode(),
    "digits": b'{"result":' + b"9" * 900_000 + b"}",
    "unknown field": json.dumps({**GOOD, "more": 1}).encode(),
    "type": json.dumps({**GOOD, "per_file": "x"}).encode(),
    "prompt is text": json.dumps({**GOOD, "result": "input_required", "input_required": "abc"}).encode(),
    "prompt missing": json.dumps({**GOOD, "result": "input_required"}).encode(),
    "prompt without a field": json.dumps({**ASK, "input_required": {"fields": [], "reason": ""}}).encode(),
    "field is no object": json.dumps({**ASK, "input_required": {"fields": ["x"], "reason": ""}}).encode(),
    "choice without choices": json.dumps(
        {**ASK, "input_required": {"fields": [{"id": "a", "type": "choice"}], "reason": ""}}
    ).encode(),
    "choice that draws": json.dumps(
        {**ASK, "input_required": {"fields": [{"id": "a", "type": "choice", "choices": ["\x1b[2J"]}], "reason": ""}}
    ).encode(),
    "question that fills a screen": json.dumps(
        {**ASK, "input_required": {"fields": [{"id": "a", "choices": ["x" * 66_000]}], "reason": ""}}
    ).encode(),
    "same id twice": json.dumps(
        {**ASK, "input_required": {"fields": [{"id": "a"}, {"id": "a"}], "reason": ""}}
    ).encode(),
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD.keys())
def test_a_malformed_answer_is_a_protocol_error(data: bytes) -> None:
    """A hostile plugin chooses these bytes: no other exception may come of them."""
    with pytest.raises(ProtocolError):
        parse_result(data)


DETAILED = {**GOOD, "per_file": [{"path": "a", "status": "described", "changes": [{"n": 1.5, "big": 9**4000}]}]}


@pytest.mark.parametrize("frame", [GOOD, ASK, DETAILED])
def test_a_well_formed_answer_is_read(frame: dict[str, object]) -> None:
    """What the runner writes is what the host reads."""
    found = parse_result(json.dumps(frame).encode())

    assert found.result == frame["result"]
    assert [one.model_dump(exclude_none=True) for one in found.per_file] == frame["per_file"]


def test_what_a_plugin_logs_cannot_forge_a_line_or_a_field() -> None:
    """Levels map as they did; the host's fields win; a newline is not a newline."""
    lines = [
        '{"level":"warn","message":"one\\nERROR two","context":{"plugin":"other"}}',
        "plain \u202e text",
        '{"level":"loud","message":5}',
        "[" * 5000,
        '{"level":"Critical","message":"six"}',
    ]

    records = parse_logs("\n".join(lines).encode(), "mine")

    assert [(one.level, one.plugin) for one in records] == [
        ("WARNING", "mine"),
        ("INFO", "mine"),
        ("INFO", "mine"),
        ("INFO", "mine"),
        ("CRITICAL", "mine"),
    ]
    assert records[0].message == "one\\nERROR two"
    assert "\u202e" not in records[1].message
    assert records[2].message == "5"


def test_a_flood_of_lines_is_cut() -> None:
    """The host's memory is not the plugin's."""
    records = parse_logs(b"x\n" * 10_000, "mine")

    assert len(records) == 2_001
    assert records[-1].message == "8000 more lines were dropped"


@pytest.mark.parametrize("variables", [{"x": {1, 2}}, {"x": float("nan")}, {"x": "y" * 2_000_000}])
def test_variables_that_cannot_cross_are_refused(tmp_path: Path, variables: dict[str, object]) -> None:
    """Before anything is started."""
    manifest = Manifest(name="p", version="1", api_version="1", supported_extensions=(), isolation=Isolation())
    call = Call(
        plugin=PluginRecord(manifest=manifest, path=tmp_path, digest=""),
        workspace=tmp_path,
        files=(),
        variables=variables,
    )

    with pytest.raises(ProtocolError, match="request: "):
        encode_request(call, "/work")


def test_escaping_keeps_what_people_write() -> None:
    """Only what a terminal or a log would act on goes."""
    assert escape("größe\t→ 5 \x1b[31m\x07") == "größe\t→ 5 \\x1b[31m\\x07"


def test_the_size_of_a_question_is_counted_in_bytes() -> None:
    """It is kept with its session, where a letter beyond ASCII takes up to four."""
    for count, letter in ((13_000, "x"), (13_000, "\U0001f600"), (20_000, "\U0001f600")):
        field = {"id": "a", "type": "choice", "choices": [letter * count]}
        said = json.dumps({"result": "input_required", "input_required": {"fields": [field]}}).encode()
        if count == 20_000:
            with pytest.raises(ProtocolError, match="65536 are allowed"):
                parse_result(said)
        else:
            parse_result(said)


@pytest.mark.parametrize("number", ["1e999", "-1e999", "9" * 400 + ".0"])
def test_a_number_that_is_read_as_an_infinity_is_refused(number: str) -> None:
    """It is written like any number, and nobody after us could write it down as JSON again."""
    said = f'{{"result":"success","per_file":[{{"path":"a","status":"skipped","changes":[{{"n":{number}}}]}}]}}'

    with pytest.raises(ProtocolError, match="too large a number"):
        parse_result(said.encode())
