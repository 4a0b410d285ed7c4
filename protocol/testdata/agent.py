#!/usr/bin/env python3
"""A small relay agent, written from spec.md alone, with nothing but the standard
library. It is here to show that the specification is enough; the tests run it
against a true server.

    agent.py SERVER-HOST:PORT TOKEN NAME

It serves one HTTP tunnel itself: / says who asked, /echo gives the body back,
/big?N sends N bytes, /close ends its answer with the stream, and /refused says
that there is no service. It writes one JSON line for each thing that happens.
"""
import base64, hashlib, json, os, socket, struct, sys, threading, time

SYN, ACK, FIN, RST = 1, 2, 4, 8  # frame flags
DATA, WINDOW, PING, GOAWAY = 0, 1, 2, 3  # frame types
FIRST_WINDOW = 256 << 10
speaking = threading.Lock()


def say(event, **more):
    with speaking:
        print(json.dumps({"event": event, **more}), flush=True)


class Stream:
    """One stream: bytes in both directions, each with its credit."""

    def __init__(self, link, id, credit):
        self.link, self.id, self.credit = link, id, credit
        self.data, self.taken = b"", 0
        self.ended = self.broken = False
        self.changed = threading.Condition()

    def read(self, n):
        """Up to n bytes; b"" at the end. What was read is granted again."""
        with self.changed:
            self.changed.wait_for(lambda: self.data or self.ended or self.broken)
            if self.broken:
                raise ConnectionError("stream reset")
            b, self.data = self.data[:n], self.data[n:]
            self.taken += len(b)
            grant = self.taken if self.taken >= FIRST_WINDOW // 4 and not self.ended else 0
            self.taken -= grant
        if grant:
            self.link.frame(WINDOW, 0, self.id, grant)
        return b

    def write(self, b):
        while b:
            with self.changed:
                self.changed.wait_for(lambda: self.credit > 0 or self.broken)
                if self.broken:
                    raise ConnectionError("stream reset")
                n = min(len(b), self.credit, 16 << 10)
                self.credit -= n
            self.link.frame(DATA, 0, self.id, n, b[:n])
            b = b[n:]

    def serve(self, tunnels):
        """Preface, then requests one after another."""
        buf = b""

        def more():
            nonlocal buf
            b = self.read(16 << 10)
            if not b:
                raise EOFError
            buf += b

        def take(n):
            nonlocal buf
            while len(buf) < n:
                more()
            b, buf = buf[:n], buf[n:]
            return b

        def until(mark):
            while mark not in buf:
                more()
            return take(buf.index(mark) + len(mark))

        try:
            version, size = take(2)
            preface = take(size)
            (tunnel,) = struct.unpack(">I", preface[:4])
            if version != 1 or tunnel not in tunnels:
                raise ConnectionError("not for us")
            while True:
                lines = until(b"\r\n\r\n").decode("latin-1").split("\r\n")
                method, target, _ = lines[0].split(" ")
                head = {k.lower(): v.strip() for k, v in (line.split(":", 1) for line in lines[1:] if line)}
                if "100-continue" in head.get("expect", ""):
                    self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                body = b""
                if head.get("transfer-encoding") == "chunked":
                    while n := int(until(b"\r\n").split(b";")[0], 16):
                        body += take(n)
                        take(2)
                    while until(b"\r\n") != b"\r\n":
                        pass  # trailer
                else:
                    body = take(int(head.get("content-length", 0)))
                say("request", method=method, target=target, stream=self.id, link=self.link.number)
                if not self.answer(method, target, head, body):
                    self.link.frame(WINDOW, FIN, self.id, 0)
                    self.read(1)  # wait for the other end's
                    break
        except (ConnectionError, EOFError):
            if not self.broken:
                self.link.frame(WINDOW, RST, self.id, 0)
        self.link.streams.pop(self.id, None)

    def answer(self, method, target, head, body):
        if target == "/refused":
            text = b"Nothing listens here."
            self.write(b"HTTP/1.1 900 Relay\r\nRelay-Error: upstream_refused\r\nConnection: close\r\n"
                       b"Content-Length: %d\r\n\r\n%s" % (len(text), text))
            return False
        if target == "/close":
            self.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nthe end of the stream ends this")
            return False
        if target.startswith("/big?"):
            body = bytes(i & 0xFF for i in range(251)) * (int(target[5:]) // 251 + 1)
            body = body[: int(target[5:])]
        elif target != "/echo":
            body = json.dumps({"method": method, "target": target, "host": head["host"], "for": head["x-forwarded-for"]}).encode()
        self.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + (b"" if method == "HEAD" else body))
        return True


class Link:
    """One WebSocket connection with yamux frames in it."""

    def __init__(self, server, token, hello, number=1):
        host, port = server.rsplit(":", 1)
        self.number, self.streams, self.sending = number, {}, threading.Lock()
        self.sock = socket.create_connection((host, int(port)))
        self.file = self.sock.makefile("rb")
        key = base64.b64encode(os.urandom(16)).decode()
        coded = base64.urlsafe_b64encode(json.dumps(hello).encode()).decode().rstrip("=")
        self.sock.sendall((f"GET /_relay/link HTTP/1.1\r\nHost: {server}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                           f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: relay.v1\r\n"
                           f"Authorization: Bearer {token}\r\nRelay-Hello: {coded}\r\n\r\n").encode())
        status = int(self.file.readline().split()[1])
        head = dict(line.decode().strip().split(": ", 1) for line in iter(self.file.readline, b"\r\n"))
        head = {k.lower(): v for k, v in head.items()}
        if status != 101:
            error = json.loads(self.file.read(int(head["content-length"])))
            say("refused", status=status, code=error["code"], retry_in_ms=error.get("retry_in_ms", 0))
            sys.exit(1)
        accept = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
        assert head["sec-websocket-accept"] == base64.b64encode(accept).decode()
        assert head["sec-websocket-protocol"] == "relay.v1"
        coded = head["relay-welcome"]
        self.welcome = json.loads(base64.urlsafe_b64decode(coded + "=" * (-len(coded) % 4)))

    def message(self, opcode, payload):
        """Sends one WebSocket frame, masked as a client must."""
        mask = os.urandom(4)
        n = len(payload)
        head = bytes([0x80 | opcode, 0x80 | n]) if n < 126 else struct.pack(">BBH", 0x80 | opcode, 0xFE, n)
        whole = int.from_bytes(payload, "big") ^ int.from_bytes((mask * (n // 4 + 1))[:n], "big")
        with self.sending:
            self.sock.sendall(head + mask + whole.to_bytes(n, "big"))

    def frame(self, kind, flags, stream, length, body=b""):
        self.message(2, struct.pack(">BBHII", 0, kind, flags, stream, length) + body)

    def exactly(self, n):
        b = self.file.read(n)
        if len(b) < n:
            raise EOFError
        return b

    def run(self, tunnels):
        """Reads until the connection ends."""
        threading.Thread(target=self.keep_alive, daemon=True).start()
        buf, kind = b"", 0  # kind of the message under way
        try:
            while True:
                first, n = self.exactly(2)
                n = struct.unpack(">H", self.exactly(2))[0] if n == 126 else struct.unpack(">Q", self.exactly(8))[0] if n == 127 else n
                payload = self.exactly(n)
                opcode = first & 15
                if opcode < 8:
                    kind = opcode or kind  # 0 goes on with the message before
                    if kind == 2:
                        buf = self.frames(buf + payload, tunnels)
                    else:
                        say("message", **json.loads(payload))
                elif opcode == 8:
                    say("closed", code=int.from_bytes(payload[:2], "big"))
                    return
                elif opcode == 9:
                    self.message(10, payload)
                elif opcode == 10:
                    say("pong", link=self.number)
        except (EOFError, OSError):
            say("lost", link=self.number)

    def frames(self, b, tunnels):
        """Takes whole frames from b and gives back the rest."""
        while len(b) >= 12:
            _, kind, flags, id, length = struct.unpack(">BBHII", b[:12])
            size = length if kind == DATA else 0
            if len(b) < 12 + size:
                break
            body, b = b[12 : 12 + size], b[12 + size :]
            if flags & SYN:
                s = self.streams[id] = Stream(self, id, FIRST_WINDOW + length)
                self.frame(WINDOW, ACK, id, 0)
                threading.Thread(target=s.serve, args=(tunnels,), daemon=True).start()
                continue
            s = self.streams.get(id)
            if s is None or kind not in (DATA, WINDOW):
                continue  # a frame that crossed our last one
            with s.changed:
                s.data += body
                s.credit += length if kind == WINDOW else 0
                s.ended = s.ended or bool(flags & FIN)
                s.broken = s.broken or bool(flags & RST)
                s.changed.notify_all()
        return b

    def keep_alive(self):
        try:
            while True:
                self.message(9, b"")
                time.sleep(5)
        except OSError:
            pass  # the link has ended

    def goodbye(self):
        self.message(8, struct.pack(">H", 1000))


def main():
    server, token, name = sys.argv[1:4]
    hello = {"agent": "agt_example", "software": "agent.py", "binds": [{"id": 1, "kind": "http", "name": name}]}
    first = Link(server, token, hello)
    w = first.welcome
    tunnels = {t["id"]: t for t in w["tunnels"]}
    say("online", user=w["user"], url=w["tunnels"][0]["url"])
    second = Link(server, token, {"agent": "agt_example", "join": {"session": w["session"], "secret": w["join"]}}, 2)
    threading.Thread(target=second.run, args=(tunnels,), daemon=True).start()

    def stop():
        sys.stdin.read()  # until whoever started us has had enough
        second.goodbye()
        first.goodbye()

    threading.Thread(target=stop, daemon=True).start()
    first.run(tunnels)


if __name__ == "__main__":
    main()
