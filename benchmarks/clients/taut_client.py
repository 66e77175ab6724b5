"""taut's client under measurement."""

from _measure import arguments, measure

from taut import Client


async def main() -> None:
    calls, command = arguments()
    async with Client(command, mode="legacy") as client:

        async def call(number: int) -> str:
            result = await client.call_tool("add", {"a": number, "b": 7})
            return result.content[0].text

        await measure(call, calls)


if __name__ == "__main__":
    import uvloop

    uvloop.run(main())
