#!/usr/bin/env bash
# testssl.sh against a server with the default settings: protocols, ciphers, server defaults, vulnerabilities, client simulations.
#
#   tests/conformance/testssl.sh          everything, about a minute
#   ARGS='-p -E' tests/conformance/…      a part of it
#
# Nothing of MEDIUM or worse may be found, but for what only concerns the test's own certificate and page. Ends with 77 when testssl.sh (Debian:
# testssl.sh) or openssl is not there. The report goes to build/testssl/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
PY=${PY:-python3} ARGS=${ARGS:-} OUT=${OUT:-$PWD/build/testssl}
# There is no list of revoked certificates for one that lives for a minute; what headers a page has is the page's affair.
OWN='cert_revocation|security_headers|HSTS'

program=$(command -v testssl || command -v testssl.sh || true)
for need in "${program:-testssl.sh}" openssl; do
  command -v "$need" >/dev/null || { echo "testssl: not run: $need is not installed" >&2; exit 77; }
done

mkdir -p "$OUT" && rm -f "$OUT"/report.*
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
new_key=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)
printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\nbasicConstraints=critical,CA:FALSE\n' >"$work/ext"
{
  openssl req -x509 "${new_key[@]}" -days 365 -subj '/CN=test authority' -keyout "$work/ca.key" -out "$work/ca.pem"
  openssl req "${new_key[@]}" -subj /CN=localhost -keyout "$work/site.key" -out "$work/site.csr"
  openssl x509 -req -in "$work/site.csr" -CA "$work/ca.pem" -CAkey "$work/ca.key" -CAcreateserial -days 200 -extfile "$work/ext" -out "$work/site.pem"
} 2>"$work/openssl.log"

"$PY" - "$work" >"$work/port" <<'PYTHON' &
import sys
from pymongoose import MG_EV_HTTP_MSG, Manager, TlsOpts

def handler(conn, ev, data):
    if ev == MG_EV_HTTP_MSG:
        conn.reply(200, "hello\n")

mgr = Manager(handler)
listener = mgr.listen("https://127.0.0.1:0", tls=TlsOpts(cert=f"{sys.argv[1]}/site.pem", key=f"{sys.argv[1]}/site.key"))
print(listener.local_addr[1], flush=True)
mgr.run()
PYTHON
server=$!
for _ in $(seq 100); do
  [ -s "$work/port" ] && break
  kill -0 "$server" || { echo "testssl: the server did not start" >&2; exit 1; }
  sleep 0.1
done

# shellcheck disable=SC2086  # a list of options
"$program" --quiet --color 0 --nodns=min --openssl-timeout 5 --add-ca "$work/ca.pem" --jsonfile "$OUT/report.json" $ARGS \
  "127.0.0.1:$(cat "$work/port")" >"$OUT/report.txt" 2>&1 || true # its status counts remarks, too
kill -0 "$server" || { echo "testssl: the server did not live through it" >&2; exit 1; }

"$PY" - "$OUT/report.json" "$OWN" <<'PYTHON'
import collections, json, re, sys

found = json.load(open(sys.argv[1]))
own = re.compile(sys.argv[2])
count = collections.Counter(f["severity"] for f in found)
bad = [f for f in found if f["severity"] in ("MEDIUM", "HIGH", "CRITICAL", "FATAL")]
for f in bad:
    print(f"{'(own) ' if own.fullmatch(f['id']) else ''}{f['id']}: {f['severity']}: {f['finding']}")
wrong = [f for f in bad if not own.fullmatch(f["id"])]
print(f"testssl: {len(found)} findings, {dict(count)}; not clean: {', '.join(f['id'] for f in wrong) or 'none'}")
sys.exit(1 if wrong or count["OK"] < 5 else 0)
PYTHON
