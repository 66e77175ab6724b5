"""Agents for the tests of ``taut run`` and ``taut chat``: no model is asked, but servers are real processes."""

from __future__ import annotations

import sys
from pathlib import Path

NOTES = Path(__file__).parents[2] / "examples" / "notes_server.py"

SERVERS = f"""
[servers.notes]
command = ["{sys.executable}", "{NOTES}"]
[servers.example]
command = "example.py"
"""

ECHO = f"""
[agent]
model = "echo"
servers = ["notes"]
{SERVERS}
"""

APPROVAL = f"""
[agent]
model = "script"
servers = ["notes"]
policy.approve = ["notes:add"]
[models.script]
type = "scripted"
answers = [
    {{ call = "notes__add", arguments = {{ title = "Tea", text = "Green." }} }},
    {{ call = "notes__search", arguments = {{ query = "green" }} }},
    "Done.",
]
{SERVERS}
"""

EXAMPLE = f"""
[agent]
model = "echo"
servers = ["example"]
{SERVERS}
"""
