"""Tool catalogues, kept once by their content: sessions refer to one by its digest."""

from collections import OrderedDict
from collections.abc import Mapping
from hashlib import sha256

from pydantic import TypeAdapter

from orchestrator.contracts.messages import ToolSchema
from orchestrator.store.keys import PREFIX
from orchestrator.store.store import Store

_CATALOGUE = TypeAdapter(dict[str, ToolSchema])

#: A catalogue outlives its last use by this; a session older than that reads the servers again.
KEPT_SECONDS = 30 * 86_400
CACHED = 64


class Catalogues:
    """Reads and keeps catalogues for one process."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._cache: OrderedDict[str, Mapping[str, ToolSchema]] = OrderedDict()

    async def keep(self, catalogue: Mapping[str, ToolSchema]) -> str:
        """Return the digest under which the catalogue can be loaded from now on."""
        body = _CATALOGUE.dump_json(dict(sorted(catalogue.items()))).decode()
        digest = sha256(body.encode()).hexdigest()[:16]
        if digest not in self._cache:
            await self._store.command("SET", f"{PREFIX}:catalogue:{digest}", body, "EX", KEPT_SECONDS)
            self._remember(digest, catalogue)
        return digest

    async def load(self, digest: str) -> Mapping[str, ToolSchema] | None:
        """Return a catalogue, or None where it is no longer kept."""
        cached = self._cache.get(digest)
        if cached is not None:
            return cached
        body = await self._store.command("GETEX", f"{PREFIX}:catalogue:{digest}", "EX", KEPT_SECONDS)
        if body is None:
            return None
        found = _CATALOGUE.validate_json(body)
        self._remember(digest, found)
        return found

    def _remember(self, digest: str, catalogue: Mapping[str, ToolSchema]) -> None:
        self._cache[digest] = catalogue
        while len(self._cache) > CACHED:
            self._cache.popitem(last=False)
