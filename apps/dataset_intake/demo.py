"""The demo: take in data that it makes itself, and any folder that is given.

Options: `data` (a folder; it is only read) and `into` (where its project goes; default: the demo's own folder, which goes
with the demo unless it is kept). Starts nothing, so there is nothing to stop.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from orchestrator.contracts.demo import Submission
from orchestrator.contracts.errors import InputError

from .demo_files import write_files
from .submit import submission

OPTIONS: Final = {
    "data": "a folder of your own to take in as well; it is only read",
    "into": "the folder that its project is published to (default: the demo's own)",
}


class IntakeDemo:
    """One submission for the demo's own data, and one for the folder that was given."""

    def check(self, options: Mapping[str, str]) -> None:
        """Raise InputError for data that cannot be taken in."""
        if options.get("data"):
            submission({"data": options["data"]}, Path(options.get("into") or "projects"))
        elif options.get("into"):
            raise InputError("option --into: nothing is taken in; give the folder with --data DIR")

    def prepare(self, folder: Path, options: Mapping[str, str]) -> list[Submission]:
        """Write the data into `folder`/field-data; return the submissions. Raise InputError."""
        self.check(options)
        made = folder / "field-data"
        made.mkdir(mode=0o700, exist_ok=True)
        write_files(made)
        own = {
            "data": str(made),
            "title": "Weather at four stations",
            "creator": "Baton demo",
            "license": "CC-BY-4.0",
            "description": "Temperature and pressure, twelve days of March, with two pictures of the site.",
        }
        told = [submission(own, folder / "projects")]
        if options.get("data"):
            told.append(submission({"data": options["data"]}, Path(options.get("into") or folder / "projects")))
        return told

    def stop(self) -> None:
        """Do nothing: the demo started nothing."""


def demo() -> IntakeDemo:
    """Return the app's demo."""
    return IntakeDemo()
