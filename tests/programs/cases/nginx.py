"""nginx: static files, compression and a proxied server under load from wrk, with a reload of the workers between."""

import hashlib
import os
import signal
import time
import urllib.error
import urllib.request

from harness import free_port, session_members

COMMANDS = ("nginx", "wrk")
PACKAGES = ("nginx", "wrk")
QUICK = False
TIMEOUT = 60

CONFIGURATION = """
{user}
worker_processes 2;
daemon off;
pid nginx.pid;
error_log error.log warn;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
    upstream inner {{ server unix:{folder}/inner.sock; keepalive 16; }}
    server {{
        listen 127.0.0.1:{port};
        root files;
        gzip on; gzip_types text/plain; gzip_min_length 100;
        default_type text/plain;
        location /proxied/ {{ proxy_pass http://inner/; proxy_http_version 1.1; proxy_set_header Connection ""; }}
        location /included/ {{ alias files/; ssi on; ssi_types *; }}
    }}
    server {{
        listen unix:{folder}/inner.sock;
        root files;
        default_type text/plain;
        add_header X-Inner "$request_uri $request_length";
    }}
}}
"""
PATHS = ("/1", "/1000", "/100000", "/2000000", "/proxied/1000", "/proxied/2000000", "/included/page", "/missing")


def run(box):
    port = free_port()
    write_files(box, port)
    url = f"http://127.0.0.1:{port}"
    with box.serve("nginx", "-p", box.folder, "-e", "error.log", "-c", "nginx.conf", ready=lambda: answers(url),
                   stop=signal.SIGQUIT) as server:
        compare(box, url)
        load(box, f"{url}/proxied/1000")
        renew_workers(box, server)
        load(box, f"{url}/100000")
        load(box, f"{url}/included/page")
        compare(box, url)


def write_files(box, port):
    user = "user www-data;" if os.geteuid() == 0 else ""
    (box.folder / "nginx.conf").write_text(CONFIGURATION.format(user=user, folder=box.folder, port=port))
    files = box.folder / "files"
    files.mkdir()
    for size in 1, 1000, 100_000, 2_000_000:
        (files / str(size)).write_text("".join(f"{n % 9973} " for n in range(size // 5 + 1))[:size])
    (files / "page").write_text('<!--#include virtual="1000" --> and <!--#echo var="DOCUMENT_URI" -->\n' * 20)


def answers(url):
    try:
        return urllib.request.urlopen(f"{url}/1", timeout=5).status == 200
    except urllib.error.URLError:
        return False


def compare(box, url):
    """Every path, plain and compressed: status and content must be the same in both runs."""
    for path in PATHS:
        for encoding in "identity", "gzip":
            request = urllib.request.Request(url + path, headers={"Accept-Encoding": encoding})
            try:
                with urllib.request.urlopen(request, timeout=20) as answer:
                    box.record(f"{path} {encoding}", f"{answer.status} {hashlib.sha256(answer.read()).hexdigest()}")
            except urllib.error.HTTPError as error:
                box.record(f"{path} {encoding}", f"{error.code} {len(error.read())}")


def renew_workers(box, server):
    """A reload: the master starts new workers, and the old ones end."""
    old = set(session_members(server.pid)) - {server.pid}
    server.send_signal(signal.SIGHUP)
    while old & set(session_members(server.pid)):
        box.check(server.poll() is None and box.time_left() > 0.1, "the old workers did not end after a reload")
        time.sleep(0.02)


def load(box, url):
    report = box.run("wrk", "-t", "2", "-c", "32", "-d", "2s", "-H", "Accept-Encoding: gzip", url, record=False).decode()
    box.check("Non-2xx" not in report and "Socket errors" not in report, f"errors under load:\n{report}")
    box.check("requests in" in report and " 0 requests in" not in report, f"no answers under load:\n{report}")
