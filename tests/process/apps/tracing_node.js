"use strict";
// The tracing app in JavaScript, with the client of examples/node_app. FAIL_IN names a hook that throws; WORKERS asks
// for a cluster.
const cluster = require("node:cluster"), fs = require("node:fs"), http = require("node:http");

const ran = [];

function record(line) {
  fs.appendFileSync(process.env.TRACE_FILE, JSON.stringify({ pid: process.pid, ...line, at_ns: Number(process.hrtime.bigint()) }) + "\n");
}

function hook(phase, name) {
  return { async [name]() {
    await new Promise(setImmediate); // the next hook must not overtake this one
    if (process.env.FAIL_IN === name) throw new TypeError("the pool is gone 🦀");
    ran.push(name);
    record({ phase, hook: name });
  } }[name];
}

if (process.env.WORKERS && cluster.isPrimary) {
  for (let i = 0; i < Number(process.env.WORKERS); i++) cluster.fork();
} else {
  const { beforeSnapshot, afterRestore } = require("../../../examples/node_app/snapext");
  beforeSnapshot(hook("before_snapshot", "before_first"));
  beforeSnapshot(hook("before_snapshot", "before_second"));
  afterRestore(hook("after_restore", "after_first"));
  afterRestore(hook("after_restore", "after_second"));
  const server = http.createServer((request, response) => {
    record({ phase: "request", path: request.url });
    response.end(JSON.stringify({ pid: process.pid, ran }));
  });
  server.listen(Number(process.env.PORT), "127.0.0.1");
}
