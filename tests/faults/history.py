# SPDX-License-Identifier: MIT
"""What a run of the fault tests writes down: one JSON object a line, each an operation or an event.

Kinds of operation (`kind`):
  get, quorum    a read over HTTP; `read` is the value's id, None for 404, UNSEEN for 304
  put, delete    a write over HTTP
  create         a PUT with If-None-Match: *
  cas            a PUT with If-Match: "`base`"
  sql            the effect of a raw SQL statement on one key; `value` None means that it removed the key
  told           an event of the feed as a listener (`client`) heard it: `status` is put or delete, `read` the value's id
                 if it came along, `base` the number of its stream
Events:
  fault          something was wrong from begin to end
  deaf           a listener was answered 410 and begins anew with the present state
  wiped          a partition lost its data (blank) or went back to a backup; begin..end
  pass           a run of sync that ended with exit code `status`; begin..end

Times are nanoseconds of the monotonic clock: `begin` is taken before the first byte is sent, `end` after the last one is
read, so that the true interval lies within.
"""
import json
import threading
import zlib

UNSEEN = "?unseen"      # a 304: the version is known, the value was not sent
CORRUPT = "?corrupt"    # bytes that no value of any run has
UNKNOWN = 0             # the status of an operation without an answer
REFUSED = "refused"     # it was never applied
DONE = "done"           # it was applied
MAYBE = "maybe"         # nobody knows

READS = ("get", "quorum")
WRITES = ("put", "delete", "create", "cas", "sql")

FIELDS = ("kind", "client", "clone", "key", "value", "begin", "end", "status", "version", "read", "partition",
          "stale", "acks", "base", "until")


class Operation:
    """One operation or event; fields that do not apply are None."""

    __slots__ = FIELDS

    def __init__(self, **fields):
        for name in FIELDS:
            setattr(self, name, fields.get(name))

    def outcome(self):
        """Of a write. 503 says that nothing was written, 4xx that it never was; 5xx else and silence say nothing."""
        if self.status is not None and 200 <= self.status < 300:
            return DONE
        if self.status == 503 or 400 <= (self.status or 0) < 500:
            return REFUSED
        return MAYBE

    def line(self):
        return json.dumps({name: getattr(self, name) for name in FIELDS if getattr(self, name) is not None})

    def __repr__(self):
        return self.line()


def value_bytes(identity):
    """The whole value of an id: `id:` and a padding that only this id has."""
    digest = zlib.crc32(identity.encode())
    return ("%s:" % identity + ("%08x" % digest) * (1 + digest % 40)).encode()


def value_id(data):
    """The id of a value as it was read; CORRUPT if a byte of it is not as it was written."""
    if data is None:
        return None
    identity = bytes(data).partition(b":")[0].decode("latin-1")
    return identity if value_bytes(identity) == bytes(data) else CORRUPT + " %d bytes" % len(data)


class History:
    """Appends to a file; any thread may."""

    def __init__(self, path):
        self.file = open(path, "w", encoding="utf-8", buffering=1 << 16)
        self.lock = threading.Lock()
        self.operations = []

    def add(self, **fields):
        operation = Operation(**fields)
        with self.lock:
            self.operations.append(operation)
            self.file.write(operation.line() + "\n")
        return operation

    def close(self):
        with self.lock:
            self.file.close()


def load_history(path):
    with open(path, encoding="utf-8") as file:
        return [Operation(**json.loads(line)) for line in file]


class Row:
    """A row of `pairs` as one partition has it in the end. `value` is None for a tombstone."""

    __slots__ = ("key", "value", "type", "version", "created", "expires")

    def __init__(self, key, value, version, type="", created=0, expires=0):
        self.key, self.value, self.version = key, value, version
        self.type, self.created, self.expires = type, created, expires

    @property
    def dead(self):
        return self.value is None

    def same(self, other):
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    def __repr__(self):
        return "%s=%r@%d" % (self.key, self.value, self.version)


class Final:
    """All rows of all partitions once everything has healed: {partition: {key: Row}}, and the floors below which
    tombstones may be gone. `replicas`: on how many partitions each pair has to be. `settled`: whether sync ran, so
    that the copies have to be equal; without it only what is newest anywhere is judged."""

    def __init__(self, partitions, floors=None, replicas=None, settled=True):
        self.partitions = partitions
        self.floors = floors or {}
        self.replicas = replicas or len(partitions)
        self.settled = settled

    def floor(self):
        return max(self.floors.values(), default=0)

    def keys(self):
        return set().union(*(rows.keys() for rows in self.partitions.values())) if self.partitions else set()

    def newest(self, key):
        rows = [rows[key] for rows in self.partitions.values() if key in rows]
        return max(rows, key=lambda row: (row.version, row.dead), default=None)

    def save(self, path):
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"floors": self.floors, "replicas": self.replicas, "settled": self.settled,
                       "partitions": {id: [[getattr(row, name) for name in Row.__slots__] for row in rows.values()]
                                      for id, rows in self.partitions.items()}}, file)


def load_final(path):
    with open(path, encoding="utf-8") as file:
        saved = json.load(file)
    partitions = {int(id): {row[0]: Row(**dict(zip(Row.__slots__, row))) for row in rows}
                  for id, rows in saved["partitions"].items()}
    return Final(partitions, {int(id): floor for id, floor in saved["floors"].items()}, saved["replicas"],
                 saved["settled"])
