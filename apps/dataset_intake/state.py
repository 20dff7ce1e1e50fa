"""The state of one intake. Callers give the first part; tools and plugins fill in the rest."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue

Text = Annotated[str, Field(max_length=4096)]


class IntakeState(BaseModel):
    """What a session knows. What is wrong with the first part is found by the first step, and told all at once."""

    model_config = ConfigDict(extra="forbid")

    source: Text = ""
    projects: Text = ""
    name: Text = ""
    title: Text = ""
    creator: Text = ""
    license: Text = ""
    description: Text = ""
    units: dict[str, str] = {}

    problems: list[str] = []
    intake: dict[str, JsonValue] = {}
    project_dir: str = ""
    entries: list[dict[str, JsonValue]] = []
    completeness: str = ""
    remarks: list[str] = []
    published: dict[str, JsonValue] = {}
