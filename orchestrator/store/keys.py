"""Where things lie: every key of a session shares its partition's hash tag, so one slot of a cluster.

    baton:{p07}:s:<sid>   hash    the record               baton:{p07}:due      zset  waits with a time
    baton:{p07}:j:<sid>   stream  journal, ids <seq>-0     baton:{p07}:leases   zset  lease ends
    baton:{p07}:c:<sid>   list    context messages         baton:{p07}:by       zset  index (lib/index.lua)
    baton:{p07}:m:<sid>   list    mailbox                  baton:{p07}:sent     zset  wake-ups under way
    baton:{p07}:i:<sid>   hash    intents                  baton:{p07}:dead(i)  zset + hash  dead letters
    baton:{p07}:d:<sid>   zset    post ids seen            baton:{p07}:stats    hash  counters
    baton:{p07}:k:<sid>   stream  marks: how the session stood at some entries, to be found soon (scripts/mark.lua)
    baton:{p07}:limits    zset    rate limits              baton:{p07}:outbox   stream  what webhooks will be told
    baton:{p07}:deliveries, deliveryinfo, undelivered      zset + hash + hash   webhooks on their way, and given up
    baton:{p07}:g:<sid>   string  an archived session's submission digest, while its idempotency key is known
    baton:{p07}:t:<sid>   stream  what a model says now
    baton:{p07}:left      zset    sid -> until when nobody is woken for it: nobody who lives can work on it
    baton:{p07}:durable   string  marks behind which a master of a cluster has it all (cluster_durability.py)

Outside partitions: `baton:meta` (hash: partitions, layout, format, archive), `baton:apps` (set), `baton:ids:…`, `baton:idem:…`,
`baton:model:<provider>` (hash: rates and circuits), `baton:workers` (zset + hash), `baton:leader:…`, `baton:tokens`,
`baton:paused`, `baton:schedules`, `baton:webhooks` (hashes), `baton:audit` (stream), `baton:start` (string, for a
millisecond), and the channels `baton:bell` and `baton:cancels`.
"""

from orchestrator.contracts.ids import partition_of

PREFIX = "baton"
BELL = f"{PREFIX}:bell"
CANCELS = f"{PREFIX}:cancels"
META = f"{PREFIX}:meta"
DURABLE = f"{PREFIX}:durable"
APPS = f"{PREFIX}:apps"

#: Fields of META beside the number of partitions: which archive this store's sessions are in, when it was last seen to.
ARCHIVE_ID, ARCHIVED_AT = "archive", "archived_at"

WORKERS = f"{PREFIX}:workers"
WORKER_INFO = f"{PREFIX}:workers:info"
TOKENS = f"{PREFIX}:tokens"
PAUSED = f"{PREFIX}:paused"
SCHEDULES = f"{PREFIX}:schedules"
ENDPOINTS = f"{PREFIX}:webhooks"
AUDIT = f"{PREFIX}:audit"

_OF_SESSION = {
    "record": "s",
    "journal": "j",
    "context": "c",
    "mailbox": "m",
    "intents": "i",
    "seen": "d",
    "marks": "k",
    "gone": "g",
    "tokens": "t",
}
_OF_PARTITION = {
    "due": "due",
    "leases": "leases",
    "by": "by",
    "sent": "sent",
    "left": "left",
    "dead": "dead",
    "deadinfo": "deadinfo",
    "stats": "stats",
    "limits": "limits",
    "outbox": "outbox",
    "deliveries": "deliveries",
    "deliveryinfo": "deliveryinfo",
    "undelivered": "undelivered",
    "durable": "durable",
}
#: Keys that belong to no session: whoever calls an act on one names it (`Store.act_on_key`).
OF_NO_SESSION = frozenset({"model", "request", "audit", "counter"})
KEY_NAMES = frozenset(_OF_SESSION) | frozenset(_OF_PARTITION) | OF_NO_SESSION


class Keys:
    """Builds key names for one store, whose number of partitions never changes."""

    def __init__(self, partitions: int) -> None:
        self.partitions = partitions
        self._tags = [f"{PREFIX}:{{p{number:02d}}}:" for number in range(partitions)]
        self._shared = [{name: tag + part for name, part in _OF_PARTITION.items()} for tag in self._tags]

    def partition(self, session_id: str) -> int:
        """Return the partition of a session."""
        return partition_of(session_id, self.partitions)

    def of_partition(self, name: str, partition: int) -> str:
        """Return a key that all sessions of a partition share."""
        return self._shared[partition][name]

    def of_session(self, name: str, session_id: str) -> str:
        """Return a session's own key, or the shared one of its partition."""
        partition = self.partition(session_id)
        part = _OF_SESSION.get(name)
        return self._shared[partition][name] if part is None else f"{self._tags[partition]}{part}:{session_id}"

    def for_script(self, names: tuple[str, ...], session_id: str) -> tuple[str, ...]:
        """Return the keys that a script declares, in its order, for one session."""
        partition = self.partition(session_id)
        shared, tag = self._shared[partition], self._tags[partition]
        return tuple([shared.get(n) or f"{tag}{_OF_SESSION[n]}:{session_id}" for n in names])


def idempotency_key(app: str, key: str) -> str:
    """Return the key that remembers a submission's idempotency key."""
    return f"{PREFIX}:idem:{app}:{key}"


def counter_key(prefix: str, day: str) -> str:
    """Return the counter that mints the ids of one prefix and day."""
    return f"{PREFIX}:ids:{prefix}:{day}"


def leader_key(part: int | str) -> str:
    """Return the lease by which one scheduler leads a partition, or an app by its name."""
    return f"{PREFIX}:leader:{part}"


def model_key(provider: str) -> str:
    """Return the hash in which a provider's rates and circuits are."""
    return f"{PREFIX}:model:{provider}"
