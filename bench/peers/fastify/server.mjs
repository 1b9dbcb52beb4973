// SPDX-License-Identifier: MIT
// What a user would write: fastify and mysql2, prepared statements, a pool for each database server.
//
//   node server.mjs PORT PROCESSES POOL SOCKET...
import cluster from "node:cluster";
import fastify from "fastify";
import mysql from "mysql2/promise";

const [port, processes, connectionLimit, ...sockets] = process.argv.slice(2);

if (cluster.isPrimary && processes > 1) {
  for (let i = 0; i < processes; i++) cluster.fork();
} else {
  const pools = sockets.map((socketPath) =>
    mysql.createPool({ socketPath, user: "root", database: "plain", connectionLimit: Number(connectionLimit) }));
  const poolOf = (key) => pools[key.charCodeAt(key.length - 1) % pools.length];

  const app = fastify({ logger: false, bodyLimit: 1 << 20 });
  app.addContentTypeParser("*", { parseAs: "buffer" }, (request, body, done) => done(null, body));

  app.get("/keys/:key", async (request, reply) => {
    const { key } = request.params;
    const [rows] = await poolOf(key).execute("SELECT v FROM plain WHERE k = ?", [key]);
    if (rows.length === 0) return reply.code(404).send();
    return reply.type("application/octet-stream").send(rows[0].v);
  });

  app.put("/keys/:key", async (request, reply) => {
    const { key } = request.params;
    await poolOf(key).execute("INSERT INTO plain (k, v) VALUES (?, ?) ON DUPLICATE KEY UPDATE v = VALUES(v)",
      [key, request.body]);
    return reply.code(204).send();
  });

  await app.listen({ host: "127.0.0.1", port: Number(port) });
}
