"""The official Python SDK's 1.x client under measurement, over HTTP."""

import asyncio

from _measure import arguments, measure
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client


async def main() -> None:
    calls, (url, _) = arguments()
    async with streamable_http_client(url) as (reader, writer, _), ClientSession(reader, writer) as session:
        await session.initialize()

        async def call(number: int) -> str:
            result = await session.call_tool("add", {"a": number, "b": 7})
            return result.content[0].text

        await measure(call, calls)


if __name__ == "__main__":
    asyncio.run(main())
