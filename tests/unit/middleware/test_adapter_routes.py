"""What the web adapter posts, and what only looks like it."""

import pytest

from snapext.middleware.routes import Routes

PATHS = {
    "AWS_LWA_SNAPSTART_BEFORE_CHECKPOINT_PATH": "/before",
    "AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH": "after",
}


def phase(path="/before", query="", version="1.1", peer="127.0.0.1", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Routes(PATHS).phase(path, query, version, peer, named.get)


def test_the_adapters_own_post_is_recognised():
    """Empty, from loopback, to either path; a path without its slash is meant with it."""
    assert phase() == phase(content_length="0") == phase(peer="::1") == phase(peer="::ffff:127.0.0.1")
    assert phase() == "before_snapshot"
    assert phase("/after") == "after_restore"


@pytest.mark.parametrize(
    "other",
    [
        {"path": "/"},
        {"path": "/before/"},
        {"query": "a=1"},
        {"query": b"a=1"},
        {"version": "2"},
        {"version": ""},
        {"peer": "10.0.0.1"},
        {"peer": ""},
        {"peer": "1270.0.0.1"},
        {"content_length": "1"},
        {"transfer_encoding": "chunked"},
        {"x_amzn_request_context": ""},
        {"x_amzn_request_context": "{}"},
        {"x_amzn_lambda_context": "{}"},
    ],
    ids=str,
)
def test_anything_else_is_the_apps(other):
    """From outside, from another machine, with a body or a query, by another protocol: as if there were no route."""
    assert phase(**other) is None


def test_one_path_for_both_phases_is_refused():
    """The hooks of the wrong phase would run: the adapter finds no route, and fails the version."""
    for same in ("/same", "same"):
        routes = Routes(dict.fromkeys(PATHS, "/same") | {"AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH": same})
        assert routes.paths == {}
        assert "are the same path" in routes.problem
    assert Routes(PATHS).problem is None


def test_a_route_is_answered_once():
    """And one that the adapter is not set to call is none."""
    routes = Routes(PATHS)
    assert routes.is_set("before_snapshot")
    assert [routes.take("before_snapshot"), routes.take("before_snapshot")] == [True, False]
    assert routes.phase("/before", "", "1.1", "127.0.0.1", {}.get) is None
    assert routes.paths == {"/after": "after_restore"}
    assert not Routes({}).paths
    assert not Routes({}).take("after_restore")
