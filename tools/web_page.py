#!/usr/bin/env python3
"""The folder of the demo's page: gives it a list of its files, and serves it to browsers of this computer.

  web_page.py stamp FOLDER [--server URL --key KEY]   names the store, and writes sw.js with the list of files
  web_page.py serve FOLDER [--port PORT]              prints the address, and serves until it is ended
"""

import argparse
import base64
import hashlib
import http.server
import json
import sys
from pathlib import Path

WORKER = "sw.js"
STORE = "store.json"
SOURCE = Path(__file__).parent.parent / "examples/arcade/web" / WORKER


def digest(content):
    """As browsers want it in `integrity`."""
    return "sha256-" + base64.b64encode(hashlib.sha256(content).digest()).decode()


def stamp(folder, server, key):
    if server or key:
        (folder / STORE).write_text(json.dumps({"server": server, "key": key}, indent=2) + "\n")
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    # A page is asked for by its folder. The list is not in itself.
    shown = {"./" if name == "index.html" else name: folder / name for name in names if name != WORKER}
    files = {name: digest(path.read_bytes()) for name, path in shown.items()}
    listed = json.dumps(files, indent=2)
    version = json.dumps(digest(listed.encode()))
    constants = f"const FILES = {listed};\nconst VERSION = {version};\n\n"
    (folder / WORKER).write_text(constants + SOURCE.read_text())


def policy(folder):
    """What the page may do, as docs/web.md has it. It may speak with its own server and with the store."""
    store = folder / STORE
    server = json.loads(store.read_text())["server"] if store.exists() else ""
    return (
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self'; "
        f"img-src 'self'; connect-src 'self' {server}; base-uri 'none'; form-action 'none'"
    )


class Page(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def end_headers(self):
        self.send_header("Content-Security-Policy", policy(Path(self.directory)))
        # It may be kept, but is asked for again each time: a new build is seen at once.
        self.send_header("Cache-Control", "no-cache")
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()

    def log_message(self, *words):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        # A browser that is closed or killed while it loads is no news.
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def serve(folder, port):
    def page(*arguments):
        return Page(*arguments, directory=str(folder))

    try:
        server = Server(("127.0.0.1", port), page)
    except OSError as error:
        sys.exit(f"Port {port} of 127.0.0.1 cannot be used ({error.strerror}): set WEB_PORT to another one.")
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=["stamp", "serve"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--server", default="")
    parser.add_argument("--key", default="")
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.verb == "stamp":
        stamp(arguments.folder, arguments.server, arguments.key)
    else:
        serve(arguments.folder, arguments.port)


main()
