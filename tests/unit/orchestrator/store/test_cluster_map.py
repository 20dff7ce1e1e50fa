"""What a cluster says of itself is read as it means it: its URL, slots, redirections."""

import pytest

from orchestrator.contracts.errors import ConfigError, StoreUnreachable
from orchestrator.store.cluster_map import Node, key_of, parse_cluster, read_redirection, read_view, slot_of
from orchestrator.store.fitness import check_broker_url
from orchestrator.store.keys import KEY_NAMES, OF_NO_SESSION, Keys
from orchestrator.store.scripts import Script, load_scripts

SCRIPTS = sorted(load_scripts().values(), key=lambda script: script.name)
HERE = Node("here", 1)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_every_act_touches_one_slot(script: Script) -> None:
    """A script whose keys lie in two slots is refused, and only for some sessions and some clusters."""
    keys = Keys(64)
    for number in range(300):
        session_id = f"SES-20261120-{number:03d}"
        if OF_NO_SESSION & set(script.keys):
            assert len(script.keys) == 1
        else:
            assert len({slot_of(key) for key in keys.for_script(script.keys, session_id)}) == 1


def test_every_partition_is_one_slot_and_every_key_of_it_is_there() -> None:
    """What a tick, a page or a tally asks of a partition is on one server."""
    keys = Keys(64)
    slots = [
        {slot_of(keys.of_partition(name, number)) for name in KEY_NAMES - OF_NO_SESSION if name in keys._shared[0]}
        for number in range(64)
    ]

    assert {len(found) for found in slots} == {1}
    assert len(set.union(*slots)) == 64


@pytest.mark.parametrize(
    ("url", "nodes"),
    [
        ("redis+cluster://a", [Node("a", 6379)]),
        ("redis+cluster://a:1,b:2/", [Node("a", 1), Node("b", 2)]),
        ("rediss+cluster://[::1]:7000,[fe80::1]/0", [Node("::1", 7000), Node("fe80::1", 6379)]),
    ],
)
def test_a_url_names_servers(url: str, nodes: list[Node]) -> None:
    """Any of them will do, so several are named."""
    assert list(parse_cluster(url).nodes) == nodes


def test_user_and_password_go_to_every_server() -> None:
    """They are the cluster's, and may hold any character."""
    found = parse_cluster("rediss+cluster://me:p%40%2F@a:1,b:2")

    assert (found.username, found.password) == ("me", "p@/")
    assert found.of_node(Node("::1", 3)) == "rediss://me:p%40%2F@[::1]:3/0"


@pytest.mark.parametrize(
    "url",
    [
        "redis+cluster://a:1/2",
        "redis+cluster://a:1?db=0",
        "redis+cluster://a:1,:2",
        "redis+cluster://",
        "redis+cluster://a:many",
    ],
)
def test_what_a_cluster_cannot_have_is_refused(url: str) -> None:
    """Another database, an option that nobody reads, a server without a name: with the form that is right."""
    with pytest.raises(ConfigError, match=r"write redis\+cluster://host:port,host:port"):
        parse_cluster(url)


@pytest.mark.parametrize("url", ["redis+cluster://a:1", "rediss+cluster://a:1"])
def test_a_cluster_is_no_broker(url: str) -> None:
    """Celery has no transport for one; its queues would fail at the first command that spans slots."""
    with pytest.raises(ConfigError, match="no Redis Cluster transport"):
        check_broker_url(url)


@pytest.mark.parametrize(
    ("args", "key"),
    [
        (("HSET", "k", "a", 1), "k"),
        (("EVALSHA", "sha", 2, "k", "l", "a"), "k"),
        (("XGROUP", "CREATE", "k", "g", "$"), "k"),
        (("MEMORY", "USAGE", b"k"), b"k"),
        (("info",), None),
        (("FUNCTION", "STATS"), None),
        (("PUBLISH", "channel", "word"), None),
    ],
)
def test_a_commands_first_key_is_found(args: tuple[object, ...], key: object) -> None:
    """It says to which server the command goes."""
    assert key_of(args) == key


def test_the_view_of_the_latest_epoch_is_believed() -> None:
    """A master that was cut off still believes in itself."""
    old = read_view("cluster_state:ok\r\ncluster_current_epoch:3\r\n", [[0, 16383, ["a", 1, "id"]]], HERE)
    new = read_view("cluster_state:ok\r\ncluster_current_epoch:4\r\n", [[0, 16383, ["b", 2, "id"]]], HERE)
    down = read_view("cluster_state:fail\r\ncluster_current_epoch:5\r\n", [], HERE)

    assert max([old, new, down], key=lambda view: view.rank) is new


def test_a_server_that_does_not_know_its_name_is_where_it_was_asked() -> None:
    """Old servers leave their own host out, new ones say NULL or a question mark."""
    view = read_view("", [[0, 1, ["", 7, "id"], [None, 8, "id"]], [2, 3, ["?", 9, "id", []]]], HERE)

    assert [(master, replicas) for _, _, master, replicas in view.ranges] == [
        (Node("here", 7), (Node("here", 8),)),
        (Node("here", 9), ()),
    ]


def test_a_redirection_to_nowhere_is_no_servers_name() -> None:
    """It is repeated like any other trouble of the server's, and says what was answered."""
    assert read_redirection("MOVED 1 ::1:7000", HERE) == Node("::1", 7000)
    with pytest.raises(StoreUnreachable, match="names no server"):
        read_redirection("MOVED 1", HERE)


def test_a_place_whose_port_is_no_number_is_none() -> None:
    """A superscript is a digit in one way of asking, and no number."""
    with pytest.raises(StoreUnreachable, match="names no server"):
        read_redirection("MOVED 1 127.0.0.1:\u00b2", HERE)
