"""How an app keeps what its models see within a budget, and what a session has left out so far."""

from typing import Annotated, Final

from pydantic import Field

from orchestrator.contracts.base import Frozen

#: The managers that come with Baton; another one is a function of the app's.
SIMPLE: Final = "simple"
SUMMARISING: Final = "summarising"
MANAGERS: Final = (SIMPLE, SUMMARISING)

SUMMARY_PROMPT: Final = (
    "You shorten the record of an agent's work so that the agent can go on with it. Keep what was asked, what was found "
    "(names, numbers, paths, ids as they are), what was decided and why, what failed, and what is still to do. Leave out "
    "greetings and repetitions. Answer with the summary alone."
)


class ContextSpec(Frozen):
    """When a session's context is compacted, and by whom.

    A manager decides what takes the place of the oldest messages: `simple` says that they are left out, `summarising` asks the
    skill's model for a summary, and a function of the app's is handed the messages and returns its own words.
    """

    manager: Annotated[str, Field(min_length=1, max_length=256)] = Field(
        default=SIMPLE,
        description="`simple`, `summarising`, or a function of the app's: `file.py:function`.",
        examples=[SIMPLE, SUMMARISING, "memory.py:shorten"],
    )
    max_tokens: Annotated[int, Field(ge=100, le=10_000_000)] = Field(
        default=100_000,
        description="A model call with more than this is compacted before; estimated, 4 characters each.",
    )
    keep_tokens: Annotated[int, Field(ge=0, le=10_000_000)] | None = Field(
        default=None, description="How much of the newest messages stays word for word; none: half of `max_tokens`."
    )
    summary_tokens: Annotated[int, Field(ge=50, le=10_000)] = Field(
        default=1_000, description="How long the words may be that take the place of what is left out."
    )
    summary_prompt: str = Field(default=SUMMARY_PROMPT, description="What the model is told to do; for `summarising`.")

    @property
    def kept_tokens(self) -> int:
        """How much of the newest messages stays."""
        return self.max_tokens // 2 if self.keep_tokens is None else self.keep_tokens


class Compacted(Frozen):
    """What of a session's context its models no longer see word for word: all before the message with index `upto`.

    `words` stand in its place, `count` says how often that was done. The stored context keeps every message.
    """

    upto: int
    words: str = ""
    count: int = 1
