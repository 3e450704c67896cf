"""Fills a running server with keys of every type it knows, fast, the same for the same seed.

    python scripts/seed_servers.py redis://127.0.0.1:6379 --keys 100000 --prefix a:

For the demo and for tests of speed: `seed(client, ...)`. Writes with mass insertion: commands are packed into large
pieces and only their replies' errors are looked at. What the server does not know (streams, field TTLs, functions) is
left out. Keys go to dbs 0, 1 and 5; 35 in 100 expire, between 1 hour and 30 days from now.
"""

from __future__ import annotations

import argparse
import itertools
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import redis

DBS = (0, 0, 0, 0, 0, 0, 0, 1, 1, 5)  # seven keys of ten in db 0
EXPIRING = 0.35
HOUR_MS = 3_600_000
PIECE_BYTES = 1 << 19

Command = tuple[Any, ...]


@dataclass(frozen=True)
class Abilities:
    """What a server knows; asked, not derived from its version."""

    streams: bool
    field_expiry: bool
    functions: bool

    @classmethod
    def of(cls, client: redis.Redis) -> Abilities:
        def knows(*command: Any) -> bool:
            try:
                client.execute_command(*command)
            except redis.ResponseError as error:
                return "unknown command" not in str(error).lower()
            return True

        return cls(
            streams=knows("XLEN", "no such key"),
            field_expiry=knows("HPEXPIREAT", "no such key", 1, "FIELDS", 1, "f"),
            functions=knows("FUNCTION", "LIST"),
        )


class Maker:
    """The commands that make one key of each kind; values are drawn from pools made once, for speed."""

    def __init__(self, seed: int, prefix: bytes, now_ms: int) -> None:
        self.random = random.Random(seed)
        self.prefix = prefix
        self.now_ms = now_ms
        words = [b"sword", b"shield", b"potion", b"guild", b"daily", b"login", b"score", b"\xec\x95\x88\xeb\x85\x95"]
        self.texts = [b'{"item":"%s","n":%d}' % (words[i % 8], i * 7919 % 1000) for i in range(512)]
        self.raw = [self.random.randbytes(20 + i % 180) for i in range(512)]
        self.compressible = [self.texts[i] * (2 + i % 9) for i in range(256)]
        self.large = [self.random.randbytes(2_000 + 64 * i) for i in range(32)]

    def key(self, kind: bytes, number: int) -> bytes:
        return b"%s%s:%d" % (self.prefix, kind, number)

    def later_ms(self) -> int:
        return self.now_ms + self.random.randrange(HOUR_MS, 30 * 24 * HOUR_MS)

    def some(self, low: int, high: int) -> list[bytes]:
        start, size = self.random.randrange(500), self.random.randrange(low, high)
        return [b"%s-%d" % (self.texts[(start + i) % 512][:24], i) for i in range(size)]

    def string_int(self, key: bytes) -> Command:
        return ("SET", key, self.random.choice((0, -1, 255, 70_000, 1 << 40)) + self.random.randrange(1000))

    def string_raw(self, key: bytes) -> Command:
        return ("SET", key, self.random.choice(self.raw))

    def string_text(self, key: bytes) -> Command:
        return ("SET", key, self.random.choice(self.compressible))

    def string_large(self, key: bytes) -> Command:
        return ("SET", key, self.random.choice(self.large))

    def list_small(self, key: bytes) -> Command:
        return ("RPUSH", key, *self.some(1, 12))

    def list_large(self, key: bytes) -> Command:
        return ("RPUSH", key, *self.some(400, 900), self.large[-1] * 2)

    def set_intset(self, key: bytes) -> Command:
        start = self.random.choice((0, 40_000, 1 << 33))
        return ("SADD", key, *range(start, start + self.random.randrange(1, 60)))

    def set_listpack(self, key: bytes) -> Command:
        return ("SADD", key, *self.some(2, 20))

    def set_hashtable(self, key: bytes) -> Command:
        return ("SADD", key, *self.some(520, 800))

    def hash_small(self, key: bytes) -> Command:
        return ("HMSET", key, *itertools.chain.from_iterable((b"f%d" % i, t) for i, t in enumerate(self.some(2, 12))))

    def hash_large(self, key: bytes) -> Command:
        return (
            "HMSET",
            key,
            *itertools.chain.from_iterable((b"f%d" % i, t) for i, t in enumerate(self.some(520, 700))),
        )

    def zset_small(self, key: bytes) -> Command:
        return ("ZADD", key, *itertools.chain.from_iterable((i * 1.5 - 3, t) for i, t in enumerate(self.some(2, 20))))

    def zset_large(self, key: bytes) -> Command:
        return (
            "ZADD",
            key,
            *itertools.chain.from_iterable((1e9 / (i + 1), t) for i, t in enumerate(self.some(300, 500))),
        )

    def stream(self, key: bytes) -> list[Command]:
        commands: list[Command] = []
        for i in range(self.random.randrange(3, 12)):
            commands.append(("XADD", key, b"%d-%d" % (1_700_000_000_000 + i * 1000, i), b"job", self.texts[i], b"n", i))
        commands.append(("XDEL", key, b"1700000001000-1"))
        commands.append(("XGROUP", "CREATE", key, b"workers", 0))
        commands.append(("XREADGROUP", "GROUP", b"workers", b"alice", "COUNT", 2, "STREAMS", key, ">"))
        return commands


# kind, keys of 10,000, maker
PLAIN: list[tuple[bytes, int, Callable[[Maker, bytes], Command]]] = [
    (b"int", 1500, Maker.string_int), (b"raw", 2000, Maker.string_raw), (b"json", 2300, Maker.string_text),
    (b"large", 20, Maker.string_large), (b"list", 700, Maker.list_small), (b"list-large", 3, Maker.list_large),
    (b"intset", 600, Maker.set_intset), (b"set", 600, Maker.set_listpack), (b"set-large", 3, Maker.set_hashtable),
    (b"hash", 1400, Maker.hash_small), (b"hash-large", 3, Maker.hash_large), (b"zset", 800, Maker.zset_small),
    (b"zset-large", 3, Maker.zset_large),
]  # fmt: skip
STREAMS_OF_10000 = 20
FIELD_EXPIRY_OF_10000 = 150

LIBRARY = "#!lua name={name}\nredis.register_function('{name}', function(keys, args) return args[1] end)\n"


def commands_for(db: int, keys: int, maker: Maker, abilities: Abilities) -> Iterator[Command]:
    """Everything that fills one db with about `keys` keys."""
    chance = maker.random.random
    for kind, of_10000, make in PLAIN:
        for number in range(_share(keys, of_10000)):
            key = maker.key(kind, number * 10 + db)
            command = make(maker, key)
            expires = chance() < EXPIRING
            if expires and command[0] == "SET":
                yield (*command, "PX", maker.later_ms() - maker.now_ms)
                continue
            yield command
            if expires:
                yield ("PEXPIREAT", key, maker.later_ms())
    if abilities.field_expiry:
        for number in range(_share(keys, FIELD_EXPIRY_OF_10000)):
            key = maker.key(b"session", number * 10 + db)
            yield maker.hash_large(key) if number % 50 == 7 else maker.hash_small(key)
            yield ("HPEXPIREAT", key, maker.later_ms(), "FIELDS", 1, b"f0")
            yield ("HPEXPIREAT", key, maker.later_ms(), "FIELDS", 1, b"f1")
            if number % 3 == 0:
                yield ("PEXPIREAT", key, maker.later_ms())


def _share(keys: int, of_10000: int) -> int:
    return max(1, keys * of_10000 // 10_000)


def pack(command: Command) -> bytes:
    parts = [b"*%d\r\n" % len(command)]
    for word in command:
        data = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


def insert(client: redis.Redis, commands: Iterator[Command]) -> int:
    """Mass insertion of commands that answer one status, number or array of one; returns how many there were."""
    options = client.connection_pool.connection_kwargs
    sent = answered = 0
    done = threading.Event()
    errors: list[bytes] = []
    with socket.create_connection((options["host"], options["port"]), 60) as peer:

        def read() -> None:
            nonlocal answered
            rest = b""
            while not (done.is_set() and answered >= sent):
                piece = peer.recv(1 << 16)
                if not piece:
                    errors.append(b"the server closed the connection")
                    return
                *lines, rest = (rest + piece).split(b"\r\n")
                answered += sum(not line.startswith(b"*") for line in lines)  # *1 announces the line after it
                errors.extend(line for line in lines if line.startswith(b"-"))

        setup = [("AUTH", options["password"])] if options.get("password") else []
        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        pieces, size = [], 0
        for command in itertools.chain(setup, [("SELECT", options.get("db") or 0)], commands):
            data = pack(command)
            pieces.append(data)
            size += len(data)
            sent += 1
            if size > PIECE_BYTES:
                peer.sendall(b"".join(pieces))
                pieces, size = [], 0
        sent += 1
        done.set()  # before the last bytes go out: their answer wakes the reader for the last time
        peer.sendall(b"".join([*pieces, pack(("PING",))]))
        reader.join(120)
    if errors or answered != sent:
        raise RuntimeError(f"mass insertion failed: {answered} of {sent} answers; {errors[:1]}")
    return sent - 2 - len(setup)


def seed(
    connect: Callable[[int], redis.Redis], *, keys: int, prefix: str = "", seed: int = 1, now_ms: int | None = None
) -> int:
    """Fill the server behind `connect(db)` with about `keys` keys under `prefix`; returns how many it then holds."""
    maker = Maker(seed, prefix.encode(), int(time.time() * 1000) if now_ms is None else now_ms)
    client = connect(0)
    abilities = Abilities.of(client)
    for db in sorted(set(DBS)):
        share = keys * DBS.count(db) // len(DBS)
        insert(connect(db), commands_for(db, share, maker, abilities))
        if abilities.streams:
            _add_streams(connect(db), _share(share, STREAMS_OF_10000), db, maker)
    if abilities.functions:
        name = "lib_" + "".join(c for c in prefix if c.isalnum())
        client.execute_command("FUNCTION", "LOAD", "REPLACE", LIBRARY.format(name=name))
    return sum(row["keys"] for row in client.info("keyspace").values())


def _add_streams(client: redis.Redis, count: int, db: int, maker: Maker) -> None:
    """By pipeline: their answers have more than one line."""
    pipeline = client.pipeline(transaction=False)
    for number in range(count):
        key = maker.key(b"stream", number * 10 + db)
        for command in maker.stream(key):
            pipeline.execute_command(*command)
        if number % 3 == 0:
            pipeline.execute_command("PEXPIREAT", key, maker.later_ms())
    pipeline.execute()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--prefix", default="")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    began = time.monotonic()
    held = seed(
        lambda db: redis.Redis.from_url(chosen.url, db=db, protocol=2),
        keys=chosen.keys,
        prefix=chosen.prefix,
        seed=chosen.seed,
    )
    took_s = time.monotonic() - began
    print(f"the server holds {held:,} keys ({chosen.keys / took_s:,.0f} keys/s)")


if __name__ == "__main__":
    main()
