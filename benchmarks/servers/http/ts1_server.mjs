// The HTTP benchmark's server on the TypeScript SDK, v1 line, on node's own HTTP server.
import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { createRequire } from "node:module";

const require = createRequire(new URL("../../../.peers/node/", import.meta.url));
const { McpServer } = require("@modelcontextprotocol/sdk/server/mcp.js");
const { StreamableHTTPServerTransport } = require("@modelcontextprotocol/sdk/server/streamableHttp.js");
const { z } = require("zod");

const [PORT, SCENARIO] = process.argv.slice(2);
const STATELESS = SCENARIO === "stateless";
const text = (value) => ({ content: [{ type: "text", text: value }] });
const NUMBERS = { a: z.number().int(), b: z.number().int() };

function build() {
  const server = new McpServer({ name: "bench", version: "1.0" });
  server.registerTool("add", { description: "Add two numbers.", inputSchema: NUMBERS }, ({ a, b }) => text(String(a + b)));
  return server;
}

const sessions = new Map();

async function open() {
  const transport = new StreamableHTTPServerTransport({
    sessionIdGenerator: STATELESS ? undefined : randomUUID,
    enableJsonResponse: true,
    onsessioninitialized: (id) => sessions.set(id, transport),
  });
  await build().connect(transport);
  return transport;
}

createServer(async (request, response) => {
  const transport = sessions.get(request.headers["mcp-session-id"]) ?? (await open());
  if (STATELESS) response.on("close", () => transport.close());
  await transport.handleRequest(request, response);
}).listen(Number(PORT), "127.0.0.1");
