"""A call that somebody must approve: the run is suspended, kept in a file, and taken up by another process.

python approvals.py begin run.state      the agent wants to pay, and waits
python approvals.py approve run.state    it pays, and goes on; nothing is done twice
python approvals.py reject run.state     it is told why not, and goes on
"""

import asyncio
import sys
from pathlib import Path

from taut import Agent
from taut.agent import RunState, ToolPolicy
from taut.crypto import KeyRing
from taut.llm.model import ModelRequest
from taut.testing import Answer, FunctionModel, call


def balance(account: str) -> int:
    """Return what is in an account."""
    print(f"  looking at {account}")
    return 120


def pay(to: str, amount: int) -> str:
    """Pay somebody."""
    print(f"  paying {amount} to {to}")
    return f"paid {amount} to {to}"


def model(request: ModelRequest) -> Answer:
    """Look first, then pay, then say what became of it: a model that needs no network."""
    said = len(request.messages)
    if said == 1:
        return call("balance", account="household")
    if said == 3:
        return call("pay", to="Ada", amount=70)
    return f"Result: {request.messages[-1].content[0].text}"


agent = Agent(
    "treasurer",
    model=FunctionModel(model),
    tools=[balance, pay],
    policy=ToolPolicy(approve=("function:pay",)),
)
# Of a secret, in real life: the state holds the conversation, so it is sealed.
keys = KeyRing(b"an example of a key, 32 bytes...")


def begin(path: Path) -> None:
    result = agent.run_sync("Pay Ada her 70, if there is enough.")
    assert result.state is not None
    for request in result.state.approvals:
        print(f"{result.status}: {request.call.name} {request.call.arguments} waits for approval")
    path.write_bytes(result.state.to_bytes(keys))


def decide(path: Path, *, approve: bool) -> None:
    state = RunState.from_bytes(path.read_bytes(), keys)
    if approve:
        state.approve()
    else:
        state.reject(reason="not before payday")
    result = asyncio.run(agent.resume(state))
    print(f"{result.status}: {result.output}")
    path.unlink()


command, path = sys.argv[1], Path(sys.argv[2])
if command == "begin":
    begin(path)
else:
    decide(path, approve=command == "approve")
