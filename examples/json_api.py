"""A JSON API: fields are read out of the body in C, without building the whole document.
curl -d '{"customer":{"name":"Ada"},"items":[{"price":9.5},{"price":1}]}' http://127.0.0.1:8000/orders"""

import argparse

from pymongoose import MG_EV_HTTP_MSG, Connection, HttpMessage, Manager, json_get_num, json_get_str

orders: list[dict[str, object]] = []


def add_order(conn: Connection, request: HttpMessage) -> None:
    name = json_get_str(request.body, "$.customer.name")
    prices = []
    while (price := json_get_num(request.body, f"$.items[{len(prices)}].price")) is not None:
        prices.append(price)
    if name is None or not prices:
        conn.reply_json({"error": "customer.name and items[].price are needed"}, 422)
        return
    orders.append({"id": len(orders) + 1, "name": name, "total": sum(prices)})
    conn.reply_json(orders[-1], 201, {"Location": f"/orders/{len(orders)}"})


def handler(conn: Connection, ev: int, data: HttpMessage) -> None:
    if ev != MG_EV_HTTP_MSG:
        return
    if data.uri != "/orders":
        conn.reply_json({"error": "not found"}, 404)
    elif data.method == "POST":
        add_order(conn, data)
    elif data.method == "GET":
        conn.reply_json(orders)
    else:
        conn.reply_json({"error": "method not allowed"}, 405, {"Allow": "GET, POST"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000, help="0: a free one")
    mgr = Manager(handler)
    site = mgr.listen(f"http://127.0.0.1:{parser.parse_args().port}")
    print(f"http://127.0.0.1:{site.local_addr[1]}", flush=True)
    mgr.run()


if __name__ == "__main__":
    main()
