"""What older revisions have that newer ones gate."""

from __future__ import annotations

import pytest

from faults.loops import Run
from taut import Client, Server, models


@pytest.mark.parametrize("revision", models.REVISIONS)
def test_prompts_complete_in_every_revision_though_2024_has_no_capability_for_it(
    run: Run, revision: str
) -> None:
    app = Server("s")

    @app.prompt
    def review(tone: str) -> str:
        return tone

    app.completion("review", "tone")(lambda value, others: [value + "ormal"])

    async def main() -> None:
        async with Client(app, mode=revision) as client:
            completion = await client.complete(models.PromptReference("review"), "tone", "f")
            assert completion.values == ["formal"]

    run(main())
