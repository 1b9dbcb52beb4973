#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A proxy between the programs and one partition that is slow or cuts: proxy.py LISTEN CONTROL SOCKET

LISTEN, CONTROL and SOCKET (the partition's) are UNIX sockets. CONTROL takes a line `MODE MILLISECONDS` and answers `ok`:
  pass          what comes is sent on
  delay N       each piece is sent on N ms later, in both directions, without loss of order
  cut           nothing is sent on, nothing is closed, new connections get no answer
  replies       requests are sent on, replies are not
  reset         every connection is closed at once, new ones too
A process of its own, so that the load's threads do not slow it.
"""
import asyncio
import os
import sys

PIECE = 1 << 16


class Proxy:
    def __init__(self, target):
        self.target = target
        self.mode, self.delay = "pass", 0.0
        self.changed = asyncio.Event()
        self.writers = set()

    async def control(self, reader, writer):
        while line := await reader.readline():
            mode, milliseconds = line.decode().split()
            self.mode, self.delay = mode, float(milliseconds) / 1000
            self.changed.set()
            self.changed = asyncio.Event()
            if mode == "reset":
                for other in list(self.writers):
                    other.transport.abort()
            writer.write(b"ok\n")
            await writer.drain()
        writer.close()

    async def client(self, reader, writer):
        if self.mode == "reset":
            writer.transport.abort()
            return
        self.writers.add(writer)
        try:
            above, below = await asyncio.open_unix_connection(self.target, limit=PIECE)
        except OSError:
            writer.transport.abort()
            self.writers.discard(writer)
            return
        self.writers.add(below)
        await asyncio.gather(self.carry(reader, below, False), self.carry(above, writer, True))
        self.writers -= {writer, below}

    async def carry(self, reader, writer, is_reply):
        """A reader's task takes each piece with the time it is due; the sender holds it back until then."""
        queue = asyncio.Queue(64)
        sender = asyncio.ensure_future(self.send(queue, writer, is_reply))
        loop = asyncio.get_running_loop()
        try:
            while (data := await reader.read(PIECE)) and not sender.done():
                await queue.put((loop.time() + self.delay, data))
        except OSError:
            pass
        if not sender.done():
            await queue.put((loop.time() + self.delay, b""))
        await sender

    async def send(self, queue, writer, is_reply):
        loop = asyncio.get_running_loop()
        try:
            while True:
                due, data = await queue.get()
                await asyncio.sleep(max(0, due - loop.time()))
                while self.mode == "cut" or self.mode == "replies" and is_reply:
                    await self.changed.wait()
                if not data:
                    break
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        writer.close()
        while queue.qsize():
            queue.get_nowait()


async def serve(listen, control, target):
    proxy = Proxy(target)
    for path in (listen, control):
        if os.path.exists(path):
            os.unlink(path)
    await asyncio.start_unix_server(proxy.client, listen, limit=PIECE, backlog=1000)
    server = await asyncio.start_unix_server(proxy.control, control)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:4]))
