"use strict";
// A web server on Node's own http module, with hooks; it listens on 127.0.0.1:$PORT.
const http = require("node:http");
const { beforeSnapshot, afterRestore, randomUUID } = require("./snapext");

const state = { connection: "opened at init", token: randomUUID() };

beforeSnapshot(async function closeConnection() {
  state.connection = null;
});

afterRestore(async function reconnect() {
  state.connection = "opened after the restore";
});

afterRestore(function renewToken() {
  state.token = randomUUID();
});

const server = http.createServer((_request, response) => {
  response.setHeader("Content-Type", "application/json");
  response.end(JSON.stringify({ pid: process.pid, ...state }));
});
server.listen(Number(process.env.PORT || 8080), "127.0.0.1");
process.on("SIGTERM", () => {
  server.close();
  server.closeAllConnections();
});
