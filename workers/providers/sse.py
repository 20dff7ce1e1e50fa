"""Read server-sent events: the data of each, as it comes. Names and ids of events are passed over."""

from collections.abc import AsyncIterator


async def iter_data(chunks: AsyncIterator[bytes], *, most_bytes: int, most_event_bytes: int) -> AsyncIterator[str]:
    """Yield the data of each event; one whose blank line is missing at the end is yielded as well.

    Raise ValueError for a stream, or an event, over its size, and for one that is not UTF-8.
    """
    line, data, size = b"", [], 0
    held = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > most_bytes:
            raise ValueError(f"over {most_bytes} bytes of events")
        *whole, line = (line + chunk).split(b"\n")
        for one in whole:
            text = one.removesuffix(b"\r")
            if text.startswith(b"data:"):
                data.append(text[5:].removeprefix(b" "))
                held += len(text)
            elif not text and data:
                yield b"\n".join(data).decode()
                data, held = [], 0
        if held + len(line) > most_event_bytes:
            raise ValueError(f"an event over {most_event_bytes} bytes")
    if line.startswith(b"data:"):
        data.append(line[5:].strip())
    if data:
        yield b"\n".join(data).decode()
