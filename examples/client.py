"""A client: starts notes_server.py as a child process and uses all that it offers.

python client.py            the newest protocol revision that both speak
python client.py 2025-06-18 another one
"""

import asyncio
import sys
from pathlib import Path

from taut import Client, models

SERVER = Path(__file__).with_name("notes_server.py")


def show_progress(progress: models.ProgressParams) -> None:
    print(f"  {progress.progress:g}/{progress.total:g} {progress.message or ''}")


def show_log(entry: models.LoggingMessageParams) -> None:
    print(f"  log {entry.level}: {entry.data}")


async def main(mode: str) -> None:
    async with Client(SERVER, mode=mode, logging=show_log) as notes:
        assert notes.server_info is not None
        print(f"{notes.server_info.name} {notes.server_info.version} speaks {notes.revision}")
        print(f"It says: {notes.instructions}")

        for tool in await notes.list_tools():
            print(f"- {tool.name}: {tool.description}")

        # Results have content for a model to read and, where the tool has an output schema, data for programs.
        added = await notes.call_tool("add", {"title": "Tea", "text": "Green, 80 degrees.", "tags": ["home"]})
        print(added.structured_content or "(revisions before 2025-06-18 have no structured content)")

        # A tool's own failure is a result, not an exception.
        again = await notes.call_tool("add", {"title": "Tea", "text": "Black."})
        assert again.is_error
        print(again.content[0].text)

        print("Checking:")
        await notes.call_tool("check_spelling", on_progress=show_progress)

        # Calls may run at the same time.
        found = await asyncio.gather(*(notes.call_tool("search", {"query": one}) for one in ("milk", "lamp")))
        print(*(one.content[0].text for one in found))

        text, image = (await notes.call_tool("cover", {"title": "Tea"})).content
        print(f"{text.text}: {image.mime_type}, {len(image.to_bytes())} bytes")

        contents = (await notes.read_resource("notes://note/Tea")).contents
        print(contents[0].text)

        completion = await notes.complete(models.PromptReference("tidy"), "tone", "f")
        prompt = await notes.get_prompt("tidy", {"title": "Tea", "tone": completion.values[0]})
        print(prompt.messages[0].content.text)


asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "auto"))
