"""Hooks that do what a call's own argument, or the prompt, says, and note in the ledger that they ran."""

import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

Data = dict[str, Any]


def _note(line: str) -> None:
    ledger = os.environ.get("HOOKED_LEDGER")
    if ledger:
        with Path(ledger).open("a") as file:
            file.write(line + "\n")


def _wanted(data: Data) -> str:
    args = data["tool_input"]
    return str(args.get("target", args.get("value", "")))


async def tell(event: str, data: Data) -> Data | None:
    """Note an event and what it said, without the fields that every event has."""
    shown = {
        key: value for key, value in data.items() if key not in {"session_id", "parent_id", "timestamp", "request_id"}
    }
    _note(f"{event} {json.dumps(shown, sort_keys=True)}")
    if event == "session:start" and not data["session_id"].startswith("HOOK-"):
        return {"action": "deny", "reason": "no session of ours"}
    return None


async def prompt(event: str, data: Data) -> Data | None:
    """Deny, change or ask, as the prompt says."""
    _note(f"hook prompt {data['prompt']}")
    match data["prompt"]:
        case "deny":
            return {"action": "deny", "reason": "not this"}
        case "secret":
            return {"action": "modify", "data": {**data, "prompt": "redacted"}}
        case "nonsense":
            return {"action": "modify", "data": {"other": 1}}
        case "ask" | "ask everywhere":
            return {"action": "ask_user", "approval_prompt": "Begin?", "approval_options": ["Allow", "No"]}
        case "durable":
            return {"action": "inject_context", "context_injection": "house rules", "context_injection_role": "system"}
        case "notice":
            return {"user_message": "begun", "user_message_level": "warning"}
    return None


async def before_model(event: str, data: Data) -> Data | None:
    """Ask before the model is called, where the prompt says so."""
    said = next((one["content"] for one in data["messages"] if one["role"] == "user"), "")
    _note(f"hook before_model {data['turn']}")
    if said in {"ask before model", "ask everywhere"}:
        return {"action": "ask_user", "approval_prompt": "Call it?"}
    if said == "another model":
        return {"action": "modify", "data": {**data, "model": "larger"}}
    if said == "deny model":
        return {"action": "deny", "reason": "no model today"}
    return None


async def after_model(event: str, data: Data) -> Data | None:
    """Ask about, deny or change what the model said."""
    text = data["response"]["content"]
    _note(f"hook after_model {text}")
    if text in {"ask after model", "ask everywhere"}:
        return {"action": "ask_user", "approval_prompt": "Keep it?", "approval_default": "allow"}
    if text == "deny after model":
        return {"action": "deny", "reason": "unfit"}
    if text == "change after model":
        return {"action": "modify", "data": {**data, "response": {**data["response"], "content": "changed"}}}
    return None


def first(event: str, data: Data) -> Data | None:
    """A plain function, before the others: change arguments, or add a text."""
    wanted = _wanted(data)
    if wanted.startswith(("change", "ask changed")):
        return {"action": "modify", "data": {**data, "tool_input": {**data["tool_input"], "target": wanted + "!"}}}
    if wanted == "ephemeral":
        return {"action": "inject_context", "context_injection": "only now", "ephemeral": True}
    if wanted == "durable":
        return {"action": "inject_context", "context_injection": "from now on", "context_injection_role": "user"}
    if wanted == "huge":
        return {"action": "inject_context", "context_injection": "x" * 101}
    return None


async def before_tool(event: str, data: Data) -> Any:
    """Deny, ask, or answer nonsense."""
    wanted = _wanted(data)
    _note(f"hook before_tool {wanted}")
    if wanted == "deny":
        return {"action": "deny", "reason": "not that"}
    if wanted.startswith("ask"):
        return {"action": "ask_user", "approval_prompt": f"Do {wanted}?", "approval_timeout": 60}
    if wanted == "unreadable":
        return "allow"
    return None


def frail(event: str, data: Data) -> None:
    """Raise or hang on demand; `strict` is the same function, and critical."""
    wanted = _wanted(data)
    if wanted == "raise" or (wanted == "raise once" and not os.environ.get("HOOKED_MENDED")):
        raise ValueError("frail")
    if wanted == "hang":
        threading.Event().wait(3)  # nobody sets it: longer than the hook's time, and not too long for its thread to end


async def after_tool(event: str, data: Data) -> Data | None:
    """Withhold, change, ask about or add to a result."""
    wanted = _wanted(data)
    _note(f"hook after_tool {wanted}")
    match wanted:
        case "withhold":
            return {"action": "deny", "reason": "private"}
        case "mask":
            return {"action": "modify", "data": {**data, "tool_result": {"value": "***"}}}
        case "then ask":
            return {"action": "ask_user", "approval_prompt": "Show it?"}
        case "append":
            return {"action": "inject_context", "context_injection": "mind this", "append_to_last_tool_result": True}
    return None


async def approvals(event: str, data: Data) -> Data | None:
    """Deny in a person's place what is called `never`; once, kill the worker that is about to wait."""
    marker = Path(os.environ.get("HOOKED_KILL", "/nowhere"))
    if marker.exists():
        marker.unlink()
        _note(f"killed before its commit {data['about']}")
        os.kill(os.getpid(), signal.SIGKILL)
    _note(f"{event} {data['tool_name']} {data['hook']}")
    if data["tool_input"] and data["tool_input"].get("target") == "never":
        return {"action": "deny", "reason": "never at all"}
    return None
