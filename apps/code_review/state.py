"""The state of one review. Callers give the first six; the tools' results fill in the rest."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue


class ReviewState(BaseModel):
    """What a session knows. `commit` may be any revision at first; it is pinned when it is fetched."""

    model_config = ConfigDict(extra="forbid")

    repo: Annotated[str, Field(min_length=1, max_length=4096)]
    commit: Annotated[str, Field(min_length=1, max_length=200)] = "HEAD"
    base: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    range: Annotated[str, Field(max_length=400)] | None = None
    environment: str | None = None
    scratch: Annotated[str, Field(max_length=4096)] = ""

    title: str = ""
    diff_stats: dict[str, JsonValue] = {}
    workspace: str = ""
    export: dict[str, JsonValue] = {}
    entries: list[dict[str, JsonValue]] = []
    analysis: dict[str, JsonValue] = {}
    review_findings: list[dict[str, JsonValue]] = []
    findings_count: int = 0
    blocking_points: int = 0
    warnings: int = 0
    overall_recommendation: str | None = None
    review_summary: str = ""
