"""CPU work on the worker pool: POST an image, get a thumbnail (Pillow); without Pillow, a slow hash of the body.
curl --data-binary @photo.jpg http://127.0.0.1:8000/ -o small.png; both let go of Python's lock while they work"""

import argparse
import hashlib
import io

from pymongoose import MG_EV_HTTP_MSG, Connection, HttpMessage, Manager, Response

try:
    from PIL import Image, UnidentifiedImageError
except ImportError:
    Image = None


def work(body: memoryview) -> Response:
    """Runs on a worker thread. The view is of the bytes that came in: no copy, valid while it is kept."""
    if Image is None:
        digest = hashlib.pbkdf2_hmac("sha256", body, b"salt", 200_000)
        return Response(200, digest.hex() + "\n")
    try:
        image = Image.open(io.BytesIO(body))
        image.thumbnail((128, 128))
    except UnidentifiedImageError:
        return Response(415, "this is not an image\n")
    out = io.BytesIO()
    image.save(out, "PNG")
    return Response(200, out.getvalue(), {"Content-Type": "image/png"})


def handler(conn: Connection, ev: int, data: HttpMessage) -> None:
    if ev != MG_EV_HTTP_MSG:
        return
    if data.method == "POST":
        conn.offload(work, data.body, timeout=10.0)  # its result is the reply; 504 after 10 s
    else:
        conn.reply(405, "POST an image\n", {"Allow": "POST"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000, help="0: a free one")
    mgr = Manager(handler, workers=4)
    site = mgr.listen(f"http://127.0.0.1:{parser.parse_args().port}")
    print(f"http://127.0.0.1:{site.local_addr[1]}", flush=True)
    mgr.run()


if __name__ == "__main__":
    main()
