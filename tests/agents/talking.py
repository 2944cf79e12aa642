"""A tool server of the standard library alone, for tests: python talking.py [bad | silent | chatty]."""

import json
import sys

TOOLS = [
    {
        "name": "note",
        "description": "Keeps a text.",
        "inputSchema": {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "type": "object",
            "properties": {"text": {"type": "string", "minLength": 1}, "mood": {"$ref": "#/$defs/Mood"}},
            "required": ["text"],
            "$defs": {"Mood": {"enum": ["glad", "sad"], "title": "Mood"}},
        },
    },
    {"name": "notes", "description": "All that was kept.", "inputSchema": {"type": "object", "properties": {}}},
    {
        "name": "read",
        "description": "Reads a file.",
        "inputSchema": {"type": "object", "properties": {"path": {"type": "string"}}},
    },
    {"name": "no good name!", "inputSchema": {"type": "object"}},
]
KEPT = []


def answer(method, given):
    if method == "initialize":
        told = {"name": "talking", "version": "1"}
        return {"protocolVersion": given["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": told}
    if method == "tools/list":
        return {"tools": TOOLS}
    if given["name"] == "note":
        KEPT.append(given["arguments"]["text"])
        return {"content": [{"type": "text", "text": "kept"}]}
    if given["name"] == "notes":
        return {
            "content": [
                {"type": "text", "text": "\x1b[31m" + " | ".join(KEPT) + "x" * (5000 if "chatty" in sys.argv else 0)}
            ]
        }
    try:
        return {"content": [{"type": "text", "text": open(given["arguments"]["path"]).read()}]}
    except OSError as error:
        return {"content": [{"type": "text", "text": str(error)}], "isError": True}


if "bad" in sys.argv:
    sys.exit("this server cannot start")
for line in sys.stdin:
    asked = json.loads(line)
    if "id" not in asked or "silent" in sys.argv:
        continue
    if asked["method"] not in ("initialize", "tools/list", "tools/call"):
        reply = {"error": {"code": -32601, "message": "no such method"}}
    else:
        reply = {"result": answer(asked["method"], asked.get("params") or {})}
    print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], **reply}), flush=True)
