"""Removes metadata from PNG and JPEG images; not a byte of a pixel changes.

What an image is, its first bytes say, not its name. One that cannot be read to its end is an error: nobody could promise
that there is nothing left in it. Colour profiles stay, and so does the orientation, alone of all EXIF.
"""

from pathlib import Path
from typing import Any

from plugin_sandbox.api import FileChange, PluginContext, PluginError
from plugin_sandbox.api import Plugin as Base

from .image import BadImage, Scrubbed
from .jpeg import SOI, scrub_jpeg
from .png import SIGNATURE, scrub_png


def scrub(data: bytes) -> Scrubbed:
    """Return an image without its metadata; raise BadImage."""
    if data.startswith(SIGNATURE):
        return scrub_png(data)
    if data.startswith(SOI):
        return scrub_jpeg(data)
    raise BadImage("neither PNG nor JPEG, whatever its name says")


class Plugin(Base):
    """Scrubs every image that it is handed."""

    def can_handle(self, path: Path, variables: dict[str, Any]) -> bool:
        """Take every file; the manifest's endings have chosen them."""
        del path, variables
        return True

    def transform(self, path: Path, ctx: PluginContext) -> None:
        """Write the image anew where there was something to remove."""
        data, scrubbed = _read(path, ctx)
        if scrubbed.data != data:
            path.write_bytes(scrubbed.data)
            ctx.log.info(
                "scrubbed", file=_name(path, ctx), removed=scrubbed.removed, bytes=len(data) - len(scrubbed.data)
            )

    def describe_changes(self, path: Path, ctx: PluginContext) -> list[FileChange]:
        """Say what would go."""
        data, scrubbed = _read(path, ctx)
        if scrubbed.data == data:
            return []
        return [FileChange(path, "modify", f"{scrubbed.tell()} removed", dict(scrubbed.removed))]


def _read(path: Path, ctx: PluginContext) -> tuple[bytes, Scrubbed]:
    data = path.read_bytes()
    try:
        return data, scrub(data)
    except BadImage as error:
        raise PluginError(f"{_name(path, ctx)}: {error}; mend the image, or leave it out") from error


def _name(path: Path, ctx: PluginContext) -> str:
    return path.relative_to(ctx.dst_root).as_posix()
