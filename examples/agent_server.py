"""Agents as an MCP server, and what their clients do: call one, watch a run, approve what needs approval.

``python agent_server.py`` shows it with a client in this process; ``taut serve agent_server.py`` serves it to any MCP
client. The model is a script here, so that the example runs anywhere; give the agents ``model="openai:..."`` for a
real one.
"""

import asyncio

import msgspec

from taut import Client, models
from taut.agent import Agent, ToolPolicy
from taut.agent.serving import RunTable, agent_server
from taut.llm.model import ModelRequest
from taut.testing import Answer, FunctionModel, call

STOCK = {"tea": 3, "milk": 0}


class Report(msgspec.Struct):
    """What the clerk says of an article."""

    article: str
    left: int


def count(article: str) -> int:
    """Count what is left of an article."""
    return STOCK.get(article, 0)


def order(article: str, amount: int) -> str:
    """Order more of an article. It costs money."""
    STOCK[article] = STOCK.get(article, 0) + amount
    return f"{amount} of {article} ordered"


def clerk_model(request: ModelRequest) -> Answer:
    """Count, then report."""
    article = request.messages[0].text
    if len(request.messages) == 1:
        return call("count", article=article)
    return msgspec.json.encode(Report(article, STOCK.get(article, 0))).decode()


def buyer_model(request: ModelRequest) -> Answer:
    """Order, then say what became of it."""
    if len(request.messages) == 1:
        return call("order", article=request.messages[0].text, amount=5)
    return f"The shop says: {request.messages[-1].content[0].text}."


clerk = Agent(
    "clerk",
    model=FunctionModel(clerk_model),
    tools=[count],
    output=Report,  # comes to clients as structured content, with its schema
    description="Tells how much is left of an article.",
)
buyer = Agent(
    "buyer",
    model=FunctionModel(buyer_model),
    tools=[order],
    policy=ToolPolicy(approve=("order",)),  # somebody has to agree
    description="Orders an article.",
)
app = agent_server("shop", clerk, buyer, version="1.0", runs=RunTable(keep_s=600))


def user(params: models.ElicitParams) -> models.ElicitResult:
    """Stand in for a user interface that shows the form."""
    print(f"  asked: {params.message.splitlines()[0]}")
    return models.ElicitResult(action="accept", content={"approve": True})


def tell(progress: models.ProgressParams) -> None:
    print(f"  {progress.message}")


async def main() -> None:
    # A client that can show forms: approvals are put to its user, and the call goes on.
    async with Client(app, elicitation=user) as client:
        result = await client.call_tool("clerk", {"task": "milk"}, on_progress=tell)
        print(f"clerk: {result.structured_content}")
        result = await client.call_tool("buyer", {"task": "milk"})
        print(f"buyer: {result.text}")

    # One that cannot: the run waits, until somebody decides. Nothing is done twice.
    async with Client(app) as client:
        run = (await client.call_tool("run_start", {"agent": "buyer", "task": "tea"})).structured_content
        status = {"run_id": run["run_id"], "wait_s": 10}
        run = (await client.call_tool("run_status", status)).structured_content
        waiting = run["approvals"][0]
        print(f"{run['status']}: {waiting['name']} {waiting['arguments']}")
        decision = {
            "run_id": run["run_id"],
            "approve": waiting["id"],
            "arguments": {"article": "tea", "amount": 1},
        }
        await client.call_tool("run_resume", decision)
        run = (await client.call_tool("run_status", status)).structured_content
        print(f"{run['status']}: {run['output']}")
        contents = (await client.read_resource(f"run://{run['run_id']}/messages")).contents[0]
        print(f"{len(msgspec.json.decode(contents.text))} messages, {STOCK['tea']} of tea")


if __name__ == "__main__":
    asyncio.run(main())
