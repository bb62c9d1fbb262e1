import socket

import pytest

from sage_web.checks import CannotServeError, bind, enough_space, lock


def test_a_folder_is_held_by_one_server_at_a_time(tmp_path):
    first = lock(tmp_path)

    with pytest.raises(CannotServeError, match=r"Another server \(process \d+\) already runs"):
        lock(tmp_path)

    first.close()
    lock(tmp_path).close()


def test_a_taken_port_is_refused_with_one_to_try():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(CannotServeError, match=f"Port {port} on 127.0.0.1 is taken.*PORT={port + 1}"):
            bind("127.0.0.1", port)


@pytest.mark.parametrize(
    ("host", "port", "said"),
    [
        ("192.0.2.1", 0, "HOST has to be an address of this machine"),
        ("no.such.host.invalid", 0, "HOST has to be an address of this machine"),
        ("127.0.0.1", 70_000, "allowed are 1 to 65535"),
    ],
)
def test_an_impossible_address_says_what_is_allowed(host, port, said):
    with pytest.raises(CannotServeError, match=said):
        bind(host, port)


def test_a_full_disk_says_how_much_is_needed(tmp_path):
    enough_space(tmp_path, needed=1)
    with pytest.raises(CannotServeError, match="MB are needed"):
        enough_space(tmp_path, needed=10**18)
