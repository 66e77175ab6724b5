// The benchmark's server on the TypeScript SDK, v2 line: one entry point serves both eras.
import { createRequire } from "node:module";

const require = createRequire(new URL("../../.peers/node/", import.meta.url));
const { McpServer } = require("@modelcontextprotocol/server");
const { serveStdio } = require("@modelcontextprotocol/server/stdio");
const { z } = require("zod");

const text = (value) => ({ content: [{ type: "text", text: value }] });

serveStdio(() => {
  const server = new McpServer({ name: "bench", version: "1.0" }, { capabilities: { tools: {} } });
  server.registerTool(
    "add",
    { description: "Add two numbers.", inputSchema: z.object({ a: z.number().int(), b: z.number().int() }) },
    ({ a, b }) => text(String(a + b)),
  );
  server.registerTool(
    "echo",
    { description: "Return the text.", inputSchema: z.object({ text: z.string() }) },
    (args) => text(args.text),
  );
  return server;
});
