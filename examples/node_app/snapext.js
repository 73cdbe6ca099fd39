"use strict";
// snapext's protocol (docs/protocol.md) for Node.js. Register all hooks while the app is being loaded.
const crypto = require("node:crypto"), fs = require("node:fs"), net = require("node:net"), path = require("node:path");
const file = process.env.SNAPEXT_SOCKET || `/tmp/snapext-${process.geteuid()}/bridge.sock`;
const hooks = { before_snapshot: [], after_restore: [] };
const outcomes = new Map(); // on a repeated message the hooks still run only once
const asked = new Map(); // the last peer to ask gets the name of the running hook
let environment = "", draws = 0;
let generation = 0, attempts = 0, unlinked = "no extension answers";

exports.beforeSnapshot = (hook) => hooks.before_snapshot.unshift(hook); // the last registered runs first
exports.afterRestore = (hook) => hooks.after_restore.push(hook); // in order of registration

// node:crypto and Math.random repeat in every clone; the kernel's bytes may, at first. So they are mixed with what differs.
exports.randomBytes = (size) => {
  const bytes = Buffer.alloc(size), fd = fs.openSync("/dev/urandom");
  try { for (let at = 0; at < size;) at += fs.readSync(fd, bytes, at, size - at); } finally { fs.closeSync(fd); }
  const secret = crypto.createHash("sha512").update(bytes);
  secret.update(`${environment}|${process.pid}|${++draws}|${process.hrtime.bigint()}|${Date.now()}`);
  const key = secret.digest();
  for (let at = 0; at < size; at += 64) {
    const block = crypto.createHash("sha512").update(key).update(String(at)).digest();
    for (let i = at; i < Math.min(at + 64, size); i++) bytes[i] ^= block[i - at];
  }
  return bytes;
};

exports.randomUUID = () => {
  const bytes = exports.randomBytes(16);
  bytes[6] = (bytes[6] & 0x0f) | 0x40, bytes[8] = (bytes[8] & 0x3f) | 0x80; // version 4 of RFC 9562
  return bytes.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
};

function connect() {
  const folder = fs.lstatSync(path.dirname(file), { throwIfNoEntry: false });
  // Only its owner can put a socket into such a folder; Node cannot ask for the identity of the peer.
  if (!folder?.isDirectory() || folder.uid !== process.geteuid() || folder.mode & 0o077) return connectLater();
  const socket = net.connect(file).setEncoding("utf8").unref(); // it must not keep the app from ending
  const send = (message) => socket.write(JSON.stringify(message) + "\n");
  let rest = "";
  socket.on("error", () => {}).on("close", connectLater).on("connect", () => {
    const counts = { before_snapshot: hooks.before_snapshot.length, after_restore: hooks.after_restore.length };
    const name = path.basename(process.argv[1] ?? "node");
    send({ type: "hello", protocol: 1, pid: process.pid, role: "app", client: "node", name, hooks: counts, generation });
  }).on("data", (text) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop();
    try { for (const line of lines) hear(JSON.parse(line), send, socket); } catch { socket.destroy(); }
  });
}

function connectLater() { // the extension may begin to listen after us
  if (++attempts < 600) setTimeout(connect, 100).unref();
  else if (process.env.AWS_LAMBDA_INITIALIZATION_TYPE === "snap-start") console.error(`snapext: ${unlinked}`);
}

async function hear(message, send, socket) {
  const { type, id } = message, key = `${type} ${message.generation}`;
  if (type === "welcome") generation = Math.max(generation, message.generation), attempts = 0;
  if (type === "welcome" && message.protocol !== 1) {
    attempts = Infinity, unlinked = `the extension speaks version ${message.protocol} of the protocol, and we speak 1`;
    return socket.destroy();
  }
  environment = message.environment_id ?? environment; // before the hooks, which may draw
  if (!(type in hooks)) return; // also what is newer than this client
  asked.set(key, (hook) => send({ type: "running", id, hook }));
  if (!outcomes.has(key)) outcomes.set(key, run(type, (hook) => asked.get(key)(hook)));
  const outcome = await outcomes.get(key);
  if (outcome.ok && type === "after_restore") generation = Math.max(generation, message.generation);
  send({ type: "done", id, ...outcome });
}

async function run(phase, running) {
  const began = performance.now(), ended = [];
  for (const hook of hooks[phase]) {
    const name = hook.name || "anonymous", hookBegan = performance.now();
    running(name); // before the hook: a process that hangs in it can say nothing
    try { await hook(); } catch (e) {
      const text = (value, most) => String(value).slice(0, most); // a line holds 65,536 bytes
      const error = { type: text(e?.name ?? typeof e, 99), message: text(e?.message ?? e, 999), stack: text(e?.stack, 6000) };
      return { ok: false, duration_ms: performance.now() - began, hooks: ended, error: { ...error, hook: name, duration_ms: performance.now() - hookBegan } };
    }
    ended.push({ name, duration_ms: performance.now() - hookBegan });
  }
  return { ok: true, duration_ms: performance.now() - began, hooks: ended };
}

setImmediate(connect); // once the app is loaded
