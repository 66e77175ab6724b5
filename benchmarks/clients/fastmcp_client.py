"""fastmcp's client under measurement."""

import asyncio

from _measure import arguments, measure
from fastmcp import Client
from fastmcp.client.transports import StdioTransport


async def main() -> None:
    calls, (command, *options) = arguments()
    async with Client(StdioTransport(command=command, args=options), mode="legacy") as client:

        async def call(number: int) -> str:
            result = await client.call_tool("add", {"a": number, "b": 7})
            return result.content[0].text

        await measure(call, calls)


if __name__ == "__main__":
    asyncio.run(main())
