"""The official Python SDK's 2.x client under measurement."""

import asyncio

from _measure import arguments, is_url, measure
from mcp import Client, StdioServerParameters


async def main() -> None:
    calls, target = arguments()
    if is_url(target):
        connecting = Client(target[0], mode=target[1])
    else:
        connecting = Client(StdioServerParameters(command=target[0], args=target[1:]), mode="legacy")
    async with connecting as client:

        async def call(number: int) -> str:
            result = await client.call_tool("add", {"a": number, "b": 7})
            return result.content[0].text

        await measure(call, calls)


if __name__ == "__main__":
    asyncio.run(main())
