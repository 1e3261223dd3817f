"""The scenario that every Python client of the matrix goes through.

A client is a class with the methods that Scenario calls; one that it has no means for raises Lacks. The outcome of each
operation is a line of JSON on standard output, which the Go side collects; records and names follow the same rules there.
"""

import json
import sys
import time
import traceback

RECORDS = 100
GROUP_PARTITIONS = 4
RESUME_AT = 60
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


class Lacks(Exception):
    """The client has no such operation."""


class Record:
    """A record as any client sees it."""

    def __init__(self, offset, key, value, header, ts):
        self.offset, self.key, self.value, self.header, self.ts = offset, key, value, header, ts

    def __eq__(self, other):
        return self.__dict__ == other.__dict__

    def __repr__(self):
        return repr(self.__dict__)[:300]


def record(i, t0):
    key = None if i % 10 == 9 else b"key-%d" % i
    value = None if i % 10 == 5 else b"value-%d-%s" % (i, b"abc" * i)
    return Record(i, key, value, b"%d" % i, t0 + i * 1000)


def header_of(headers):
    """The value of header n, from a list of (name, value)."""
    return next((value for name, value in headers or () if name == "n"), None)


def check(holds, message, *args):
    if not holds:
        raise AssertionError(message % args)


def until(seconds, cond, message, *args):
    """Calls cond until it returns something true, which is returned."""
    deadline = time.monotonic() + seconds
    while True:
        got = cond()
        if got:
            return got
        check(time.monotonic() < deadline, message, *args)


class Scenario:
    """Takes a client through the matrix's columns."""

    def __init__(self, client, prefix, t0, fixture, replicas, codecs=CODECS, headers=True):
        self.client, self.prefix, self.t0, self.fixture, self.replicas = client, prefix, t0, fixture, replicas
        self.codecs, self.headers = codecs, headers

    def run(self):
        if not self.step("create", self.create):
            return  # the rest would only wait for topics that never come
        for op in ("list", "describe", "config", "produce", "consume", "group", "resume", "time", "groups", "delete"):
            self.step(op, getattr(self, op))

    def step(self, op, do):
        began = time.monotonic()
        out = {"op": op, "ok": False}
        try:
            out["detail"] = do() or ""
            out["ok"] = True
        except Lacks as e:
            out.update(lacks=True, error=str(e))
        except Exception as e:  # whatever a library throws is the row's result, not its end
            traceback.print_exc()
            out["error"] = "%s: %s" % (type(e).__name__, e)
        out["ms"] = round((time.monotonic() - began) * 1000)
        print(json.dumps(out), flush=True)
        return out["ok"]

    def create(self):
        self.client.create(self.prefix, 4, self.replicas, {"retention.ms": "3600000"})
        self.client.create(self.prefix + "-group", GROUP_PARTITIONS, self.replicas, {})
        self.client.create(self.prefix + "-gone", 1, self.replicas, {})
        for codec in self.codecs:
            self.client.create(self.prefix + "-" + codec, 1, self.replicas, {})

    def list(self):
        wanted = {self.prefix, self.prefix + "-group"}
        until(5, lambda: wanted <= set(self.client.list()), "%s are not listed", wanted)

    def describe(self):
        partitions, config = self.client.describe(self.prefix)
        check(partitions == 4, "%s partitions, want 4", partitions)
        check(config is None or config.get("retention.ms") == "3600000", "configs %s", config)

    def config(self):
        self.client.alter(self.prefix, "max.message.bytes", "200000")

        def altered():
            return self.client.describe(self.prefix)[1]["max.message.bytes"] == "200000"

        until(5, altered, "max.message.bytes is not what it was set to")

    def produce(self):
        for codec in self.codecs:
            records = [record(i, self.t0) for i in range(RECORDS)]
            offsets = self.client.produce(self.prefix + "-" + codec, codec, records)
            check(list(offsets) == list(range(RECORDS)), "%s got offsets %s", codec, offsets)
        return " ".join(self.codecs)

    def consume(self):
        for codec in self.codecs:
            got = self.client.read(self.fixture + "-" + codec, 0, RECORDS)
            check(len(got) == RECORDS, "%s: %s records", codec, len(got))
            for i, r in enumerate(got):
                want = record(i, self.t0)
                if not self.headers:
                    want.header = None
                check(r == want, "%s: record %s is %s, want %s", codec, i, r, want)
        return " ".join(self.codecs)

    def group(self):
        group, topic = self.prefix + "-g", self.prefix + "-group"
        self.client.rebalance(group, topic, self.settle)

    def settle(self, poll, *want):
        """Calls poll, which returns how many partitions each member holds, until that is what is wanted."""
        have = []

        def settled():
            have[:] = poll()
            return have == list(want)

        until(20, settled, "members hold %s partitions, want %s", have, want)

    def resume(self):
        group, topic = self.prefix + "-r", self.fixture + "-none"
        self.client.consume_and_commit(group, topic, RESUME_AT)
        at = self.client.resume(group, topic)
        check(at == RESUME_AT, "resumed at %s, committed %s", at, RESUME_AT)

    def time(self):
        at = self.client.offset_at(self.fixture + "-none", self.t0 + 49500)
        check(at == 50, "half a second before record 50 lies offset %s", at)
        got = self.client.read(self.fixture + "-none", at, 1)
        check(got[0].key == b"key-50", "reading from %s gave %s", at, got)

    def groups(self):
        at = self.client.committed(self.prefix + "-r", self.fixture + "-none")
        check(at == RESUME_AT, "the group's offset is %s, committed %s", at, RESUME_AT)

    def delete(self):
        topic = self.prefix + "-gone"
        self.client.remove(topic)
        until(10, lambda: topic not in set(self.client.list()), "%s is still listed", topic)


def arguments():
    """Options, then BOOTSTRAP PREFIX T0 FIXTURE REPLICAS."""
    options = [a for a in sys.argv[1:] if a.startswith("--")]
    bootstrap, prefix, t0, fixture, replicas = [a for a in sys.argv[1:] if not a.startswith("--")]
    return options, bootstrap, prefix, int(t0), fixture, int(replicas)
