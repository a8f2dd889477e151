"""A page with a form: files of any size go to a folder as they arrive, on worker threads, under names that cannot lead elsewhere.
curl -F note=hello -F file=@big.iso http://127.0.0.1:8000/"""

import argparse
import tempfile

from pymongoose import MG_EV_HTTP_HDRS, MG_EV_HTTP_MSG, Connection, Form, Manager

FOLDER = tempfile.mkdtemp()

PAGE = """<!doctype html>
<form method="post" enctype="multipart/form-data">
<input name="note"> <input type="file" name="file" multiple> <button>Send</button>
</form>
"""


def received(form: Form) -> dict[str, object]:
    files = [
        {"name": f.filename, "bytes": f.size, "path": f.path} for f in form.files.get("file", [])
    ]
    return {"note": form.get("note", ""), "files": files}  # becomes the answer, as JSON


def handler(conn: Connection, ev: int, data: object) -> None:
    if ev == MG_EV_HTTP_HDRS and data.method == "POST":
        conn.upload(
            data, FOLDER, received, max_file=4 << 30, max_total=8 << 30, original_names=True
        )
    elif ev == MG_EV_HTTP_MSG and data.method == "GET":
        conn.reply(200, PAGE, {"Content-Type": "text/html"})
    elif ev == MG_EV_HTTP_MSG:
        conn.reply(405, "GET or POST\n", {"Allow": "GET, POST"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000, help="0: a free one")
    mgr = Manager(handler, workers=4)
    site = mgr.listen(f"http://127.0.0.1:{parser.parse_args().port}")
    print(f"http://127.0.0.1:{site.local_addr[1]}", flush=True)
    mgr.run()


if __name__ == "__main__":
    main()
