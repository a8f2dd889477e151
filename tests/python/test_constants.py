"""Names for numbers, and what the build tells about itself."""

import sys
import sysconfig

import pytest

import pymongoose
from pymongoose import build_info, event_name

EVENTS = [
    "ERROR",
    "OPEN",
    "POLL",
    "RESOLVE",
    "CONNECT",
    "ACCEPT",
    "TLS_HS",
    "READ",
    "WRITE",
    "CLOSE",
    "HTTP_HDRS",
    "HTTP_MSG",
    "WS_OPEN",
    "WS_MSG",
    "WS_CTL",
    "MQTT_CMD",
    "MQTT_MSG",
    "MQTT_OPEN",
    "SNTP_TIME",
    "WAKEUP",
    "MDNS_REQ",
    "MDNS_RESP",
    "MODBUS_REQ",
    "USER",
]


def test_events_count_up_from_error_in_the_order_of_mongoose():
    assert [getattr(pymongoose, f"MG_EV_{name}") for name in EVENTS] == list(range(len(EVENTS)))


@pytest.mark.parametrize("name", EVENTS)
def test_event_name_gives_the_name_of_the_constant(name):
    assert event_name(getattr(pymongoose, f"MG_EV_{name}")) == f"MG_EV_{name}"


@pytest.mark.parametrize(
    ("offset", "name"),
    [
        (0, "MG_EV_USER"),
        (1, "MG_EV_USER+1"),
        (977, "MG_EV_USER+977"),
        (2**31 - 24, "MG_EV_USER+2147483624"),
    ],
)
def test_events_of_the_application_are_counted_from_user(offset, name):
    assert event_name(pymongoose.MG_EV_USER + offset) == name


@pytest.mark.parametrize("ev", [-1, -1000])
def test_no_event_has_a_negative_number(ev):
    assert event_name(ev) == f"MG_EV_UNKNOWN({ev})"


@pytest.mark.parametrize("ev", ["MG_EV_OPEN", None, 1.5])
def test_event_name_takes_an_int(ev):
    with pytest.raises(TypeError):
        event_name(ev)


def test_log_levels_are_0_to_4():
    names = ["NONE", "ERROR", "INFO", "DEBUG", "VERBOSE"]
    assert [getattr(pymongoose, f"MG_LL_{name}") for name in names] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("name", "value"),
    [("CONTINUE", 0), ("TEXT", 1), ("BINARY", 2), ("CLOSE", 8), ("PING", 9), ("PONG", 10)],
)
def test_websocket_opcodes_are_those_of_rfc_6455(name, value):
    assert getattr(pymongoose, f"WEBSOCKET_OP_{name}") == value


def test_build_info_knows_its_fields_and_their_types():
    info = build_info()
    assert {key: type(value) for key, value in info.items()} == {
        "version": str,
        "mongoose": str,
        "tls": bool,
        "nogil": bool,
        "io_size": int,
        "max_headers": int,
        "poller": str,
        "compression": bool,
        "json_simd": str,
        "codings": list,
        "compiler": str,
        "free_threaded": bool,
        "python": str,
    }
    assert info["io_size"] >= 512
    assert info["max_headers"] >= 30


def test_the_build_was_made_for_this_python():
    info = build_info()
    assert info["python"].split(".")[:2] == [str(part) for part in sys.version_info[:2]]
    assert info["free_threaded"] == bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


def test_each_call_of_build_info_gives_a_dict_of_its_own():
    build_info()["version"] = "changed"
    assert build_info()["version"] != "changed"


@pytest.mark.skipif(sys.platform != "linux", reason="about Linux")
def test_linux_is_polled_with_epoll():
    assert build_info()["poller"] == "epoll"
