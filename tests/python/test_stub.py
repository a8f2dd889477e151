"""What type checkers are told is what is there."""

import ast
import inspect
import os
import pathlib
import subprocess
import sys

import pymongoose
from pymongoose import _core

PACKAGE = pathlib.Path(pymongoose.__file__).parent


def check(*args, **how):
    command = [sys.executable, "-m", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, **how)


def search_path():
    """The environment in which mypy finds the package that is being tested, installed or not."""
    if "site-packages" in PACKAGE.parts:
        return dict(os.environ)
    return {**os.environ, "MYPYPATH": str(PACKAGE.parent), "PYTHONPATH": str(PACKAGE.parent)}


def public(names):
    return {n for n in names if not n.startswith("_")}


def test_all_is_sorted_complete_and_there():
    names = pymongoose.__all__
    assert len(set(names)) == len(names)
    for name in names:
        assert getattr(pymongoose, name) is not None
    constants = {n for n in dir(_core) if n.isupper()}
    functions = {n for n in public(dir(_core)) if inspect.isbuiltin(getattr(_core, n))}
    assert constants <= set(names)
    assert functions - {"set_job_class"} <= set(names)
    modules = {n for n in dir(pymongoose) if inspect.ismodule(getattr(pymongoose, n))}
    assert public(dir(pymongoose)) - modules <= set(names)


def test_the_stub_has_the_names_of_the_extension():
    tree = ast.parse((PACKAGE / "_core.pyi").read_text())
    known = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            known[node.name] = {
                n.name if isinstance(n, ast.FunctionDef) else n.target.id
                for n in node.body
                if isinstance(n, (ast.FunctionDef, ast.AnnAssign))
            }
        elif isinstance(node, ast.FunctionDef):
            known[node.name] = None
        elif isinstance(node, ast.AnnAssign) and (
            node.target.id.isupper() or node.target.id == "bound_fields"
        ):
            known[node.target.id] = None
    typing_only = {"_BuildInfo", "_Part", "_QueueCounters"}
    there = {n for n in dir(_core) if not n.startswith("__")}
    assert set(known) - typing_only == there
    for name, members in known.items():
        if members is not None and name not in typing_only:
            real = {m for m in vars(getattr(_core, name)) if not m.startswith("__")}
            real -= {"_pybind11_conduit_v1_"}
            assert {m for m in members if not m.startswith("__")} == real, name


def test_methods_have_signatures():
    for cls in (_core.Connection, _core.HttpMessage, _core.Reply, _core.ResponseBody, _core.Timer):
        for name in public(vars(cls)):
            member = getattr(cls, name)
            if callable(member):
                assert next(iter(inspect.signature(member).parameters)) == "self"
                assert member.__doc__, (cls, name)


def test_stubtest_agrees(tmp_path):
    allow = tmp_path / "allow"
    # A Buffer is one by its C slots before 3.12; pybind11's metaclass and the layout of a C struct concern nobody.
    allow.write_text(
        "pymongoose\\._core\\..*__(buffer|init|new|class_getitem)__\n"
        "pymongoose\\._core\\.(ManagerBase|PoolCore|JobBase|MultipartParser)\n"
    )
    run = check(
        "mypy.stubtest",
        "pymongoose._core",
        "--allowlist",
        str(allow),
        "--ignore-unused-allowlist",
        env=search_path(),
        cwd=tmp_path,
    )
    assert run.returncode == 0, run.stdout + run.stderr


PROGRAM = """
from pymongoose import MG_EV_HTTP_MSG, MG_EV_WS_MSG, WEBSOCKET_OP_BINARY, Connection, Deflate, HttpMessage, Manager
from pymongoose import Limits, Response, WorkerPool, WsLimits, WsMessage, json_get_num
from typing import Any

ev: int = MG_EV_HTTP_MSG
number: float | None = json_get_num(b"{}", "$.a")
other: float = json_get_num("{}", "$.a", 1.5)


def thumbnail(body: memoryview) -> Response:
    return Response(200, bytes(body))


def handler(conn: Connection, ev: int, data: Any) -> None:
    if ev == MG_EV_WS_MSG:
        message: WsMessage = data
        payload: bytes = message.data
        reached: int = mgr.broadcast("room", message, exclude=conn)
        conn.ws_send(message.view, WEBSOCKET_OP_BINARY, fin=False)
        code: int | None = conn.ws_close_code
    if ev == MG_EV_HTTP_MSG:
        msg: HttpMessage = data
        if msg.uri == "/ws":
            ok: bool = conn.ws_upgrade(msg, {"X": "y"}, protocols=["a"], compress=Deflate(level=2))
        job = conn.offload(thumbnail, msg.body, timeout=5.0)
        job.add_done_callback(print)
        conn.offload(len, msg.uri, then=lambda conn, n: conn.reply(200, str(n + 1)))
        name: str = msg.header("Host", "none")
        conn.reply(200, name, [("X", "y")])


with Manager(handler, workers=8, error_handler=lambda exc: None) as mgr:
    listener = mgr.listen("http://127.0.0.1:0", limits=Limits(ws=WsLimits(slow="drop")))
    client: Connection = mgr.ws_connect("ws://127.0.0.1:1/", handler, compress=True)
    listener.respond("/healthz", 200, b"ok")
    requests: int = mgr.stats().requests
    mgr.call(print, 1)
    pool = WorkerPool(2, overflow="block")
    result: int = pool.submit(pow, 2, 3).result()
"""


def test_user_code_type_checks_strictly(tmp_path):
    (tmp_path / "user.py").write_text(PROGRAM)
    env = search_path()
    run = check("mypy", "--strict", "user.py", cwd=tmp_path, env=env)
    assert run.returncode == 0, run.stdout + run.stderr
    (tmp_path / "wrong.py").write_text(
        "from pymongoose import Manager, MG_EV_NOTHING\nManager(5)\nManager(workers='8')\n"
    )
    run = check("mypy", "--strict", "wrong.py", cwd=tmp_path, env=env)
    assert run.stdout.count("error:") == 3, run.stdout


def test_the_package_type_checks_strictly():
    root = pathlib.Path(__file__).parents[2]
    run = check("mypy", "--strict", "python/pymongoose", cwd=root)
    assert run.returncode == 0, run.stdout + run.stderr
