// The HTTP benchmark's server on the TypeScript SDK, v2 line: one handler for the modern era and the stateless legacy one.
import { createRequire } from "node:module";

const require = createRequire(new URL("../../../.peers/node/", import.meta.url));
const { McpServer, createMcpHandler } = require("@modelcontextprotocol/server");
const { serve } = require("@hono/node-server");
const { z } = require("zod");

const PORT = Number(process.argv[2]);
const text = (value) => ({ content: [{ type: "text", text: value }] });
const NUMBERS = z.object({ a: z.number().int(), b: z.number().int() });

const handler = createMcpHandler(() => {
  const server = new McpServer({ name: "bench", version: "1.0" }, { capabilities: { tools: {} } });
  server.registerTool("add", { description: "Add two numbers.", inputSchema: NUMBERS }, ({ a, b }) => text(String(a + b)));
  server.registerTool(
    "report",
    { description: "Report progress once, then add two numbers.", inputSchema: NUMBERS },
    async ({ a, b }, ctx) => {
      const params = { progressToken: ctx.mcpReq._meta.progressToken, progress: 1, total: 2 };
      await ctx.mcpReq.notify({ method: "notifications/progress", params });
      return text(String(a + b));
    },
  );
  return server;
});

serve({ fetch: (request) => handler.fetch(request), port: PORT, hostname: "127.0.0.1" });
