"""The HTTP benchmark's server on the official Python SDK 2.x; variants: plain, ``async`` tools, ``lowlevel``."""

from typing import Any

import mcp_types as types
from _serve import SCENARIO, VARIANT, serve
from mcp.server.lowlevel import Server
from mcp.server.mcpserver import Context, MCPServer

OBJECT: dict[str, Any] = {"type": "object"}


def high_level() -> MCPServer:
    app = MCPServer("bench", version="1.0", log_level="ERROR")

    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    async def add_async(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    @app.tool()
    async def report(a: int, b: int, ctx: Context) -> int:
        """Report progress once, then add two numbers."""
        await ctx.report_progress(1, 2)
        return a + b

    app.add_tool(add_async if VARIANT == "async" else add, name="add")
    return app


async def list_tools(_context: Any, _params: Any) -> types.ListToolsResult:
    return types.ListToolsResult(tools=[types.Tool(name="add", input_schema=OBJECT)])


async def call_tool(_context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
    arguments = params.arguments or {}
    text = str(arguments["a"] + arguments["b"])
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)])


def low_level() -> Server[Any]:
    # Without a schema of the tool at hand, this SDK lists all tools with every call, to check its headers.
    return Server("bench", version="1.0", on_list_tools=list_tools, on_call_tool=call_tool)


if __name__ == "__main__":
    app = low_level() if VARIANT == "lowlevel" else high_level()
    serve(
        app.streamable_http_app(
            json_response=SCENARIO != "sse",
            stateless_http=SCENARIO == "stateless",
            max_sessions=None,
            session_idle_timeout=None,
        )
    )
