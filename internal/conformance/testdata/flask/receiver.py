"""A webhook receiver as people write it first, with Flask. Only the port and the lines on
standard output are for the test."""

import hashlib
import hmac
import json
import os

from flask import Flask, abort, request
from werkzeug.serving import make_server

app = Flask(__name__)
SECRET = os.environ["WEBHOOK_SECRET"].encode()


@app.post("/webhook")
def webhook():
    expected = hmac.new(SECRET, request.get_data(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(request.headers.get("X-Signature", ""), expected):
        print(json.dumps({"ok": False}), flush=True)
        abort(403)
    print(json.dumps({"ok": True, "id": request.get_json()["id"]}), flush=True)
    return {"received": request.get_json()["id"]}


server = make_server("127.0.0.1", 0, app)
print(json.dumps({"port": server.port}), flush=True)
server.serve_forever()
