"""taut's client under measurement."""

from _measure import arguments, is_url, measure

from taut import Client


async def main() -> None:
    calls, target = arguments()
    connecting = Client(target[0], mode=target[1]) if is_url(target) else Client(target, mode="legacy")
    async with connecting as client:

        async def call(number: int) -> str:
            result = await client.call_tool("add", {"a": number, "b": 7})
            return result.content[0].text

        await measure(call, calls)


if __name__ == "__main__":
    import uvloop

    uvloop.run(main())
