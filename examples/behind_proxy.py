"""Serve behind nginx or HAProxy and tell who asked; prints a configuration of each for the ports it took.
Try: python examples/behind_proxy.py, put one of the two in front of it, and ask that."""

import argparse

from pymongoose import MG_EV_HTTP_MSG, Manager

NGINX = """# nginx, by header fields:
server {{
    listen 8080;
    location / {{
        proxy_pass http://127.0.0.1:{fields};
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Host $host;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto $scheme;
    }}
}}"""
HAPROXY = """# HAProxy, by the PROXY protocol:
frontend site
    bind :8081
    mode http
    default_backend app
backend app
    mode http
    server app1 127.0.0.1:{header} send-proxy-v2"""


def handler(conn, ev, data):
    if ev == MG_EV_HTTP_MSG:
        who = data.client_addr[0] if data.client_addr else "somebody"
        conn.reply(200, f"{who} asked for {data.scheme}://{data.host}{data.uri}\n")


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--port", type=int, default=8000)
    port = args.parse_args().port
    with Manager(handler) as mgr:
        trusted = ["127.0.0.1"]
        fields = mgr.listen(f"http://127.0.0.1:{port}", trusted_proxies=trusted)
        header = mgr.listen("http://127.0.0.1:0", proxy_protocol=trusted)
        print(f"http://127.0.0.1:{fields.local_addr[1]}/", flush=True)
        print(NGINX.format(fields=fields.local_addr[1]))
        print(HAPROXY.format(header=header.local_addr[1]), flush=True)
        mgr.run()


if __name__ == "__main__":
    main()
