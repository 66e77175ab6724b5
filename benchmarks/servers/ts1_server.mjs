// The benchmark's server on the TypeScript SDK, v1 line.
import { createRequire } from "node:module";

const require = createRequire(new URL("../../.peers/node/", import.meta.url));
const { McpServer } = require("@modelcontextprotocol/sdk/server/mcp.js");
const { StdioServerTransport } = require("@modelcontextprotocol/sdk/server/stdio.js");
const { z } = require("zod");

const server = new McpServer({ name: "bench", version: "1.0" });
const text = (value) => ({ content: [{ type: "text", text: value }] });

server.registerTool(
  "add",
  { description: "Add two numbers.", inputSchema: { a: z.number().int(), b: z.number().int() } },
  ({ a, b }) => text(String(a + b)),
);
server.registerTool(
  "echo",
  { description: "Return the text.", inputSchema: { text: z.string() } },
  (args) => text(args.text),
);

await server.connect(new StdioServerTransport());
